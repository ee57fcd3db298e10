"""Gemini: the request in nobody's words, and back."""

from __future__ import annotations

import re
from typing import Any, Literal

from unbroken.core.dialects.ask import (
    Ask,
    Conversation,
    Fields,
    Function,
    decimal,
    functions_of,
    known_tools,
    object_of,
    refuse,
    stops_of,
    whole,
)
from unbroken.core.dialects.payloads import dump, record, string, strings
from unbroken.core.request import Request

__all__ = ["UNSIGNED", "read_gemini", "write_gemini"]

UNSIGNED = "skip_thought_signature_validator"
"""Stands for the signature of a call that another model made: Gemini 3 refuses a call without
one, and takes this (ai.google.dev/gemini-api/docs/thought-signatures)."""

_BODY = Fields(
    known=frozenset(
        {"contents", "generationConfig", "model", "systemInstruction", "toolConfig", "tools"}
    ),
    harmless=frozenset({"labels", "serviceTier"}),
    only={"safetySettings": ([],), "store": (False,)},
)
_CONFIG = Fields(
    known=frozenset({"maxOutputTokens", "seed", "stopSequences", "temperature", "topP"}),
    only={
        "candidateCount": (1,),
        "frequencyPenalty": (0, 0.0),
        "presencePenalty": (0, 0.0),
        "responseLogprobs": (False,),
        "responseMimeType": ("", "text/plain"),
        "responseModalities": (["TEXT"],),
        "thinkingConfig": ({}, {"includeThoughts": True}, {"includeThoughts": False}),
    },
)
_CONTENT = Fields(known=frozenset({"role", "parts"}))
_TEXT = Fields(known=frozenset({"text"}), harmless=frozenset({"thoughtSignature"}))
_CALLING = Fields(known=frozenset({"functionCall"}), harmless=frozenset({"thoughtSignature"}))
_CALL = Fields(known=frozenset({"id", "name", "args"}))
_ANSWERING = Fields(known=frozenset({"functionResponse"}))
_RESULT = Fields(known=frozenset({"id", "name", "response"}))
_TOOL = Fields(known=frozenset({"functionDeclarations"}))
_FUNCTION = Fields(known=frozenset({"name", "description", "parameters", "parametersJsonSchema"}))
_CHOOSING = Fields(known=frozenset({"functionCallingConfig"}))
_CHOICE = Fields(known=frozenset({"mode", "allowedFunctionNames"}))
_CHOICES: dict[str, Literal["auto", "none", "required"]] = {
    "AUTO": "auto", "NONE": "none", "ANY": "required",
}  # fmt: skip
# What Gemini's own schemas share with JSON schema; of the rest it is not known.
_ALIKE = frozenset(
    {
        "default", "description", "enum", "format", "maximum", "minimum", "pattern", "required",
        "title",
    }
)  # fmt: skip
_UNDERSCORE = re.compile(r"_([a-z])")


def read_gemini(request: Request) -> Ask:
    """Return what a request asks.

    Raises:
        Unsaid: If it cannot be said in other words.
    """
    body = _BODY.check(_camel(request.json))
    talk = Conversation()
    if "systemInstruction" in body:
        content = body["systemInstruction"]
        parts = [{"text": content}] if isinstance(content, str) else _parts(content)
        talk.instruct(tuple(_text(part) for part in parts))
    contents = body.get("contents")
    if not isinstance(contents, list):
        refuse("contents is not a list")
    for content in contents:
        _read_content(content, talk)
    config = _CONFIG.check(_camel(body.get("generationConfig", {})), "generationConfig")
    choice, only = _read_choice(body.get("toolConfig"))
    return Ask(
        system=tuple(talk.system),
        turns=talk.checked(),
        tools=functions_of(body.get("tools"), _read_tool),
        tool_choice=choice,
        only_tool=only,
        max_tokens=whole(config, "maxOutputTokens"),
        temperature=decimal(config, "temperature"),
        top_p=decimal(config, "topP"),
        stop=stops_of(config.get("stopSequences")),
        seed=whole(config, "seed"),
    )


def _camel(source: object) -> dict[str, Any]:
    """Return an object with its own names in the one of the two spellings that the API takes."""
    if not isinstance(source, dict):
        refuse("a part of the request is not an object")
    return {
        _UNDERSCORE.sub(lambda found: found[1].upper(), name): value
        for name, value in source.items()
    }


def _parts(content: object) -> list[dict[str, Any]]:
    parts = _CONTENT.check(content, "a content").get("parts")
    if not isinstance(parts, list):
        refuse("a content has no list of parts")
    return [_camel(part) for part in parts]


def _text(part: dict[str, Any]) -> str:
    if not isinstance(part.get("text"), str):
        refuse("a content holds something other than text")
    return string(_TEXT.check(part, "a part of text")["text"])


