"""What is drawn or counted over a whole stream, as data; see `unbroken.debugger.facts`."""

from __future__ import annotations

import msgspec

from unbroken.telemetry.health.histogram import Spread

__all__ = ["Consumer", "Histogram", "Numbers", "Reads", "Throughput"]


class Numbers(msgspec.Struct, kw_only=True):
    """A few values of one kind.

    Attributes:
        count: How many.
        average: Their mean.
        least: The least.
        most: The greatest.
    """

    count: int = 0
    average: float = 0.0
    least: float = 0.0
    most: float = 0.0


class Reads(msgspec.Struct, kw_only=True):
    """Every read, in columns; of long streams each row stands for several (`merged`).

    Attributes:
        at_s: When the (first) read came.
        until_s: When the last one of the row came.
        reads: How many reads the row stands for.
        size_bytes: What they brought.
        waited_s: The longest wait for one of them.
        gap_s: The longest time since the read before.
        frames: Whole frames in them.
        content: Events with content in them.
        pings: Signs of life without content.
        attempt: Of which attempt.
        phase: What the stream was doing after them: an index into `phases`.
        finish: The finish reason that came with them, or ``""``.
        errors: Frames that could not be read.
        preview: The first characters, where asked for; else the column is empty.
        phases: Names for `phase`.
        merged: How many reads a row stands for at most; 1: each has its own.
    """

    at_s: list[float] = []
    until_s: list[float] = []
    reads: list[int] = []
    size_bytes: list[int] = []
    waited_s: list[float | None] = []
    gap_s: list[float] = []
    frames: list[int] = []
    content: list[int] = []
    pings: list[int] = []
    attempt: list[int] = []
    phase: list[int] = []
    finish: list[str] = []
    errors: list[int] = []
    preview: list[str] = []
    phases: list[str] = []
    merged: int = 1


class Histogram(msgspec.Struct, kw_only=True):
    """Times between events with content, by length.

    Attributes:
        edges_s: Upper edges of the bars.
        counts: How many fell into each.
        together: Events that came in one read with the one before: no time between them.
        spread: Average and percentiles of the times that are counted.
    """

    edges_s: list[float] = []
    counts: list[int] = []
    together: int = 0
    spread: Spread = msgspec.field(default_factory=Spread)


class Throughput(msgspec.Struct, kw_only=True):
    """How much came, by time.

    Attributes:
        step_s: Width of a step.
        size_bytes: Bytes in each step, from the stream's begin.
        content: Events with content in each.
    """

    step_s: float = 0.1
    size_bytes: list[int] = []
    content: list[int] = []


class Consumer(msgspec.Struct, kw_only=True):
    """The reader's own time.

    Attributes:
        measured: The recording says something of it.
        busy_s: Seconds in which the reader did not read, in all.
        longest_s: The longest of them.
        longest_at_s: When that began.
        late_reads: Reads that returned at once, with much, after the reader had been away.
        share: Part of the time from the first byte to the end.
    """

    measured: bool = False
    busy_s: float = 0.0
    longest_s: float = 0.0
    longest_at_s: float = 0.0
    late_reads: int = 0
    share: float = 0.0
