"""One stream, as a driver tells of it."""

from __future__ import annotations

import time

import pytest

from tests.telemetry.health.clocks import WALL, Clock, deltas, monitor_at, run, tell
from unbroken.core.actions import Reconnecting, StallNotice
from unbroken.core.events import Finish, Ping, Reasoning, Start, Text, ToolCall, UsageReport
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.outcome import AttemptRecord, Outcome, Provenance
from unbroken.core.received import Usage
from unbroken.telemetry.health import HealthMonitor

CUT = Fault.of(FaultKind.CONNECTION_RESET, "reset after 12 frames", at_byte=500)


def reconnecting(attempt: int, rung: str = "prefill", fault: Fault = CUT) -> Reconnecting:
    return Reconnecting(
        attempt=attempt, rung=rung, fault=fault, wait_s=0.0, added_bytes=10, skipped=[]
    )


@pytest.mark.parametrize("events", [run, deltas], ids=["run", "long way"])
def test_what_is_delivered_is_counted(events: object) -> None:
    clock = Clock()
    monitor = monitor_at(clock)
    stream = monitor.start("a", provider="p", model="m", dialect="openai-chat", team="blue")
    stream.answered(clock.now)
    assert stream.phase == "waiting"
    for wait_s, count in ((0.8, 1), (0.1, 1), (0.3, 3), (0.1, 1)):
        stream.delivered(b"data: x\n\n" * count, events(count), clock.move(wait_s))  # type: ignore[operator]
    row = monitor.stream("a")
    assert row is not None
    assert (row.bytes, row.frames, row.tokens, row.phase) == (54, 6, 6, "text")
    assert row.ttft_s == pytest.approx(0.8)
    assert (row.last_gap_s, row.longest_gap_s) == (pytest.approx(0.1), pytest.approx(0.3))
    assert row.team == "blue"
    gaps = monitor.report().gap_s
    assert gaps.count == 5  # three waits, and two that came with another
    assert gaps.average == pytest.approx(0.1)
    clock.move(4.0)
    assert monitor.active()[0].since_progress_s == pytest.approx(4.0)


def test_pings_and_lifecycle_are_no_progress() -> None:
    clock = Clock()
    stream = monitor_at(clock).start("a")
    stream.delivered(b": ping\n\n", [Ping()], clock.move(1.0))
    stream.delivered(b"data: {}\n\n", [Start()], clock.move(1.0))
    stream.delivered(b"data: {}\n\n", [Text("")], clock.move(1.0))
    row = stream.row(clock.now)
    assert (row.phase, row.frames, row.tokens, row.ttft_s) == ("waiting", 3, 0, None)
    assert row.since_progress_s == pytest.approx(3.0)


def test_phases() -> None:
    clock = Clock()
    stream = monitor_at(clock).start("a")
    seen = [stream.phase]
    for events in (
        [Start()], [Reasoning("hm")], [Text("a")], [ToolCall(0, "{}")], [Finish("stop", "stop")],
    ):  # fmt: skip
        stream.delivered(b"data: x\n\n", events, clock.move(0.1))
        seen.append(stream.phase)
    stream.outcome(Outcome(status="complete"))
    assert [*seen, stream.phase] == [
        "connecting", "waiting", "thinking", "text", "tool", "ending", "over",
    ]  # fmt: skip


def test_frames_of_each_wire() -> None:
    clock = Clock()
    stream = monitor_at(clock).start("a")
    for data, frames in (
        (b"data: a\n\ndata: b\n\n", 2),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", 2),
        (b'{"a":1}\n{"a":2}\n', 2),
        (b',\n{"a":\n1}', 1),
        (b"\x00\x01binary\n\x02", 1),
        (b"", 0),
    ):
        before = stream.row(clock.now).frames
        stream.delivered(data, [UsageReport()], clock.now)
        assert stream.row(clock.now).frames - before == frames, data


def test_the_consumers_time_is_no_gap() -> None:
    clock = Clock()
    monitor = monitor_at(clock)
    stream = monitor.start("a")
    tell(stream, clock, [(0.2, 1)])
    for _ in range(3):
        stream.resumed(clock.move(5.0))  # the consumer thinks
        tell(stream, clock, [(0.1, 1)])
    assert monitor.report().gap_s.longest == pytest.approx(0.1)


