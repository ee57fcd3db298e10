"""OpenAI Responses: answers, and those that are kept and read again."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from unbroken.core.dialects.answer import Answer
from unbroken.lab.model.asks import (
    Asked,
    BadRequestError,
    Call,
    Cursor,
    Route,
    Turn,
    conversation,
)
from unbroken.lab.model.providers.base import (
    Provider,
    chat_tools,
    flag,
    integer,
    joined,
    need,
    number,
    text_of,
    words,
)

__all__ = ["PROVIDERS", "ROUTES"]


def _turns(body: dict[str, Any]) -> list[Turn]:
    given = body.get("input")
    turns: list[Turn] = [("system", words(body, "instructions"))]
    if isinstance(given, str):
        return [*turns, ("user", given)]
    if not isinstance(given, list):
        msg = "input must be a string or a list of items"
        raise BadRequestError(msg)
    for item in given:
        if not isinstance(item, dict):
            msg = "input must be a list of objects"
            raise BadRequestError(msg)
        if item.get("type") in (None, "message"):
            turns.append((str(item.get("role") or "user"), text_of(item.get("content"))))
        else:
            turns.append(("item", text_of(item.get("output"))))
    return turns


def _create(call: Call) -> Asked:
    body = call.json
    need(body, "model", "input")
    background, stored = flag(body, "background"), flag(body, "store", default=True)
    if background and not stored:
        msg = "background requires store to be true"
        raise BadRequestError(msg)
    return Asked(
        dialect="openai-responses",
        model=words(body, "model"),
        stream=flag(body, "stream"),
        seed=integer(body, "seed"),
        temperature=number(body, "temperature"),
        max_tokens=integer(body, "max_output_tokens", least=1),
        tools=chat_tools(body),
        # Closing the stream cancels any other answer, and its id leads to a 404 then.
        keep="id" if background else "",
        **conversation(_turns(body)),
        **call.fields,
    )


def _again(call: Call) -> Asked:
    id = unquote(call.found["id"])
    if call.method == "DELETE":
        return Asked(dialect="openai-responses", kind="stop", form="deleted", cursor=_at(id))
    if call.query.get("stream", "").lower() != "true":
        return Asked(dialect="openai-responses", kind="kept", cursor=_at(id))
    after = call.query.get("starting_after")
    if after is not None and not after.isdigit():
        msg = "starting_after must be a whole number"
        raise BadRequestError(msg)
    at = _at(id, None if after is None else int(after))
    return Asked(dialect="openai-responses", kind="cursor", stream=True, cursor=at)


def _cancel(call: Call) -> Asked:
    id = unquote(call.found["id"])
    return Asked(dialect="openai-responses", kind="stop", form="cancelled", cursor=_at(id))


def _at(id: str, after: int | None = None) -> Cursor:
    return Cursor(service="responses", id=id, after=after)


def _count(call: Call) -> Asked:
    return Asked(
        dialect="openai-responses",
        model=words(call.json, "model"),
        kind="count",
        **conversation(_turns(call.json)),
    )


def _whole(answer: Answer, asked: Asked) -> dict[str, Any]:
    text, thinking, calls = joined(answer)
    limit = answer.finish == "limit"
    status = "incomplete" if limit else "completed"
    output: list[dict[str, Any]] = []
    if thinking:
        summary = [{"type": "summary_text", "text": thinking}]
        output.append({"id": f"rs_{answer.id}", "type": "reasoning", "summary": summary})
    if text or not calls:
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        output.append(
            {
                "id": f"msg_{answer.id}",
                "type": "message",
                "role": "assistant",
                "status": status,
                "content": [part],
            }
        )
    for number_, call in enumerate(calls):
        output.append(
            {
                "id": f"fc_{answer.id}_{number_}",
                "type": "function_call",
                "status": status,
                "call_id": call["id"],
                "name": call["name"],
                "arguments": call["arguments"],
            }
        )
    usage = None
    if answer.usage is not None:
        given, made = answer.usage
        usage = {
            "input_tokens": given,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": made,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": given + made,
        }
    return {
        "id": answer.id,
        "object": "response",
        "created_at": answer.created,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if limit else None,
        "instructions": None,
        "metadata": {},
        "model": answer.model,
        "output": output,
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": usage,
    }


PROVIDERS = (Provider(dialect="openai-responses", whole=_whole, prefix="resp_"),)

ROUTES = (
    Route(
        methods=("POST",),
        pattern=re.compile(r"/responses$"),
        dialect="openai-responses",
        read=_create,
    ),
    Route(
        methods=("POST",),
        pattern=re.compile(r"/responses/input_tokens$"),
        dialect="openai-responses",
        read=_count,
    ),
    Route(
        methods=("POST",),
        pattern=re.compile(r"/responses/(?P<id>[^/]+)/cancel$"),
        dialect="openai-responses",
        read=_cancel,
    ),
    Route(
        methods=("GET", "DELETE"),
        pattern=re.compile(r"/responses/(?P<id>[^/]+)$"),
        dialect="openai-responses",
        read=_again,
    ),
)