def _read_content(content: object, talk: Conversation) -> None:
    role = record(content).get("role", "user")
    if role not in ("user", "model", "function"):
        refuse("a content has an unknown role")
    texts: list[str] = []
    results = called = False
    for part in _parts(content):
        if part.get("thought"):
            continue  # belongs to the model that thought it
        if "functionCall" in part and role == "model":
            call = _CALL.check(_CALLING.check(part, "a part")["functionCall"], "a call")
            talk.say("assistant", tuple(texts))
            texts, called = [], True
            arguments = dump(record(call.get("args"))).decode()
            talk.call(string(call.get("id")), string(call.get("name")), arguments)
        elif "functionResponse" in part and role != "model" and not texts:
            result = _RESULT.check(_ANSWERING.check(part, "a part")["functionResponse"], "a result")
            said = record(result.get("response"))
            alone = said.get("output") if said.keys() == {"output"} else None
            text = alone if isinstance(alone, str) else dump(said).decode()
            talk.answer(string(result.get("id")), string(result.get("name")), text)
            results = True
        elif called and part != {"text": ""}:
            refuse("text follows a tool call in one turn")
        else:
            texts.append(_text(part))
    if results:
        talk.add_text(tuple(texts))
    else:
        talk.say("assistant" if role == "model" else "user", tuple(texts))


def _read_tool(tool: dict[str, Any]) -> list[Function]:
    declared = _TOOL.check(_camel(tool), "a tool").get("functionDeclarations")
    found: list[Function] = []
    for each in declared if isinstance(declared, list) else ():
        function = _FUNCTION.check(_camel(each), "a function")
        schema = function.get("parametersJsonSchema")
        if schema is None and "parameters" in function:
            schema = _json_schema(function["parameters"])
        if schema is not None and not isinstance(schema, dict):
            refuse("the parameters of a tool are not a schema")
        name, description = string(function.get("name")), string(function.get("description"))
        found.append(Function(name=name, description=description, parameters=schema))
    return found


def _json_schema(schema: object) -> dict[str, Any]:
    """Return a JSON schema for one in Gemini's own form, with its types in capitals."""
    out: dict[str, Any] = {}
    for name, value in _camel(schema).items():
        if name == "type":
            out["type"] = string(value).lower()
        elif name == "items":
            out[name] = _json_schema(value)
        elif name == "properties":
            out[name] = {key: _json_schema(each) for key, each in record(value).items()}
        elif name == "anyOf" and isinstance(value, list):
            out[name] = [_json_schema(each) for each in value]
        elif name in _ALIKE:
            out[name] = value
        elif name not in ("nullable", "propertyOrdering"):
            refuse("a schema says more than can be said in JSON schema")
    if record(schema).get("nullable") and "type" in out:
        out["type"] = [out["type"], "null"]
    return out


def _read_choice(config: object) -> tuple[Literal["auto", "none", "required"] | None, str]:
    if config is None:
        return None, ""
    chosen = _CHOOSING.check(_camel(config), "toolConfig").get("functionCallingConfig")
    if chosen is None:
        return None, ""
    calling = _CHOICE.check(_camel(chosen), "functionCallingConfig")
    mode = _CHOICES.get(string(calling.get("mode")).upper())
    names = strings(calling.get("allowedFunctionNames"))
    if mode is None or (names and (mode != "required" or len(names) != 1)):
        refuse("functionCallingConfig is not a plain one")
    return mode, names[0] if names else ""


def write_gemini(ask: Ask, model: str) -> dict[str, Any]:
    """Return the body of a request; its URL names the model, and asks for a stream.

    Raises:
        Unsaid: If the dialect has no words for a part of it.
    """
    body: dict[str, Any] = {
        "contents": [
            {
                "role": "model" if turn.role == "assistant" else "user",
                "parts": [
                    *(
                        {
                            "functionResponse": {
                                "id": result.id,
                                "name": result.name,
                                "response": {"output": result.text},
                            }
                        }
                        for result in turn.results
                    ),
                    *({"text": text} for text in turn.texts),
                    *(
                        {
                            "functionCall": {
                                "id": call.id,
                                "name": call.name,
                                "args": object_of(call.arguments),
                            },
                            "thoughtSignature": UNSIGNED,
                        }
                        for call in turn.calls
                    ),
                ],
            }
            for turn in ask.turns
        ]
    }
    if ask.system:
        body["systemInstruction"] = {"parts": [{"text": text} for text in ask.system]}
    if ask.tools:
        if ask.parallel_calls is False:
            refuse("one tool call at a time cannot be asked for in gemini")
        body["tools"] = [{"functionDeclarations": [_write_tool(f) for f in known_tools(ask)]}]
        if ask.tool_choice is not None:
            modes = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
            calling: dict[str, Any] = {"mode": modes[ask.tool_choice]}
            if ask.only_tool:
                calling["allowedFunctionNames"] = [ask.only_tool]
            body["toolConfig"] = {"functionCallingConfig": calling}
    config: dict[str, Any] = {
        "maxOutputTokens": ask.max_tokens,
        "temperature": ask.temperature,
        "topP": ask.top_p,
        "stopSequences": list(ask.stop) or None,
        "seed": ask.seed,
    }
    if config := {name: value for name, value in config.items() if value is not None}:
        body["generationConfig"] = config
    return body


def _write_tool(function: Function) -> dict[str, Any]:
    said: dict[str, Any] = {"name": function.name}
    if function.description:
        said["description"] = function.description
    if function.parameters is not None:
        said["parametersJsonSchema"] = function.parameters
    return said
