"""Chat Completions: the request in nobody's words, and back."""

from __future__ import annotations

import re
from typing import Any, Literal

from unbroken.core.dialects.ask import (
    Ask,
    Conversation,
    Fields,
    Function,
    decimal,
    function_of,
    functions_of,
    known_tools,
    refuse,
    stops_of,
    text_of_object,
    texts_of,
    whole,
)
from unbroken.core.dialects.payloads import record, string
from unbroken.core.request import Request

__all__ = ["choice_of", "read_chat", "write_chat", "write_choice"]

_NOTHING = (0, 0.0)
_BODY = Fields(
    known=frozenset(
        {
            "max_completion_tokens", "max_tokens", "messages", "model", "parallel_tool_calls",
            "seed", "stop", "stream", "temperature", "tool_choice", "tools", "top_p",
        }
    ),
    harmless=frozenset(
        {
            "metadata", "prompt_cache_key", "prompt_cache_retention", "safety_identifier",
            "service_tier", "stream_options", "user",
        }
    ),
    only={
        "frequency_penalty": _NOTHING,
        "logit_bias": ({},),
        "logprobs": (False,),
        "modalities": (["text"],),
        "n": (1,),
        "presence_penalty": _NOTHING,
        "response_format": ({"type": "text"},),
        "store": (False,),
        "top_logprobs": (0,),
    },
)  # fmt: skip
_TEXT = Fields(known=frozenset({"type", "text"}), harmless=frozenset({"cache_control"}))
_MESSAGE = Fields(known=frozenset({"role", "content"}))
_ASSISTANT = Fields(
    known=frozenset({"role", "content", "tool_calls"}),
    harmless=frozenset({"reasoning", "reasoning_content", "reasoning_details"}),
    only={"annotations": ([],), "refusal": ("",)},
)
_TOOL = Fields(known=frozenset({"role", "content", "tool_call_id", "name"}))
_CALL = Fields(known=frozenset({"id", "type", "function"}), harmless=frozenset({"index"}))
_CALLED = Fields(known=frozenset({"name", "arguments"}))
_FUNCTION = Fields(known=frozenset({"name", "description", "parameters", "strict"}))
_CHOICES: dict[str, Literal["auto", "none", "required"]] = {
    "auto": "auto", "none": "none", "required": "required",
}  # fmt: skip
# OpenAI's models since o1 refuse `max_tokens`; most other services know nothing else.
_COUNTS_THINKING = re.compile(r"(^|/)(gpt-[5-9]|o[1-9])")


def read_chat(request: Request) -> Ask:
    """Return what a request asks.

    Raises:
        Unsaid: If it cannot be said in other words.
    """
    body = _BODY.check(request.json)
    talk = Conversation()
    messages = body.get("messages")
    if not isinstance(messages, list):
        refuse("messages is not a list")
    for message in messages:
        _read_message(record(message), talk)
    choice, only = choice_of(body.get("tool_choice"))
    parallel = body.get("parallel_tool_calls")
    most = whole(body, "max_completion_tokens")
    return Ask(
        system=tuple(talk.system),
        turns=talk.checked(),
        tools=functions_of(body.get("tools"), _read_tool),
        tool_choice=choice,
        only_tool=only,
        parallel_calls=parallel if isinstance(parallel, bool) else None,
        max_tokens=whole(body, "max_tokens") if most is None else most,
        temperature=decimal(body, "temperature"),
        top_p=decimal(body, "top_p"),
        stop=stops_of(body.get("stop")),
        seed=whole(body, "seed"),
    )


