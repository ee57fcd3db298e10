"""Gemini's Interactions: answers that are kept, and read on from an event's id."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import unquote

from unbroken.core.dialects.answer import Answer
from unbroken.core.wire import SSEDecoder, encode_sse
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
    arguments_of,
    as_object,
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

_STATUS = {"stop": "completed", "tool-calls": "requires_action", "limit": "incomplete"}


def _turns(body: dict[str, Any]) -> list[Turn]:
    """Return the turns of an input: a text, a content, or a list of contents or of steps."""
    given = body.get("input")
    if isinstance(given, dict):
        given = [given]
    if isinstance(given, str):
        return [("user", given)]
    if not isinstance(given, list):
        msg = "input must be a string, an object or a list"
        raise BadRequestError(msg)
    turns: list[Turn] = []
    for item in map(as_object, given):
        role = {"model_output": "assistant", "model": "assistant"}.get(
            str(item.get("type") if "content" in item else item.get("role")), "user"
        )
        if str(item.get("type")).endswith(("_call", "_result")):
            role = "item"
        turns.append((role, text_of(item.get("content")) or text_of(item)))
    return turns


def _create(call: Call) -> Asked:
    body = call.json
    if not body.get("agent"):
        need(body, "model")
    need(body, "input")
    config = as_object(body.get("generation_config"))
    stream = flag(body, "stream")
    return Asked(
        dialect="gemini-interactions",
        model=words(body, "model") or words(body, "agent"),
        stream=stream,
        seed=integer(config, "seed"),
        temperature=number(config, "temperature"),
        max_tokens=integer(config, "max_output_tokens", least=1),
        tools=chat_tools(body),
        keep="id" if flag(body, "store", default=True) else "",
        **conversation(_turns(body)),
        **call.fields,
    )


def _again(call: Call) -> Asked:
    id = unquote(call.found["id"])
    at = Cursor(service="interactions", id=id, after=call.query.get("last_event_id"))
    if call.method == "DELETE":
        return Asked(dialect="gemini-interactions", kind="stop", form="deleted", cursor=at)
    stream = call.query.get("stream", "").lower() == "true"
    return Asked(
        dialect="gemini-interactions",
        kind="cursor" if stream else "kept",
        stream=stream,
        cursor=at,
    )


def _dress(frames: list[bytes], asked: Asked) -> list[bytes]:
    """Give the events of an answer that is kept their ids."""
    if not asked.keep:
        return frames
    dressed = []
    for number_, frame in enumerate(SSEDecoder().feed(b"".join(frames))):
        if frame.event == "done":
            dressed.append(frame.raw)
            continue
        value = {**json.loads(frame.payload), "event_id": f"event-{number_:06d}"}
        payload = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        dressed.append(encode_sse(payload, event=frame.event))
    return dressed


def _whole(answer: Answer, asked: Asked) -> dict[str, Any]:
    text, thinking, calls = joined(answer)
    steps: list[dict[str, Any]] = []
    if thinking:
        summary = [{"type": "text", "text": thinking}]
        steps.append({"type": "thought", "signature": "c2ln", "summary": summary})
    if text or not calls:
        steps.append({"type": "model_output", "content": [{"type": "text", "text": text}]})
    steps += [
        {
            "type": "function_call",
            "id": call["id"],
            "name": call["name"],
            "arguments": arguments_of(call),
        }
        for call in calls
    ]
    value: dict[str, Any] = {
        "id": answer.id,
        "object": "interaction",
        "model": answer.model,
        "status": _STATUS[answer.finish],
        "steps": steps,
    }
    if answer.usage is not None:
        given, made = answer.usage
        value["usage"] = {
            "total_input_tokens": given,
            "total_output_tokens": made,
            "total_tokens": given + made,
        }
    return value


PROVIDERS = (
    Provider(dialect="gemini-interactions", whole=_whole, prefix="interaction-", dress=_dress),
)

ROUTES = (
    Route(
        methods=("POST",),
        pattern=re.compile(r"/interactions$"),
        dialect="gemini-interactions",
        read=_create,
    ),
    Route(
        methods=("GET", "DELETE"),
        pattern=re.compile(r"/interactions/(?P<id>[^/:]+)$"),
        dialect="gemini-interactions",
        read=_again,
    ),
)
