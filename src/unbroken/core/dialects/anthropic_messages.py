"""Anthropic Messages.

Sequence: ``message_start``; for each block ``content_block_start``, deltas,
``content_block_stop``; ``message_delta`` with the stop reason; ``message_stop``. Pings come
anywhere. Server tools put whole blocks between, some without a delta.

The name is written twice, as SSE ``event:`` and as ``type`` in the JSON: the JSON is trusted,
and the SDK needs the other. ``/v1/complete``, the API before this one, is read as well, since
recordings hold it: its ``completion`` events carry text and a stop reason, and nothing is
opened or closed. Requests to it are not recognised, and so are never continued.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

import msgspec

from unbroken.core.dialects._payload import (
    bare_error,
    dump,
    number,
    parsed,
    positive,
    record,
    records,
    string,
    strings,
    under,
)
from unbroken.core.dialects.anthropic_messages_ask import read_messages, write_messages
from unbroken.core.dialects.anthropic_messages_splice import MessagesSplicer
from unbroken.core.dialects.anthropic_messages_write import MessagesWriter
from unbroken.core.dialects.ask import Ask, said
from unbroken.core.dialects.base import (
    Dialect,
    MalformedPayloadError,
    RequestFacts,
    Variant,
    error_from,
    parse_payload,
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
from unbroken.core.received import Received
from unbroken.core.request import Request

__all__ = ["AnthropicMessages"]

_MEANINGS: dict[str, Meaning] = {
    "end_turn": "stop", "stop_sequence": "stop",
    "tool_use": "tool-calls",
    "max_tokens": "limit", "model_context_window_exceeded": "limit",
    "pause_turn": "pause", "compaction": "pause",  # send the content back to go on
    "refusal": "filter",
}  # fmt: skip

_THINKING = ("thinking", "redacted_thinking")
_SERVER_CALLS = ("server_tool_use", "mcp_tool_use")
_LEAST_THINKING = 1024

# A spend cap answers 429 without a Retry-After and does not clear by itself.
_SPEND_CAPS = frozenset(
    {"enforced_spend_limit_reached", "contract_spend_limit_reached", "ramp_limit_exceeded"}
)

# Tools that Anthropic defines and the application runs: a retry repeats no work of theirs.
_CLIENT_TOOL = re.compile(r"^(custom$|bash_|text_editor_|computer_|memory_)")


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


class _Reader:
    """See `unbroken.core.dialects.base.Reader`.

    Calls that the application must run are numbered from 0 up; calls that run at Anthropic
    from -1 down, so that they never take the place of one of the others.
    """

    def __init__(self) -> None:
        self._calls: dict[int, _Call] = {}  # by block
        self._client_calls = 0
        self._server_calls = 0
        self._legacy = False

    def fork(self) -> _Reader:
        copy = _Reader()
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
        if not isinstance(value, dict):
            msg = f"a JSON {type(value).__name__}, not an object"
            raise MalformedPayloadError(msg)
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
        error = error_from(value, final=AnthropicMessages.final_errors)
        if error is None and name == "error" and kind is None:
            error = ProviderError(message=string(record(value).get("message")))
        if error is not None:
            code = record(record(record(value).get("error")).get("details")).get("error_code")
            if isinstance(code, str):
                retryable = error.retryable and code not in _SPEND_CAPS
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


class AnthropicMessages(Dialect):
    """``POST /v1/messages``."""

    name = "anthropic-messages"
    wire = "sse"
    last_marker = "message_stop"
    silent_finishes = frozenset({"stop_sequence"})
    explicit_blocks = True
    # A thinking block without its signature would be refused when it is sent back.
    reissue_after_reasoning = False
    final_errors = _SPEND_CAPS
    headers: ClassVar[Mapping[str, str]] = {"anthropic-version": "2023-06-01"}
    of_the_account = frozenset({"container"})
    input_has_cached = False
    variants = (
        Variant(name="anthropic", hosts=re.compile(r"(^|\.)anthropic\.com$")),
        Variant(name="openrouter", hosts=re.compile(r"openrouter\.ai$"),
                marks=(b": OPENROUTER PROCESSING",)),
    )  # fmt: skip

    def recognises_path(self, path: str) -> bool:
        return path.rstrip("/").endswith("/messages")

    def recognises_frame(self, frame: Frame) -> bool:
        head = frame.payload[:4096]
        if not head.startswith(b"{") or b'"sequence_number"' in head:
            return False
        value = record(parsed(frame.payload))
        match value.get("type"):
            case "message_start":
                return isinstance(value.get("message"), dict)
            case "content_block_start" | "content_block_delta" | "content_block_stop":
                return "index" in value
            case "completion":
                return "completion" in value
            case "ping":
                return frame.event in ("ping", "message")
            case "error":
                return bool(record(value.get("error")).get("type"))
            case _:
                return False

    def reader(self) -> _Reader:
        return _Reader()

    def splicer(self, delivered: Received, *, rung: str, facts: RequestFacts) -> MessagesSplicer:
        return MessagesSplicer(delivered, rung=rung)

    def facts(self, request: Request) -> RequestFacts:
        body = request.json
        tools = (string(tool.get("type")) or "custom" for tool in records(body.get("tools")))
        return RequestFacts(
            model=string(body.get("model")),
            # Not so by Anthropic's word, but a replay is verified and costs one attempt.
            deterministic=body.get("temperature") == 0,
            server_work=bool(body.get("mcp_servers"))
            or any(not _CLIENT_TOOL.match(kind) for kind in tools),
            structured=bool(body.get("output_format"))
            or bool(record(body.get("output_config")).get("format")),
            thinking=_thinks(body),
            max_tokens=positive(body, "max_tokens"),
            stop=strings(body.get("stop_sequences")),
        )

    def with_max_tokens(self, request: Request, limit: int) -> Request:
        body = {**request.json, "max_tokens": limit}
        thinking = record(body.get("thinking"))
        budget = number(thinking, "budget_tokens")
        if budget is not None and budget >= limit:
            # Refused otherwise: the budget must be 1,024 at least, and less than the limit.
            room = limit - 1 >= _LEAST_THINKING
            body["thinking"] = (
                {**thinking, "budget_tokens": limit - 1} if room else {"type": "disabled"}
            )
        return request.with_json(body)

    def prefill(self, request: Request, text: str, extra: Mapping[str, Any]) -> Request | None:
        body = request.json
        # With thinking on, the last turn must begin with a thinking block, and a text block
        # must hold more than white space.
        if _thinks(body) or not text.strip():
            return None
        messages = _with_answer(body, text, extra.get("message", {}))
        if messages is None:
            return None
        return request.with_json({**body, "messages": messages, **extra.get("body", {})})

    def user_turn(self, request: Request, text: str, instruction: str) -> Request | None:
        body = request.json
        messages = _with_answer(body, text, {}) if text.strip() else None
        if messages is None:
            return None
        messages.append({"role": "user", "content": instruction})
        return request.with_json({**body, "messages": messages})

    def url_for(self, base_url: str, model: str) -> str:
        versioned = urlsplit(base_url).path.rstrip("/").endswith("/v1")
        return under(base_url, "/messages" if versioned else "/v1/messages")

    def key_headers(self, key: str) -> dict[str, str]:
        return {"x-api-key": key}

    def read_ask(self, request: Request) -> Ask | str:
        return said(read_messages, request)

    def write_ask(self, ask: Ask, model: str) -> dict[str, Any] | str:
        return said(write_messages, ask, model)

    def writer(
        self, *, id: str, model: str, created: int, asked: Request | None = None
    ) -> MessagesWriter:
        return MessagesWriter(id=id, model=model, created=created, asked=asked)


def _thinks(body: dict[str, Any]) -> bool:
    return record(body.get("thinking")).get("type") not in (None, "disabled")


def _with_answer(
    body: dict[str, Any], text: str, fields: Mapping[str, Any]
) -> list[dict[str, Any]] | None:
    """Return the messages with the partial answer as the last turn.

    A request that already ends with an assistant's turn began the answer itself: then the
    text goes on in that turn, in its last text block if it has one.
    """
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return None
    last = messages[-1]
    if not isinstance(last, dict) or last.get("role") != "assistant":
        turn = {"role": "assistant", "content": [{"type": "text", "text": text}], **fields}
        return [*messages, turn]
    content = last.get("content")
    if isinstance(content, str):
        joined: Any = content + text
    elif isinstance(content, list):
        end = record(content[-1]) if content else {}
        if end.get("type") == "text" and isinstance(end.get("text"), str):
            joined = [*content[:-1], {**end, "text": end["text"] + text}]
        else:
            joined = [*content, {"type": "text", "text": text}]
    else:
        return None
    return [*messages[:-1], {**last, "content": joined, **fields}]
