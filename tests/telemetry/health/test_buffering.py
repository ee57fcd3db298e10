"""Who holds events back is named, and nobody else is. All times are made up."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.telemetry.health.clocks import Clock, monitor_at, tell
from unbroken.core.events import ToolCall
from unbroken.telemetry.health import BufferingDetector

Arrivals = list[tuple[float, int]]
"""Waits in seconds, each with how many events came after it."""


def paced(count: int, gap_s: float, ttft_s: float = 0.4, each: int = 1) -> Arrivals:
    return [(ttft_s, each)] + [(gap_s, each)] * (count - 1)


def jittery(seed: int) -> Arrivals:
    chance = random.Random(seed)
    waits = [chance.lognormvariate(-3.9, 0.8) for _ in range(400)]
    return [(0.5, 1), *((wait, 1) for wait in waits)]


def thinking_then(rate_per_s: float, count: int, think_s: float = 20.0) -> Arrivals:
    return [(think_s, 1)] + [(1 / rate_per_s, 1)] * count


HELD: dict[str, Arrivals] = {
    "nginx at 50 a second: 4 KiB parcels": paced(12, 0.33, each=16),
    "parcels that come in several reads": [
        (wait, 6) for _ in range(8) for wait in (0.4, 0.0005, 0.0008)
    ],
    "32 KiB parcels of a slow model": paced(6, 6.0, ttft_s=6.0, each=120),
    "all at once after nine seconds": [(9.0, 60), (0.0002, 60), (0.0002, 60), (0.0002, 20)],
    "all at once, in one read": [(4.0, 300)],
}
HEALTHY: dict[str, Arrivals] = {
    "50 a second": paced(500, 0.02),
    "5 a second": paced(100, 0.2),
    "a fast model": paced(2000, 0.0005, ttft_s=0.15),
    "a fast model that flushes every 10 ms": paced(100, 0.01, ttft_s=0.3, each=20),
    "a fast model behind a queue": paced(60, 0.01, ttft_s=3.0, each=20),
    "thinks long, then writes fast": thinking_then(150, 600),
    "thinks long, then writes very fast": thinking_then(2000, 600, think_s=2.0),
    "five tokens at a time": paced(100, 0.1, each=5),
    "six tokens at a time, slowly": paced(100, 0.15, each=6),
    "a very fast model behind a queue": thinking_then(1500, 150, think_s=2.0),
    "an answer in three flushes": paced(3, 1.0, ttft_s=1.0, each=40),
    "whole paragraphs, one event each": paced(30, 0.8, ttft_s=1.5),
    "a short answer, all at once": [(2.0, 40)],
    "a short answer in two parcels": [(1.0, 20), (0.5, 20)],
    "a cached answer": [(0.05, 300), (0.0002, 300)],
    "one hiccup": [*paced(100, 0.02), (2.0, 60), *paced(100, 0.02, ttft_s=0.02)],
    "a hiccup now and then": [
        each for _ in range(6) for each in [(1.0, 20), *paced(60, 0.02, ttft_s=0.02)]
    ],
    "nothing": [],
    **{f"a real network, {seed}": jittery(seed) for seed in range(8)},
}


def found(arrivals: Arrivals) -> bool:
    detector = BufferingDetector()
    for wait_s, count in arrivals:
        detector.came(count, wait_s)
    return detector.end()


@pytest.mark.parametrize("arrivals", HELD.values(), ids=list(HELD))
def test_held_back(arrivals: Arrivals) -> None:
    assert found(arrivals)


@pytest.mark.parametrize("arrivals", HEALTHY.values(), ids=list(HEALTHY))
def test_healthy(arrivals: Arrivals) -> None:
    assert not found(arrivals)


@pytest.mark.seed("000-bypass-proxy")
def test_parcels_are_named_while_the_stream_runs() -> None:
    clock = Clock()
    monitor = monitor_at(clock)
    stream = monitor.start("a")
    tell(stream, clock, paced(8, 0.35, each=16))
    assert monitor.active()[0].buffered
    assert monitor.report().buffered == 0  # counted at the end
    stream.end("complete")
    assert monitor.report().buffered == 1
    assert monitor.ended()[0].buffered


def slow_consumer(stream_told: Callable[[float, float, int], None]) -> None:
    for _ in range(40):
        stream_told(0.5, 0.00001, 25)  # it thinks for half a second; 25 events wait for it


def test_a_slow_consumer_is_not_a_proxy() -> None:
    clock = Clock()
    monitor = monitor_at(clock)
    stream = monitor.start("a")
    tell(stream, clock, [(0.4, 1)])

    def told(away_s: float, wait_s: float, count: int) -> None:
        stream.resumed(clock.move(away_s))
        tell(stream, clock, [(wait_s, count)])

    slow_consumer(told)
    stream.end("complete")
    assert not monitor.ended()[0].buffered


def test_calls_that_were_held_by_us_are_not_a_proxy() -> None:
    clock = Clock()
    monitor = monitor_at(clock)
    stream = monitor.start("a")
    stream.delivered(b"x" * 9000, [ToolCall(0, "{")] * 300, clock.move(9.0))
    stream.end("complete")
    assert not monitor.ended()[0].buffered
