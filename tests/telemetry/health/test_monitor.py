"""The monitor, fed by hand: streams that Unbroken does not drive, and what all add up to."""

from __future__ import annotations

import os
import threading
import time

import msgspec
import pytest

from tests.telemetry.health.clocks import WALL, Clock, monitor_at, tell
from unbroken.telemetry.health import HealthMonitor, StreamRow


@pytest.mark.seed("003-health-foreign", "003-health-per-stream")
def test_a_stream_that_is_told_of() -> None:
    clock = Clock()
    monitor = monitor_at(clock)
    monitor.start("poem-1", provider="mine", model="big")
    clock.move(2.0)
    monitor.record_frame("poem-1", 40)
    for _ in range(5):
        clock.move(0.5)
        monitor.record_frame("poem-1", 100, tokens=2)
    running = monitor.stream("poem-1")
    assert running is not None
    assert (running.status, running.phase, running.ended_at) == ("active", "text", None)
    monitor.record_error("poem-1", ConnectionError("a secret answer"))
    monitor.record_retry("poem-1")
    clock.move(1.0)
    monitor.complete("poem-1")
    row = monitor.stream("poem-1")
    assert row is not None
    assert (row.id, row.status, row.bytes, row.frames, row.tokens) == (
        "poem-1", "complete", 540, 6, 10
    )  # fmt: skip
    assert (row.started_at, row.ended_at) == (WALL, WALL + 5.5)
    assert row.ttft_s == pytest.approx(2.5)
    assert (row.last_gap_s, row.longest_gap_s) == (pytest.approx(0.5), pytest.approx(0.5))
    assert (row.attempts, row.reconnects) == (2, 1)
    assert [(e.kind, e.at) for e in row.errors] == [("ConnectionError", WALL + 4.5)]
    assert "secret" not in repr(row)
    assert "secret" not in repr(monitor.report())


def test_unknown_ids_and_second_ends_change_nothing() -> None:
    monitor = monitor_at(Clock())
    monitor.record_frame("nobody", 10, tokens=1)
    monitor.record_error("nobody", "what")
    monitor.record_retry("nobody")
    monitor.complete("nobody")
    assert monitor.report().total == 0
    stream = monitor.start("a")
    monitor.complete("a", success=True)
    monitor.complete("a", success=False)
    monitor.record_frame("a", 10, tokens=1)
    monitor.record_error("a", "late")
    stream.end("failed")
    stream.error("late", "late")
    report = monitor.report()
    assert (report.total, report.succeeded, report.failed, report.bytes) == (1, 1, 0, 0)
    assert report.errors_by_type == []
    assert len(monitor.ended()) == 1


@pytest.mark.seed(
    "003-monitor-totals", "003-monitor-rates", "003-monitor-errors-by-type",
    "003-monitor-tokens", "003-monitor-duration", "003-health-report",
)  # fmt: skip
def test_the_report_has_what_the_seeds_monitors_have() -> None:
    clock = Clock()
    monitor = monitor_at(clock)
    for number in range(10):
        stream = f"s{number}"
        monitor.start(stream)
        clock.move(1.0)
        monitor.record_frame(stream, 1000 * (number + 1), tokens=7)
        if number < 3:
            monitor.record_error(stream, "timeout" if number else "connection refused")
            monitor.record_retry(stream)
        clock.move(float(number))
        if number < 9:
            monitor.complete(stream, success=number >= 2)
    report = monitor.report()
    assert (report.total, report.active, report.succeeded, report.failed) == (10, 1, 7, 2)
    assert report.success_rate == pytest.approx(7 / 9)
    assert (report.retries, report.average_retries) == (3, 0.3)
    assert report.tokens == 70
    assert report.tokens_counted == {"deltas": 9}
    assert report.duration_s.average == pytest.approx(5.0)
    assert (report.size_bytes.average, report.size_bytes.longest) == (5000.0, 9000.0)
    assert report.bytes == 55_000
    assert report.ttft_s.average == pytest.approx(1.0)
    assert [(e.name, e.count) for e in report.errors_by_type] == [("error", 3)]
    assert [(e.name, e.count) for e in report.common_errors] == [
        ("error: timeout", 2), ("error: connection refused", 1),
    ]  # fmt: skip
    msgspec.json.encode(report)


def test_errors_that_differ_by_numbers_are_the_same() -> None:
    monitor = monitor_at(Clock())
    monitor.start("a")
    monitor.record_error("a", "no answer after 3.5 s")
    monitor.record_error("a", "no answer after 12 s")
    assert [(e.name, e.count) for e in monitor.report().common_errors] == [
        ("error: no answer after N s", 2)
    ]


def test_nothing_ended_is_no_rate() -> None:
    monitor = monitor_at(Clock())
    assert monitor.report().success_rate is None
    monitor.start("a").end("cancelled")
    assert monitor.report().success_rate is None


