"""Amazon Bedrock ``ConverseStream``.

Sequence: ``messageStart``; for each block its deltas and ``contentBlockStop``, and before them
``contentBlockStart`` only for tools, images and tool results: a text block is opened by its
first delta. Then ``messageStop`` with the reason, and ``metadata`` with the usage, which was
recorded behind ``messageStop`` as well as before it. Both are the end: a body that has the
first alone is whole but for its usage. Blocks may be empty, and text may be cut over many.

Every payload holds a field ``p`` of random length, so that nobody can tell tokens by the size
of messages. It means nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from unbroken.core.dialects.answer import Answer
from unbroken.core.dialects.base import (
    Dialect,
    RequestFacts,
    Variant,
    parse_payload,
)
from unbroken.core.dialects.bedrock import common
from unbroken.core.dialects.bedrock.converse_splice import ConverseSplicer
from unbroken.core.dialects.partial import with_answer
from unbroken.core.dialects.payloads import (
    as_object,
    number,
    parsed,
    positive,
    record,
    records,
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
    Reasoning,
    Start,
    Text,
    ToolCall,
    UsageReport,
)
from unbroken.core.frames import Frame
from unbroken.core.received import Received
from unbroken.core.request import Request

__all__ = ["EVENTS", "BedrockConverse", "ConverseReader"]

EVENTS = frozenset(
    {"messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop",
     "metadata"}
)  # fmt: skip

_MEANINGS: dict[str, Meaning] = {
    "end_turn": "stop", "stop_sequence": "stop",
    "tool_use": "tool-calls",
    "max_tokens": "limit", "model_context_window_exceeded": "limit",
    "guardrail_intervened": "filter", "content_filtered": "filter",
    "malformed_model_output": "fault", "malformed_tool_use": "fault",
}  # fmt: skip


# The fast path: a piece of text of a block that is open; all else goes the long way, which
# alone decides what frames mean.


class _TextDelta(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    text: str


class _Payload(msgspec.Struct, gc=False):
    contentBlockIndex: int  # noqa: N815
    delta: _TextDelta


_decode_fast = msgspec.json.Decoder(_Payload).decode


class _Call(msgspec.Struct, frozen=True):
    """A tool block that was opened."""

    index: int
    server: bool

    def event(self, block: int, **fields: Any) -> ToolCall:
        kind: Literal["function", "server"] = "server" if self.server else "function"
        return ToolCall(self.index, block=block, kind=kind, **fields)


class ConverseReader:
    """See `unbroken.core.dialects.base.Reader`. Calls are numbered as in the Messages API."""

    def __init__(self) -> None:
        self._seen: set[int] = set()  # blocks that were opened
        self._calls: dict[int, _Call] = {}  # by block
        self._client_calls = 0
        self._server_calls = 0
        self._stopped = False
        self._told = False  # its metadata came

    def fork(self) -> ConverseReader:
        copy = ConverseReader()
        copy._seen, copy._calls = set(self._seen), dict(self._calls)
        copy._client_calls, copy._server_calls = self._client_calls, self._server_calls
        copy._stopped, copy._told = self._stopped, self._told
        return copy

    def texts(self, payloads: list[bytes], choice: int, block: Block) -> list[str] | None:
        return None

    def read(self, frame: Frame) -> list[Event]:
        if frame.event == "contentBlockDelta" and not frame.failure:
            try:
                fast = _decode_fast(frame.payload)
            except (ValueError, RecursionError):
                return self._read_any(frame)
            if fast.delta.text and fast.contentBlockIndex in self._seen:
                return [Text(fast.delta.text, 0, fast.contentBlockIndex)]
        return self._read_any(frame)

    def _read_any(self, frame: Frame) -> list[Event]:
        if frame.failure:
            return [common.exception_in(frame)]
        value = parse_payload(frame.payload)
        value = as_object(value)
        return self.event(frame.event, value)

    def event(self, name: str, value: dict[str, Any]) -> list[Event]:
        """Return what an event means."""
        block = number(value, "contentBlockIndex") or 0
        match name:
            case "contentBlockDelta":
                return self._delta(record(value.get("delta")), block)
            case "contentBlockStart":
                return self._start(record(value.get("start")), block)
            case "contentBlockStop":
                return self._stop(block)
            case "messageStart":
                return [Start()]
            case "messageStop":
                self._stopped = True
                reason = string(value.get("stopReason"))
                finish = [Finish(reason, _MEANINGS.get(reason, "stop"))] if reason else []
                return [*finish, *([End("metadata")] if self._told else [])]
            case "metadata":
                self._told = True
                return [*_usage(value.get("usage")), *([End("metadata")] if self._stopped else [])]
            case _:
                return [Other(name)]

    def _start(self, start: dict[str, Any], block: int) -> list[Event]:
        self._seen.add(block)
        if not (tool := record(start.get("toolUse"))):
            kind = next(iter(start), "contentBlock")
            return [Open("other", 0, block), Other(kind, content=True)]
        server = string(tool.get("type")) == "server_tool_use"
        call = self._new_call(block, server=server)
        name, id_ = string(tool.get("name")), string(tool.get("toolUseId"))
        return [
            Open("other" if server else "tool", 0, block),
            call.event(block, id=id_ or None, name=name or None),
        ]

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
        opened: BlockKind = "other"
        events: list[Event] = []
        for kind, content in delta.items():
            if kind == "text":
                opened = "text"
                if text := string(content):
                    events.append(Text(text, 0, block))
            elif kind == "reasoningContent":
                opened = "reasoning"
                if text := string(record(content).get("text")):
                    events.append(Reasoning(text, 0, block))
                if record(content).keys() - {"text"}:  # a signature, or a form that is sealed
                    events.append(Reasoning("", 0, block, sealed=True))
            elif kind == "toolUse":
                opened = "tool"
                call = self._calls.get(block) or self._new_call(block, server=False)
                if piece := string(record(content).get("input")):
                    events.append(call.event(block, arguments=piece))
            else:
                # A citation stands in a block of text; an image and a tool's result do not.
                opened = "text" if kind == "citation" else opened
                events.append(Other(kind, content=True))
        if block not in self._seen:
            self._seen.add(block)
            events.insert(0, Open(opened, 0, block))
        return events

    def _stop(self, block: int) -> list[Event]:
        call = self._calls.get(block)
        whole = [] if call is None else [call.event(block, whole=True)]
        return [*whole, Close(0, block)]


def _usage(usage: Any) -> list[Event]:
    if not isinstance(usage, dict):
        return []
    cached = number(usage, "cacheReadInputTokens")
    if cached is None:
        cached = number(usage, "cacheReadInputTokenCount")
    return [UsageReport(number(usage, "inputTokens"), number(usage, "outputTokens"), cached)]


class BedrockConverse(Dialect):
    """``POST /model/M/converse-stream``."""

    name = "bedrock-converse"
    wire = "aws-event-stream"
    content_types = (common.CONTENT_TYPE,)
    last_marker = "metadata"
    silent_finishes = frozenset({"stop_sequence"})
    explicit_blocks = True
    input_has_cached = False
    # A thinking block without its signature would be refused when it is sent back.
    reissue_after_reasoning = False
    heartbeat = None
    final_errors = common.FINAL_ERRORS
    variants = (Variant(name="bedrock", hosts=re.compile(r"\.amazonaws\.com(\.cn)?$")),)

    def recognises_path(self, path: str) -> bool:
        return common.recognises(path, "converse")

    def recognises_frame(self, frame: Frame) -> bool:
        if frame.failure:  # Bedrock's all the same, of either call
            return True
        return frame.event in EVENTS and "type" not in record(parsed(frame.payload))

    def wants_stream(self, request: Request) -> bool:
        """Whether the request asks for a stream: its path does."""
        return self.recognises_path(request.path)

    def reader(self) -> ConverseReader:
        return ConverseReader()

    def splicer(self, delivered: Received, *, rung: str, facts: RequestFacts) -> ConverseSplicer:
        return ConverseSplicer(delivered, rung=rung)

    def facts(self, request: Request) -> RequestFacts:
        body = request.json
        config = record(body.get("inferenceConfig"))
        more = record(body.get("additionalModelRequestFields"))
        tools = records(record(body.get("toolConfig")).get("tools"))
        return RequestFacts(
            model=common.model_in(request),
            deterministic=config.get("temperature") == 0,
            server_work=any("systemTool" in tool for tool in tools),
            structured=bool(record(body.get("outputConfig")).get("textFormat")),
            thinking=_thinks(more),
            max_tokens=positive(config, "maxTokens"),
            stop=strings(config.get("stopSequences")),
        )

    def with_max_tokens(self, request: Request, limit: int) -> Request:
        body = request.json
        config = {**record(body.get("inferenceConfig")), "maxTokens": limit}
        return request.with_json({**body, "inferenceConfig": config})

    def prefill(self, request: Request, text: str, extra: Mapping[str, Any]) -> Request | None:
        body = request.json
        if _thinks(record(body.get("additionalModelRequestFields"))):
            return None
        messages = _with_answer(body, text, extra.get("message", {}))
        if messages is None:
            return None
        return request.with_json({**body, "messages": messages, **extra.get("body", {})})

    def user_turn(self, request: Request, text: str, instruction: str) -> Request | None:
        body = request.json
        messages = _with_answer(body, text, {})
        if messages is None:
            return None
        messages.append({"role": "user", "content": [{"text": instruction}]})
        return request.with_json({**body, "messages": messages})

    def with_model(self, request: Request, model: str) -> Request:
        return common.with_model(request, model)

    def url_for(self, base_url: str, model: str) -> str:
        return common.url_with(base_url, model, "converse-stream")

    def encode(self, answer: Answer) -> list[bytes]:
        frames = [common.message({"role": "assistant"}, "messageStart")]
        blocks = 0

        def block(deltas: list[dict[str, Any]], start: dict[str, Any] | None = None) -> None:
            nonlocal blocks
            at = {"contentBlockIndex": blocks}
            if start is not None:
                frames.append(common.message({**at, "start": start}, "contentBlockStart"))
            frames.extend(
                common.message({**at, "delta": delta}, "contentBlockDelta") for delta in deltas
            )
            frames.append(common.message(at, "contentBlockStop"))
            blocks += 1

        if answer.reasoning:
            pieces = [{"reasoningContent": {"text": piece}} for piece in answer.reasoning]
            block([*pieces, {"reasoningContent": {"signature": "c2lnbmVk"}}])
        if answer.text:
            block([{"text": piece} for piece in answer.text])
        for call in answer.calls:
            block(
                [{"toolUse": {"input": piece}} for piece in call.arguments],
                {"toolUse": {"name": call.name, "toolUseId": call.id}},
            )
        reason = {"stop": "end_turn", "tool-calls": "tool_use", "limit": "max_tokens",
                  "filter": "content_filtered"}[answer.finish]  # fmt: skip
        frames.append(common.message({"stopReason": reason}, "messageStop"))
        metadata: dict[str, Any] = {"metrics": {"latencyMs": 500}}
        if answer.usage is not None:
            given, made = answer.usage
            metadata["usage"] = {
                "inputTokens": given, "outputTokens": made, "totalTokens": given + made,
            }  # fmt: skip
        frames.append(common.message(metadata, "metadata"))
        return frames


def _thinks(fields: dict[str, Any]) -> bool:
    """Whether the model's own fields turn thinking on: Claude's, or the form of the others."""
    thinking = record(fields.get("thinking") or fields.get("reasoning_config"))
    nova = record(fields.get("reasoningConfig"))
    return thinking.get("type") not in (None, "disabled") or nova.get("type") == "enabled"


def _with_answer(
    body: dict[str, Any], text: str, fields: Mapping[str, Any]
) -> list[dict[str, Any]] | None:
    if not text.strip():
        return None  # blank text is refused
    return with_answer(body.get("messages"), text, fields, role="assistant", parts="content")
