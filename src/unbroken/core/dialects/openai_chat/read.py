"""OpenAI Chat: frames to events."""

from __future__ import annotations

from typing import Any

import msgspec

from unbroken.core.dialects.base import (
    error_from,
    parse_payload,
)
from unbroken.core.dialects.payloads import as_object, bare_error, string
from unbroken.core.events import (
    Block,
    End,
    Event,
    Finish,
    Meaning,
    Open,
    Other,
    ProviderError,
    Reasoning,
    Refusal,
    Start,
    Text,
    ToolCall,
    UsageReport,
)
from unbroken.core.frames import Frame

__all__ = ["ChatReader"]

_MEANINGS: dict[str, Meaning] = {
    "stop": "stop", "eos_token": "stop", "stop_sequence": "stop", "end_turn": "stop",
    "tool_calls": "tool-calls", "function_call": "tool-calls",
    "length": "limit", "max_tokens": "limit", "model_length": "limit",
    "content_filter": "filter",
    "error": "fault",  # Mistral, OpenRouter
    "abort": "fault",  # SGLang
    "insufficient_system_resource": "fault",  # DeepSeek: interrupted
}  # fmt: skip


# The fast path ----------------------------------------------------------------------------
# Nearly every frame of a healthy stream is one choice with a piece of text. A field typed
# None may be absent or null; anything else in it fails to parse, and the frame goes the
# long way, which alone decides what frames mean.


class _Delta(msgspec.Struct, gc=False):
    content: str
    refusal: None = None
    reasoning_content: None = None
    reasoning: None = None
    tool_calls: None = None
    function_call: None = None
    audio: None = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta
    index: int = 0
    finish_reason: None = None


class _Payload(msgspec.Struct, gc=False):
    choices: tuple[_Choice]
    usage: None = None
    error: None = None
    x_groq: None = None


_decode_fast = msgspec.json.Decoder(_Payload).decode