def test_waiting_for_the_head_is_waiting_and_what_follows_is_the_consumers() -> None:
    clock = Clock()
    monitor = monitor_at(clock)
    for number, (head_s, consumer_s) in enumerate(((4.0, 0.0), (0.1, 4.0))):
        stream = monitor.start(str(number))
        stream.answered(clock.move(head_s))
        stream.resumed(clock.move(consumer_s))
        tell(stream, clock, [(0.001, 300)])
        stream.end("complete")
    consumer, head = monitor.ended()
    assert head.buffered
    assert not consumer.buffered
    assert consumer.ttft_s == pytest.approx(4.101)


def test_a_break_and_its_recovery() -> None:
    clock = Clock()
    monitor = monitor_at(clock)
    stream = monitor.start("a", provider="p", model="m", route="r")
    tell(stream, clock, [(0.1, 1)] * 5)
    stream.notice(reconnecting(2))
    row = monitor.stream("a")
    assert row is not None
    assert (row.phase, row.attempts, row.reconnects, row.recoveries) == (
        "recovering", 2, 1, ["prefill"]
    )  # fmt: skip
    assert [(e.kind, e.at) for e in row.errors] == [("connection-reset", WALL + 0.5)]
    stream.answered(clock.now)
    assert stream.phase == "text"
    tell(stream, clock, [(0.1, 1)] * 5)
    fault = Fault(kind=CUT.kind, detail=CUT.detail, at_byte=CUT.at_byte, attempt=1)
    stream.outcome(
        Outcome(
            status="complete",
            faults=[fault],
            attempts=[
                AttemptRecord(number=1, usage=Usage(output=50, estimated=True)),
                AttemptRecord(number=2, rung="prefill", usage=Usage(input=9, output=60)),
            ],
            provenance=[
                Provenance(attempt=1, start=0, end=100, rung="first", guarantee="byte-exact"),
                Provenance(
                    attempt=2, start=100, end=400, rung="prefill", guarantee="seam-verified"
                ),
            ],
            usage=Usage(output=80),
        )
    )
    report = monitor.report()
    assert [(f.name, f.count) for f in report.faults] == [("connection-reset", 1)]
    assert [(r.rung, r.guarantee, r.count) for r in report.recoveries] == [
        ("prefill", "seam-verified", 1)
    ]
    assert (report.tokens, report.tokens_counted) == (80, {"usage": 1})
    assert (report.saved_tokens, report.wasted_tokens) == (20, 0)
    assert (report.usage.input, report.usage.output, report.usage.estimated_output) == (9, 110, 50)
    assert (report.retries, report.average_retries) == (1, 1.0)
    latest = monitor.latest_faults()
    assert [(f.stream, f.rung, f.attempt, f.provider, f.route) for f in latest] == [
        ("a", "prefill", 1, "p", "r")
    ]


def test_the_same_fault_twice_is_two() -> None:
    monitor = monitor_at(Clock())
    stream = monitor.start("a")
    stream.notice(reconnecting(2))
    stream.notice(reconnecting(3))
    stream.outcome(Outcome(status="failed", faults=[CUT, CUT, CUT]))
    assert monitor.report().faults[0].count == 3
    assert monitor.report().errors_by_type[0].count == 3


def test_stalls() -> None:
    clock = Clock()
    monitor = monitor_at(clock)
    stream = monitor.start("a")
    stream.notice(StallNotice(clock="progress", phase="text", waited_s=10.0, limit_s=120.0))
    assert monitor.active()[0].stalled
    tell(stream, clock, [(0.1, 1)])
    assert not monitor.active()[0].stalled
    assert monitor.report().stalls == 1


def test_ends_are_counted_once() -> None:
    monitor = monitor_at(Clock())
    stream = monitor.start("a")
    stream.outcome(Outcome(status="cancelled"))
    stream.outcome(Outcome(status="complete"))
    stream.stepped_aside()
    assert monitor.report().ended == {"cancelled": 1}


def test_a_stream_that_unbroken_stepped_aside_from() -> None:
    monitor = monitor_at(Clock())
    stream = monitor.start("a")
    stream.internal_error(RuntimeError("bug"))
    stream.stepped_aside()
    report = monitor.report()
    assert (report.internal_errors, report.ended) == (1, {"unread": 1})


def test_a_client_that_left() -> None:
    clock = Clock()
    monitor = monitor_at(clock)
    monitor.start("a").left(clock.now)
    assert monitor.active()[0].left


def test_one_event_costs_little() -> None:
    """The goal is 1.5 µs; a machine that is busy with other tests gets three times as much."""
    stream = HealthMonitor().start("a")
    data, events, now = b"x" * 250, run(1), time.monotonic()
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(20_000):
            now += 0.02
            stream.delivered(data, events, now)
            stream.resumed(now)
        best = min(best, (time.perf_counter() - began) / 20_000)
    assert best < 4.5e-6
