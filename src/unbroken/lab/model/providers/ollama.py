"""Ollama's own API: chat and generate."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from unbroken.core.dialects.answer import Answer
from unbroken.lab.model.asks import Asked, Call, Route, completion, conversation
from unbroken.lab.model.providers.base import (
    Provider,
    arguments_of,
    as_list,
    as_object,
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


def _fields(call: Call) -> dict[str, Any]:
    body = call.json
    need(body, "model")
    options = as_object(body.get("options"))
    seed, limit = integer(options, "seed"), integer(options, "num_predict")
    return {
        "dialect": "ollama",
        "model": words(body, "model"),
        "stream": flag(body, "stream", default=True),
        "seed": seed if seed is None or seed >= 0 else None,
        "temperature": number(options, "temperature"),
        "max_tokens": limit if limit is not None and limit > 0 else None,
        "tools": chat_tools(body),
        **call.fields,
    }


def _empty(body: dict[str, Any]) -> str:
    """Return the word for a request that asks nothing: the model is loaded, or unloaded."""
    return "unload" if body.get("keep_alive") in (0, "0", "0s") else "load"


def _chat(call: Call) -> Asked:
    turns = turns_of(as_list(call.json, "messages"))
    empty = "" if turns else _empty(call.json)
    return Asked(form="chat", empty=empty, **_fields(call), **conversation(turns))


def _generate(call: Call) -> Asked:
    body = call.json
    prompt = words(body, "prompt")
    raw = flag(body, "raw") and not body.get("suffix")
    known = completion(prompt) if raw else conversation([("user", prompt)])
    empty = "" if prompt else _empty(body)
    return Asked(form="generate", empty=empty, **known, **_fields(call))


# Answers ----------------------------------------------------------------------------------


def _as_generate(line: dict[str, Any]) -> dict[str, Any]:
    """Return a line of chat as one of generate."""
    message = as_object(line.get("message"))
    changed: dict[str, Any] = {}
    for name, value in line.items():
        if name != "message":
            changed[name] = value
            continue
        changed["response"] = message.get("content") or ""
        if message.get("thinking"):
            changed["thinking"] = message["thinking"]
    if changed.get("done"):
        changed["context"] = []
    return changed


def _dress(frames: list[bytes], asked: Asked) -> list[bytes]:
    if asked.empty:
        line = {**json.loads(frames[-1]), "done_reason": asked.empty}
        frames = [_line(line)]
    if asked.form != "generate":
        return frames
    return [_line(_as_generate(json.loads(frame))) for frame in frames]


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _whole(answer: Answer, asked: Asked) -> dict[str, Any]:
    text, thinking, calls = joined(answer)
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if thinking:
        message["thinking"] = thinking
    if calls:
        message["tool_calls"] = [
            {"id": call["id"], "function": {"name": call["name"], "arguments": arguments_of(call)}}
            for call in calls
        ]
    reason = "length" if answer.finish == "limit" else "stop"
    counts: dict[str, int] = {}
    if answer.usage is not None:
        counts = {"prompt_eval_count": answer.usage[0], "eval_count": answer.usage[1]}
    line = {
        "model": answer.model,
        "created_at": datetime.fromtimestamp(answer.created, tz=UTC).isoformat(),
        "message": message,
        "done": True,
        "done_reason": asked.empty or reason,
        "total_duration": 1_000,
        **counts,
    }
    return _as_generate(line) if asked.form == "generate" else line


PROVIDERS = (Provider(dialect="ollama", whole=_whole, dress=_dress),)

ROUTES = (
    Route(methods=("POST",), pattern=re.compile(r"/api/chat$"), dialect="ollama", read=_chat),
    Route(
        methods=("POST",), pattern=re.compile(r"/api/generate$"), dialect="ollama", read=_generate
    ),
)
