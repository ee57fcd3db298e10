"""The story of a stream in lines: what is alike is told once, what is not stands by itself.

Reads that follow each other in the same phase at about the same pace are one line ("112 reads,
0.04 to 0.07 s apart"). A pause much longer than that pace, a new phase, a fault, or anything else
that happens ends it. However long the stream is, the lines stay few: where there would be too
many, those in the middle are left out and counted, faults excepted.
"""

from __future__ import annotations

from collections import deque

from unbroken.debugger.facts import Entry, Tone
from unbroken.debugger.words import amount, seconds, size

__all__ = ["Timeline"]

_PAUSE_S = 1.0
_PAUSE_TIMES = 5.0
"""A pause is so many times the usual gap, where that is long."""
_MOST_FIRST, _MOST_LAST, _MOST_FAULTS = 300, 300, 100


class Timeline:
    """Collect the lines.

    Args:
        pause_s: A pause of so many seconds has a line of its own; None: one of a second or more
            that is also long for this stream.
        every_read: Give each read its own line.
    """

    def __init__(self, *, pause_s: float | None = None, every_read: bool = False) -> None:
        self._pause_s = pause_s
        self._every_read = every_read
        self._first: list[Entry] = []
        self._last: deque[Entry] = deque(maxlen=_MOST_LAST)
        self._kept: list[Entry] = []
        self.omitted = 0
        self._run: _Run | None = None
        self._pinging: _Run | None = None  # reads of nothing but pings, since the last content
        self._content_s: float | None = None
        self._usual_s = 0.0
        self._unseen = False

    def unseen(self) -> None:
        """Something was not kept here: whether content had come is not known."""
        self._unseen = True

    def read(
        self,
        at_s: float,
        *,
        gap_s: float | None,
        size_bytes: int,
        frames: int,
        content: int,
        pings: int,
        phase: str,
        preview: str = "",
    ) -> None:
        """Take in a read.

        Args:
            at_s: When it came.
            gap_s: Since the read before; None for the first of a body.
            size_bytes: How much it brought.
            frames: Whole frames in it.
            content: Events with content in it.
            pings: Signs of life without content.
            phase: What the stream was doing after it.
            preview: Its first characters, where they are asked for.
        """
        if pings and not content and self._content_s is not None and not self._every_read:
            # Between two tokens they are nothing; in a long wait for one they are the story.
            if self._pinging is None:
                self._pinging = _Run(at_s, "pings", preview)
            self._pinging.add(at_s, gap_s, size_bytes, frames, content, pings)
            return
        if gap_s is not None and self._pinging is None:
            gap_s = self._pace(at_s, gap_s)
        self._settle(at_s)
        if not content and self._content_s is None and phase != "body":
            phase = "waiting"  # whatever it is about to do
        if phase == "waiting" and self._unseen:
            phase = "body"
        run = self._run
        if run is None or run.phase != phase or self._every_read:
            self._close_run()
            run = self._run = _Run(at_s, phase, preview)
        run.add(at_s, gap_s, size_bytes, frames, content, pings)
        if content:
            self._content_s = at_s

    def _pace(self, at_s: float, gap_s: float) -> float | None:
        """Learn the usual gap, and tell of one that is a pause; return it if it is none."""
        limit = self._limit()
        self._usual_s += (min(gap_s, limit) - self._usual_s) / 8
        if gap_s < limit:
            return gap_s
        self._close_run()
        text = f"{seconds(gap_s)} without a byte"
        pause = Entry(at_s=at_s - gap_s, until_s=at_s, kind="pause", text=text, tone="warn")
        self._put(pause)
        return None

    def _settle(self, now: float) -> None:
        """Content came again: decide what the pings before it are."""
        pinging, run = self._pinging, self._run
        if pinging is None:
            return
        since = self._content_s if self._content_s is not None else pinging.at_s
        self._pinging = None
        if now - since < self._limit() and run is not None:
            run.absorb(pinging)
            return
        self._close_run()
        entry = pinging.entry()
        if self._content_s is not None:
            entry.text += f": {seconds(now - since)} without content"
            entry.tone = "warn"
        self._put(entry)

    def _limit(self) -> float:
        if self._pause_s is not None:
            return self._pause_s
        return max(_PAUSE_S, self._usual_s * _PAUSE_TIMES)

    def add(self, entry: Entry) -> None:
        """Add a line of its own."""
        self._settle(entry.at_s)
        if entry.kind != "pause":
            self._close_run()
        self._put(entry)

    def tell(
        self, at_s: float, kind: str, text: str, tone: Tone = "", *, preview: str = ""
    ) -> None:
        """Add a line of its own, from its parts."""
        self.add(Entry(at_s=at_s, kind=kind, text=text, tone=tone, preview=preview))

    def _put(self, entry: Entry) -> None:
        if len(self._first) < _MOST_FIRST:
            self._first.append(entry)
            return
        if len(self._last) == _MOST_LAST:
            gone = self._last[0]
            if gone.kind == "fault" and len(self._kept) < _MOST_FAULTS:
                self._kept.append(gone)
            else:
                self.omitted += 1
        self._last.append(entry)

    def _close_run(self) -> None:
        run, self._run = self._run, None
        if run is not None:
            self._put(run.entry())

    def lines(self) -> list[Entry]:
        """Return all lines in order of time; nothing comes after."""
        self._close_run()
        if self._pinging is not None:
            self._put(self._pinging.entry())
        # Stable: what happened at one moment stays in the order in which it was told.
        return sorted([*self._first, *self._kept, *self._last], key=lambda entry: entry.at_s)


