"""How a later attempt at a Gemini interaction goes on on the wire."""

from __future__ import annotations

from typing import Any

from unbroken.core.dialects._block_splice import BlockSplicer
from unbroken.core.dialects.base import RequestFacts
from unbroken.core.dialects.payloads import number, parsed, record, sse, string
from unbroken.core.events import Event, Other, ToolCall
from unbroken.core.frames import Frame
from unbroken.core.received import Received

__all__ = ["InteractionsSplicer", "write"]


class InteractionsSplicer(BlockSplicer):
    """See `unbroken.core.dialects.base.Splicer`.

    Where Google keeps the interaction, its end carries the id of the attempt that finished,
    since the application may send it back. Event ids of a later attempt are left out: with the
    first one's interaction they would lead nowhere.
    """

    def __init__(self, delivered: Received, *, rung: str, facts: RequestFacts) -> None:
        skeleton = [record(parsed(payload)) for _, payload in delivered.skeleton]
        opened = [number(p, "index") for p in skeleton if p.get("event_type") == "step.start"]
        super().__init__(
            delivered, next_index=max((at for at in opened if at is not None), default=-1) + 1
        )
        self._rung = rung
        self._id = "" if facts.server_state else delivered.id
        self._first_prompt = delivered.usage.input

    def splice(self, frame: Frame, events: list[Event], text: str) -> list[bytes]:
        value = parsed(frame.payload) if frame.dispatched else None
        if not isinstance(value, dict):
            return [frame.raw]
        index = number(value, "index") or 0
        match string(value.get("event_type")) or frame.event:
            case "interaction.created" | "interaction.start" | "interaction.status_update":
                return []
            case "step.start":
                self.wait(index, value)
                out = self.text(index, text)
                return out + (self.open(index) if _brings_news(events) else [])
            case "step.delta":
                return self._delta(value, index, events, text)
            case "step.stop":
                return self.stop(index)
            case "interaction.completed" | "interaction.complete":
                out = self.loose_text(text)
                return [*out, *self.close_left_open(), write(self._completed(value))]
            case _:
                return [frame.raw]

    def _delta(
        self, value: dict[str, Any], index: int, events: list[Event], text: str
    ) -> list[bytes]:
        if record(value.get("delta")).get("type") == "text":
            return self.text(index, text)
        out: list[bytes] = []
        if index not in self.wire:
            if not _brings_news(events):
                return []  # of a step that is not on the wire: a thought, a call delivered before
            out = self.enter_text(index)
        return [*out, write({**value, "index": self.wire[index]})]

    def _completed(self, value: dict[str, Any]) -> dict[str, Any]:
        interaction = dict(record(value.get("interaction")))
        if self._id and "id" in interaction:
            interaction["id"] = self._id
        if self._rung in ("prefill", "user-turn"):
            interaction.pop("steps", None)  # only those of the continuation
        usage = record(interaction.get("usage"))
        given, made = number(usage, "total_input_tokens"), number(usage, "total_output_tokens")
        first = self._first_prompt
        if self._rung == "prefill" and first is not None and given is not None:
            again = max(0, given - first)
            usage = {**usage, "total_input_tokens": given - again}
            interaction["usage"] = usage | {"total_output_tokens": (made or 0) + again}
        return {**value, "interaction": interaction}

    def write_open(self, at: int, opening: dict[str, Any]) -> bytes:
        step = dict(record(opening.get("step"))) or {"type": "model_output"}
        if step.get("type") == "model_output":
            step.pop("content", None)  # what is new of it comes as text
        return write({**opening, "event_type": "step.start", "index": at, "step": step})

    def write_text(self, at: int, text: str) -> bytes:
        delta = {"type": "text", "text": text}
        return write({"event_type": "step.delta", "index": at, "delta": delta})

    def write_close(self, at: int) -> bytes:
        return write({"event_type": "step.stop", "index": at})


def _brings_news(events: list[Event]) -> bool:
    return any(
        type(event) is ToolCall or (type(event) is Other and event.content) for event in events
    )


def write(value: dict[str, Any]) -> bytes:
    """Return one event as a frame, without an event id of another attempt."""
    kept = {key: field for key, field in value.items() if key != "event_id"}
    return sse(kept, event=string(value.get("event_type")) or None)
