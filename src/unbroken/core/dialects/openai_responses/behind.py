"""Responses: what the frames behind a hole in the numbers repeat, and lost ones written anew."""

from __future__ import annotations

from typing import Any

import msgspec

from unbroken.core.dialects.base import Note
from unbroken.core.dialects.openai_responses.course import (
    CALL_STEMS,
    INDEXES,
    ITEM_ADDED,
    ITEM_DONE,
    SUMMARY,
    VOICES,
    Mark,
    Voice,
    voice_of_part,
)
from unbroken.core.dialects.payloads import dump, number, parsed, record, sse, string
from unbroken.core.frames import Frame

__all__ = ["Behind", "ResponsesNote", "note_of"]

_Json = dict[str, Any]
_TERMINALS = frozenset(
    {"response.completed", "response.incomplete", "response.failed", "response.cancelled"}
)
_LATER = frozenset({"usage", "incomplete_details", "error", "completed_at"})
_EMPTY: dict[str, _Json] = {
    "message": {"content": []},
    "function_call": {"arguments": ""},
    "custom_tool_call": {"input": ""},
    "mcp_call": {"arguments": "", "output": None},
    "reasoning": {"summary": []},
}
"""What an item's opening does not have yet."""


class ResponsesNote(Note):
    """A frame behind the hole; `payload` is kept of those that are more than a delta."""

    kind: str = ""
    at: int = -1
    place: int = -1
    text: str = ""
    item_id: str = ""
    voice: Voice | None = None
    payload: _Json = msgspec.field(default_factory=dict)

    @property
    def mark(self) -> Mark:
        return (self.kind, self.at, self.place)

    @property
    def terminal(self) -> bool:
        return self.kind in _TERMINALS

    @property
    def on_course(self) -> bool:
        """Whether it belongs to an item's course, or ends them all."""
        stem = self.kind.rpartition(".")[0]
        of_item = self.voice is not None or self.kind in (ITEM_ADDED, ITEM_DONE)
        return self.terminal or of_item or stem in INDEXES


def note_of(frame: Frame) -> ResponsesNote:
    """Return what is to be known of a frame."""
    value = record(parsed(frame.payload))
    kind = value.get("type")
    if not isinstance(kind, str):
        kind = "" if frame.event == "message" else frame.event
    stem, _, action = kind.rpartition(".")
    note = ResponsesNote(frame, action != "delta", kind)
    at = number(value, "output_index")
    if at is not None:
        note.voice = VOICES.get(stem) if action in ("delta", "done") else None
        note.at, note.item_id = at, string(value.get("item_id"))
        name = INDEXES.get(stem if note.voice is None else note.voice.part, "")
        place = number(value, name)
        note.place = -1 if place is None else place
    if note.tells:
        note.payload = value
    else:
        note.text = string(value.get("delta"))
    return note


