"""Anthropic Messages: frames to events."""

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
    string,
)
from unbroken.core.events import (
    Block,
    BlockKind,
    Close,
    End,
    Event,
    Finish,
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

__all__ = ["FINAL_ERRORS", "MessagesReader"]

# A spend cap answers 429 without a Retry-After and does not clear by itself.
FINAL_ERRORS = frozenset(
    {"enforced_spend_limit_reached", "contract_spend_limit_reached", "ramp_limit_exceeded"}
)

_MEANINGS: dict[str, Meaning] = {
    "end_turn": "stop", "stop_sequence": "stop",
    "tool_use": "tool-calls",
    "max_tokens": "limit", "model_context_window_exceeded": "limit",
    "pause_turn": "pause", "compaction": "pause",  # send the content back to go on
    "refusal": "filter",
}  # fmt: skip

_THINKING = ("thinking", "redacted_thinking")

_SERVER_CALLS = ("server_tool_use", "mcp_tool_use")


# The fast path: a piece of text; all else goes the long way, which alone decides what
# frames mean.
class _TextDelta(msgspec.Struct, gc=False):
    type: Literal["text_delta"]
    text: str


class _Payload(msgspec.Struct, gc=False):
    type: Literal["content_block_delta"]
    index: int
    delta: _TextDelta
    error: None = None


_decode_fast = msgspec.json.Decoder(_Payload).decode


class _Call(msgspec.Struct):
    """A tool block that the reader has seen opened."""

    index: int
    server: bool
    input: Any = None  # what the opening brought; real streams bring {}
    pieces: bool = False  # whether a delta brought arguments

    def event(self, block: int, **fields: Any) -> ToolCall:
        kind: Literal["function", "server"] = "server" if self.server else "function"
        return ToolCall(self.index, block=block, kind=kind, **fields)


class MessagesReader:
    """See `unbroken.core.dialects.base.Reader`.

    Calls that the application must run are numbered from 0 up; calls that run at Anthropic
    from -1 down, so that they never take the place of one of the others.
    """

    def __init__(self) -> None:
        self._calls: dict[int, _Call] = {}  # by block
        self._client_calls = 0
        self._server_calls = 0
        self._legacy = False

    def fork(self) -> MessagesReader:
        copy = MessagesReader()
        copy._calls = {block: msgspec.structs.replace(c) for block, c in self._calls.items()}
        copy._client_calls = self._client_calls
        copy._server_calls = self._server_calls
        copy._legacy = self._legacy
        return copy

    def texts(self, payloads: list[bytes], choice: int, block: Block) -> list[str] | None:
        found: list[str] = []
        try:
            for payload in payloads:
                fast = _decode_fast(payload)
                if not fast.delta.text or fast.index != block:
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
        if fast.delta.text and frame.dispatched:
            return [Text(fast.delta.text, 0, fast.index)]
        return self._read_any(frame)

    def _read_any(self, frame: Frame) -> list[Event]:
        if not frame.dispatched:
            error = bare_error(frame)
            return [] if error is None else [error]
        payload = frame.payload.strip()
        if not payload:
            return []
        if payload == b"[DONE]":  # OpenRouter, after message_stop; it proves nothing
            return [Other("[DONE]")]
        value = parse_payload(payload)
        error = _error(value, frame.event)
        if error is not None:
            return [error]
        value = as_object(value)
        kind = string(value.get("type")) or frame.event
        block = number(value, "index") or 0
        match kind:
            case "content_block_delta":
                return self._delta(record(value.get("delta")), block)
            case "content_block_start":
                return self._open(record(value.get("content_block")), block)
            case "content_block_stop":
                return self._close(block)
            case "message_start":
                message = record(value.get("message"))
                start = Start(string(message.get("id")) or None, string(message.get("model")))
                return [start, *_usage(message.get("usage"))]
            case "message_delta":
                events = _usage(value.get("usage"))
                reason = string(record(value.get("delta")).get("stop_reason"))
                if reason:
                    events.append(Finish(reason, _MEANINGS.get(reason, "stop")))
                return events
            case "message_stop":
                return [End("message_stop")]
            case "ping":
                return [Ping()]
            case "completion":
                return self._completion(value)
            case _:
                return [Other(kind)]

    def _open(self, content: dict[str, Any], block: int) -> list[Event]:
        kind = string(content.get("type"))
        opened: BlockKind = "other"
        events: list[Event] = []
        if kind == "text":
            opened = "text"
            if text := string(content.get("text")):
                events.append(Text(text, 0, block))
        elif kind in _THINKING:
            opened = "reasoning"
            if thinking := string(content.get("thinking")):
                events.append(Reasoning(thinking, 0, block))
            if content.get("signature") or kind == "redacted_thinking":
                events.append(Reasoning("", 0, block, sealed=True))
        elif kind == "tool_use" or kind in _SERVER_CALLS:
            call = self._new_call(block, server=kind != "tool_use")
            call.input = content.get("input")
            opened = "other" if call.server else "tool"
            events.append(
                call.event(
                    block,
                    id=string(content.get("id")) or None,
                    name=string(content.get("name")) or None,
                )
            )
        else:  # results of server tools, compaction, fallback: nothing that could be continued
            events.append(Other(kind or "content_block", content=True))
        return [Open(opened, 0, block), *events]

    def _new_call(self, block: int, *, server: bool) -> _Call:
        if server:
            self._server_calls += 1
            call = _Call(-self._server_calls, True)
        else:
            call = _Call(self._client_calls, False)
            self._client_calls += 1
        self._calls[block] = call
        return call

    def _delta(self, delta: dict[str, Any], block: int) -> list[Event]:
        kind = string(delta.get("type"))
        match kind:
            case "text_delta":
                text = string(delta.get("text"))
                return [Text(text, 0, block)] if text else []
            case "thinking_delta":
                thinking = string(delta.get("thinking"))
                return [Reasoning(thinking, 0, block)] if thinking else []
            case "signature_delta":
                return [Reasoning("", 0, block, sealed=True)]
            case "input_json_delta":
                piece = string(delta.get("partial_json"))
                if not piece:
                    return []
                call = self._calls.get(block) or self._new_call(block, server=False)
                call.pieces = True
                return [call.event(block, arguments=piece)]
            case _:
                return [Other(kind or "content_block_delta", content=True)]

    def _close(self, block: int) -> list[Event]:
        call = self._calls.get(block)
        if call is None:
            return [Close(0, block)]
        arguments = ""
        if call.input and not call.pieces:  # given whole at the opening
            arguments = dump(call.input).decode()
        return [call.event(block, arguments=arguments, whole=True), Close(0, block)]

    def _completion(self, value: dict[str, Any]) -> list[Event]:
        events: list[Event] = []
        if not self._legacy:
            self._legacy = True
            events.append(Start(string(value.get("id")) or None, string(value.get("model"))))
        if text := string(value.get("completion")):
            events.append(Text(text))
        if reason := string(value.get("stop_reason")):
            events += [Finish(reason, _MEANINGS.get(reason, "stop")), End("stop_reason")]
        return events


def _error(value: Any, name: str) -> ProviderError | None:
    kind = value.get("type") if isinstance(value, dict) else None
    if kind in (None, "error"):
        error = error_from(value, final=FINAL_ERRORS)
        if error is None and name == "error" and kind is None:
            error = ProviderError(message=string(record(value).get("message")))
        if error is not None:
            code = record(record(record(value).get("error")).get("details")).get("error_code")
            if isinstance(code, str):
                retryable = error.retryable and code not in FINAL_ERRORS
                return msgspec.structs.replace(error, code=code, retryable=retryable)
        return error
    return None


def _usage(usage: Any) -> list[Event]:
    if not isinstance(usage, dict):
        return []
    return [
        UsageReport(
            number(usage, "input_tokens"),
            number(usage, "output_tokens"),
            number(usage, "cache_read_input_tokens"),
            number(usage.get("output_tokens_details"), "thinking_tokens"),
        )
    ]
