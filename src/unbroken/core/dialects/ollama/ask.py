"""Ollama's chat: the request in nobody's words, and back."""

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
    object_of,
    refuse,
    stops_of,
    text_of_object,
    whole,
)
from unbroken.core.dialects.payloads import record, string
from unbroken.core.request import Request

__all__ = ["read_ollama", "write_ollama"]

_BODY = Fields(
    known=frozenset({"messages", "model", "options", "stream", "tools"}),
    harmless=frozenset({"keep_alive"}),
    only={"format": ("",), "logprobs": (False,), "think": (False,), "top_logprobs": (0,)},
)
_OPTIONS = Fields(
    known=frozenset({"num_predict", "seed", "stop", "temperature", "top_p"}),
    # how the server's own machine is used
    harmless=frozenset(
        {"low_vram", "main_gpu", "num_batch", "num_ctx", "num_gpu", "num_thread", "use_mmap"}
    ),
)
_MESSAGE = Fields(known=frozenset({"role", "content"}), only={"images": ([],)})
_ASSISTANT = Fields(
    known=frozenset({"role", "content", "tool_calls"}),
    harmless=frozenset({"thinking"}),
    only={"images": ([],)},
)
_TOOL = Fields(known=frozenset({"role", "content", "tool_name", "tool_call_id"}))
_CALL = Fields(known=frozenset({"id", "type", "function"}))
_CALLED = Fields(known=frozenset({"name", "arguments"}), harmless=frozenset({"index"}))
_FUNCTION = Fields(known=frozenset({"name", "description", "parameters"}))


def read_ollama(request: Request) -> Ask:
    """Return what a request to ``/api/chat`` asks.

    Raises:
        Unsaid: If it cannot be said in other words.
    """
    if request.path.rstrip("/").endswith("/generate"):
        refuse("a request to /api/generate is written in the model's own template")
    body = _BODY.check(request.json)
    talk = Conversation()
    messages = body.get("messages")
    if not isinstance(messages, list):
        refuse("messages is not a list")
    for message in messages:
        _read_message(record(message), talk)
    options = _OPTIONS.check(body.get("options", {}), "options")
    most, seed = whole(options, "num_predict"), whole(options, "seed")
    return Ask(
        system=tuple(talk.system),
        turns=talk.checked(),
        tools=functions_of(body.get("tools"), _read_tool),
        max_tokens=None if most is None or most < 0 else most,  # -1: without end
        temperature=decimal(options, "temperature"),
        top_p=decimal(options, "top_p"),
        stop=stops_of(options.get("stop")),
        seed=None if seed is None or seed < 0 else seed,
    )


def _read_message(message: dict[str, Any], talk: Conversation) -> None:
    role = message.get("role")
    content = message.get("content") or ""
    if not isinstance(content, str):
        refuse("a message has content of an unknown shape")
    if role == "system":
        _MESSAGE.check(message, "a message")
        talk.instruct((content,))
    elif role == "user":
        _MESSAGE.check(message, "a message")
        talk.say("user", (content,))
    elif role == "tool":
        _TOOL.check(message, "a message")
        id_, name = string(message.get("tool_call_id")), string(message.get("tool_name"))
        talk.answer(id_, name, content)
    elif role == "assistant":
        _ASSISTANT.check(message, "a message")
        talk.say("assistant", (content,))
        calls = message.get("tool_calls") or []
        for call in calls if isinstance(calls, list) else [calls]:
            function = _CALLED.check(_CALL.check(call, "a tool call").get("function"), "a call")
            arguments = text_of_object(function.get("arguments"))
            talk.call(string(call.get("id")), string(function.get("name")), arguments)
    else:
        refuse("a message has an unknown role")


def _read_tool(tool: dict[str, Any]) -> list[Function]:
    if tool.get("type") != "function" or tool.keys() - {"type", "function"}:
        refuse("a tool is not a plain function")
    return [function_of(_FUNCTION.check(tool.get("function"), "a tool"), "parameters")]


def write_ollama(ask: Ask, model: str) -> dict[str, Any]:
    """Return the body of a streamed request.

    Raises:
        Unsaid: If the dialect has no words for a part of it.
    """
    messages: list[dict[str, Any]] = [{"role": "system", "content": text} for text in ask.system]
    for turn in ask.turns:
        for result in turn.results:
            named = {"tool_name": result.name, "tool_call_id": result.id}
            messages.append({"role": "tool", "content": result.text, **named})
        if not turn.texts and not turn.calls:
            continue
        message: dict[str, Any] = {"role": turn.role, "content": "\n\n".join(turn.texts)}
        if turn.calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "function": {"name": call.name, "arguments": object_of(call.arguments)},
                }
                for call in turn.calls
            ]
        messages.append(message)
    body: dict[str, Any] = {"model": model, "messages": messages, "stream": True}
    if ask.tools and ask.tool_choice != "none":
        if ask.tool_choice == "required" or ask.parallel_calls is False:
            refuse("a tool choice cannot be said in ollama")
        body["tools"] = [_write_tool(function) for function in known_tools(ask)]
    options: dict[str, Any] = {
        "num_predict": ask.max_tokens,
        "temperature": ask.temperature,
        "top_p": ask.top_p,
        "stop": list(ask.stop) or None,
        "seed": ask.seed,
    }
    if options := {name: value for name, value in options.items() if value is not None}:
        body["options"] = options
    return body


def _write_tool(function: Function) -> dict[str, Any]:
    said: dict[str, Any] = {"name": function.name}
    if function.description:
        said["description"] = function.description
    said["parameters"] = function.parameters or {"type": "object", "properties": {}}
    return {"type": "function", "function": said}
