"""What happened at every read, in rows that merge when they become too many.

A recording may have millions of reads, and a chart shows some thousand points. Rows keep what
matters to the eye: sums, the longest gap, the first finish. Two neighbours become one when the
rows are full, so that early and late reads are shown alike however long the stream is.
"""

from __future__ import annotations

import msgspec

from unbroken.debugger.facts import Reads, Throughput

__all__ = ["Rates", "Row", "Rows"]

_MOST_ROWS = 4000
_MOST_STEPS = 400


class Row(msgspec.Struct):
    """One read, or several that stand together; see `Reads`."""

    at_s: float
    until_s: float
    reads: int
    size_bytes: int
    waited_s: float | None
    gap_s: float
    frames: int
    content: int
    pings: int
    attempt: int
    phase: str
    finish: str
    errors: int
    preview: str

    def absorb(self, later: Row) -> None:
        """Take in the row behind this one."""
        self.until_s = later.until_s
        self.reads += later.reads
        self.size_bytes += later.size_bytes
        if later.waited_s is not None:
            self.waited_s = max(self.waited_s or 0.0, later.waited_s)
        self.gap_s = max(self.gap_s, later.gap_s)
        self.frames += later.frames
        self.content += later.content
        self.pings += later.pings
        self.phase = later.phase
        self.finish = self.finish or later.finish
        self.errors += later.errors


class Rows:
    """Collect reads, at most some thousand rows."""

    def __init__(self, *, most: int = _MOST_ROWS) -> None:
        self._most = most
        self._rows: list[Row] = []
        self._each = 1  # reads that a row may hold

    def add(self, row: Row) -> None:
        """Take in a read."""
        rows = self._rows
        if rows and rows[-1].reads < self._each and rows[-1].attempt == row.attempt:
            rows[-1].absorb(row)
            return
        rows.append(row)
        if len(rows) > self._most:
            self._halve()

    def _halve(self) -> None:
        self._each *= 2
        merged: list[Row] = []
        for row in self._rows:
            last = merged[-1] if merged else None
            if (
                last is not None
                and last.attempt == row.attempt
                and last.reads + row.reads <= self._each
            ):
                last.absorb(row)
            else:
                merged.append(row)
        self._rows = merged

    def columns(self, *, previews: bool) -> Reads:
        """Return them as a report has them."""
        rows = self._rows
        phases = list(dict.fromkeys(row.phase for row in rows))
        number = {phase: index for index, phase in enumerate(phases)}
        return Reads(
            at_s=[round(row.at_s, 6) for row in rows],
            until_s=[round(row.until_s, 6) for row in rows],
            reads=[row.reads for row in rows],
            size_bytes=[row.size_bytes for row in rows],
            waited_s=[None if row.waited_s is None else round(row.waited_s, 6) for row in rows],
            gap_s=[round(row.gap_s, 6) for row in rows],
            frames=[row.frames for row in rows],
            content=[row.content for row in rows],
            pings=[row.pings for row in rows],
            attempt=[row.attempt for row in rows],
            phase=[number[row.phase] for row in rows],
            finish=[row.finish for row in rows],
            errors=[row.errors for row in rows],
            preview=[row.preview for row in rows] if previews else [],
            phases=phases,
            merged=self._each,
        )


class Rates:
    """Bytes and events by time, in steps that widen as the stream grows longer."""

    def __init__(self, *, step_s: float = 0.05, most: int = _MOST_STEPS) -> None:
        self._step_s = step_s
        self._most = most
        self._bytes: list[int] = []
        self._content: list[int] = []

    def add(self, at_s: float, size_bytes: int, content: int) -> None:
        """Take in a read."""
        index = int(max(0.0, at_s) / self._step_s)
        while index >= self._most:
            self._step_s *= 2
            self._bytes = _paired(self._bytes)
            self._content = _paired(self._content)
            index //= 2
        missing = index + 1 - len(self._bytes)
        if missing > 0:
            self._bytes.extend([0] * missing)
            self._content.extend([0] * missing)
        self._bytes[index] += size_bytes
        self._content[index] += content

    def result(self) -> Throughput:
        """Return them as a report has them."""
        return Throughput(step_s=self._step_s, size_bytes=self._bytes, content=self._content)


def _paired(values: list[int]) -> list[int]:
    return [sum(values[at : at + 2]) for at in range(0, len(values), 2)]
