"""Anthropic Messages: the request in nobody's words, and back."""

from __future__ import annotations

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
    object_of,
    refuse,
    stops_of,
    text_of_object,
    texts_of,
    whole,
)
from unbroken.core.dialects.payloads import record, string
from unbroken.core.request import Request

__all__ = ["MAX_TOKENS", "read_messages", "write_messages"]

MAX_TOKENS = 4096
"""What the API is asked for where nobody said how much: it must be told."""

_BODY = Fields(
    known=frozenset(
        {
            "max_tokens", "messages", "model", "stop_sequences", "stream", "system",
            "temperature", "tool_choice", "tools", "top_p",
        }
    ),
    harmless=frozenset({"cache_control", "metadata", "service_tier"}),
    only={"mcp_servers": ([],), "thinking": ({"type": "disabled"},)},
)  # fmt: skip
_KINDS = frozenset({"text"})
_TEXT = Fields(
    known=frozenset({"type", "text"}),
    harmless=frozenset({"cache_control"}),
    only={"citations": ([],)},
)
_MESSAGE = Fields(known=frozenset({"role", "content"}))
_CALL = Fields(
    known=frozenset({"type", "id", "name", "input"}),
    harmless=frozenset({"cache_control"}),
    only={"caller": ({"type": "direct"},)},
)
# That a result is an error is said in its text as well, and only here in a field too.
_RESULT = Fields(
    known=frozenset({"type", "tool_use_id", "content"}),
    harmless=frozenset({"cache_control", "is_error"}),
)
_FUNCTION = Fields(
    known=frozenset({"name", "description", "input_schema", "strict"}),
    harmless=frozenset({"cache_control", "eager_input_streaming"}),
    only={"type": ("custom",)},
)
_CHOICE = Fields(known=frozenset({"type", "name", "disable_parallel_tool_use"}))
_CHOICES: dict[str, Literal["auto", "none", "required"]] = {
    "auto": "auto", "none": "none", "any": "required", "tool": "required",
}  # fmt: skip


def read_messages(request: Request) -> Ask:
    """Return what a request asks.

    Raises:
        Unsaid: If it cannot be said in other words.
    """
    body = _BODY.check(request.json)
    talk = Conversation()
    talk.instruct(texts_of(body.get("system"), kinds=_KINDS, part=_TEXT))
    messages = body.get("messages")
    if not isinstance(messages, list):
        refuse("messages is not a list")
    for message in messages:
        _read_message(_MESSAGE.check(message, "a message"), talk)
    choice: Literal["auto", "none", "required"] | None = None
    only, parallel = "", None
    if "tool_choice" in body:
        chosen = _CHOICE.check(body["tool_choice"], "tool_choice")
        kind = string(chosen.get("type"))
        if kind not in _CHOICES:
            refuse("tool_choice is not a plain one")
        choice, only = _CHOICES[kind], string(chosen.get("name"))
        one = chosen.get("disable_parallel_tool_use")
        parallel = not one if isinstance(one, bool) else None
    return Ask(
        system=tuple(talk.system),
        turns=talk.checked(),
        tools=functions_of(body.get("tools"), _read_tool),
        tool_choice=choice,
        only_tool=only,
        parallel_calls=parallel,
        max_tokens=whole(body, "max_tokens"),
        temperature=decimal(body, "temperature"),
        top_p=decimal(body, "top_p"),
        stop=stops_of(body.get("stop_sequences")),
    )


def _read_message(message: dict[str, Any], talk: Conversation) -> None:
    role, content = message.get("role"), message.get("content")
    if role not in ("user", "assistant"):
        refuse("a message has an unknown role")
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not isinstance(blocks, list):
        refuse("a message has content of an unknown shape")
    texts: list[str] = []
    results = called = False
    for block in blocks:
        kind = record(block).get("type")
        if kind == "tool_result" and role == "user" and not texts:
            _RESULT.check(block, "a tool result")
            said = texts_of(block.get("content"), kinds=_KINDS, part=_TEXT)
            talk.answer(string(block.get("tool_use_id")) or "?", "", "\n".join(said))
            results = True
        elif kind == "tool_use" and role == "assistant":
            _CALL.check(block, "a tool call")
            talk.say("assistant", tuple(texts))
            texts, called = [], True
            arguments = text_of_object(block.get("input"))
            talk.call(string(block.get("id")), string(block.get("name")), arguments)
        elif kind in ("thinking", "redacted_thinking") and role == "assistant":
            continue  # belongs to the model that thought it
        elif called:
            refuse("text follows a tool call in one turn")
        else:
            texts += texts_of([block], kinds=_KINDS, part=_TEXT)
    if results:
        talk.add_text(tuple(texts))
    else:
        talk.say(role, tuple(texts))


def _read_tool(tool: dict[str, Any]) -> list[Function]:
    if tool.get("type") not in (None, "custom"):
        refuse("a tool is not a plain function")
    return [function_of(_FUNCTION.check(tool, "a tool"), "input_schema")]


def write_messages(ask: Ask, model: str) -> dict[str, Any]:
    """Return the body of a streamed request.

    Raises:
        Unsaid: If the dialect has no words for a part of it.
    """
    if ask.temperature is not None and ask.temperature > 1:
        refuse("a temperature above 1 cannot be said in anthropic-messages")
    most = MAX_TOKENS if ask.max_tokens is None else ask.max_tokens
    body: dict[str, Any] = {"model": model, "max_tokens": most, "stream": True}
    if ask.system:
        body["system"] = [{"type": "text", "text": text} for text in ask.system]
    body["messages"] = [
        {
            "role": turn.role,
            "content": [
                *(
                    {"type": "tool_result", "tool_use_id": result.id, "content": result.text}
                    for result in turn.results
                ),
                *({"type": "text", "text": text} for text in turn.texts),
                *(
                    {
                        "type": "tool_use",
                        "id": call.id,
                        "name": call.name,
                        "input": object_of(call.arguments),
                    }
                    for call in turn.calls
                ),
            ],
        }
        for turn in ask.turns
    ]
    if ask.tools:
        body["tools"] = [_write_tool(function) for function in known_tools(ask)]
        _write_choice(ask, body)
    if ask.stop:
        body["stop_sequences"] = list(ask.stop)
    numbers = {"temperature": ask.temperature, "top_p": ask.top_p}
    return body | {name: value for name, value in numbers.items() if value is not None}


def _write_choice(ask: Ask, body: dict[str, Any]) -> None:
    words = {"auto": "auto", "none": "none", "required": "any", None: "auto"}
    choice: dict[str, Any] = {"type": words[ask.tool_choice]}
    if ask.only_tool:
        choice = {"type": "tool", "name": ask.only_tool}
    if ask.parallel_calls is not None and choice["type"] != "none":
        choice["disable_parallel_tool_use"] = not ask.parallel_calls
    if ask.tool_choice is not None or "disable_parallel_tool_use" in choice:
        body["tool_choice"] = choice


def _write_tool(function: Function) -> dict[str, Any]:
    schema = function.parameters or {"type": "object", "properties": {}}
    said: dict[str, Any] = {"name": function.name, "input_schema": schema}
    if function.description:
        said["description"] = function.description
    return said