class Behind:
    """The frames behind a hole: what they say again, and what can be written from it.

    Args:
        notes: Of the frames, in order.
        near: One of them, from which frames of ours take their form.
    """

    def __init__(self, notes: list[ResponsesNote], near: ResponsesNote) -> None:
        self.notes = notes
        self.marks = {note.mark for note in notes}
        self._near = near.frame

    def _item_in(self, note: ResponsesNote, at: int) -> _Json | None:
        """Return the whole item in a frame that repeats it."""
        if note.mark == (ITEM_DONE, at, -1):
            return record(note.payload.get("item"))
        if note.terminal:
            output = record(note.payload.get("response")).get("output")
            if isinstance(output, list) and 0 <= at < len(output):
                return record(output[at])
        return None

    def item(self, at: int) -> _Json | None:
        """Return a whole item, where one of the frames repeats it."""
        found = (self._item_in(note, at) for note in self.notes)
        return next((item for item in found if item), None)

    def part(self, part: str, at: int, place: int) -> _Json | None:
        """Return a whole part."""
        for note in self.notes:
            if note.mark == (f"{part}.done", at, place):
                return record(note.payload.get("part"))
        item = self.item(at)
        return None if item is None else _part_in(item, part, place)

    def voice_at(self, kind: str, at: int, place: int, own_type: str) -> Voice | None:
        """Return the voice of a part, by its type or by what comes of it."""
        if own_type:
            return voice_of_part(own_type)
        part = kind.removesuffix(".added")
        for note in self.notes:
            voice = note.voice
            if voice is not None and (note.at, note.place, voice.part) == (at, place, part):
                return voice
        return voice_of_part(string((self.part(part, at, place) or {}).get("type")))

    def whole(self, voice: Voice, mark: Mark) -> tuple[str, ResponsesNote] | None:
        """Return the whole text of a voice, and the frame that repeats it."""
        stem, at, place = mark
        for note in self.notes:
            if note.mark == (f"{stem}.done", at, place):
                return string(note.payload.get(voice.key)), note
            if voice.part and note.mark == (f"{voice.part}.done", at, place):
                return string(record(note.payload.get("part")).get(voice.key)), note
            item = self._item_in(note, at)
            if item is not None:
                whole = _part_in(item, voice.part, place) if voice.part else item
                return None if whole is None else (string(whole.get(voice.key)), note)
        return None

    # Writing ------------------------------------------------------------------------------

    def _where(self, at: int, place: int, index: str) -> _Json:
        """Return the fields that say which item and part an event is of."""
        ids = (note.item_id for note in self.notes if note.at == at and note.item_id)
        item_id = next(ids, "") or string((self.item(at) or {}).get("id"))
        fields: _Json = {"item_id": item_id, "output_index": at}
        return {**fields, index: place} if index else fields

    def created(self) -> list[_Json] | None:
        """Return the answer's beginning if it was lost; None while nothing gives it back."""
        for note in self.notes:
            if note.kind == "response.created":
                return []
            if note.kind in ("response.queued", "response.in_progress") or note.terminal:
                response = record(note.payload.get("response"))
                unknown_yet = dict.fromkeys(_LATER & response.keys())
                response = {**response, **unknown_yet, "status": "in_progress", "output": []}
                return [{"type": "response.created", "response": response}]
        return None

    def delta(self, voice: Voice, mark: Mark, text: str) -> _Json:
        """Return a delta with lost text."""
        payload = {
            "type": f"{voice.stem}.delta",
            **self._where(mark[1], mark[2], voice.index_name),
            "delta": text,
        }
        if voice.part_type == "output_text":
            payload["logprobs"] = []
        return payload

    def event(self, mark: Mark) -> _Json | None:
        """Return an event that was lost; None if nothing gives it back (yet)."""
        kind, at, place = mark
        stem, _, action = kind.rpartition(".")
        if kind in (ITEM_ADDED, ITEM_DONE):
            item = self.item(at)
            if item is not None and kind == ITEM_ADDED:
                item = _opened(item)
            return None if item is None else {"type": kind, "output_index": at, "item": item}
        if (voice := VOICES.get(stem)) is not None:
            found = self.whole(voice, (stem, at, place))
            if found is None:
                return None
            payload: _Json = {
                "type": kind, **self._where(at, place, voice.index_name), voice.key: found[0],
            }  # fmt: skip
            if voice.part_type == "output_text":
                payload["logprobs"] = []
            if stem == CALL_STEMS["function_call"] and (item := self.item(at)):
                payload["name"] = string(item.get("name"))
            return payload
        part = self.part(stem, at, place)
        if action == "added":
            opener = self.voice_at(kind, at, place, string((part or {}).get("type")))
            if opener is None:
                return None
            part = {"type": opener.part_type, opener.key: ""}
            if opener.part_type == "output_text":
                part |= {"annotations": [], "logprobs": []}
        if part is None:
            return None
        return {"type": kind, **self._where(at, place, INDEXES[stem]), "part": part}

    def frame(self, count: int, payload: _Json) -> Frame:
        """Return an event as a frame with a number."""
        near = self._near
        named = near.event != "message"
        kind = payload["type"]
        payload = {"type": kind, "sequence_number": count, **payload}
        raw = sse(payload, event=kind if named else None)
        event = kind if named else "message"
        return Frame(event, dump(payload), near.id, None, raw, near.offset)


def _part_in(item: _Json, part: str, place: int) -> _Json | None:
    parts = item.get("summary" if part == SUMMARY else "content")
    if isinstance(parts, list) and 0 <= place < len(parts):
        return record(parts[place])
    return None


def _opened(item: _Json) -> _Json | None:
    """Return an item as its opening shows it."""
    empty = _EMPTY.get(string(item.get("type")))
    if empty is None:
        return None  # a hosted tool: how it began nobody says again
    kept = {k: v for k, v in item.items() if k != "content" or item.get("type") == "message"}
    return {**kept, **({"status": "in_progress"} if "status" in item else {}), **empty}
