"""A monitor whose time is an argument."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unbroken.core.events import Event, Text, TextRun
from unbroken.telemetry.health import HealthMonitor, StreamHealth

__all__ = ["WALL", "Clock", "deltas", "monitor_at", "run", "tell"]

WALL = 1_800_000_000.0


class Clock:
    """A clock that stands still until somebody moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def move(self, seconds: float) -> float:
        self.now += seconds
        return self.now


def monitor_at(clock: Clock, **more: Any) -> HealthMonitor:
    start = clock.now
    return HealthMonitor(clock=clock, wall_time=lambda: WALL + clock.now - start, **more)


def run(count: int) -> TextRun:
    """Text deltas as the fast path delivers them."""
    return TextRun(["word "] * count, 0, None)


def deltas(count: int) -> list[Event]:
    """The same the long way."""
    return [Text("word ")] * count


def tell(stream: StreamHealth, clock: Clock, gaps: Sequence[tuple[float, int]]) -> None:
    """Deliver text: after each wait, so many events of 100 bytes."""
    for wait_s, count in gaps:
        now = clock.move(wait_s)
        stream.delivered(b"x" * 98 * count + b"\n\n" * count, run(count), now)
