"""Build the request of a stream without an SDK: one row of a table for each dialect.

Where a request goes and how it carries its key is the dialect's; here is what the environment
says of it, and how messages are put into a body. What a message or a further field holds is
not looked at: it may be whatever the provider takes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import urlsplit

import msgspec

from unbroken.core.dialects import by_name, recognise_request
from unbroken.core.dialects.anthropic_messages.ask import MAX_TOKENS
from unbroken.core.dialects.base import Dialect
from unbroken.core.request import Request

__all__ = ["ask", "ask_url"]

Messages = str | Sequence[Mapping[str, Any]]
Headers = Mapping[str, str] | Iterable[tuple[str, str]]

_SYSTEM = ("system", "developer")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Service:
    """Where one dialect is asked, and how messages become a body.

    Attributes:
        base_url: Where its provider is.
        base_variable: The environment variable by which the vendor's SDK is told otherwise.
        key_variables: Those that hold the key; the first that is set counts.
        body: Returns the body, from model, messages and further fields.
    """

    base_url: str
    base_variable: str
    key_variables: tuple[str, ...]
    body: Callable[[str, list[dict[str, Any]], dict[str, Any]], dict[str, Any]]


def ask(
    messages: Messages,
    *,
    model: str,
    dialect: str,
    base_url: str | None = None,
    api_key: str | None = None,
    headers: Headers | None = None,
    body: Mapping[str, Any] | None = None,
    client_headers: Mapping[str, str] | None = None,
) -> tuple[Request, Dialect]:
    """Return the request for an answer to messages, and the dialect that it speaks.

    Args:
        messages: ``[{"role": ..., "content": ...}]`` as OpenAI's chat API has them, for every
            dialect; or one string, the user's.
        model: The model.
        dialect: A dialect's name.
        base_url: Where the API is; None asks the variable of the vendor's SDK, then takes
            the vendor's own address.
        api_key: None asks the environment as the vendor's SDK does; without one none is sent.
        headers: Further headers; they win over ours.
        body: Further fields of the body, in the provider's words; they win too.
        client_headers: What the HTTP client sends by itself: it is not overridden.

    Raises:
        TypeError: If the model or a message is not what it must be.
        ValueError: If there is no such dialect, or a message does not fit into it.
    """
    found = by_name(dialect)
    service = _SERVICES.get(found.name)
    if service is None:
        msg = f"messages cannot be sent to {found.name}; give url= and json= instead"
        raise ValueError(msg)
    if not model:
        msg = "messages need a model: stream(messages=..., model=...)"
        raise TypeError(msg)
    base = base_url or os.environ.get(service.base_variable) or service.base_url
    if "://" not in base and found.name != "ollama":
        msg = f"base_url must be an absolute URL such as https://{base}, not {base!r:.80}"
        raise ValueError(msg)
    if "://" not in base:  # OLLAMA_HOST may be a bare host
        base = f"http://{base}" if ":" in base else f"http://{base}:11434"
    own = dict(client_headers or {})
    if api_key is None and not found.key_headers("").keys() & {name.lower() for name in own}:
        names = service.key_variables
        api_key = next((os.environ[name] for name in names if os.environ.get(name)), None)
    url = found.url_for(base, model)
    content = service.body(model, _messages(messages), dict(body or {}))
    return _request(url, content, found, api_key, headers, own), found


def ask_url(
    url: str,
    *,
    json: Any,
    dialect: str | None = None,
    api_key: str | None = None,
    headers: Headers | None = None,
    client_headers: Mapping[str, str] | None = None,
) -> tuple[Request, Dialect]:
    """Return a request that the caller wrote, with streaming turned on.

    No key is taken from the environment here: it could be meant for another host.

    Args:
        url: The whole URL.
        json: The body.
        dialect: A dialect's name; None tells it from the URL.
        api_key: Sent as the dialect has it; or put it into ``headers``.
        headers: Further headers; they win over ours.
        client_headers: What the HTTP client sends by itself: it is not overridden.

    Raises:
        TypeError: If the body is not an object.
        ValueError: If the dialect is not told and not recognised, or streaming is off.
    """
    if not isinstance(json, Mapping):
        msg = f"json must be an object, not {type(json).__name__}"
        raise TypeError(msg)
    body = dict(json)
    parts = urlsplit(url)
    is_gemini = dialect == "gemini" or parts.path.endswith(":streamGenerateContent")
    if is_gemini:
        if "alt=" not in parts.query:
            url += ("&" if parts.query else "?") + "alt=sse"
    elif body.setdefault("stream", True) is not True:
        msg = "json['stream'] is off, and this is for streams"
        raise ValueError(msg)
    bare = Request(method="POST", url=url, body=b'{"stream":true}')
    found = by_name(dialect) if dialect is not None else recognise_request(bare)
    if found is None:
        msg = f"no dialect is recognised in the path {parts.path!r}; name one with dialect="
        raise ValueError(msg)
    return _request(url, body, found, api_key, headers, dict(client_headers or {})), found


def _request(
    url: str,
    body: dict[str, Any],
    dialect: Dialect,
    api_key: str | None,
    headers: Headers | None,
    client_headers: dict[str, str],
) -> Request:
    ours = {
        "content-type": "application/json",
        "accept": ", ".join(dialect.content_types),
        # A compressed body is held back by whoever compresses it.
        "accept-encoding": "identity",
        **dialect.headers,
    }
    if not client_headers:
        ours["user-agent"] = f"unbroken/{_version()}"
    if api_key:
        ours |= dialect.key_headers(api_key.strip())  # pasted keys end in a line end
    given = list(headers.items() if isinstance(headers, Mapping) else headers or ())
    replaced = {name.lower() for name, _ in given}
    pairs = [(name, value) for name, value in ours.items() if name not in replaced] + given
    for name, value in pairs:
        if not value.isprintable() or not name.isprintable():
            # The HTTP library's error would quote the value, which may be a key.
            msg = f"the header {name!r} holds a character that cannot be sent (a line end?)"
            raise ValueError(msg)
    content = msgspec.json.encode(body)
    return Request(method="POST", url=url, headers=tuple(pairs), body=content)


def _version() -> str:
    try:
        return version("unbroken")
    except PackageNotFoundError:
        return "0"


def _messages(messages: Messages) -> list[dict[str, Any]]:
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    found = [dict(message) for message in messages]
    if not found:
        msg = "messages is empty"
        raise ValueError(msg)
    return found


def _parted(messages: list[dict[str, Any]]) -> tuple[list[Any], list[dict[str, Any]]]:
    """Return the contents of the system's messages, and the messages of the others."""
    system = [m.get("content") for m in messages if m.get("role") in _SYSTEM]
    return system, [m for m in messages if m.get("role") not in _SYSTEM]