def _read_message(message: dict[str, Any], talk: Conversation) -> None:
    role = message.get("role")
    texts = texts_of(message.get("content"), kinds=frozenset({"text"}), part=_TEXT)
    if role in ("system", "developer"):
        _MESSAGE.check(message, "a message")
        talk.instruct(texts)
    elif role == "user":
        _MESSAGE.check(message, "a message")
        talk.say("user", texts)
    elif role == "tool":
        _TOOL.check(message, "a message")
        talk.answer(string(message.get("tool_call_id")), "", "\n".join(texts))
    elif role == "assistant":
        _ASSISTANT.check(message, "a message")
        talk.say("assistant", texts)
        calls = message.get("tool_calls") or []
        for call in calls if isinstance(calls, list) else [calls]:
            function = _CALLED.check(_CALL.check(call, "a tool call").get("function"), "a call")
            arguments = text_of_object(function.get("arguments") or "{}")
            talk.call(string(call.get("id")), string(function.get("name")), arguments)
    else:
        refuse("a message has an unknown role")


def _read_tool(tool: dict[str, Any]) -> list[Function]:
    if tool.get("type") != "function" or tool.keys() - {"type", "function", "cache_control"}:
        refuse("a tool is not a plain function")
    return [function_of(_FUNCTION.check(tool.get("function"), "a tool"), "parameters")]


def choice_of(value: object) -> tuple[Literal["auto", "none", "required"] | None, str]:
    """Return a tool choice, and the one function that must be called, or ``""``."""
    if value is None:
        return None, ""
    if isinstance(value, str) and value in _CHOICES:
        return _CHOICES[value], ""
    chosen = record(value)
    name = string(record(chosen.get("function")).get("name")) or string(chosen.get("name"))
    if chosen.get("type") != "function" or not name:
        refuse("tool_choice is not a plain one")
    return "required", name


def write_choice(ask: Ask, *, nested: bool) -> dict[str, Any]:
    """Return what a body says of the tools: who must be called, and how many at once."""
    out: dict[str, Any] = {}
    if ask.only_tool:
        named = {"name": ask.only_tool}
        out["tool_choice"] = {"type": "function", **({"function": named} if nested else named)}
    elif ask.tool_choice is not None:
        out["tool_choice"] = ask.tool_choice
    if ask.parallel_calls is not None:
        out["parallel_tool_calls"] = ask.parallel_calls
    return out


def write_chat(ask: Ask, model: str) -> dict[str, Any]:
    """Return the body of a streamed request.

    Raises:
        Unsaid: If the dialect has no words for a part of it.
    """
    messages: list[dict[str, Any]] = [{"role": "system", "content": text} for text in ask.system]
    for turn in ask.turns:
        messages += [
            {"role": "tool", "tool_call_id": result.id, "content": result.text}
            for result in turn.results
        ]
        content: Any = turn.texts[0] if len(turn.texts) == 1 else [
            {"type": "text", "text": text} for text in turn.texts
        ]  # fmt: skip
        if turn.calls:
            calls = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in turn.calls
            ]
            messages.append({"role": "assistant", "content": content or None, "tool_calls": calls})
        elif content:
            messages.append({"role": turn.role, "content": content})
    body: dict[str, Any] = {"model": model, "messages": messages, "stream": True}
    # Few services send figures that nobody asked for.
    body["stream_options"] = {"include_usage": True}
    if ask.tools:
        body["tools"] = [_write_tool(function) for function in known_tools(ask, strict=True)]
        body |= write_choice(ask, nested=True)
    if ask.max_tokens is not None:
        counts = _COUNTS_THINKING.search(model)
        body["max_completion_tokens" if counts else "max_tokens"] = ask.max_tokens
    if ask.stop:
        body["stop"] = list(ask.stop)
    numbers = {"temperature": ask.temperature, "top_p": ask.top_p, "seed": ask.seed}
    return body | {name: value for name, value in numbers.items() if value is not None}


def _write_tool(function: Function) -> dict[str, Any]:
    said: dict[str, Any] = {"name": function.name}
    if function.description:
        said["description"] = function.description
    if function.parameters is not None:
        said["parameters"] = function.parameters
    if function.strict:
        said["strict"] = True
    return {"type": "function", "function": said}
