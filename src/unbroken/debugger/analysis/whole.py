"""A whole recording: its lines to their streams, and the streams to one report.

Streams are analysed while they run. Of one that is over only its report is kept, and of many such
only some in full: the broken ones before the whole ones, so that a day of a gateway fits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from unbroken.core.options import Clocks
from unbroken.core.recording import Line, NoticeSeen, Opening
from unbroken.debugger.analysis.attempt import Given
from unbroken.debugger.analysis.stream import StreamPass
from unbroken.debugger.facts import Listed, Report, StreamReport
from unbroken.debugger.verdict import judge

__all__ = ["analyse"]

_MOST_BROKEN, _MOST_WHOLE = 30, 15
_MOST_LISTED = 5000
_MOST_WAITING = 64
"""Streams that seem to be over, of which another attempt may still come."""


def analyse(
    lines: Iterable[Line],
    *,
    stream: int | None = None,
    dialect: str = "auto",
    previews: bool = False,
    pause_s: float | None = None,
    every_read: bool = False,
    clocks: Clocks | None = None,
) -> Report:
    """Return what a recording shows.

    Args:
        lines: Its lines, in the order in which they were written.
        stream: Look at this one alone; None: at all.
        dialect: What all bodies are read as; ``auto``: as each shows.
        previews: Keep the first characters of reads and requests.
        pause_s: A pause of so many seconds has a line of its own.
        every_read: Give every read a line of its own.
        clocks: Whose limits stalls are told by; None: the defaults.
    """
    whole = _Whole(
        stream=stream,
        dialect=dialect,
        previews=previews,
        pause_s=pause_s,
        every_read=every_read,
        clocks=clocks or Clocks(),
    )
    for line in lines:
        whole.take(line)
    return whole.report()


class _Whole:
    def __init__(
        self,
        *,
        stream: int | None,
        dialect: str,
        previews: bool,
        pause_s: float | None,
        every_read: bool,
        clocks: Clocks,
    ) -> None:
        self._only = stream
        self._pause_s = pause_s
        self._every_read = every_read
        self._given = Given(clocks, "kept", dialect, previews)
        self._running: dict[int, StreamPass] = {}
        self._over: set[int] = set()
        self._broken: list[StreamReport] = []
        self._fine: list[StreamReport] = []
        self._offset = 0  # of the numbers: a file that was written twice begins with 1 again
        self._highest = 0
        self._late = 0
        self._out = Report()
        self._opened = False
        self._side = ""

    def take(self, line: Line) -> None:
        """Take in the next line."""
        out = self._out
        out.lines += 1
        if type(line) is Opening:
            self._open(line)
            return
        if type(line) is NoticeSeen and line.kind == "command":
            for each in self._running.values():
                each.commanded(line.at_s, line.detail)
            return
        number = getattr(line, "stream", 1) + self._offset
        self._highest = max(self._highest, number)
        if self._only is not None and number != self._only:
            return
        running = self._running.get(number)
        if running is None:
            if number in self._over:
                self._late += 1
                return
            running = self._begin(number, getattr(line, "at_s", 0.0))
        running.take(line)

    def _open(self, line: Opening) -> None:
        given = self._given
        if self._opened:
            for number in list(self._running):
                self._finish(number)
            self._over.clear()
            self._offset = self._highest
            self._out.notes.append(
                f"another recording was appended: its streams count from {self._offset + 1}"
            ) if len(self._out.notes) < 8 else None
        else:
            out = self._out
            out.made_by, out.side, out.contents = line.made_by, line.side, line.contents
            out.started_at, out.note = line.started_at, line.note
        self._opened = True
        self._side = line.side
        self._given = Given(given.clocks, line.contents, given.dialect, given.previews)

    def _begin(self, number: int, at_s: float) -> StreamPass:
        if len(self._running) >= _MOST_WAITING:
            done = [known for known, stream in self._running.items() if stream.ended]
            for known in done[: len(done) // 2 + 1] if len(done) >= _MOST_WAITING // 2 else ():
                self._finish(known)
        running = StreamPass(
            number, at_s, self._given, pause_s=self._pause_s, every_read=self._every_read
        )
        self._running[number] = running
        return running

    def _finish(self, number: int) -> None:
        report = self._running.pop(number).report()
        self._over.add(number)
        report.paced = self._side != "har"
        report.parcels = report.parcels and report.paced
        report.verdict = judge(report)
        out = self._out
        out.total += 1
        if len(out.listed) < _MOST_LISTED:
            out.listed.append(_listed(report))
        broken = report.fault is not None or report.verdict.where != "none"
        kept, most = (self._broken, _MOST_BROKEN) if broken else (self._fine, _MOST_WHOLE)
        if len(kept) < most:
            kept.append(report)

    def report(self) -> Report:
        """Return the report; no line may come after."""
        for number in list(self._running):
            self._finish(number)
        out = self._out
        out.listed.sort(key=lambda listed: listed.number)
        out.streams = sorted([*self._broken, *self._fine], key=lambda stream: stream.number)
        out.notes += _notes(out, self._late)
        return out


def _notes(out: Report, late: int) -> Iterator[str]:
    if late:
        yield f"{late:,} lines came for streams that seemed to be over, and were left out"
    if len(out.listed) < out.total:
        yield f"of {out.total:,} streams {len(out.listed):,} are listed"
    if len(out.streams) < out.total:
        yield (
            f"of {out.total:,} streams {len(out.streams)} are told in full;"
            " --stream N shows any other"
        )


def _listed(report: StreamReport) -> Listed:
    return Listed(
        number=report.number,
        status=report.status,
        where=report.verdict.where,
        began_s=report.began_s,
        duration_s=report.duration_s,
        faults=list(dict.fromkeys(fault.kind for fault in report.faults))[:8],
        attempts=len(report.attempts),
        reads=sum(attempt.reads for attempt in report.attempts),
        size_bytes=sum(attempt.size_bytes for attempt in report.attempts),
        dialect=report.last.dialect,
        healed=report.healed,
    )
