"""What a consumer of a Responses stream has seen: its items and their parts."""

from __future__ import annotations

from typing import Any

import msgspec

from unbroken.core.dialects.payloads import parsed, record, records
from unbroken.core.received import Received, join_pieces

__all__ = ["ARGUMENT_STEMS", "LIFECYCLE", "TEXT_KEYS", "Item", "Part", "Wire"]

TEXT_KEYS = {"output_text": "text", "refusal": "refusal"}
LIFECYCLE = frozenset({"response.created", "response.queued", "response.in_progress"})
ARGUMENT_STEMS = frozenset(
    {
        "response.function_call_arguments",
        "response.custom_tool_call_input",
        "response.mcp_call_arguments",
    }
)
_ARGUMENTS_DONE = frozenset(f"{stem}.done" for stem in ARGUMENT_STEMS)


class Part(msgspec.Struct):
    """A content part on the wire.

    Attributes:
        said_done: Its text was repeated whole (``output_text.done``).
    """

    payload: dict[str, Any]
    index: int
    pieces: list[str]
    annotations: list[Any]
    said_done: bool = False
    open: bool = True

    @classmethod
    def of(cls, payload: dict[str, Any], index: object) -> Part:
        return cls(payload, index if isinstance(index, int) else 0, [], [])

    @property
    def kind(self) -> str:
        return str(self.payload.get("type"))

    @property
    def text(self) -> str:
        return join_pieces(self.pieces)

    def whole(self) -> dict[str, Any]:
        """The part as its end repeats it."""
        whole = {**self.payload, TEXT_KEYS.get(self.kind, "text"): self.text}
        if self.kind == "output_text":
            whole["annotations"] = self.annotations
        return whole


class Item(msgspec.Struct):
    """An output item: on the wire, or (index None) waiting for something to say.

    Attributes:
        delivered: It was opened by an earlier attempt.
        adopted: An item of the later attempt goes on in it.
        said_done: Its arguments were repeated whole.
    """

    payload: dict[str, Any]
    index: int | None
    parts: list[Part]
    delivered: bool = False
    adopted: bool = False
    said_done: bool = False
    open: bool = True

    @property
    def kind(self) -> str:
        return str(self.payload.get("type"))

    def part_at(self, index: object) -> Part | None:
        return next((part for part in self.parts if part.index == index), None)


class Wire:
    """The items on the wire by output index, put together from the delivered skeleton."""

    def __init__(self, delivered: Received) -> None:
        self.response: dict[str, Any] = {}
        self._items: dict[int, Item] = {}
        for _, raw in delivered.skeleton:
            self._recall(record(parsed(raw)))
        self._give_text(delivered)

    @property
    def items(self) -> list[Item]:
        """All items, in order of their output index."""
        return [item for _, item in sorted(self._items.items())]

    def append(self, item: Item) -> None:
        """Give an item the next output index."""
        item.index = max(self._items, default=-1) + 1
        self._items[item.index] = item

    def _recall(self, payload: dict[str, Any]) -> None:
        """Take in one delivered frame that was more than a delta."""
        kind, at = payload.get("type"), payload.get("output_index")
        if kind in LIFECYCLE:
            self.response = self.response or record(payload.get("response"))
        if not isinstance(at, int):
            return
        if kind == "response.output_item.added":
            given = record(payload.get("item"))
            self._items[at] = Item(given, at, _listed_parts(given), delivered=True)
        item = self._items.get(at)
        if item is None:
            return
        if kind == "response.output_item.done":
            item.payload, item.open = record(payload.get("item")) or item.payload, False
            for each in item.parts:
                each.open, each.said_done = False, True
        elif kind in _ARGUMENTS_DONE:
            item.said_done = True
        elif isinstance(kind, str) and item.kind == "message":
            _recall_part(item, kind, payload)

    def _give_text(self, delivered: Received) -> None:
        """Give the part that is being written its text: deltas are not kept one by one."""
        items = self.items
        parts = [part for item in items for part in item.parts if part.kind == "output_text"]
        said = sum(len(part.text) for part in parts if part.said_done)
        rest = delivered.text[said:]
        silent = [part for part in parts if not part.said_done]
        for item in items:
            if rest and not silent and item.open and item.kind == "message" and not item.parts:
                # A relay that leaves the openings of parts out.
                silent = [Part.of({"type": "output_text", "annotations": []}, 0)]
                item.parts.append(silent[0])
        if silent:
            silent[0].pieces = [rest]
        for item in items:
            for part in item.parts:
                if part.kind == "refusal" and not part.said_done:
                    part.pieces = [delivered.refusal]


def _recall_part(item: Item, kind: str, payload: dict[str, Any]) -> None:
    index = payload.get("content_index")
    part = item.part_at(index)
    if kind == "response.content_part.added" and part is None:
        item.parts.append(Part.of(record(payload.get("part")), index))
    elif part is None:
        return
    elif kind in ("response.output_text.done", "response.refusal.done"):
        part.said_done = True
        part.pieces = [payload.get(TEXT_KEYS.get(part.kind, "text")) or ""]
    elif kind == "response.content_part.done":
        said = record(payload.get("part"))
        part.pieces = [said.get(TEXT_KEYS.get(part.kind, "text")) or part.text]
        part.open, part.said_done = False, True
    elif kind == "response.output_text.annotation.added":
        part.annotations.append(payload.get("annotation"))


def _listed_parts(item: dict[str, Any]) -> list[Part]:
    parts = records(item.get("content")) if item.get("type") == "message" else []
    return [Part.of(part, index) for index, part in enumerate(parts)]
