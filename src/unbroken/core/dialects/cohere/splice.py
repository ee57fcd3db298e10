"""How a later attempt at a Cohere answer goes on on the wire."""

from __future__ import annotations

from typing import Any

from unbroken.core.dialects._block_splice import BlockSplicer
from unbroken.core.dialects.payloads import number, parsed, record, sse, string
from unbroken.core.events import Event, Other, ToolCall
from unbroken.core.frames import Frame
from unbroken.core.received import Received

__all__ = ["CohereSplicer", "write"]


class CohereSplicer(BlockSplicer):
    """See `unbroken.core.dialects.base.Splicer`.

    Calls are counted apart from content, and those delivered are the first ones of a later
    attempt too, so their numbers stay. The places of citations are counted from the whole text.
    """

    def __init__(self, delivered: Received, *, rung: str) -> None:
        skeleton = [record(parsed(payload)) for _, payload in delivered.skeleton]
        opened = [number(p, "index") or 0 for p in skeleton if p.get("type") == "content-start"]
        super().__init__(delivered, next_index=max(opened, default=-1) + 1)
        self._continues = rung == "prefill"
        self._first_prompt = delivered.usage.input
        self._calls: set[int] = set()
        self._citations: set[int] = set()
        self._heard = 0  # characters of the later attempt
        self._written = delivered.characters  # the text may be in the spill

    def splice(self, frame: Frame, events: list[Event], text: str) -> list[bytes]:
        value = parsed(frame.payload) if frame.dispatched else None
        if not isinstance(value, dict):
            return [frame.raw]
        kind = string(value.get("type")) or frame.event
        index = number(value, "index") or 0
        content = record(record(record(value.get("delta")).get("message")).get("content"))
        self._heard += len(string(content.get("text")))
        self._written += len(text)
        match kind:
            case "message-start" | "tool-plan-delta":
                return []
            case "content-start":
                self.wait(index, value)
                return self.text(index, text)
            case "content-delta":
                return self.text(index, text)
            case "content-end":
                return self.stop(index)
            case "tool-call-start" | "tool-call-delta" | "tool-call-end":
                return self._call(frame, kind, index, events)
            case "citation-start":
                return self._citation(value, index, events)
            case "citation-end":
                return [frame.raw] if index in self._citations else []
            case "message-end":
                out = self.loose_text(text)
                return [*out, *self.close_left_open(), self._end(value)]
            case _:
                return [frame.raw]

    def _call(self, frame: Frame, kind: str, index: int, events: list[Event]) -> list[bytes]:
        if not any(type(event) is ToolCall for event in events) and index not in self._calls:
            return []  # delivered before
        out = self.close_left_open() if kind == "tool-call-start" else []
        self._calls.add(index)
        return [*out, frame.raw]

    def _citation(self, value: dict[str, Any], index: int, events: list[Event]) -> list[bytes]:
        if not any(type(event) is Other and event.content for event in events):
            return []
        self._citations.add(index)
        delta = record(value.get("delta"))
        message = record(delta.get("message"))
        citation = dict(record(message.get("citations")))
        for key in ("start", "end"):
            if (at := number(citation, key)) is not None:
                citation[key] = at + self._written - self._heard
        block = number(citation, "content_index")
        if block is not None and block in self.wire:
            citation["content_index"] = self.wire[block]
        message = {**message, "citations": citation}
        return [write({**value, "delta": {**delta, "message": message}})]

    def _end(self, value: dict[str, Any]) -> bytes:
        """Count the prompt once: what it holds beyond the first one was delivered as output."""
        delta = record(value.get("delta"))
        usage = record(delta.get("usage"))
        tokens = record(usage.get("tokens"))
        given, made = number(tokens, "input_tokens"), number(tokens, "output_tokens")
        if not self._continues or self._first_prompt is None or given is None or made is None:
            return write(value)
        again = max(0, given - self._first_prompt)
        tokens = {**tokens, "input_tokens": given - again, "output_tokens": made + again}
        return write({**value, "delta": {**delta, "usage": {**usage, "tokens": tokens}}})

    def write_open(self, at: int, opening: dict[str, Any]) -> bytes:
        content = record(record(record(opening.get("delta")).get("message")).get("content"))
        content = {"type": "text", **content, "text": ""}
        return write({"type": "content-start", "index": at, "delta": _message(content=content)})

    def write_text(self, at: int, text: str) -> bytes:
        delta = _message(content={"text": text})
        return write({"type": "content-delta", "index": at, "delta": delta})

    def write_close(self, at: int) -> bytes:
        return write({"type": "content-end", "index": at})


def _message(**fields: Any) -> dict[str, Any]:
    return {"message": fields}


def write(value: dict[str, Any]) -> bytes:
    """Return one event as a frame."""
    return sse(value, event=string(value.get("type")) or None)
