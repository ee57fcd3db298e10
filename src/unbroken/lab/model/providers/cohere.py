"""Cohere's chat, version 2."""

from __future__ import annotations

import re
from typing import Any

from unbroken.core.dialects.answer import Answer
from unbroken.lab.model.asks import Asked, Call, Route, conversation
from unbroken.lab.model.providers.base import (
    Provider,
    as_list,
    chat_tools,
    flag,
    integer,
    joined,
    need,
    number,
    turns_of,
    words,
)

__all__ = ["PROVIDERS", "ROUTES"]

_REASONS = {"stop": "COMPLETE", "tool-calls": "TOOL_CALL", "limit": "MAX_TOKENS"}


def _chat(call: Call) -> Asked:
    body = call.json
    need(body, "model", "messages")
    return Asked(
        dialect="cohere",
        model=words(body, "model"),
        stream=flag(body, "stream"),
        seed=integer(body, "seed"),
        temperature=number(body, "temperature"),
        max_tokens=integer(body, "max_tokens", least=1),
        tools=chat_tools(body),
        **conversation(turns_of(as_list(body, "messages"))),
        **call.fields,
    )


def _whole(answer: Answer, asked: Asked) -> dict[str, Any]:
    text, thinking, calls = joined(answer)
    message: dict[str, Any] = {"role": "assistant", "content": []}
    if thinking:
        message["content"].append({"type": "thinking", "thinking": thinking})
    if text:
        message["content"].append({"type": "text", "text": text})
    if calls:
        message["tool_calls"] = [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": call["arguments"]},
            }
            for call in calls
        ]
    value = {"id": answer.id, "finish_reason": _REASONS[answer.finish], "message": message}
    if answer.usage is not None:
        tokens = {"input_tokens": answer.usage[0], "output_tokens": answer.usage[1]}
        value["usage"] = {"billed_units": tokens, "tokens": tokens}
    return value


PROVIDERS = (Provider(dialect="cohere", whole=_whole),)

ROUTES = (Route(methods=("POST",), pattern=re.compile(r"/v2/chat$"), dialect="cohere", read=_chat),)
