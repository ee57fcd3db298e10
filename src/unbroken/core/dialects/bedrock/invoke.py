"""Amazon Bedrock ``InvokeModelWithResponseStream``: the model's own protocol, in base64.

Each message is ``{"bytes": "...", "p": "..."}``; ``p`` is padding and means nothing. Inside is
what the provider of the model sends, so another dialect reads it: Anthropic's Messages (and the
API before them), Converse's events as keys (Nova), OpenAI's chat. What the older models send is
read here: a text and, at last, a reason under a name of their own.

Bedrock adds ``amazon-bedrock-invocationMetrics`` to the last message, whatever the model. Of a
model whose protocol is not known here it is the only sign that the answer is whole, and is
taken for one; nothing of such an answer is continued.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from unbroken.core.dialects.answer import Answer
from unbroken.core.dialects.anthropic_messages.dialect import AnthropicMessages
from unbroken.core.dialects.base import (
    Dialect,
    MalformedPayloadError,
    Reader,
    RequestFacts,
    Variant,
    parse_payload,
)
from unbroken.core.dialects.bedrock import common
from unbroken.core.dialects.bedrock.converse import BedrockConverse, ConverseReader
from unbroken.core.dialects.bedrock.inner import (
    METRICS,
    PlainReader,
    Shape,
    converse_event,
    inside,
    shape_of,
    wrapped,
)
from unbroken.core.dialects.bedrock.invoke_splice import InvokeSplicer
from unbroken.core.dialects.openai_chat.dialect import OpenAIChat
from unbroken.core.dialects.payloads import dump, number, parsed, record
from unbroken.core.events import Block, End, Event, Finish, Other, UsageReport
from unbroken.core.frames import Frame
from unbroken.core.received import Received
from unbroken.core.request import Request
from unbroken.core.wire.sse import SSEDecoder

__all__ = ["BedrockInvoke"]

_METRICS = METRICS.encode()


class _Reader:
    """See `unbroken.core.dialects.base.Reader`."""

    def __init__(self) -> None:
        self._shape: Shape | None = None
        self._messages: Reader = AnthropicMessages().reader()
        self._chat: Reader = OpenAIChat().reader()
        self._converse = ConverseReader()
        self._plain = PlainReader()
        self._finished = False

    def fork(self) -> _Reader:
        copy = _Reader()
        copy._shape, copy._finished = self._shape, self._finished
        copy._messages, copy._chat = self._messages.fork(), self._chat.fork()
        copy._converse, copy._plain = self._converse.fork(), self._plain.fork()
        return copy

    def texts(self, payloads: list[bytes], choice: int, block: Block) -> list[str] | None:
        return None

    def read(self, frame: Frame) -> list[Event]:
        if frame.failure:
            return [common.exception_in(frame)]
        payload = inside(frame.payload)
        if payload is None:
            if frame.event == "chunk":
                msg = "a chunk without bytes in base64"
                raise MalformedPayloadError(msg)
            return [Other(frame.event)]
        try:
            payload.decode()  # the wire below saw base64 only, and msgspec checks no UTF-8
        except UnicodeDecodeError as error:
            msg = f"what stands in base64 is not UTF-8 at its byte {error.start}"
            raise MalformedPayloadError(msg) from None
        # Text is read by its own dialect's fast path; only the first frame tells which.
        value = None
        if self._shape not in ("messages", "chat"):
            value = parse_payload(payload)
            self._shape = shape_of(value) or self._shape
        events = self._inner(payload, value)
        self._finished = self._finished or any(type(event) is Finish for event in events)
        if _METRICS in payload:
            self._metrics(payload, events)
        return events

    def _inner(self, payload: bytes, value: Any) -> list[Event]:
        match self._shape:
            case "messages" | "completion":
                name = "completion" if self._shape == "completion" else "message"
                return self._messages.read(Frame(name, payload, "", None, b"", 0))
            case "chat":
                return self._chat.read(Frame("message", payload, "", None, b"", 0))
            case "converse":
                name, said = converse_event(record(value))
                return self._converse.event(name, said)
            case "plain":
                return self._plain.read(record(value))
            case None:
                return [Other("chunk", content=True)]

    def _metrics(self, payload: bytes, events: list[Event]) -> None:
        metrics = record(record(parsed(payload)).get(METRICS))
        if not metrics:
            return
        if not self._finished and self._shape in ("plain", None):
            events.append(Finish(METRICS, "stop"))
        if self._shape != "messages":  # those told it already, with what the cache held
            events.append(
                UsageReport(
                    number(metrics, "inputTokenCount"),
                    number(metrics, "outputTokenCount"),
                    number(metrics, "cacheReadInputTokenCount"),
                )
            )
        if not any(type(event) is End for event in events):
            events.append(End(METRICS))


class BedrockInvoke(Dialect):
    """``POST /model/M/invoke-with-response-stream``."""

    name = "bedrock-invoke"
    wire = "aws-event-stream"
    content_types = (common.CONTENT_TYPE,)
    last_marker = METRICS
    silent_finishes = frozenset({"stop_sequence"})
    explicit_blocks = True
    input_has_cached = False
    reissue_after_reasoning = False
    heartbeat = None
    final_errors = common.FINAL_ERRORS
    variants = (Variant(name="bedrock", hosts=re.compile(r"\.amazonaws\.com(\.cn)?$")),)

    def recognises_path(self, path: str) -> bool:
        return common.recognises(path, "invoke")

    def recognises_frame(self, frame: Frame) -> bool:
        return frame.event == "chunk" and inside(frame.payload) is not None

    def wants_stream(self, request: Request) -> bool:
        """Whether the request asks for a stream: its path does."""
        return self.recognises_path(request.path)

    def reader(self) -> _Reader:
        return _Reader()

    def splicer(self, delivered: Received, *, rung: str, facts: RequestFacts) -> InvokeSplicer:
        return InvokeSplicer(delivered, rung=rung, facts=facts)

    def facts(self, request: Request) -> RequestFacts:
        speaks = _speaks(request)
        model = common.model_in(request)
        if speaks is not None:
            return replace(speaks.facts(request), model=model)
        body = request.json
        config = record(body.get("textGenerationConfig"))
        cold = 0 in (body.get("temperature"), config.get("temperature"))
        return RequestFacts(model=model, deterministic=cold)

    def with_max_tokens(self, request: Request, limit: int) -> Request:
        speaks = _speaks(request)
        return request if speaks is None else speaks.with_max_tokens(request, limit)

    def prefill(self, request: Request, text: str, extra: Mapping[str, Any]) -> Request | None:
        speaks = _speaks(request)
        return None if speaks is None else speaks.prefill(request, text, extra)

    def user_turn(self, request: Request, text: str, instruction: str) -> Request | None:
        speaks = _speaks(request)
        return None if speaks is None else speaks.user_turn(request, text, instruction)

    def with_model(self, request: Request, model: str) -> Request:
        return common.with_model(request, model)

    def url_for(self, base_url: str, model: str) -> str:
        return common.url_with(base_url, model, "invoke-with-response-stream")

    def encode(self, answer: Answer) -> list[bytes]:
        frames = []
        for frame in SSEDecoder().feed(b"".join(AnthropicMessages().encode(answer))):
            payload = frame.payload
            if frame.event == "ping":  # Bedrock sends none
                continue
            if frame.event == "message_stop":
                given, made = answer.usage or (0, 0)
                metrics = {"inputTokenCount": given, "outputTokenCount": made}
                payload = dump({"type": "message_stop", METRICS: metrics})
            frames.append(wrapped(payload))
        return frames


def _speaks(request: Request) -> Dialect | None:
    """Return the dialect of the body, where its answer can be gone on with."""
    body = request.json
    if "anthropic_version" in body and "messages" in body:
        return AnthropicMessages()
    # Nova takes the body of Converse.
    return BedrockConverse() if "inferenceConfig" in body or "schemaVersion" in body else None