@pytest.mark.seed("003-health-listeners")
def test_listeners_hear_of_every_change_and_cannot_harm(caplog: pytest.LogCaptureFixture) -> None:
    monitor = monitor_at(Clock())
    heard: list[StreamRow] = []

    def broken(row: StreamRow) -> None:
        raise RuntimeError("a secret")

    monitor.listen(broken)
    stop = monitor.listen(heard.append)
    monitor.start("a")
    monitor.record_error("a", "what")
    monitor.record_retry("a")
    monitor.complete("a")
    assert [(row.status, row.reconnects, len(row.errors)) for row in heard] == [
        ("active", 0, 0), ("active", 0, 1), ("active", 1, 1), ("complete", 1, 1),
    ]  # fmt: skip
    stop()
    stop()
    monitor.start("b")
    assert len(heard) == 4
    assert [r.message for r in caplog.records] == [
        "a health listener raised RuntimeError; streams go on"
    ]


def test_streams_that_nobody_completes_are_given_up() -> None:
    clock = Clock()
    monitor = monitor_at(clock, abandon_s=600.0)
    monitor.start("silent")
    monitor.start("slow")
    for _ in range(3):
        clock.move(300.0)
        monitor.record_frame("slow", 10)
    assert [row.id for row in monitor.active()] == ["slow"]
    row = monitor.stream("silent")
    assert row is not None
    assert row.status == "abandoned"
    assert monitor.report().ended == {"abandoned": 1}


def test_memory_is_bounded() -> None:
    monitor = monitor_at(Clock(), keep=20, most_active=50)
    for number in range(500):
        monitor.start(f"open-{number}", model=f"model-{number}")
    for number in range(500):
        monitor.start(f"s{number}")
        for _ in range(30):
            monitor.record_error(f"s{number}", f"error {'abcdefghij'[number % 10]}{number}")
        monitor.complete(f"s{number}")
    assert len(monitor.active()) <= 50
    assert len(monitor.ended()) == 20
    assert all(len(row.errors) <= 16 for row in monitor.ended())
    figures = monitor.figures()
    assert len(figures.groups) <= 102
    report = monitor.report()
    assert report.total == 1000
    assert report.ended["abandoned"] >= 450
    assert len(report.common_errors) <= 10


def test_the_same_id_again_gives_up_the_first() -> None:
    monitor = monitor_at(Clock())
    first = monitor.start("a")
    monitor.start("a")
    assert first.status == "abandoned"
    monitor.complete("a")
    assert monitor.report().ended == {"abandoned": 1, "complete": 1}


def test_names_become_plain_labels() -> None:
    monitor = monitor_at(Clock())
    stream = monitor.start(provider="p\n\x1b[31m", model="m" * 500)
    assert stream.labels.provider == "p??[31m"
    assert len(stream.labels.model) == 80


def test_counters_never_fall_while_streams_go_from_running_to_ended() -> None:
    clock = Clock()
    monitor = monitor_at(clock)
    last = monitor.figures().total()
    streams = [monitor.start(model=f"m{n % 3}") for n in range(12)]
    for step in range(6):
        for stream in streams:
            tell(stream, clock, [(0.01, 3)])
        streams.pop().end("complete")
        now = monitor.figures().total()
        for name in ("started", "bytes", "frames", "tokens"):
            assert getattr(now, name) >= getattr(last, name)
        assert now.gap_s.count >= last.gap_s.count
        assert now.ttft_s.count == 12
        assert now.active == 12 - step - 1
        last = now
    assert last.started == 12


def test_many_threads_lose_no_count() -> None:
    monitor = HealthMonitor()

    def work(number: int) -> None:
        for each in range(200):
            name = f"{number}-{each}"
            monitor.start(name, model=f"m{number}")
            monitor.record_frame(name, 10, tokens=1)
            monitor.record_error(name, "x")
            monitor.complete(name)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        monitor.report()
        monitor.active()
        time.sleep(0.001)
    report = monitor.report()
    assert (report.total, report.succeeded, report.bytes, report.tokens) == (
        1600,
        1600,
        16000,
        1600,
    )
    assert report.errors_by_type[0].count == 1600
    assert len(report.models) == 8


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_begins_at_zero_though_a_lock_was_held() -> None:
    monitor = HealthMonitor()
    inherited = monitor.start("parents")
    monitor.locked.acquire()
    child = os.fork()
    if child == 0:
        try:
            inherited.end("complete")  # the parent's, not the child's to count
            empty = monitor.report()
            monitor.start("mine")
            monitor.complete("mine")
            report = monitor.report()
            good = (empty.total, report.total, report.succeeded) == (0, 1, 1)
            good = good and [row.id for row in monitor.ended()] == ["mine"]
        except BaseException:  # a child of pytest must not go on
            good = False
        os._exit(0 if good else 1)
    deadline = time.monotonic() + 10
    while (done := os.waitpid(child, os.WNOHANG)) == (0, 0):
        assert time.monotonic() < deadline, "the child hangs"
        time.sleep(0.01)
    monitor.locked.release()
    assert os.waitstatus_to_exitcode(done[1]) == 0
    monitor.complete("parents")
    assert monitor.report().total == 1