class ChatReader:
    """See `unbroken.core.dialects.base.Reader`."""

    def __init__(self) -> None:
        self._started = False
        self._choices: set[int] = set()
        # (choice, index on the wire) -> our index and the id it began with
        self._calls: dict[tuple[int, int], tuple[int, str]] = {}

    def fork(self) -> ChatReader:
        copy = ChatReader()
        copy._started = self._started
        copy._choices = set(self._choices)
        copy._calls = dict(self._calls)
        return copy

    def texts(self, payloads: list[bytes], choice: int, block: Block) -> list[str] | None:
        found: list[str] = []
        try:
            for payload in payloads:
                (only,) = _decode_fast(payload).choices
                text = only.delta.content
                if not text or only.index != choice:
                    return None
                found.append(text)
        except (ValueError, RecursionError):
            return None
        return found

    def read(self, frame: Frame) -> list[Event]:
        if self._started:
            try:
                (choice,) = _decode_fast(frame.payload).choices
            except (ValueError, RecursionError):
                return self._read_any(frame)
            if choice.delta.content and choice.index in self._choices:
                return [Text(choice.delta.content, choice.index)]
        return self._read_any(frame)

    def _read_any(self, frame: Frame) -> list[Event]:
        if not frame.dispatched:
            found = bare_error(frame)
            return [] if found is None else [found]
        if frame.payload.strip() == b"[DONE]":
            return [End("[DONE]")]
        if not frame.payload.strip():
            return []
        value = parse_payload(frame.payload)
        error = error_from(value) or _groq_error(value)
        if error is not None:
            return [error]
        value = as_object(value)
        events: list[Event] = []
        if not self._started:
            self._started = True
            events.append(Start(string(value.get("id")) or None, string(value.get("model"))))
        choices = value.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self._read_choice(choice, events)
        usage = value.get("usage")
        if not isinstance(usage, dict) and isinstance(value.get("x_groq"), dict):
            usage = value["x_groq"].get("usage")
        if isinstance(usage, dict):
            events.append(_usage(usage))
        return events

    def _read_choice(self, choice: dict[str, Any], events: list[Event]) -> None:
        index = choice.get("index")
        index = index if isinstance(index, int) else 0
        if index not in self._choices:
            self._choices.add(index)
            events.append(Open("other", index))
        delta = choice.get("delta")
        delta = delta if isinstance(delta, dict) else {}
        for key in ("reasoning_content", "reasoning"):
            if isinstance(thought := delta.get(key), str) and thought:
                events.append(Reasoning(thought, index))
                break
        _read_content(delta.get("content"), index, events)
        if isinstance(refusal := delta.get("refusal"), str) and refusal:
            events.append(Refusal(refusal, index))
        if isinstance(calls := delta.get("tool_calls"), list):
            for position, call in enumerate(calls):
                if isinstance(call, dict):
                    events.append(self._read_call(call, index, position))
        if isinstance(call := delta.get("function_call"), dict):
            events.append(self._read_call({"index": 0, "function": call}, index, 0))
        if delta.get("audio"):
            events.append(Other("audio", content=True))
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason:
            events.append(Finish(reason, _MEANINGS.get(reason.lower(), "stop"), index))

    def _read_call(self, call: dict[str, Any], choice: int, position: int) -> ToolCall:
        function = call.get("function")
        function = function if isinstance(function, dict) else {}
        custom = call.get("custom")  # custom tools take free text
        kind = "function"
        arguments = function.get("arguments")
        if isinstance(custom, dict):
            function, arguments, kind = custom, custom.get("input"), "custom"
        id_ = string(call.get("id"))
        name = string(function.get("name"))
        at = call.get("index")
        if not isinstance(at, int):
            # Mistral may leave the index out: then an id opens a call, and none goes on.
            known = [wire for (c, wire), (_, first) in self._calls.items() if c == choice
                     and first == id_]  # fmt: skip
            at = known[0] if id_ and known else len(self._calls) if id_ else position
        ours, first_id = self._calls.get((choice, at), (-1, ""))
        if ours < 0 or (id_ and name and first_id and id_ != first_id):
            # A new call; also where a service numbers all of its calls 0 (Mistral).
            ours = sum(1 for c, _ in self._calls if c == choice)
            while (choice, at) in self._calls:
                at += 1000
            self._calls[choice, at] = (ours, id_)
            wire = call.get("index")
            if isinstance(wire, int) and at != wire:
                self._calls[choice, wire] = (ours, id_)
        if isinstance(arguments, dict | list):  # whole arguments, not yet a string
            arguments = msgspec.json.encode(arguments).decode()
        return ToolCall(
            ours,
            string(arguments),
            choice,
            id=id_ or None,
            name=name or None,
            kind="custom" if kind == "custom" else "function",
        )


def _read_content(content: Any, choice: int, events: list[Event]) -> None:
    """Read a delta's content: a string, or Mistral's list of parts."""
    if isinstance(content, str):
        if content:
            events.append(Text(content, choice))
        return
    for part in content if isinstance(content, list) else ():
        if not isinstance(part, dict):
            continue
        kind = part.get("type")
        if kind == "text" and isinstance(part.get("text"), str):
            events.append(Text(part["text"], choice))
        elif kind == "thinking":
            inner = part.get("thinking")
            events.extend(
                Reasoning(piece["text"], choice)
                for piece in (inner if isinstance(inner, list) else ())
                if isinstance(piece, dict) and isinstance(piece.get("text"), str)
            )
        else:
            events.append(Other(f"content part {kind}", content=True))


def _groq_error(value: Any) -> ProviderError | None:
    groq = value.get("x_groq") if isinstance(value, dict) else None
    return error_from(groq) if isinstance(groq, dict) else None


def _usage(usage: dict[str, Any]) -> UsageReport:
    def number(source: Any, key: str) -> int | None:
        value = source.get(key) if isinstance(source, dict) else None
        return value if isinstance(value, int) else None

    return UsageReport(
        number(usage, "prompt_tokens"),
        number(usage, "completion_tokens"),
        number(usage.get("prompt_tokens_details"), "cached_tokens"),
        number(usage.get("completion_tokens_details"), "reasoning_tokens"),
    )
