"""Responses: what frames that never came carried, from the frames that repeat it.

Theory. Every ``.done`` repeats the whole of what it ends, ``output_item.done`` its item and the
terminal event all items. So behind a hole in the numbers two things can be told:

- *marks* that are missing: the first frame behind the hole that belongs to an item has marks
  that must have come before it (see `openai_responses_course`). Those that did not come, and
  that nothing before the hole shows to be left out by this service, were lost.
- *text* that is missing: of a voice that was open before the hole, or that a lost mark opened,
  the whole must be what came before the hole, the lost text, and what came behind it. With
  further holes behind, each piece between two of them must be found in the whole, in order.

Frames for both are written in the order of the course, with the lost numbers. More frames than
numbers, a whole that does not fit, or a mark that no later frame can give back: then it cannot
be told. What is left of the numbers carried nothing that is missed (a sign of life).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from unbroken.core.checksum import Checksum, added, from_units, to_units
from unbroken.core.dialects.base import Lost, Mended, Note
from unbroken.core.dialects.openai_responses.behind import Behind, ResponsesNote, note_of
from unbroken.core.dialects.openai_responses.course import (
    CALL_STEMS,
    CONTENT,
    INDEXES,
    ITEM_ADDED,
    ITEM_DONE,
    VOICES,
    Course,
    Mark,
    Voice,
    voice_of_part,
)
from unbroken.core.dialects.payloads import record, records, string
from unbroken.core.events import Block
from unbroken.core.frames import Frame

__all__ = ["ResponsesMender"]

_NOT_REPEATED = "nothing behind them repeats what they carried"
_DIFFERS = "the text that {source} repeats is not what came before and behind them"


class ResponsesMender:
    """See `unbroken.core.dialects.base.Mender`.

    Args:
        course: Of the attempt; followed by its reader.
        said: Gives what the deltas of the answer text came to so far.
    """

    def __init__(self, course: Course, said: Callable[[str, int, Block], Checksum]) -> None:
        self._course = course
        self._said = said

    def note(self, frame: Frame) -> Note:
        return note_of(frame)

    def mend(
        self, lost: Lost, behind: Sequence[Note | Lost], *, ended: bool
    ) -> Mended | str | None:
        notes = [note for note in behind if isinstance(note, ResponsesNote)]
        first = next((note for note in notes if note.on_course), None)
        if first is None:
            # Nothing of the answer came after them: if it is cut, it is cut here.
            return Mended(frames=[]) if ended else None
        over = ended or any(note.terminal for note in notes)
        found = _Mending(self._course, self._said, first, notes, behind).run(lost)
        return _NOT_REPEATED if found is None and over else found


class _Mending:
    """One look at one hole."""

    def __init__(
        self,
        course: Course,
        said: Callable[[str, int, Block], Checksum],
        first: ResponsesNote,
        notes: list[ResponsesNote],
        entries: Sequence[Note | Lost],
    ) -> None:
        self._started = course.started
        self._marks = course.marks
        self._deltas = course.said
        self._answer = said
        self._first = first
        self._behind = Behind(notes, first)
        self._entries = entries

    def run(self, lost: Lost) -> Mended | str | None:
        """Return what belongs in the hole; None while it cannot be said."""
        missing = self._missing()
        if missing is None:
            return None
        written: list[tuple[tuple[int, ...], dict[str, Any]]] = []
        texts: list[tuple[Voice, Mark, str]] = []
        source = ""
        for mark in self._open_voices(missing):
            voice = VOICES[mark[0]]
            whole = self._behind.whole(voice, mark)
            if whole is None:
                return None
            text = self._lost_text(voice, mark, *whole, full=len(missing) < lost.count)
            if text is None:
                return _DIFFERS.format(source=whole[1].kind)
            if text:
                source = whole[1].kind
                texts.append((voice, mark, text))
        if lost.first == 0 and not self._started:
            created = self._behind.created()
            if created is None:
                return None
            written += [((-1,), payload) for payload in created]
        for mark in missing:
            payload = self._behind.event(mark)
            if payload is None:
                return None
            written.append((_order(mark), payload))
        if texts and len(texts) == lost.count + self._room():
            written.clear()  # there was no place for them: the service leaves them out
        if (size := len(written) + len(texts)) > lost.count + self._room():
            return f"to carry what is missing they would have to be {size}"
        # As many deltas as there may have been, so that no number stays absent.
        spare = max(0, lost.count - size)
        for voice, mark, text in texts:
            for piece in _pieces(text, 1 + spare):
                written.append((_order(mark), self._behind.delta(voice, mark, piece)))
            spare = 0
        written.sort(key=lambda each: each[0])
        del written[lost.count :]  # the next hole has them
        given = [payload for _, payload in written]
        characters = sum(len(each["delta"]) for each in given if "delta" in each)
        # What a hole held beside them was most likely a status, which comes first.
        unused = lost.count - len(given)
        frames = [
            self._behind.frame(lost.first + n + (0 if "response" in each else unused), each)
            for n, each in enumerate(given)
        ]
        return Mended(frames=frames, source=source or "later frames", characters=characters)

    def _room(self) -> int:
        """Return how many more were lost before the first frame that shows what is missing."""
        room = 0
        for each in self._entries:
            if each is self._first:
                break
            room += each.count if isinstance(each, Lost) else 0
        return room

    # Marks --------------------------------------------------------------------------------

    def _missing(self) -> list[Mark] | None:
        """Return the marks that were lost; None while that cannot be said."""
        first = self._first
        wanted: list[Mark] = []
        if first.terminal:
            output = records(record(first.payload.get("response")).get("output"))
            for at, each in enumerate(output):
                wanted += [*_course_of(at, each), (ITEM_DONE, at, -1)]
        else:
            for at in self._items_before(first.at):
                done = (ITEM_DONE, at, -1)
                if done in self._marks or done in self._behind.marks or self._left_out(at):
                    continue  # where it is yet to come, items are written side by side
                item = self._behind.item(at)
                if item is None:
                    return None
                wanted += [*_course_of(at, item), done]
            before = self._before(first)
            if before is None:
                return None
            wanted += before
        return [mark for mark in dict.fromkeys(wanted) if self._was_lost(mark)]

    def _items_before(self, at: int) -> list[int]:
        """Return the items before this one that were opened, or should have been."""
        known = {mark[1] for mark in self._marks}
        skipped = range(
            max(known, default=-1) + 1, min(at, max(known, default=-1) + 1 + _MOST_SKIPPED)
        )
        return sorted({other for other in known if 0 <= other < at} | set(skipped))

    def _left_out(self, at: int) -> bool:
        """Whether the service does not open its items: deltas came, or items before, without."""
        opened = any(mark[0] == ITEM_ADDED for mark in self._marks)
        return (ITEM_ADDED, at, -1) not in self._marks and (
            self._spoke(at) or (at > 0 and not opened)
        )

    def _was_lost(self, mark: Mark) -> bool:
        kind, at, place = mark
        if mark in self._marks or mark in self._behind.marks:
            return False
        if kind == ITEM_ADDED:  # left out by this service, if more of the item came
            return not any(other[1] == at for other in self._marks) and not self._spoke(at)
        if kind.endswith("_part.added"):
            later = {f"{kind.removesuffix('.added')}.done", *(f"{v}.done" for v in VOICES)}
            came = any(m[1:] == (at, place) and m[0] in later for m in self._marks)
            return not came and not self._spoke(at, place)
        return True

    def _spoke(self, at: int, place: int | None = None) -> bool:
        """Whether a delta of the item, or of the part, came before the hole."""
        said = any(
            key[1] == at and place in (None, key[2]) and size
            for key, (size, _) in self._deltas.items()
        )
        return said or self._answer("text", 0, (at, place or 0))[0] > 0

    def _before(self, note: ResponsesNote) -> list[Mark] | None:
        """Return the marks before a frame in its item's course; None while they are not known."""
        if note.kind == ITEM_ADDED:
            return []
        if note.kind == ITEM_DONE:
            return _course_of(note.at, record(note.payload.get("item")))
        marks: list[Mark] = [(ITEM_ADDED, note.at, -1)]
        stem, _, action = note.kind.rpartition(".")
        part = note.voice.part if note.voice is not None else stem
        if part not in INDEXES:
            return marks
        if action != "added":
            marks.append((f"{part}.added", note.at, note.place))
        if stem in INDEXES and action == "done":
            voice = voice_of_part(string(record(note.payload.get("part")).get("type")))
            if voice is not None:
                marks.append((f"{voice.stem}.done", note.at, note.place))
        earlier = self._parts_before(note, part)
        return None if earlier is None else marks + earlier

    def _parts_before(self, note: ResponsesNote, part: str) -> list[Mark] | None:
        """Return the marks of earlier parts of the item; None while they are not known."""
        marks: list[Mark] = []
        for place in range(min(note.place, _MOST_SKIPPED)):
            opened = (f"{part}.added", note.at, place)
            if opened in self._marks:
                voice = voice_of_part(self._marks[opened])
            elif self._spoke(note.at, place) or (f"{part}.done", note.at, place) in self._marks:
                continue  # the service leaves its opening out
            elif (whole := self._behind.part(part, note.at, place)) is None:
                return None
            else:
                voice = voice_of_part(string(whole.get("type")))
            if voice is not None:
                ends = [(f"{voice.stem}.done", note.at, place), (f"{part}.done", note.at, place)]
                marks += [opened, *ends]
        return marks

    # Text ---------------------------------------------------------------------------------

    def _open_voices(self, missing: list[Mark]) -> list[Mark]:
        """Return the voices (stem, item, part) that may have lost text, in their order."""
        found: set[Mark] = {mark for mark, (size, _) in self._deltas.items() if size}
        for (kind, at, place), own_type in [*self._marks.items(), *((m, "") for m in missing)]:
            stem = ""
            if kind == ITEM_ADDED:
                item = self._behind.item(at) if not own_type else None
                stem = CALL_STEMS.get(own_type or string((item or {}).get("type")), "")
            elif kind.endswith("_part.added"):
                voice = self._behind.voice_at(kind, at, place, own_type)
                stem = "" if voice is None else voice.stem
            elif (kind, at, place) in missing and kind.removesuffix(".done") in VOICES:
                stem = kind.removesuffix(".done")
            if stem:
                found.add((stem, at, place))
        if self._first.voice is not None:
            found.add((self._first.voice.stem, self._first.at, self._first.place))
        return sorted((mark for mark in found if not self._ended_before(mark)), key=_order)

    def _ended_before(self, mark: Mark) -> bool:
        """Whether the hole is behind the end of a voice."""
        stem, at, place = mark
        ends = [(f"{stem}.done", at, place), (ITEM_DONE, at, -1)]
        if part := VOICES[stem].part:
            ends.append((f"{part}.done", at, place))
        return any(end in self._marks for end in ends)

    def _lost_text(
        self, voice: Voice, mark: Mark, whole: str, source: ResponsesNote, *, full: bool
    ) -> str | None:
        """Return the text that the hole swallowed of a voice; None if nothing fits."""
        before = self._deltas.get(mark, (0, 0))
        if voice.part_type == "output_text":
            before = self._answer("text", 0, (mark[1], mark[2]))
        units = to_units(whole)
        if added(None, units[: before[0]]) != before:
            return None
        whose = (voice, *mark[1:])
        runs: list[list[str]] = [[]]  # what came behind this hole, behind the next, ...
        for each in self._entries:
            if each is source:
                break
            if isinstance(each, Lost):
                runs.append([])
            elif isinstance(each, ResponsesNote) and (each.voice, each.at, each.place) == whose:
                runs[-1].append(each.text)
        return _first_hole(units[before[0] :], [to_units("".join(run)) for run in runs], full=full)


