"""What a provider is made of, and what the readers of requests share."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from unbroken.core.dialects.answer import Answer
from unbroken.lab.model.asks import Asked, BadRequestError, Tool, Turn

__all__ = [
    "Provider",
    "arguments_of",
    "as_list",
    "as_object",
    "chat_tools",
    "flag",
    "integer",
    "joined",
    "need",
    "number",
    "text_of",
    "turns_of",
    "words",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """How one dialect answers beyond its frames.

    Attributes:
        dialect: Its name.
        whole: The answer that is not streamed, as the value of its JSON.
        prefix: How ids of answers begin.
        call_prefix: How ids of tool calls begin.
        dress: Changes the frames of a stream where they depend on the request.
        request_id: The header that names the request.
        thinks: The dialect has a place for thinking.
        calls: The dialect has tool calls.
    """

    dialect: str
    whole: Callable[[Answer, Asked], Any]
    prefix: str = ""
    call_prefix: str = "call_"
    dress: Callable[[list[bytes], Asked], list[bytes]] | None = None
    request_id: str = "x-request-id"
    thinks: bool = True
    calls: bool = True


# Reading ----------------------------------------------------------------------------------


def need(body: Mapping[str, Any], *names: str) -> None:
    """Refuse a body without these fields."""
    for name in names:
        if body.get(name) in (None, ""):
            msg = f"missing required parameter: {name}"
            raise BadRequestError(msg)


def words(body: Mapping[str, Any], name: str) -> str:
    """Return a text, ``""`` where there is none."""
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        msg = f"{name} must be a string"
        raise BadRequestError(msg)
    return value


def flag(body: Mapping[str, Any], name: str, *, default: bool = False) -> bool:
    """Return a switch."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        msg = f"{name} must be true or false"
        raise BadRequestError(msg)
    return value


def number(body: Mapping[str, Any], *names: str) -> float | None:
    """Return the first of these numbers that is given."""
    for name in names:
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            msg = f"{name} must be a number"
            raise BadRequestError(msg)
        return float(value)
    return None


def integer(body: Mapping[str, Any], *names: str, least: int | None = None) -> int | None:
    """Return the first of these whole numbers that is given."""
    value = number(body, *names)
    if value is None:
        return None
    if value != int(value) or (least is not None and value < least):
        named = next(name for name in names if body.get(name) is not None)
        msg = f"{named} must be a whole number" + (f" of at least {least}" if least else "")
        raise BadRequestError(msg)
    return int(value)


def as_object(value: Any) -> dict[str, Any]:
    """Return the value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(body: Mapping[str, Any], name: str) -> list[Any]:
    """Return a list, an empty one where there is none."""
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        msg = f"{name} must be a list"
        raise BadRequestError(msg)
    return value


def text_of(content: Any) -> str:
    """Return the text of a content: a string, one part, or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        return ""
    parts = (part.get("text") for part in content if isinstance(part, dict))
    return "".join(part for part in parts if isinstance(part, str))


def turns_of(
    messages: list[Any], *, content: str = "content", name: str = "messages"
) -> list[Turn]:
    """Return the turns of a list of messages; the model is always called ``assistant``."""
    turns: list[Turn] = []
    for message in messages:
        if not isinstance(message, dict):
            msg = f"{name} must be objects"
            raise BadRequestError(msg)
        role = str(message.get("role") or "user")
        if message.get("tool_calls"):
            role = "caller"  # nothing of it is an answer that was begun
        turns.append(("assistant" if role == "model" else role, text_of(message.get(content))))
    return turns


def chat_tools(body: Mapping[str, Any]) -> tuple[Tool, ...]:
    """Return the functions among the tools, in OpenAI's and Anthropic's forms."""
    found = []
    for tool in as_list(body, "tools"):
        known = as_object(tool)
        function = as_object(known.get("function")) or known
        name = function.get("name")
        if isinstance(name, str) and name:
            schema = function.get("parameters") or function.get("input_schema")
            found.append(Tool(name=name, argument=_text_argument(schema)))
    return tuple(found)


def _text_argument(schema: Any) -> str:
    properties = as_object(as_object(schema).get("properties"))
    if not properties or "text" in properties:
        return ""
    texts = (
        n for n, kind in properties.items() if as_object(kind).get("type") in ("string", "STRING")
    )
    return next(texts, "")


# Writing ----------------------------------------------------------------------------------


def joined(answer: Answer) -> tuple[str, str, list[dict[str, str]]]:
    """Return text, thinking and calls of an answer, each whole."""
    calls = [
        {"id": call.id, "name": call.name, "arguments": "".join(call.arguments)}
        for call in answer.calls
    ]
    return "".join(answer.text), "".join(answer.reasoning), calls


def arguments_of(call: Mapping[str, str]) -> Any:
    """Return a call's arguments as a value; what is no JSON, as it is."""
    try:
        return json.loads(call["arguments"])
    except ValueError:
        return {}
