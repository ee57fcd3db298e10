"""Write a later chat attempt as the continuation of what was delivered."""

from __future__ import annotations

from typing import Any

from unbroken.core.dialects.base import (
    parse_payload,
)
from unbroken.core.dialects.payloads import (
    number,
    parsed,
    record,
    records,
    sse,
)
from unbroken.core.events import (
    End,
    Event,
    Finish,
    Other,
    ProviderError,
    Refusal,
    Text,
    ToolCall,
    UsageReport,
)
from unbroken.core.frames import Frame
from unbroken.core.received import Received

__all__ = ["ChatSplicer"]


class ChatSplicer:
    """See `unbroken.core.dialects.base.Splicer`."""

    def __init__(self, delivered: Received, *, rung: str, several: bool) -> None:
        self._first: dict[str, Any] = {}
        if delivered.skeleton:
            value = parse_payload(delivered.skeleton[0][1])
            self._first = value if isinstance(value, dict) else {}
        self._call_offset = 0 if rung == "replay" else len(delivered.calls)
        self._input = delivered.usage.input
        self._continues = rung == "prefill"
        self._several = several
        # Choices that the consumer saw begin: they have said their role.
        self._begun = {
            number(choice, "index") or 0
            for _, payload in delivered.skeleton
            for choice in records(record(parsed(payload)).get("choices"))
        }

    def splice(self, frame: Frame, events: list[Event], text: str) -> list[bytes]:
        if any(type(event) in (End, ProviderError) for event in events):
            return [frame.raw]
        kept = {type(event) for event in events}
        if not text and not kept & {ToolCall, Finish, UsageReport, Refusal, Other}:
            return []
        value = parsed(frame.payload)
        if not isinstance(value, dict):
            return [frame.raw]
        payload: dict[str, Any] = dict(value)
        for key in ("id", "created"):
            if key in payload and key in self._first:
                payload[key] = self._first[key]
        given = records(payload.get("choices"))
        if self._several:
            payload["choices"] = self._of_several(given, events)
            if given and not payload["choices"]:
                return []  # never a choice-less frame where there was none: SDKs stumble
        else:
            calls = sum(type(event) is ToolCall for event in events)
            payload["choices"] = [self._choice(choice, calls, text) for choice in given]
        if isinstance(usage := payload.get("usage"), dict):
            payload["usage"] = self._usage(usage)
        return [sse(payload)]

    def _of_several(self, given: list[dict[str, Any]], events: list[Event]) -> list[dict[str, Any]]:
        """Return the choices of a frame of which something is new, with no more than that."""
        written = []
        others = any(type(event) is Other for event in events)
        for choice in given:
            index = number(choice, "index") or 0
            own = [event for event in events if getattr(event, "choice", None) == index]
            kinds = [type(event) for event in own]
            if not others and not set(kinds) & {Text, ToolCall, Finish, Refusal}:
                continue
            text = "".join(event.text for event in own if type(event) is Text)
            changed = self._choice(choice, kinds.count(ToolCall), text)
            if index not in self._begun:
                self._begun.add(index)
                changed["delta"] = {"role": "assistant", **changed["delta"]}
            written.append(changed)
        return written

    def _choice(self, choice: dict[str, Any], calls: int, text: str) -> dict[str, Any]:
        delta = dict(record(choice.get("delta")))
        for key in ("role", "reasoning", "reasoning_content", "reasoning_details", "content"):
            delta.pop(key, None)
        if text:
            delta["content"] = text
        if "tool_calls" in delta:
            pieces = records(delta.pop("tool_calls"))
            if calls:  # those that only repeat what was delivered come first
                delta["tool_calls"] = [self._moved(piece) for piece in pieces[-calls:]]
        elif not calls:
            delta.pop("function_call", None)
        return {**choice, "delta": delta}

    def _moved(self, call: dict[str, Any]) -> dict[str, Any]:
        offset = self._call_offset
        return {**call, "index": call.get("index", 0) + offset} if offset else call

    def _usage(self, usage: dict[str, Any]) -> dict[str, Any]:
        """Count the prompt once, and as output what was delivered, where both are known.

        A continuation's prompt holds the partial answer, so what it counts beyond the first
        prompt is output that was delivered before.
        """
        prompt, output = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if (
            not self._continues
            or self._input is None
            or not isinstance(prompt, int)
            or not isinstance(output, int)
            or prompt < self._input
        ):
            return usage
        return {
            **usage,
            "prompt_tokens": self._input,
            "completion_tokens": output + prompt - self._input,
        }