_MOST_SKIPPED = 8
"""How many items, or parts of one, may be lost in one hole."""


def _course_of(at: int, item: dict[str, Any]) -> list[Mark]:
    """Return all marks of a whole item but its end."""
    marks: list[Mark] = [(ITEM_ADDED, at, -1)]
    if (stem := CALL_STEMS.get(string(item.get("type")))) is not None:
        marks.append((f"{stem}.done", at, -1))
    for key in ("summary", "content"):
        for place, part in enumerate(records(item.get(key))):
            if (voice := voice_of_part(string(part.get("type")))) is not None:
                marks += [
                    (f"{voice.part}.added", at, place),
                    (f"{voice.stem}.done", at, place),
                    (f"{voice.part}.done", at, place),
                ]
    return marks


def _first_hole(rest: str, pieces: list[str], *, full: bool) -> str | None:
    """Return the text of the first hole, where holes and pieces in turn make up the rest.

    Where the same words come again, a piece may fit in several places. Whether all pieces fit
    does not depend on it, and the text as a whole is the same however it is shared out: the
    first hole takes as much as it can (`full`), or as little where it has no number for it.
    """
    *inner, last = pieces
    if not rest.endswith(last):
        return None
    room = rest[: len(rest) - len(last)]
    start, end = 0, len(room)
    inner = [piece for piece in inner if piece]
    if full:
        for piece in reversed(inner):
            if (end := room.rfind(piece, 0, end)) < 0:
                return None
        return from_units(room[:end])
    first = None
    for piece in inner:
        if (found := room.find(piece, start)) < 0:
            return None
        first = found if first is None else first
        start = found + len(piece)
    return from_units(room[: end if first is None else first])


def _pieces(text: str, most: int) -> list[str]:
    """Cut a text into so many pieces, if it has as many characters."""
    count = min(most, len(text))
    ends = [len(text) * at // count for at in range(count + 1)]
    return [text[start:end] for start, end in pairwise(ends)]


def _order(mark: Mark) -> tuple[int, ...]:
    """Return where a mark, or the lost text of a voice, belongs in the course of all items."""
    kind, at, place = mark
    if kind in (ITEM_ADDED, ITEM_DONE):
        return (at, 0 if kind == ITEM_ADDED else 2, 0, 0, 0)
    if kind in VOICES:
        return (at, 1, int(VOICES[kind].part == CONTENT), place, 1)
    stem, _, action = kind.rpartition(".")
    voice = VOICES.get(stem)
    part = voice.part if voice is not None else stem
    rank = 0 if action == "added" else 2 if voice is not None else 3
    return (at, 1, int(part == CONTENT), place, rank)
