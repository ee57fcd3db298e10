"""Runs of OpenAI's Assistants, streamed only: the thread is not kept, its id means nothing."""

from __future__ import annotations

import re
from typing import Any

from unbroken.core.dialects.answer import Answer
from unbroken.lab.model.asks import Asked, BadRequestError, Call, Route, conversation
from unbroken.lab.model.providers.base import (
    Provider,
    as_list,
    as_object,
    chat_tools,
    flag,
    integer,
    number,
    turns_of,
    words,
)

__all__ = ["PROVIDERS", "ROUTES"]


def _run(call: Call) -> Asked:
    body = call.json
    if not flag(body, "stream"):
        msg = "runs are only answered as a stream here: stream must be true"
        raise BadRequestError(msg)
    thread = as_object(body.get("thread"))
    messages = [*as_list(thread, "messages"), *as_list(body, "additional_messages")]
    return Asked(
        dialect="openai-assistants",
        model=words(body, "model") or words(body, "assistant_id"),
        stream=True,
        temperature=number(body, "temperature"),
        max_tokens=integer(body, "max_completion_tokens", least=1),
        tools=chat_tools(body),
        **conversation(turns_of(messages)),
        **call.fields,
    )


def _whole(answer: Answer, asked: Asked) -> dict[str, Any]:
    raise NotImplementedError  # refused while it is read


PROVIDERS = (Provider(dialect="openai-assistants", whole=_whole, prefix="run_", thinks=False),)

ROUTES = (
    Route(
        methods=("POST",),
        pattern=re.compile(r"/threads/(?:[^/]+/)?runs(?:/[^/]+/submit_tool_outputs)?$"),
        dialect="openai-assistants",
        read=_run,
    ),
)
