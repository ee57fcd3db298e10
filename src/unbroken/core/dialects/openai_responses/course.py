"""The course of Responses' items: what came of each, and what must come before what.

In its full form an item runs: item added; for each part, part added, deltas, its text repeated
whole, part done; item done. A *voice* is a run of deltas with the event that repeats it whole.
A *mark* is one event of an item's course that comes once: its type, output index and the index
of the part within (-1 for what has none).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from unbroken.core.checksum import Checksum, added
from unbroken.core.dialects.payloads import number, record, records, string

__all__ = [
    "CALL_STEMS",
    "CONTENT",
    "ITEM_ADDED",
    "INDEXES",
    "ITEM_DONE",
    "SUMMARY",
    "VOICES",
    "Course",
    "Mark",
    "Voice",
    "voice_of_part",
]

CONTENT = "response.content_part"
SUMMARY = "response.reasoning_summary_part"
ITEM_ADDED, ITEM_DONE = "response.output_item.added", "response.output_item.done"
INDEXES = {CONTENT: "content_index", SUMMARY: "summary_index"}

Mark = tuple[str, int, int]

_MOST_MARKS = 1 << 16
"""Marks kept of one answer; far more than any has."""


class Voice(NamedTuple):
    """A kind of deltas.

    Attributes:
        stem: The event type before ``.delta`` and ``.done``.
        key: Where the latter has the whole.
        part: The stem of the events that open and close its part, or ``""``.
        part_type: What the part calls itself.
    """

    stem: str
    key: str
    part: str = ""
    part_type: str = ""

    @property
    def index_name(self) -> str:
        """The field that tells the part."""
        return INDEXES.get(self.part, "")


VOICES = {
    voice.stem: voice
    for voice in (
        Voice("response.output_text", "text", CONTENT, "output_text"),
        Voice("response.refusal", "refusal", CONTENT, "refusal"),
        Voice("response.reasoning_text", "text", CONTENT, "reasoning_text"),
        Voice("response.reasoning_summary_text", "text", SUMMARY, "summary_text"),
        Voice("response.function_call_arguments", "arguments"),
        Voice("response.custom_tool_call_input", "input"),
        Voice("response.mcp_call_arguments", "arguments"),
    )
}
CALL_STEMS = {
    "function_call": "response.function_call_arguments",
    "custom_tool_call": "response.custom_tool_call_input",
    "mcp_call": "response.mcp_call_arguments",
}
_OF_PARTS = {voice.part_type: voice for voice in VOICES.values() if voice.part}


def voice_of_part(kind: str) -> Voice | None:
    """Return the voice of a part of this type."""
    return _OF_PARTS.get(kind)


class Course:
    """Follow the items of one attempt.

    Attributes:
        started: The answer's own beginning came, or a later word of it.
        marks: The marks that came, each with the type that its item or part has.
        said: Checksums of the deltas of each voice, by its stem, output index and part. The
            answer text itself is left out: it is counted elsewhere, and its frames are many.
    """

    __slots__ = ("marks", "said", "started")

    def __init__(self) -> None:
        self.started = False
        self.marks: dict[Mark, str] = {}
        self.said: dict[Mark, Checksum] = {}

    def fork(self) -> Course:
        """Return an independent copy."""
        copy = Course()
        copy.started = self.started
        copy.marks, copy.said = dict(self.marks), dict(self.said)
        return copy

    def follow(self, kind: str, at: int, value: dict[str, Any]) -> None:
        """Take in an event of the output item ``at``."""
        stem, _, action = kind.rpartition(".")
        voice = VOICES.get(stem)
        if voice is not None:
            place = number(value, voice.index_name) if voice.part else -1
            key = (stem, at, -1 if place is None else place)
            if action == "delta":
                if stem != "response.output_text":
                    self.said[key] = added(self.said.get(key), string(value.get("delta")))
            elif action == "done":
                self._mark((kind, *key[1:]), "")
        elif kind in (ITEM_ADDED, ITEM_DONE):
            item = record(value.get("item"))
            self._mark((kind, at, -1), string(item.get("type")))
            if kind == ITEM_ADDED and item.get("type") == "message":
                for place, part in enumerate(records(item.get("content"))):
                    self._mark((f"{CONTENT}.added", at, place), string(part.get("type")))
        elif stem in INDEXES:
            place = number(value, INDEXES[stem])
            part_type = string(record(value.get("part")).get("type"))
            self._mark((kind, at, -1 if place is None else place), part_type)

    def _mark(self, mark: Mark, kind: str) -> None:
        if len(self.marks) < _MOST_MARKS:
            self.marks[mark] = kind
