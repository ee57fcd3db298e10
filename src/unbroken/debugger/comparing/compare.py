"""Two attempts in step, in bounded memory: where they first differ, and what only one has.

Frames are compared by their shapes, which are the same for the same frame however it was read;
meaning is compared as one flow of parts, so that a text that was cut otherwise is still the same
text. What one side is ahead of the other waits in a queue; from the first difference on nothing is
compared any more, and both are read to their ends for their figures.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import msgspec

from unbroken.debugger.comparing.meaning import Part, shape_of
from unbroken.debugger.comparing.side import Figures, Side, Unit
from unbroken.debugger.index import AttemptEntry, RecordingIndex

__all__ = ["AttemptDiff", "Difference", "compare", "compare_bytes"]

_SHOWN_CHARACTERS = 60
_TEXTS = frozenset({"text", "reasoning", "refusal", "arguments"})


class Place(msgspec.Struct, kw_only=True):
    """Where one side stands at a difference.

    Attributes:
        what: What it has there, in words without contents.
        frame: The number of the frame, from 0; None behind the end.
        at_byte: Where that frame begins in the body.
        shown: What is said there; only where contents are asked for.
    """

    what: str
    frame: int | None = None
    at_byte: int | None = None
    shown: str | None = None


class Difference(msgspec.Struct, kw_only=True):
    """A first difference.

    Attributes:
        a: What the first has there.
        b: What the second has there.
        at_character: In a text: the character, counted in all text of that kind.
        kind: Of what: ``bytes``, ``frame``, or a kind of meaning such as ``text``.
    """

    kind: str
    a: Place
    b: Place
    at_character: int | None = None


class AttemptDiff(msgspec.Struct, kw_only=True):
    """How two attempts differ.

    Attributes:
        equal: They say the same and ended in the same way; with bytes asked for: byte for byte.
        a: Figures of the first.
        b: Figures of the second.
        meaning: Where they first mean something else; None: nowhere.
        frame: Where the first frame differs that is not only new by id, time or padding.
        bytes: Where the first byte differs; only where asked for.
        common: Characters that both begin with, by kind.
        only_a: Kinds of events that only the first has, with their numbers.
        only_b: The same of the second.
        ends_differ: They ended in other ways.
    """

    equal: bool
    a: Figures
    b: Figures
    meaning: Difference | None = None
    frame: Difference | None = None
    bytes: Difference | None = None
    common: dict[str, int] = {}
    only_a: dict[str, int] = {}
    only_b: dict[str, int] = {}
    ends_differ: bool = False


def compare(
    a: tuple[RecordingIndex, AttemptEntry],
    b: tuple[RecordingIndex, AttemptEntry],
    *,
    exact: bool = False,
    contents: bool = False,
    bare: bool = False,
) -> AttemptDiff:
    """Compare two attempts.

    Args:
        a: The first, with its recording.
        b: The second.
        exact: Compare the bodies' bytes as well.
        contents: Show a few characters of what differs.
        bare: Leave contents out of account; their sizes count.
    """
    left, right = Side(*a, bare=bare), Side(*b, bare=bare)
    found = _Comparing(left, right, contents=contents).run()
    ends_differ = (
        left.figures.ended != right.figures.ended or left.figures.status != right.figures.status
    )
    found.ends_differ = ends_differ
    if bare:
        found.common.clear()  # of x's
    if exact:
        found.bytes = compare_bytes(left.raw(), right.raw())
    both_unread = bool(left.figures.unread or right.figures.unread)
    if both_unread and not exact:
        found.bytes = compare_bytes(left.raw(), right.raw())
    found.equal = (
        found.meaning is None
        and found.bytes is None
        and not ends_differ
        and left.figures.faults == right.figures.faults
        and (not both_unread or left.figures.size_bytes == right.figures.size_bytes)
    )
    return found


class _Flow:
    """The parts of one side that wait to be compared."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.frames: deque[Unit] = deque()
        self.parts: deque[Part] = deque()
        self.at_end = False
        self._units = side.units()

    def pull(self, *, frames: bool, parts: bool) -> bool:
        """Take one more frame; return False at the end."""
        unit = next(self._units, None)
        if unit is None:
            self.at_end = True
            return False
        if frames:
            self.frames.append(unit)
        if parts:
            self.parts.extend(unit.parts)
        return True


