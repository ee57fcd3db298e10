"""Requests in every dialect, as small as they can be, with what tests change of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from unbroken.lab.model import Asked, read_request

MODEL = "lab/cut@50%+stall@3s,cut.rst*2;tokens=12;id=a-1"
HELLO = "Say something long."

# Of a path, `{model}` is quoted as the vendor's SDK does it.
_SEGMENT = quote(MODEL, safe="/,;=@+*")
_LABEL = quote(MODEL, safe="")
PATHS = {
    "openai-chat": "/v1/chat/completions",
    "openai-responses": "/v1/responses",
    "anthropic-messages": "/v1/messages",
    "gemini": f"/v1beta/models/{_SEGMENT}:streamGenerateContent?alt=sse",
    "gemini-array": f"/v1beta/models/{_SEGMENT}:streamGenerateContent",
    "ollama": "/api/chat",
    "ollama generate": "/api/generate",
    "openai-completions": "/v1/completions",
    "cohere": "/v2/chat",
    "bedrock-converse": f"/model/{_LABEL}/converse-stream",
    "bedrock-invoke": f"/model/{_LABEL}/invoke-with-response-stream",
    "gemini-interactions": "/v1beta/interactions",
    "openai-assistants": "/v1/threads/thread_1/runs",
}
WHOLE_PATHS = {
    "gemini": f"/v1beta/models/{_SEGMENT}:generateContent",
    "bedrock-converse": f"/model/{_LABEL}/converse",
    "bedrock-invoke": f"/model/{_LABEL}/invoke",
}
WAYS = tuple(PATHS)
PREFILLED = tuple(way for way in WAYS if way not in ("openai-assistants", "ollama generate"))
SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}}


def dialect_of(way: str) -> str:
    return way.split(maxsplit=1)[0]


def body_of(way: str, *turns: tuple[str, str], stream: bool = True) -> dict[str, Any]:
    """Return the body of a request; the turns are (role, text), by default one question."""
    turns = turns or (("user", HELLO),)
    messages: list[dict[str, Any]] = [{"role": role, "content": text} for role, text in turns]
    parts = [{"role": role, "content": [{"text": text}]} for role, text in turns]
    match way:
        case "openai-chat":
            return {"model": MODEL, "messages": messages, "stream": stream}
        case "anthropic-messages":
            return {"model": MODEL, "messages": messages, "max_tokens": 10_000, "stream": stream}
        case "openai-responses":
            return {"model": MODEL, "input": messages, "stream": stream}
        case "gemini" | "gemini-array":
            roles = {"assistant": "model"}
            contents = [{"role": roles.get(r, r), "parts": [{"text": t}]} for r, t in turns]
            return {"contents": contents}
        case "ollama":
            return {"model": MODEL, "messages": messages, "stream": stream}
        case "ollama generate":
            return {"model": MODEL, "prompt": turns[-1][1], "stream": stream}
        case "openai-completions":
            prompt = "\n\n".join(text for _, text in turns)
            return {"model": MODEL, "prompt": prompt, "stream": stream}
        case "cohere":
            return {"model": MODEL, "messages": messages, "stream": stream}
        case "bedrock-converse":
            return {"messages": parts}
        case "bedrock-invoke":
            version = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 10_000}
            return {**version, "messages": messages}
        case "gemini-interactions":
            types = {"user": "user_input", "assistant": "model_output"}
            steps = [{"type": types[r], "content": [{"type": "text", "text": t}]} for r, t in turns]
            return {"model": MODEL, "input": steps, "stream": stream}
        case "openai-assistants":
            more = {"additional_messages": messages}
            return {"model": MODEL, "assistant_id": "asst_1", "stream": stream, **more}
    raise AssertionError(way)


def offered(way: str, name: str = "note") -> dict[str, Any]:
    """Return the fields that offer one function."""
    function = {"name": name, "description": "", "parameters": SCHEMA}
    match way:
        case "anthropic-messages" | "bedrock-invoke":
            return {"tools": [{"name": name, "input_schema": SCHEMA}]}
        case "openai-responses" | "gemini-interactions":
            return {"tools": [{"type": "function", **function}]}
        case "gemini" | "gemini-array":
            return {"tools": [{"functionDeclarations": [function]}]}
        case "bedrock-converse":
            spec = {"name": name, "inputSchema": {"json": SCHEMA}}
            return {"toolConfig": {"tools": [{"toolSpec": spec}]}}
        case _:
            return {"tools": [{"type": "function", "function": function}]}


def limited(way: str, most: int) -> dict[str, Any]:
    """Return the fields that limit the answer."""
    match way:
        case "openai-responses":
            return {"max_output_tokens": most}
        case "gemini" | "gemini-array":
            return {"generationConfig": {"maxOutputTokens": most}}
        case "ollama" | "ollama generate":
            return {"options": {"num_predict": most}}
        case "bedrock-converse":
            return {"inferenceConfig": {"maxTokens": most}}
        case "gemini-interactions":
            return {"generation_config": {"max_output_tokens": most}}
        case "openai-assistants":
            return {"max_completion_tokens": most}
        case _:
            return {"max_tokens": most}


def ask(
    way: str,
    *turns: tuple[str, str],
    stream: bool = True,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Asked:
    path = PATHS[way] if stream else WHOLE_PATHS.get(way, PATHS[way])
    body = {**body_of(way, *turns, stream=stream), **more}
    asked = read_request("POST", path, headers or {}, json.dumps(body).encode())
    assert isinstance(asked, Asked), asked
    return asked