class _Run:
    """Reads that are alike."""

    def __init__(self, at_s: float, phase: str, preview: str) -> None:
        self.phase = phase
        self.at_s = at_s
        self._preview = preview
        self._until_s = at_s
        self._reads = self._bytes = self._frames = self._content = self._pings = 0
        self._least_s: float | None = None
        self._most_s = 0.0

    def add(
        self,
        at_s: float,
        gap_s: float | None,
        size_bytes: int,
        frames: int,
        content: int,
        pings: int,
    ) -> None:
        self._until_s = at_s
        if self._reads and gap_s is not None:
            self._least_s = gap_s if self._least_s is None else min(self._least_s, gap_s)
            self._most_s = max(self._most_s, gap_s)
        self._reads += 1
        self._bytes += size_bytes
        self._frames += frames
        self._content += content
        self._pings += pings

    def absorb(self, other: _Run) -> None:
        """Take in the reads of another, which came behind these."""
        self._until_s = other._until_s
        self._reads += other._reads
        self._bytes += other._bytes
        self._frames += other._frames
        self._pings += other._pings
        self._most_s = max(self._most_s, other._most_s)

    def entry(self) -> Entry:
        what = _WORDS.get(self.phase, self.phase)
        if not self._content:
            what = "pings" if self._pings and self._pings >= self._frames else ""
            what = what or _WORDS.get(self.phase, self.phase)
        parts = [f"{what}: {amount(self._reads, 'read')}" if what else amount(self._reads, "read")]
        if self._least_s is not None:
            low, high = seconds(self._least_s), seconds(self._most_s)
            parts.append(f"{low} apart" if low == high else f"{low} to {high} apart")
        if self._content:
            parts.append(amount(self._content, "event"))
        if self._pings and what != "pings":
            parts.append(amount(self._pings, "ping"))
        parts.append(size(self._bytes))
        several = self._reads > 1 and self._until_s > self.at_s
        return Entry(
            at_s=self.at_s,
            until_s=self._until_s if several else None,
            kind="reads",
            text=", ".join(parts),
            preview=self._preview,
        )


_WORDS = {
    "waiting": "no content yet",
    "tool": "tool input",
    "ending": "after the finish",
    "body": "",
}
