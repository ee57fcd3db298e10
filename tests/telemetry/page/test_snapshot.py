"""What the page is given: parts and points, without a server."""

from __future__ import annotations

import json

from tests.telemetry.page.traffic import Clock, cut, deliver, finish, reconnecting, stall
from unbroken.core.faults import Fault, FaultKind
from unbroken.telemetry.health import Figures, HealthMonitor, StreamRow
from unbroken.telemetry.page.snapshot import Snapshots


def make() -> tuple[Clock, HealthMonitor, Snapshots]:
    clock = Clock()
    monitor = HealthMonitor(clock=clock, wall_time=clock.wall)
    return clock, monitor, Snapshots(monitor, wall_time=clock.wall)


def test_parts_are_json_and_name_no_whole_id() -> None:
    clock, monitor, snapshots = make()
    health = monitor.start("s_0123456789abcdef", provider="p", model="m")
    deliver(health, clock.now)
    health.notice(reconnecting(cut()))
    text = json.dumps(snapshots.parts())
    assert "s_0123456789abcdef" not in text
    assert "s_0123\\u2026cdef" in text


def test_stalled_streams_come_first_then_the_oldest() -> None:
    clock, monitor, snapshots = make()
    for name in ("one", "two", "three"):
        health = monitor.start(name)
        clock.now += 1
    health.notice(stall())
    part = snapshots.parts()["streams"]
    assert [row["id"] for row in part["rows"]] == ["three", "one", "two"]  # type: ignore[index]
    assert part["stalled"] == 1  # type: ignore[index]


def test_points_are_of_the_last_seconds_only() -> None:
    clock, monitor, snapshots = make()
    snapshots.sample()
    slow = monitor.start()
    clock.now += 4.0
    deliver(slow, clock.now)
    assert 3.2 < snapshots.sample()["ttft_p50"] <= 4.0  # type: ignore[operator]
    for _ in range(12):
        clock.now += 1
        point = snapshots.sample()
    assert point["ttft_p50"] is None  # it was long ago
    assert point["active"] == 1


def test_faults_are_counted_in_their_second() -> None:
    clock, monitor, snapshots = make()
    snapshots.sample()
    finish(monitor.start(), "failed", cut())
    clock.now += 1
    assert snapshots.sample()["faults"] == 1
    clock.now += 1
    assert snapshots.sample()["faults"] == 0
    columns = snapshots.history()["columns"]
    assert columns["faults"] == [0, 1, 0]  # type: ignore[index]


def sky(snapshots: Snapshots) -> object:
    snapshots.sample()
    return snapshots.parts()["weather"]["rows"][0]["sky"]  # type: ignore[index]


def test_weather_is_of_the_last_minutes() -> None:
    clock, monitor, snapshots = make()
    finish(monitor.start(provider="p", model="m"))
    assert sky(snapshots) == "clear"
    finish(monitor.start(provider="p", model="m"), "failed", cut())
    assert sky(snapshots) == "stormy"
    for _ in range(25):
        clock.now += 16
        for _ in range(3):
            finish(monitor.start(provider="p", model="m"))
        last = sky(snapshots)
    assert last == "clear"
    for _ in range(25):
        clock.now += 16
        last = sky(snapshots)
    assert last == "quiet"


def test_scope_says_whose_figures_they_are() -> None:
    monitor = HealthMonitor()
    texts = {
        "one": Snapshots(monitor),
        "all": Snapshots(monitor, figures=Figures, rows=list, workers=lambda: 4),
        "partly": Snapshots(monitor, figures=Figures, workers=lambda: 4),
        "this": Snapshots(monitor, workers=lambda: 4),
    }
    said = {name: str(each.scope()["text"]) for name, each in texts.items()}
    assert "this process" in said["one"]
    assert said["all"] == "Figures of all 4 workers since they began."
    assert "of this worker only" in said["partly"]
    assert said["this"].startswith("Figures of this worker only")


def test_a_buffering_proxy_is_named() -> None:
    clock, monitor, snapshots = make()
    health = monitor.start(provider="openai", model="m")
    for _ in range(8):
        clock.now += 1.0
        for _ in range(20):
            deliver(health, clock.now)
            clock.now += 0.0001
            health.resumed(clock.now)
    finish(health)
    warnings = snapshots.parts()["warnings"]
    assert "openai" in warnings[0]["text"]  # type: ignore[index]
    assert "proxy_buffering off" in warnings[0]["text"]  # type: ignore[index]


def test_limits_and_filters_are_no_failures() -> None:
    _, monitor, snapshots = make()
    finish(monitor.start(), "limited", Fault.of(FaultKind.LENGTH_LIMIT, "10 tokens"))
    finish(monitor.start(), "cancelled", Fault.of(FaultKind.CANCELLED, "left"))
    figures = snapshots.parts()["figures"]
    assert figures["success_rate"] == 1.0  # type: ignore[index]
    assert figures["ended"] == 1  # type: ignore[index]
    assert figures["cancelled"] == 1  # type: ignore[index]


def test_unwatched_points_leave_rows_alone() -> None:
    def rows() -> list[StreamRow]:
        raise AssertionError

    assert Snapshots(HealthMonitor(), rows=rows).sample(rows=False)["stalled"] is None


def test_history_forgets_by_time() -> None:
    clock, _, snapshots = make()
    for _ in range(100):
        clock.now += 5
        snapshots.sample()
    at = snapshots.history()["columns"]["at"]  # type: ignore[index]
    assert len(at) == 61
    assert at[-1] - at[0] == 300


def test_a_continuation_thrown_away_stands_apart() -> None:
    _, monitor, snapshots = make()
    kind = FaultKind.PROTOCOL_VIOLATION
    finish(monitor.start(), "failed", Fault.of(kind, "a finish came twice"))
    finish(monitor.start(), "failed", Fault.of(kind, "the attempt was given up: it differs"))
    groups = snapshots.parts()["faults"]
    said = {group["kind"]: group["record"] for group in groups}  # type: ignore[attr-defined]
    assert said.pop("protocol-violation") == "llm/stream-protocol-violation"
    assert list(said.values()) == ["llm/continuation-thrown-away"]


def test_weather_is_capped_and_hides_no_storm() -> None:
    _, monitor, snapshots = make()
    for number in range(30):
        for _ in range(2):
            finish(monitor.start(provider="p", model=f"m{number}"))
    finish(monitor.start(provider="p", model="rare"), "failed", cut())
    snapshots.sample()
    weather = snapshots.parts()["weather"]
    assert len(weather["rows"]) == 12  # type: ignore[index]
    assert weather["more"] == 19  # type: ignore[index]
    assert weather["rows"][-1]["model"] == "rare"  # type: ignore[index]