# OpenAI -----------------------------------------------------------------------------------


def _chat_body(model: str, messages: list[dict[str, Any]], more: dict[str, Any]) -> dict[str, Any]:
    return {"model": model, "messages": messages, **more, "stream": True}


def _responses_body(
    model: str, messages: list[dict[str, Any]], more: dict[str, Any]
) -> dict[str, Any]:
    body: dict[str, Any] = {"model": model, "input": [_input_item(m) for m in messages]}
    if not more.keys() & {"previous_response_id", "conversation", "background"}:
        # Nothing comes back by its id here, and an answer that the provider keeps under one
        # cannot be continued in another.
        body["store"] = False
    return {**body, **more, "stream": True}


def _input_item(message: dict[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    if not isinstance(content, list):
        return message
    kind = "output_text" if message.get("role") == "assistant" else "input_text"
    parts = [
        {**part, "type": kind} if isinstance(part, Mapping) and part.get("type") == "text" else part
        for part in content
    ]
    return {**message, "content": parts}


# Anthropic --------------------------------------------------------------------------------


def _anthropic_body(
    model: str, messages: list[dict[str, Any]], more: dict[str, Any]
) -> dict[str, Any]:
    system, turns = _parted(messages)
    body: dict[str, Any] = {"model": model, "max_tokens": MAX_TOKENS, "messages": turns}
    given = more.pop("system", None)
    contents = [content for content in (*system, given) if content]
    if all(isinstance(content, str) for content in contents):
        if contents:
            body["system"] = "\n\n".join(contents)
    else:
        body["system"] = [
            block
            for content in contents
            for block in (
                [{"type": "text", "text": content}] if isinstance(content, str) else content
            )
        ]
    return {**body, **more, "stream": True}


# Gemini -----------------------------------------------------------------------------------


def _gemini_body(
    model: str, messages: list[dict[str, Any]], more: dict[str, Any]
) -> dict[str, Any]:
    system, turns = _parted(messages)
    contents = [
        {
            "role": "model" if turn.get("role") in ("assistant", "model") else "user",
            "parts": turn["parts"] if "parts" in turn else _gemini_parts(turn.get("content")),
        }
        for turn in turns
    ]
    body: dict[str, Any] = {"contents": contents}
    if system:
        parts = [part for content in system for part in _gemini_parts(content)]
        body["systemInstruction"] = {"parts": parts}
    return {**body, **more}


def _gemini_parts(content: Any) -> list[dict[str, Any]]:
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    texts = [
        {"text": part["text"]}
        for part in parts or ()
        if isinstance(part, Mapping) and part.get("type", "text") == "text" and "text" in part
    ]
    if not parts or len(texts) != len(parts):
        msg = "a message for gemini holds text; give anything else as its own `parts`"
        raise ValueError(msg)
    return texts


_SERVICES: dict[str, _Service] = {
    "openai-chat": _Service(
        base_url="https://api.openai.com/v1",
        base_variable="OPENAI_BASE_URL",
        key_variables=("OPENAI_API_KEY",),
        body=_chat_body,
    ),
    "openai-responses": _Service(
        base_url="https://api.openai.com/v1",
        base_variable="OPENAI_BASE_URL",
        key_variables=("OPENAI_API_KEY",),
        body=_responses_body,
    ),
    "anthropic-messages": _Service(
        base_url="https://api.anthropic.com",
        base_variable="ANTHROPIC_BASE_URL",
        key_variables=("ANTHROPIC_API_KEY",),
        body=_anthropic_body,
    ),
    "gemini": _Service(
        base_url="https://generativelanguage.googleapis.com",
        base_variable="GOOGLE_GEMINI_BASE_URL",
        key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        body=_gemini_body,
    ),
    "ollama": _Service(
        base_url="http://127.0.0.1:11434",
        base_variable="OLLAMA_HOST",
        key_variables=("OLLAMA_API_KEY",),
        body=_chat_body,
    ),
}
