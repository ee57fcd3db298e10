"""Lost frames made good from what the provider repeats.

Behind numbers that were given up nothing may be delivered before it is known what they carried:
"never repeat, never skip". So the frames behind them wait here, until the dialect's mender has
written what was lost, or says that nobody can tell. A lost frame that comes late still takes
its place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from unbroken.core.checks.ordering import Gap
from unbroken.core.dialects.base import Lost, Mended, Mender, Note
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.frames import Frame

__all__ = ["Repair"]

_MOST_LOOKS = 256
"""How often one gap is looked at: each look costs as much as is held."""


class Repair:
    """Hold what came behind a gap, and fill the gap.

    Attributes:
        mended: A frame of ours was given out.

    Args:
        max_held_bytes: Most bytes held; beyond it the gap stays.
        faults: Takes the faults.
    """

    def __init__(self, *, max_held_bytes: int, faults: list[Fault]) -> None:
        self.mended = False
        self._max_held_bytes = max_held_bytes
        self._faults = faults
        self._entries: deque[Note | Lost] = deque()
        self._places: dict[Lost, int | None] = {}  # where each gap was given up
        self._held_bytes = 0
        self._looks = 0
        self._fresh = False  # something came that may tell

    def fork(self, *, faults: list[Fault]) -> Repair:
        """Return an independent copy, with a list of faults of its own."""
        copy = Repair(max_held_bytes=self._max_held_bytes, faults=faults)
        copy.mended = self.mended
        copy._entries, copy._places = deque(self._entries), dict(self._places)
        copy._held_bytes, copy._looks, copy._fresh = self._held_bytes, self._looks, self._fresh
        return copy

    def forget(self) -> None:
        """Drop all that is held: it will come again."""
        self._entries.clear()
        self._places.clear()
        self._held_bytes = self._looks = 0

    @property
    def active(self) -> bool:
        """Whether a gap is open, and everything behind it waits."""
        return bool(self._entries)

    def awaits(self, number: int | None) -> bool:
        """Whether a frame of this number would fill a gap."""
        return number is not None and self._gap_of(number) is not None

    def _gap_of(self, number: int) -> Lost | None:
        gaps = (each for each in self._entries if isinstance(each, Lost))
        return next((g for g in gaps if g.first <= number < g.first + g.count), None)

    # Inputs -------------------------------------------------------------------------------

    def lose(self, gap: Gap) -> None:
        """Numbers were given up: their place is behind all that is held."""
        self._open(len(self._entries), Lost(gap.first, gap.size), gap.at_byte)

    def _open(self, at: int, lost: Lost, at_byte: int | None) -> None:
        self._entries.insert(at, lost)
        self._places[lost] = at_byte
        self._fresh = True

    def hold(self, note: Note) -> None:
        """A frame came that belongs behind all that is held."""
        # The first one behind the gap says what may have been in it.
        self._fresh = self._fresh or note.tells or len(self._entries) == 1
        self._entries.append(note)
        self._held_bytes += len(note.frame.raw)

    def fill(self, number: int, note: Note) -> None:
        """A frame that was given up came after all."""
        gap = self._gap_of(number)
        assert gap is not None
        at = self._entries.index(gap)
        at_byte = self._places.pop(gap)
        del self._entries[at]
        if (after := gap.first + gap.count - number - 1) > 0:
            self._open(at, Lost(number + 1, after), at_byte)
        self._entries.insert(at, note)
        self._held_bytes += len(note.frame.raw)
        if (before := number - gap.first) > 0:
            self._open(at, Lost(gap.first, before), at_byte)
        self._fresh = True
        detail = f"number {number} came after it had been given up; put right"
        self._faults.append(Fault.of(FaultKind.OUT_OF_ORDER, detail, at_byte=note.frame.offset))

    # Output -------------------------------------------------------------------------------

    def ready(self, mender: Mender, *, ended: bool = False) -> Iterator[Frame]:
        """Yield the frames that may be read, gaps filled; a fault for each gap comes first.

        Whoever reads them reads each before the next is asked for: what a gap held is told by
        all that came before it.

        Args:
            mender: The dialect's, over the state of the reader that reads these frames.
            ended: Nothing more will come.
        """
        while self._entries:
            head = self._entries[0]
            if isinstance(head, Note):
                self._entries.popleft()
                self._held_bytes -= len(head.frame.raw)
                yield head.frame
                continue
            too_much = self._held_bytes > self._max_held_bytes or self._looks >= _MOST_LOOKS
            if not (self._fresh or ended or too_much):
                return
            yield from self._mend(head, mender, ended=ended, too_much=too_much)
            if self._entries and self._entries[0] is head:
                return

    def _mend(self, lost: Lost, mender: Mender, *, ended: bool, too_much: bool) -> Iterator[Frame]:
        self._fresh = False
        self._looks += 1
        behind = list(self._entries)[1:]
        mended = mender.mend(lost, behind, ended=ended)
        if isinstance(mended, Mended) and mended.frames and any(map(_is_damaged, behind)):
            mended = "what repeats them holds bytes that are no UTF-8"
        if mended is None:
            if not (ended or too_much):
                return
            mended = f"{self._held_bytes} bytes were held, and what they carried is not known yet"
        self._entries.popleft()
        self._looks, self._fresh = 0, True
        at_byte = self._places.pop(lost)
        got = lost.first + lost.count
        said = Gap(lost.first, got).detail
        if isinstance(mended, str):
            self._faults.append(
                Fault.of(FaultKind.MISSING_EVENT, f"{said}; {mended}", at_byte=at_byte)
            )
            return
        if mended.frames:
            said += (
                f"; repaired from {mended.source}: {len(mended.frames)} frames"
                f" with {mended.characters} characters"
            )
        else:
            said += "; nothing of the answer is missing"
        self._faults.append(
            Fault.of(FaultKind.MISSING_EVENT, said, severity="warning", at_byte=at_byte)
        )
        for frame in mended.frames:
            self.mended = True
            yield frame


def _is_damaged(entry: Note | Lost) -> bool:
    return isinstance(entry, Note) and entry.frame.undecodable_at is not None
