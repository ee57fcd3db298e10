"""Responses: the request in nobody's words, and back."""

from __future__ import annotations

from typing import Any

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
    text_of_object,
    texts_of,
    whole,
)
from unbroken.core.dialects.openai_chat.ask import choice_of, write_choice
from unbroken.core.dialects.payloads import record, string
from unbroken.core.request import Request

__all__ = ["read_responses", "write_responses"]

_BODY = Fields(
    known=frozenset(
        {
            "input", "instructions", "max_output_tokens", "model", "parallel_tool_calls",
            "store", "stream", "temperature", "tool_choice", "tools", "top_p",
        }
    ),
    harmless=frozenset(
        {
            "metadata", "prompt_cache_key", "prompt_cache_retention", "safety_identifier",
            "service_tier", "stream_options", "user",
        }
    ),
    only={
        "background": (False,),
        "include": ([],),
        "text": ({}, {"format": {"type": "text"}}),
        "top_logprobs": (0,),
        "truncation": ("disabled",),
    },
)  # fmt: skip
_KINDS = frozenset({"input_text", "output_text"})
_TEXT = Fields(
    known=frozenset({"type", "text"}),
    harmless=frozenset({"logprobs"}),
    only={"annotations": ([],)},
)
_MESSAGE = Fields(
    known=frozenset({"type", "role", "content"}), harmless=frozenset({"id", "status", "phase"})
)
_CALL = Fields(
    known=frozenset({"type", "call_id", "name", "arguments"}), harmless=frozenset({"id", "status"})
)
_OUTPUT = Fields(
    known=frozenset({"type", "call_id", "output"}), harmless=frozenset({"id", "status"})
)
_FUNCTION = Fields(known=frozenset({"type", "name", "description", "parameters", "strict"}))


def read_responses(request: Request) -> Ask:
    """Return what a request asks.

    Raises:
        Unsaid: If it cannot be said in other words.
    """
    body = _BODY.check(request.json)
    if body.get("store") is not False:
        refuse("the provider keeps the answer under an id to send back (store is not false)")
    talk = Conversation()
    talk.instruct(texts_of(body.get("instructions"), kinds=_KINDS, part=_TEXT))
    given = body.get("input")
    if isinstance(given, str):
        talk.say("user", (given,))
    elif not isinstance(given, list):
        refuse("input is neither a text nor a list")
    else:
        for item in given:
            _read_item(record(item), talk)
    choice, only = choice_of(body.get("tool_choice"))
    parallel = body.get("parallel_tool_calls")
    return Ask(
        system=tuple(talk.system),
        turns=talk.checked(),
        tools=functions_of(body.get("tools"), _read_tool),
        tool_choice=choice,
        only_tool=only,
        parallel_calls=parallel if isinstance(parallel, bool) else None,
        max_tokens=whole(body, "max_output_tokens"),
        temperature=decimal(body, "temperature"),
        top_p=decimal(body, "top_p"),
    )


def _read_item(item: dict[str, Any], talk: Conversation) -> None:
    kind = item.get("type", "message")
    if kind == "reasoning":
        return  # belongs to the model that thought it
    if kind == "function_call":
        _CALL.check(item, "a tool call")
        arguments = text_of_object(item.get("arguments") or "{}")
        talk.call(string(item.get("call_id")), string(item.get("name")), arguments)
    elif kind == "function_call_output":
        _OUTPUT.check(item, "a tool result")
        texts = texts_of(item.get("output"), kinds=_KINDS, part=_TEXT)
        talk.answer(string(item.get("call_id")), "", "\n".join(texts))
    elif kind == "message":
        _MESSAGE.check(item, "a message")
        texts = texts_of(item.get("content"), kinds=_KINDS, part=_TEXT)
        match item.get("role"):
            case "system" | "developer":
                talk.instruct(texts)
            case "user":
                talk.say("user", texts)
            case "assistant":
                talk.say("assistant", texts)
            case _:
                refuse("a message has an unknown role")
    else:
        refuse("input holds an item that is neither message nor function call")


def _read_tool(tool: dict[str, Any]) -> list[Function]:
    if tool.get("type") != "function":
        refuse("a tool is not a plain function")
    return [function_of(_FUNCTION.check(tool, "a tool"), "parameters")]


def write_responses(ask: Ask, model: str) -> dict[str, Any]:
    """Return the body of a streamed request; nothing of it is stored.

    Raises:
        Unsaid: If the dialect has no words for a part of it.
    """
    if ask.stop:
        refuse("stop sequences cannot be said in openai-responses")
    items: list[dict[str, Any]] = []
    for turn in ask.turns:
        items += [
            {"type": "function_call_output", "call_id": result.id, "output": result.text}
            for result in turn.results
        ]
        if turn.texts:
            kind = "output_text" if turn.role == "assistant" else "input_text"
            content = [{"type": kind, "text": text} for text in turn.texts]
            items.append({"role": turn.role, "content": content})
        items += [
            {
                "type": "function_call",
                "call_id": call.id,
                "name": call.name,
                "arguments": call.arguments,
            }
            for call in turn.calls
        ]
    body: dict[str, Any] = {"model": model, "input": items, "stream": True, "store": False}
    if len(ask.system) == 1:
        body["instructions"] = ask.system[0]
    elif ask.system:
        content = [{"type": "input_text", "text": text} for text in ask.system]
        body["input"] = [{"role": "developer", "content": content}, *items]
    if ask.tools:
        body["tools"] = [_write_tool(function) for function in known_tools(ask, strict=True)]
        body |= write_choice(ask, nested=False)
    numbers = {
        "max_output_tokens": ask.max_tokens, "temperature": ask.temperature, "top_p": ask.top_p,
    }  # fmt: skip
    return body | {name: value for name, value in numbers.items() if value is not None}


def _write_tool(function: Function) -> dict[str, Any]:
    # Strict is the default here, and would refuse a schema that is not made for it.
    said: dict[str, Any] = {"type": "function", "name": function.name, "strict": function.strict}
    if function.description:
        said["description"] = function.description
    said["parameters"] = function.parameters or {"type": "object", "properties": {}}
    return said
