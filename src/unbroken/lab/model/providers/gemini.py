"""Gemini's generateContent: as SSE, as a streamed JSON array, and whole."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from unbroken.core.dialects.answer import Answer
from unbroken.lab.model.asks import Asked, BadRequestError, Call, Route, Tool, Turn, conversation
from unbroken.lab.model.providers.base import (
    Provider,
    arguments_of,
    as_list,
    as_object,
    chat_tools,
    integer,
    joined,
    number,
    text_of,
    turns_of,
)

__all__ = ["PROVIDERS", "ROUTES"]

_REASONS = {"stop": "STOP", "tool-calls": "STOP", "limit": "MAX_TOKENS"}
_COLON = r"(?::|%3A)"


def _either(source: dict[str, Any], camel: str, snake: str) -> Any:
    """Return a field under either of the two names that the API takes."""
    return source.get(camel, source.get(snake))


def _turns(body: dict[str, Any]) -> list[Turn]:
    contents = as_list(body, "contents")
    if not contents:
        msg = "contents is not specified"
        raise BadRequestError(msg)
    system = as_object(_either(body, "systemInstruction", "system_instruction"))
    turns = turns_of(contents, content="parts", name="contents")
    for at, content in enumerate(contents):
        parts = content.get("parts")
        if any("functionCall" in p for p in parts or () if isinstance(p, dict)):
            turns[at] = ("caller", turns[at][1])
    return [("system", text_of(system.get("parts"))), *turns]


def _tools(body: dict[str, Any]) -> tuple[Tool, ...]:
    found: list[Tool] = []
    for tool in as_list(body, "tools"):
        given = as_object(tool)
        functions = _either(given, "functionDeclarations", "function_declarations")
        found += chat_tools({"tools": functions})
    return tuple(found)


def _generate(call: Call) -> Asked:
    body = call.json
    config = as_object(_either(body, "generationConfig", "generation_config"))
    stream = call.found["call"].startswith("stream")
    asked_for = (call.query.get("alt") or call.query.get("$alt") or "json").partition(";")[0]
    if asked_for not in ("sse", "json"):
        msg = f"alt={asked_for} is not known"
        raise BadRequestError(msg)
    if (integer(config, "candidateCount", "candidate_count") or 1) > 1:
        msg = "this model gives one candidate"
        raise BadRequestError(msg)
    return Asked(
        dialect="gemini" if asked_for == "sse" or not stream else "gemini-array",
        model=unquote(call.found["model"]),
        stream=stream,
        seed=integer(config, "seed"),
        temperature=number(config, "temperature"),
        max_tokens=integer(config, "maxOutputTokens", "max_output_tokens", least=1),
        tools=_tools(body),
        **conversation(_turns(body)),
        **call.fields,
    )


def _count(call: Call) -> Asked:
    body = as_object(_either(call.json, "generateContentRequest", "generate_content_request"))
    return Asked(
        dialect="gemini",
        model=unquote(call.found["model"]),
        kind="count",
        **conversation(_turns(body or call.json)),
    )


def _whole(answer: Answer, asked: Asked) -> dict[str, Any]:
    text, thinking, calls = joined(answer)
    parts: list[dict[str, Any]] = []
    if thinking:
        parts.append({"text": thinking, "thought": True})
    if text or not calls:
        parts.append({"text": text})
    parts += [
        {"functionCall": {"id": call["id"], "name": call["name"], "args": arguments_of(call)}}
        for call in calls
    ]
    candidate = {
        "content": {"parts": parts, "role": "model"},
        "finishReason": _REASONS[answer.finish],
        "index": 0,
    }
    value: dict[str, Any] = {"candidates": [candidate]}
    if answer.usage is not None:
        given, made = answer.usage
        value["usageMetadata"] = {
            "promptTokenCount": given,
            "candidatesTokenCount": made,
            "totalTokenCount": given + made,
        }
    return {**value, "modelVersion": answer.model, "responseId": answer.id}


PROVIDERS = (
    Provider(dialect="gemini", whole=_whole),
    Provider(dialect="gemini-array", whole=_whole),
)

ROUTES = (
    Route(
        methods=("POST",),
        pattern=re.compile(
            rf"/(?:models|tunedModels)/(?P<model>.+){_COLON}"
            r"(?P<call>generateContent|streamGenerateContent)$"
        ),
        dialect="gemini",
        read=_generate,
    ),
    Route(
        methods=("POST",),
        pattern=re.compile(rf"/(?:models|tunedModels)/(?P<model>.+){_COLON}countTokens$"),
        dialect="gemini",
        read=_count,
    ),
)