class _Comparing:
    def __init__(self, left: Side, right: Side, *, contents: bool) -> None:
        self._a, self._b = _Flow(left), _Flow(right)
        self._contents = contents
        self._common: dict[str, int] = {}
        self._frame: Difference | None = None
        self._meaning: Difference | None = None

    def run(self) -> AttemptDiff:
        a, b = self._a, self._b
        if a.side.figures.unread or b.side.figures.unread:
            self._meaning = None
        while not (a.at_end and b.at_end):
            # Whoever is behind reads on, so that little waits.
            for flow, other in ((a, b), (b, a)):
                if not flow.at_end and (not flow.parts or other.parts or other.at_end):
                    flow.pull(frames=self._frame is None, parts=self._meaning is None)
            self._frames()
            self._parts()
        self._frames()
        self._parts()
        left, right = a.side, b.side
        if left.figures.unread or right.figures.unread:
            self._frame = self._meaning = None  # one of them was not read to its end
        return AttemptDiff(
            equal=False,
            a=left.figures,
            b=right.figures,
            meaning=self._meaning,
            frame=self._frame,
            common=self._common,
            only_a={kind: n for kind, n in left.labels.items() if kind not in right.labels},
            only_b={kind: n for kind, n in right.labels.items() if kind not in left.labels},
        )

    def _frames(self) -> None:
        a, b = self._a, self._b
        while self._frame is None and (a.frames or a.at_end) and (b.frames or b.at_end):
            if not a.frames and not b.frames:
                return
            mine = a.frames.popleft() if a.frames else None
            other = b.frames.popleft() if b.frames else None
            if mine is None or other is None or not _alike(mine, other):
                self._frame = Difference(kind="frame", a=_frame_place(mine), b=_frame_place(other))
                a.frames.clear()
                b.frames.clear()

    def _parts(self) -> None:
        a, b = self._a, self._b
        while self._meaning is None and (a.parts or a.at_end) and (b.parts or b.at_end):
            if not a.parts and not b.parts:
                return
            mine = a.parts[0] if a.parts else None
            other = b.parts[0] if b.parts else None
            if mine is None or other is None or (mine.kind, mine.key) != (other.kind, other.key):
                self._differ(mine, other, None)
            elif mine.kind not in _TEXTS:
                a.parts.popleft()
                b.parts.popleft()
            else:
                self._text(mine, other)

    def _text(self, mine: Part, other: Part) -> None:
        length = min(len(mine.text), len(other.text))
        same = length if mine.text[:length] == other.text[:length] else _common(mine, other)
        known = self._common.get(mine.kind, 0) + same
        self._common[mine.kind] = known
        mine.text, other.text = mine.text[same:], other.text[same:]
        if same < length:
            self._differ(mine, other, known)
            return
        if not mine.text:
            self._a.parts.popleft()
        if not other.text:
            self._b.parts.popleft()

    def _differ(self, mine: Part | None, other: Part | None, at: int | None) -> None:
        kind = (mine or other).kind  # type: ignore[union-attr]  # one of them is there
        if at is None and kind in _TEXTS:
            at = self._common.get(kind, 0)
        self._meaning = Difference(
            kind=kind, a=self._place(mine), b=self._place(other), at_character=at
        )
        self._a.parts.clear()
        self._b.parts.clear()

    def _place(self, part: Part | None) -> Place:
        if part is None:
            return Place(what="the end")
        shown = part.text[:_SHOWN_CHARACTERS] if self._contents and part.kind in _TEXTS else None
        return Place(what=part.label, frame=part.frame, at_byte=part.at_byte, shown=shown)


def _alike(mine: Unit, other: Unit) -> bool:
    a, b = mine.step.frame, other.step.frame
    # Digests take time, and behind a proxy that changes nothing none is needed.
    return (a.payload == b.payload and a.event == b.event) or shape_of(a) == shape_of(b)


def _common(mine: Part, other: Part) -> int:
    """Return how many characters two texts begin with alike."""
    low, high = 0, min(len(mine.text), len(other.text))
    while low < high:
        middle = (low + high + 1) // 2
        if mine.text[:middle] == other.text[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _frame_place(unit: Unit | None) -> Place:
    if unit is None:
        return Place(what="the end")
    frame = unit.step.frame
    what = ", ".join(dict.fromkeys(part.label for part in unit.parts)) or "a frame without meaning"
    number = unit.parts[0].frame if unit.parts else None
    return Place(what=f"{what} ({len(frame.raw):,} bytes)", frame=number, at_byte=frame.offset)


def compare_bytes(a: Iterator[bytes], b: Iterator[bytes]) -> Difference | None:
    """Return the first byte that differs in two bodies, however they were cut into reads."""
    mine, other, at = b"", b"", 0
    while True:
        while not mine and (piece := next(a, None)) is not None:
            mine = piece
        while not other and (piece := next(b, None)) is not None:
            other = piece
        if not mine and not other:
            return None
        length = min(len(mine), len(other))
        if not length or mine[:length] != other[:length]:
            same = next((n for n in range(length) if mine[n] != other[n]), length)
            return Difference(
                kind="bytes",
                a=_byte_place(mine[same:], at + same),
                b=_byte_place(other[same:], at + same),
            )
        mine, other, at = mine[length:], other[length:], at + length


def _byte_place(rest: bytes, at: int) -> Place:
    return Place(what=f"0x{rest[0]:02x}" if rest else "the end", at_byte=at)
