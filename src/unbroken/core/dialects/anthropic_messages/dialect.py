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
from typing import Any, ClassVar
from urllib.parse import urlsplit

from unbroken.core.dialects.anthropic_messages.ask import read_messages, write_messages
from unbroken.core.dialects.anthropic_messages.read import FINAL_ERRORS, MessagesReader
from unbroken.core.dialects.anthropic_messages.splice import MessagesSplicer
from unbroken.core.dialects.anthropic_messages.write import MessagesWriter
from unbroken.core.dialects.ask import Ask, said
from unbroken.core.dialects.base import (
    Dialect,
    RequestFacts,
    Variant,
)
from unbroken.core.dialects.payloads import (
    number,
    parsed,
    positive,
    record,
    records,
    string,
    strings,
    under,
)
from unbroken.core.frames import Frame
from unbroken.core.received import Received
from unbroken.core.request import Request

__all__ = ["AnthropicMessages"]


_LEAST_THINKING = 1024

# Tools that Anthropic defines and the application runs: a retry repeats no work of theirs.
_CLIENT_TOOL = re.compile(r"^(custom$|bash_|text_editor_|computer_|memory_)")


class AnthropicMessages(Dialect):
    """``POST /v1/messages``."""

    name = "anthropic-messages"
    wire = "sse"
    last_marker = "message_stop"
    silent_finishes = frozenset({"stop_sequence"})
    explicit_blocks = True
    # A thinking block without its signature would be refused when it is sent back.
    reissue_after_reasoning = False
    final_errors = FINAL_ERRORS
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

    def reader(self) -> MessagesReader:
        return MessagesReader()

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
