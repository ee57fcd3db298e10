"""Gemini Interactions: frames to events."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from unbroken.core.dialects.base import (
    error_from,
    parse_payload,
)
from unbroken.core.dialects.payloads import (
    as_object,
    bare_error,
    dump,
    number,
    record,
    records,
    string,
)
from unbroken.core.events import (
    Block,
    BlockKind,
    Close,
    End,
    Event,
    Finish,
    Mark,
    Meaning,
    Open,
    Other,
    Ping,
    ProviderError,
    Reasoning,
    Start,
    Text,
    ToolCall,
    UsageReport,
)
from unbroken.core.frames import Frame

__all__ = ["FINAL_ERRORS", "NO_CONTENT", "STEPS", "InteractionsReader"]

FINAL_ERRORS = frozenset({"continuation_token_expired", "interaction_not_found"})
STEPS: dict[str, BlockKind] = {
    "model_output": "text",
    "thought": "reasoning",
    "function_call": "tool",
}
NO_CONTENT = frozenset({"user_input"})

_MEANINGS: dict[str, Meaning] = {
    "completed": "stop",
    "requires_action": "tool-calls",
    "incomplete": "limit", "budget_exceeded": "limit",
    "requires_continuation": "pause",  # send its token back to go on
    "failed": "fault", "cancelled": "fault",
}  # fmt: skip

_GOING_ON = frozenset({"queued", "in_progress"})

_BLOCKED = frozenset({"blocklist", "prohibited_content", "safety", "spii"})


class _TextDelta(msgspec.Struct, gc=False):
    type: Literal["text"]
    text: str
    annotations: None = None


class _FastDelta(msgspec.Struct, gc=False):
    """The fast path: a piece of text. Anything else goes the long way."""

    event_type: Literal["step.delta"]
    index: int
    delta: _TextDelta
    event_id: str | None = None
    metadata: None = None


_decode_fast = msgspec.json.Decoder(_FastDelta).decode


class _Call(msgspec.Struct):
    """A call that the application must run.

    Attributes:
        given: Arguments that came whole with the opening; real streams bring ``{}``.
        pieces: Whether a delta brought arguments.
    """

    index: int
    given: Any = None
    pieces: bool = False


class InteractionsReader:
    """See `unbroken.core.dialects.base.Reader`."""

    def __init__(self) -> None:
        self._started = False
        self._opened: set[int] = set()
        self._calls: dict[int, _Call] = {}  # by step

    def fork(self) -> InteractionsReader:
        copy = InteractionsReader()
        copy._started, copy._opened = self._started, set(self._opened)
        copy._calls = {step: msgspec.structs.replace(c) for step, c in self._calls.items()}
        return copy

    def texts(self, payloads: list[bytes], choice: int, block: Block) -> list[str] | None:
        found: list[str] = []
        try:
            for payload in payloads:
                fast = _decode_fast(payload)
                if not fast.delta.text or fast.index != block or fast.event_id:
                    return None
                found.append(fast.delta.text)
        except (ValueError, RecursionError):
            return None
        return found

    def read(self, frame: Frame) -> list[Event]:
        try:
            fast = _decode_fast(frame.payload)
        except (ValueError, RecursionError):
            return self._read_any(frame)
        if fast.delta.text and frame.dispatched and fast.index in self._opened:
            text = Text(fast.delta.text, 0, fast.index)
            return [text, Mark(fast.event_id)] if fast.event_id else [text]
        return self._read_any(frame)

    def _read_any(self, frame: Frame) -> list[Event]:
        if not frame.dispatched:
            found = bare_error(frame)
            return [] if found is None else [found]
        payload = frame.payload.strip()
        if not payload:
            return []
        if payload == b"[DONE]":  # says nothing that interaction.completed has not said
            return [Other("[DONE]")]
        value = parse_payload(payload)
        if not isinstance(value, dict) and (error := error_from(value)) is not None:
            return [error]
        value = as_object(value)
        events = self._meaning(string(value.get("event_type")) or frame.event, value)
        if mark := string(value.get("event_id")):
            events.append(Mark(mark))
        return events

    def _meaning(self, kind: str, value: dict[str, Any]) -> list[Event]:
        step = number(value, "index") or 0
        match kind:
            case "step.delta":
                return self._opening_of_resumed(step) + self._delta(
                    record(value.get("delta")), step
                )
            case "step.start":
                return self._open(record(value.get("step")), step)
            case "step.stop":
                return self._close(step)
            case "interaction.created" | "interaction.start":
                self._started = True
                given = record(value.get("interaction"))
                model = string(given.get("model")) or string(given.get("agent"))
                return [Start(string(given.get("id")) or None, model)]
            case "interaction.status_update":
                status = string(value.get("status"))
                going_on = status in _GOING_ON and "continuation_token" not in value
                return [Ping() if going_on else Other(kind), *_usage(value.get("usage"))]
            case "interaction.completed" | "interaction.complete":
                return _completed(record(value.get("interaction")))
            case _:
                error = _error(value, kind)
                return [Other(kind)] if error is None else [error]

    def _opening_of_resumed(self, step: int) -> list[Event]:
        """A stream that was asked for from an event on begins inside a step."""
        if self._started or step in self._opened:
            return []
        self._opened.add(step)
        return [Open("other", 0, step)]

    def _open(self, given: dict[str, Any], step: int) -> list[Event]:
        kind = string(given.get("type"))
        self._opened.add(step)
        events: list[Event] = [Open(STEPS.get(kind, "other"), 0, step)]
        if kind == "model_output":
            if isinstance(given.get("error"), dict):
                events.append(error_from(given) or ProviderError())
            for part in records(given.get("content")):
                events += _content(part, step)
        elif kind == "thought":
            events += [_thought(part, step) for part in records(given.get("summary"))]
            if given.get("signature"):
                events.append(Reasoning("", 0, step, sealed=True))
        elif kind == "function_call":
            call = self._calls[step] = _Call(len(self._calls), given.get("arguments"))
            id_, name = string(given.get("id")), string(given.get("name"))
            events.append(ToolCall(call.index, block=step, id=id_ or None, name=name or None))
        else:  # hosted tools and their results: nothing that another attempt could go on with
            events.append(Other(kind or "step", content=kind not in NO_CONTENT))
        return events

    def _delta(self, delta: dict[str, Any], step: int) -> list[Event]:
        match delta.get("type"):
            case "text":
                return _content(delta, step)
            case "thought_summary":
                return [_thought(record(delta.get("content")), step)]
            case "thought_signature":
                return [Reasoning("", 0, step, sealed=True)]
            case "arguments_delta":
                piece = string(delta.get("arguments"))
                if not piece:
                    return []
                call = self._calls.setdefault(step, _Call(len(self._calls)))
                call.pieces = True
                return [ToolCall(call.index, piece, block=step)]
            case kind:
                return [Other(string(kind) or "step.delta", content=True)]

    def _close(self, step: int) -> list[Event]:
        call = self._calls.get(step)
        if call is None:
            return [Close(0, step)]
        arguments = ""
        if call.given and not call.pieces:
            arguments = dump(call.given).decode()
        return [ToolCall(call.index, arguments, block=step, whole=True), Close(0, step)]


def _content(part: dict[str, Any], step: int) -> list[Event]:
    if part.get("type") not in ("text", None):
        return [Other(string(part.get("type")), content=True)]
    events: list[Event] = []
    if text := string(part.get("text")):
        events.append(Text(text, 0, step))
    if part.get("annotations"):
        events.append(Other("annotations", content=True))
    return events


def _thought(part: dict[str, Any], step: int) -> Reasoning:
    return Reasoning(string(part.get("text")), 0, step)


def _completed(given: dict[str, Any]) -> list[Event]:
    events = _usage(given.get("usage"))
    status = string(given.get("status")) or "completed"  # the event's own name says so
    if status not in _GOING_ON:
        events.append(Finish(status, _MEANINGS.get(status, "stop")))
    return [*events, End("interaction.completed")]


def _usage(usage: Any) -> list[Event]:
    if not isinstance(usage, dict) or not usage:
        return []
    return [
        UsageReport(
            number(usage, "total_input_tokens"),
            number(usage, "total_output_tokens"),
            number(usage, "total_cached_tokens"),
            number(usage, "total_thought_tokens"),
        )
    ]


def _error(value: dict[str, Any], kind: str) -> ProviderError | None:
    given = record(value.get("error"))
    code = given.get("code")
    if isinstance(code, str) and "/" in code:  # a URI that names the error
        value = {**value, "error": {**given, "code": code.rstrip("/").rpartition("/")[2]}}
    error = error_from(value, final=FINAL_ERRORS)
    if error is not None and error.code.lower() in _BLOCKED:
        return msgspec.structs.replace(error, retryable=False, refused=True)
    return error or (ProviderError() if kind == "error" else None)
