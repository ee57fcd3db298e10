"""Anthropic Messages."""

from __future__ import annotations

import re
from typing import Any

from unbroken.core.dialects.answer import Answer
from unbroken.lab.model.asks import Asked, Call, Route, conversation
from unbroken.lab.model.providers.base import (
    Provider,
    arguments_of,
    as_list,
    chat_tools,
    flag,
    integer,
    joined,
    need,
    number,
    text_of,
    turns_of,
    words,
)

__all__ = ["PROVIDERS", "ROUTES", "messages_fields", "whole_message"]

_REASONS = {"stop": "end_turn", "tool-calls": "tool_use", "limit": "max_tokens"}


def messages_fields(body: dict[str, Any]) -> dict[str, Any]:
    """Return what a body of the Messages API asks, whoever takes it."""
    need(body, "messages", "max_tokens")
    turns = turns_of(as_list(body, "messages"))
    system = ("system", text_of(body.get("system")))
    return {
        "temperature": number(body, "temperature"),
        "max_tokens": integer(body, "max_tokens", least=1),
        "tools": chat_tools(body),
        **conversation([system, *turns]),
    }


def _messages(call: Call) -> Asked:
    need(call.json, "model")
    return Asked(
        dialect="anthropic-messages",
        model=words(call.json, "model"),
        stream=flag(call.json, "stream"),
        **messages_fields(call.json),
        **call.fields,
    )


def _count(call: Call) -> Asked:
    need(call.json, "messages")
    turns = turns_of(as_list(call.json, "messages"))
    return Asked(
        dialect="anthropic-messages",
        model=words(call.json, "model"),
        kind="count",
        **conversation(turns),
    )


def whole_message(answer: Answer, asked: Asked) -> dict[str, Any]:
    """Return a message that is not streamed."""
    text, thinking, calls = joined(answer)
    content: list[dict[str, Any]] = []
    if thinking:
        content.append({"type": "thinking", "thinking": thinking, "signature": "c2lnbmVk"})
    if text:
        content.append({"type": "text", "text": text})
    content += [
        {"type": "tool_use", "id": call["id"], "name": call["name"], "input": arguments_of(call)}
        for call in calls
    ]
    given, made = answer.usage or (0, 0)
    return {
        "id": answer.id,
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": content,
        "stop_reason": _REASONS[answer.finish],
        "stop_sequence": None,
        "usage": {"input_tokens": given, "output_tokens": made},
    }


PROVIDERS = (
    Provider(
        dialect="anthropic-messages",
        whole=whole_message,
        prefix="msg_",
        call_prefix="toolu_",
        request_id="request-id",
    ),
)

ROUTES = (
    Route(
        methods=("POST",),
        pattern=re.compile(r"/messages/count_tokens$"),
        dialect="anthropic-messages",
        read=_count,
    ),
    Route(
        methods=("POST",),
        # Threads of OpenAI's Assistants have messages as well.
        pattern=re.compile(r"^(?!.*/threads/).*/messages$"),
        dialect="anthropic-messages",
        read=_messages,
    ),
)
