"""Cohere's chat, version 2.

Sequence: ``message-start``, each content (thinking, then text) opened, written in deltas and
closed, perhaps a plan for tools, tool calls opened, written and closed, citations between the
text's deltas, ``message-end`` with the reason, ``[DONE]``. Every field is optional. A failure is an
ordinary ``message-end`` whose reason is ``ERROR`` or ``TIMEOUT``; no SDK raises on it.

Blocks. A content is the block of its number, a tool call the block ``(1, number)``: the two are
counted apart. The plan for tools is reasoning, shown before the calls.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from unbroken.core.dialects.base import (
    Answer,
    Dialect,
    RequestFacts,
    Variant,
    error_from,
    parse_payload,
)
from unbroken.core.dialects.cohere.splice import CohereSplicer, write
from unbroken.core.dialects.payloads import (
    as_object,
    bare_error,
    number,
    parsed,
    positive,
    record,
    string,
    strings,
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
    ProviderError,
    Reasoning,
    Start,
    Text,
    ToolCall,
    UsageReport,
)
from unbroken.core.frames import Frame
from unbroken.core.received import Received
from unbroken.core.request import Request
from unbroken.core.wire.sse import encode_sse

__all__ = ["Cohere"]

_MEANINGS: dict[str, Meaning] = {
    "COMPLETE": "stop", "STOP_SEQUENCE": "stop",
    "TOOL_CALL": "tool-calls",
    "MAX_TOKENS": "limit",
    "ERROR": "fault", "TIMEOUT": "fault", "ERROR_TOXIC": "fault", "ERROR_LIMIT": "fault",
}  # fmt: skip
_REFUSED = frozenset({"ERROR_TOXIC"})
_EVENTS = frozenset(
    {
        "message-start", "content-start", "content-delta", "content-end", "tool-plan-delta",
        "tool-call-start", "tool-call-delta", "tool-call-end", "citation-start", "citation-end",
        "message-end",
    }
)  # fmt: skip


class _FastContent(msgspec.Struct, gc=False):
    text: str
    thinking: None = None


class _FastMessage(msgspec.Struct, gc=False):
    content: _FastContent


class _FastPart(msgspec.Struct, gc=False):
    message: _FastMessage


class _FastDelta(msgspec.Struct, gc=False, tag_field="type", tag="content-delta"):
    """The fast path: a piece of text. Anything else goes the long way."""

    index: int
    delta: _FastPart


_decode_fast = msgspec.json.Decoder(_FastDelta).decode


class _Reader:
    """See `unbroken.core.dialects.base.Reader`. It knows which texts are open, and the end."""

    def __init__(self) -> None:
        self._opened: set[int] = set()
        self._ended = False

    def fork(self) -> _Reader:
        copy = _Reader()
        copy._opened, copy._ended = set(self._opened), self._ended
        return copy

    def texts(self, payloads: list[bytes], choice: int, block: Block) -> list[str] | None:
        found: list[str] = []
        try:
            for payload in payloads:
                fast = _decode_fast(payload)
                text = fast.delta.message.content.text
                if not text or fast.index != block:
                    return None
                found.append(text)
        except (ValueError, RecursionError):
            return None
        return found

    def read(self, frame: Frame) -> list[Event]:
        try:
            fast = _decode_fast(frame.payload)
        except (ValueError, RecursionError):
            return self._read_any(frame)
        text = fast.delta.message.content.text
        if text and frame.dispatched:
            return [Text(text, 0, fast.index)]
        return self._read_any(frame)

    def _read_any(self, frame: Frame) -> list[Event]:
        if not frame.dispatched:
            found = bare_error(frame)
            return [] if found is None else [found]
        payload = frame.payload.strip()
        if not payload:
            return []
        if payload == b"[DONE]":
            # Behind message-end it says nothing new; without it the SDK would stop all the same.
            return [Other("[DONE]") if self._ended else End("[DONE]")]
        value = parse_payload(payload)
        if not isinstance(value, dict) and (error := error_from(value)) is not None:
            return [error]
        value = as_object(value)
        delta = record(value.get("delta"))
        message = record(delta.get("message"))
        index = number(value, "index") or 0
        match string(value.get("type")) or frame.event:
            case "content-start" | "content-delta" | "content-end" as kind:
                return self._content(kind, record(message.get("content")), index)
            case "tool-call-start" | "tool-call-delta" | "tool-call-end" as kind:
                return _call(kind, record(message.get("tool_calls")), index)
            case "tool-plan-delta":
                return [Reasoning(string(message.get("tool_plan")))]
            case "citation-start":
                return [Other("citation", content=True)]
            case "message-start":
                return [Start(string(value.get("id")) or None)]
            case "message-end":
                self._ended = True
                return _end(delta)
            case kind:
                error = error_from(value) or _bare_message(value)
                return [Other(kind)] if error is None else [error]

    def _content(self, kind: str, content: dict[str, Any], index: int) -> list[Event]:
        if kind == "content-end":
            return [Close(0, index)]
        events: list[Event] = []
        thinking, text = string(content.get("thinking")), string(content.get("text"))
        if kind == "content-start":
            given = content.get("type")
            opened: BlockKind = "reasoning" if given == "thinking" else "text"
            if given not in ("thinking", "text", None):
                opened = "other"
                events.append(Other(string(given), content=True))
            events.insert(0, Open(opened, 0, index))
        if thinking:
            events.append(Reasoning(thinking, 0, index))
        if text:
            events.append(Text(text, 0, index))
        return events


def _call(kind: str, call: dict[str, Any], index: int) -> list[Event]:
    block = (1, index)
    if kind == "tool-call-end":
        return [ToolCall(index, block=block, whole=True), Close(0, block)]
    function = record(call.get("function"))
    arguments = string(function.get("arguments"))
    if kind == "tool-call-delta":
        return [ToolCall(index, arguments, block=block)] if arguments else []
    id_, name = string(call.get("id")) or None, string(function.get("name")) or None
    return [Open("tool", 0, block), ToolCall(index, arguments, block=block, id=id_, name=name)]


def _end(delta: dict[str, Any]) -> list[Event]:
    events = _usage(record(delta.get("usage")))
    reason = string(delta.get("finish_reason"))
    meaning = _MEANINGS.get(reason, "stop")
    if meaning == "fault" or string(delta.get("error")):
        given = {
            "type": delta.get("error_type") or "",
            "code": reason,
            "message": delta.get("error") or "",
        }
        error = error_from({"error": given}, final=Cohere.final_errors) or ProviderError()
        if reason in _REFUSED:
            error = msgspec.structs.replace(error, retryable=False, refused=True)
        events.append(error)
    if reason:
        events.append(Finish(reason, meaning))
    return [*events, End("message-end")]


def _usage(usage: dict[str, Any]) -> list[Event]:
    tokens = record(usage.get("tokens")) or record(usage.get("billed_units"))
    if not tokens:
        return []
    return [
        UsageReport(
            number(tokens, "input_tokens"),
            number(tokens, "output_tokens"),
            number(usage, "cached_tokens"),
            number(tokens, "reasoning_tokens"),
        )
    ]


def _bare_message(value: dict[str, Any]) -> ProviderError | None:
    """Return the error of a body as Cohere writes them: ``{"message": ...}``, perhaps an id."""
    if "type" in value or not value.keys() <= {"message", "id", "data"}:
        return None
    message = value.get("message")
    return ProviderError(message=message) if isinstance(message, str) else None


class Cohere(Dialect):
    """``POST /v2/chat``."""

    name = "cohere"
    wire = "sse"
    last_marker = "message-end"
    explicit_blocks = True
    final_errors = frozenset({"error_limit", "error_toxic"})
    variants = (Variant(name="cohere", hosts=re.compile(r"(^|\.)cohere\.(com|ai)$")),)

    def recognises_path(self, path: str) -> bool:
        return path.rstrip("/").endswith("/v2/chat")

    def recognises_frame(self, frame: Frame) -> bool:
        if not frame.payload.lstrip().startswith(b"{"):
            return False
        return record(parsed(frame.payload)).get("type") in _EVENTS

    def reader(self) -> _Reader:
        return _Reader()

    def splicer(self, delivered: Received, *, rung: str, facts: RequestFacts) -> CohereSplicer:
        return CohereSplicer(delivered, rung=rung)

    def facts(self, request: Request) -> RequestFacts:
        body = request.json
        return RequestFacts(
            model=string(body.get("model")),
            deterministic=body.get("temperature") == 0 or number(body, "seed") is not None,
            structured=record(body.get("response_format")).get("type") not in (None, "text"),
            thinking=record(body.get("thinking")).get("type") == "enabled",
            max_tokens=positive(body, "max_tokens"),
            stop=strings(body.get("stop_sequences")),
        )

    def with_max_tokens(self, request: Request, limit: int) -> Request:
        return request.with_json({**request.json, "max_tokens": limit})

    def prefill(self, request: Request, text: str, extra: Mapping[str, Any]) -> Request | None:
        messages = _with_partial(request.json.get("messages"), text, extra.get("message", {}))
        if messages is None:
            return None
        return request.with_json({**request.json, "messages": messages, **extra.get("body", {})})

    def user_turn(self, request: Request, text: str, instruction: str) -> Request | None:
        messages = _with_partial(request.json.get("messages"), text, {})
        if messages is None:
            return None
        turn = {"role": "user", "content": instruction}
        return request.with_json({**request.json, "messages": [*messages, turn]})

    def url_for(self, base_url: str, model: str) -> str:
        return base_url.rstrip("/").removesuffix("/v2") + "/v2/chat"

    def encode(self, answer: Answer) -> list[bytes]:
        empty = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": []}
        start = {"id": answer.id, "type": "message-start"}
        frames = [write({**start, "delta": {"message": {**empty, "citations": []}}})]
        blocks = 0

        def emit(kind: str, index: int, **message: Any) -> None:
            delta = {"delta": {"message": message}} if message else {}
            frames.append(write({"type": kind, "index": index, **delta}))

        for kind, pieces in (("thinking", answer.reasoning), ("text", answer.text)):
            if pieces:
                emit("content-start", blocks, content={"type": kind, kind: ""})
                for piece in pieces:
                    emit("content-delta", blocks, content={kind: piece})
                emit("content-end", blocks)
                blocks += 1
        for index, call in enumerate(answer.calls):
            function = {"name": call.name, "arguments": ""}
            opening = {"id": call.id, "type": "function", "function": function}
            emit("tool-call-start", index, tool_calls=opening)
            for piece in call.arguments:
                emit("tool-call-delta", index, tool_calls={"function": {"arguments": piece}})
            emit("tool-call-end", index)
        reason = {"tool-calls": "TOOL_CALL", "limit": "MAX_TOKENS"}.get(answer.finish, "COMPLETE")
        end: dict[str, Any] = {"finish_reason": reason}
        if answer.usage is not None:
            tokens = {"input_tokens": answer.usage[0], "output_tokens": answer.usage[1]}
            end["usage"] = {"billed_units": tokens, "tokens": tokens}
        frames.append(write({"type": "message-end", "delta": end}))
        return [*frames, encode_sse(b"[DONE]")]


def _with_partial(given: Any, text: str, more: Mapping[str, Any]) -> list[Any] | None:
    """Return the messages with the partial answer as the last turn, or None if there are none."""
    if not isinstance(given, list) or not given:
        return None
    last = record(given[-1])
    content = last.get("content")
    if last.get("role") == "assistant" and isinstance(content, str):
        return [*given[:-1], {**last, "content": content + text, **more}]
    return [*given, {"role": "assistant", "content": text, **more}]
