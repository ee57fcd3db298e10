"""Bytes in each dialect's shape: errors in a stream and over HTTP, pings, deltas of a text.

Shapes are those that providers were seen to send. A variant (``how``) is named after what it
says (``overloaded``) or, where services of one dialect differ, after the service (``vllm``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from unbroken.core.dialects import by_name
from unbroken.lab.framing import (
    compact,
    framed,
    record_of,
    renumbered,
    wire_of,
    with_payload,
)

__all__ = [
    "ERRORS",
    "MESSAGE",
    "comment",
    "content_type",
    "empty_delta",
    "error_body",
    "error_frames",
    "ping",
    "with_text",
]

MESSAGE: Final = "the lab broke this on purpose"
"""What every error of the lab says, so that nobody looks for its cause elsewhere."""

_Frames = Callable[[int], list[bytes]]


def error_frames(dialect: str, how: str = "", *, number: int = 0) -> list[bytes]:
    """Return the frames with which a provider reports a failure inside a stream.

    Args:
        dialect: A name of `unbroken.core.dialects.DIALECTS`.
        how: A key of `ERRORS` for the dialect; ``""`` takes the first.
        number: Number of the first of them, where the dialect counts its frames.

    Raises:
        ValueError: If the dialect has no such error.
    """
    known = ERRORS[dialect]
    if how and how not in known:
        msg = f"{dialect} has no error {how!r} in its streams; it has {', '.join(known)}"
        raise ValueError(msg)
    return known[how or next(iter(known))](number)


def content_type(dialect: str) -> str:
    """Return the content type of a stream."""
    kind = by_name(dialect).content_types[0]
    return f"{kind}; charset=utf-8" if kind == "text/event-stream" else kind


def ping(dialect: str) -> bytes | None:
    """Return an event that says only that the server lives, or None if there is none."""
    if dialect != "anthropic-messages":
        return None
    return framed(dialect, b'{"type":"ping"}', event="ping")


def comment(dialect: str) -> bytes | None:
    """Return bytes that mean nothing between frames, or None if the wire has none."""
    match wire_of(dialect):
        case "sse":
            return b": keep-alive\r\n\r\n" if dialect == "gemini" else b": keep-alive\n\n"
        case "ndjson" | "json-array":
            return b" "
        case _:
            return None


def empty_delta(dialect: str, like: bytes = b"", *, number: int | None = None) -> bytes:
    """Return a content frame without content.

    Args:
        dialect: A name of `unbroken.core.dialects.DIALECTS`.
        like: A content frame of the same answer: its ids and indexes are kept. Without it
            the frame has those of a first block.
        number: Its number, where the dialect counts its frames; None keeps that of ``like``.
    """
    frame = with_text(dialect, like, "") if like else None
    if frame is None:
        name, value = _EMPTY[dialect]
        frame = framed(dialect, compact(value), event=name)
    return frame if number is None else renumbered(dialect, frame, number)


def with_text(dialect: str, data: bytes, text: str) -> bytes | None:
    """Return a content frame with another text, thinking or piece of arguments in it.

    None if the frame has no place for one: arguments that are an object, an image.
    """
    value = record_of(dialect, data)
    place = _text_place(dialect, value)
    if place is None:
        return None
    inside, key = place
    inside[key] = text
    return with_payload(dialect, data, compact(value))


def error_body(dialect: str, status: int, message: str = MESSAGE) -> bytes:
    """Return the body of an HTTP error as the provider words it."""
    kind, code = _HTTP_KINDS.get(status, ("api_error", None))
    match dialect:
        case "anthropic-messages":
            said: dict[str, Any] = {"type": _ANTHROPIC_KINDS.get(status, "api_error")}
            said |= {"message": message}
            return compact({"type": "error", "error": said, "request_id": "req_lab"})
        case "gemini" | "gemini-array" | "gemini-interactions":
            name = _GOOGLE_KINDS.get(status, "UNKNOWN")
            body = compact({"error": {"code": status, "message": message, "status": name}})
            return b"[" + body + b"]" if dialect == "gemini-array" else body
        case "ollama":
            return compact({"error": message})
        case "cohere" | "bedrock-converse" | "bedrock-invoke":
            return compact({"message": message})
        case _:
            body_of = {"message": message, "type": kind, "param": None, "code": code}
            return compact({"error": body_of})


# Where the text stands --------------------------------------------------------------------


def _text_place(dialect: str, value: dict[str, Any]) -> tuple[dict[str, Any], str] | None:
    """Return the object and key that hold the text, those first where there is some."""
    objects = _walk(value)
    if any("functionCall" in found or "args" in found for found in objects):
        return None  # Gemini: what is below is an object of the model's own making
    if dialect == "ollama" and value.get("message", {}).get("tool_calls"):
        return None
    places = [
        (inside, key)
        for inside in objects
        for key in _TEXT_KEYS[dialect]
        if isinstance(inside.get(key), str)
    ]
    full = [(inside, key) for inside, key in places if inside[key]]
    return next(iter(full or places), None)


def _walk(value: Any) -> list[dict[str, Any]]:
    """Return all objects within, the innermost first: texts stand there."""
    if isinstance(value, list):
        return [found for item in value for found in _walk(item)]
    if not isinstance(value, dict):
        return []
    return [found for item in value.values() for found in _walk(item)] + [value]


_CHAT_KEYS = ("content", "arguments", "reasoning_content", "reasoning", "refusal")
_MESSAGES_KEYS = ("text", "thinking", "partial_json")
_TEXT_KEYS: dict[str, tuple[str, ...]] = {
    "openai-chat": _CHAT_KEYS,
    "openai-responses": ("delta",),
    "anthropic-messages": _MESSAGES_KEYS,
    "gemini": ("text",),
    "gemini-array": ("text",),
    "ollama": ("thinking", "content", "response"),
    "openai-completions": ("text",),
    "cohere": ("text", "thinking", "tool_plan", "arguments"),
    "bedrock-converse": ("text", "input"),
    "bedrock-invoke": (*_MESSAGES_KEYS, "completion", "generation", "outputText", "content"),
    "gemini-interactions": ("text", "arguments"),
    "openai-assistants": ("value", "arguments", "input"),
}

_ANSWER = {"id": "lab", "created": 1_700_000_000, "model": "lab"}


def _chat_delta(delta: dict[str, Any], reason: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return {**_ANSWER, "object": "chat.completion.chunk", "choices": [choice], **more}


_TEXT_DELTA = {"type": "content_block_delta", "index": 0,
               "delta": {"type": "text_delta", "text": ""}}  # fmt: skip
_EMPTY_PART: dict[str, Any] = {
    "candidates": [{"content": {"parts": [{"text": ""}], "role": "model"}, "index": 0}]
}
_EMPTY: dict[str, tuple[str, dict[str, Any]]] = {
    "openai-chat": ("", _chat_delta({"content": ""})),
    "openai-responses": (
        "response.output_text.delta",
        {"type": "response.output_text.delta", "sequence_number": 0, "item_id": "lab",
         "output_index": 0, "content_index": 0, "delta": "", "logprobs": []},
    ),
    "anthropic-messages": ("content_block_delta", _TEXT_DELTA),
    "gemini": ("", _EMPTY_PART),
    "gemini-array": ("", _EMPTY_PART),
    "ollama": (
        "",
        {"model": "lab", "created_at": "2023-11-14T22:13:20.000000Z",
         "message": {"role": "assistant", "content": ""}, "done": False},
    ),
    "openai-completions": (
        "",
        {**_ANSWER, "object": "text_completion",
         "choices": [{"text": "", "index": 0, "logprobs": None, "finish_reason": None}]},
    ),
    "cohere": (
        "content-delta",
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": ""}}}},
    ),
    "bedrock-converse": ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": ""}}),
    "bedrock-invoke": ("chunk", _TEXT_DELTA),
    "gemini-interactions": (
        "step.delta",
        {"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": ""}},
    ),
    "openai-assistants": (
        "thread.message.delta",
        {"id": "lab", "object": "thread.message.delta",
         "delta": {"content": [{"index": 0, "type": "text", "text": {"value": ""}}]}},
    ),
}  # fmt: skip

# Errors in a stream -----------------------------------------------------------------------

_DONE = b"data: [DONE]\n\n"


def _sse(value: Any, event: str = "") -> bytes:
    return framed("openai-chat", compact(value), event=event)


def _always(*frames: bytes) -> _Frames:
    return lambda _: list(frames)


def _openai(kind: str, code: str | int | None = None) -> dict[str, Any]:
    return {"error": {"message": MESSAGE, "type": kind, "param": None, "code": code}}


def _openrouter(_: int) -> list[bytes]:
    error = {"code": 502, "message": MESSAGE, "metadata": {"error_type": "provider_unavailable"}}
    broken = _chat_delta({"role": "assistant", "content": ""}, "error", error=error)
    return [_sse(broken | {"provider": "Lab"}), _DONE]


def _responses_flat(number: int) -> list[bytes]:
    flat = {"type": "error", "sequence_number": number, "code": "server_error",
            "message": MESSAGE, "param": None}  # fmt: skip
    return [_sse(flat, "error")]


def _responses_failed(number: int) -> list[bytes]:
    response: dict[str, Any] = {
        "id": "lab", "object": "response", "status": "failed", "output": [],
        "error": {"code": "server_error", "message": MESSAGE}, "usage": None,
    }  # fmt: skip
    failed = {"type": "response.failed", "sequence_number": number, "response": response}
    return [_sse(failed, "response.failed")]


def _responses_nested(number: int) -> list[bytes]:
    error = {"type": "server_error", "code": "server_error", "message": MESSAGE, "param": None}
    nested = {"type": "error", "sequence_number": number, "error": error}
    return [_sse(nested, "error"), *_responses_failed(number + 1)]


def _anthropic(kind: str) -> _Frames:
    return _always(_sse({"type": "error", "error": {"type": kind, "message": MESSAGE}}, "error"))


_GOOGLE = {"error": {"code": 503, "message": MESSAGE, "status": "UNAVAILABLE"}}
_GOOGLE_BARE = (
    b'{\n  "error": {\n    "code": 503,\n    "message": "' + MESSAGE.encode()
    + b'",\n    "status": "UNAVAILABLE"\n  }\n}\n'
)  # fmt: skip


def _aws(dialect: str, name: str) -> _Frames:
    return _always(framed(dialect, compact({"message": MESSAGE}), event=name, failure=True))


_AWS = {
    "throttling": "throttlingException",
    "server": "internalServerException",
    "unavailable": "serviceUnavailableException",
    "model": "modelStreamErrorException",
    "validation": "validationException",
}

_SHARED: dict[str, _Frames] = {
    "server": _always(_sse(_openai("server_error"))),
    "rate": _always(_sse(_openai("tokens", "rate_limit_exceeded"))),
    "vllm": _always(_sse(_openai("InternalServerError", 500)), _DONE),
    "tgi": _always(_sse({"error": MESSAGE, "error_type": "overloaded"})),
}
ERRORS: Mapping[str, Mapping[str, _Frames]] = {
    "openai-chat": {
        **_SHARED,
        "openrouter": _openrouter,
        "groq": _always(_sse(_openai("internal_server_error"), "error")),
        "xai": _always(_sse({"code": "The service is unavailable", "error": MESSAGE})),
        "llama": _always(b"error: " + compact(_openai("server_error", 500)["error"]) + b"\n\n"),
    },
    "openai-responses": {
        "nested": _responses_nested, "flat": _responses_flat, "failed": _responses_failed,
    },
    "anthropic-messages": {
        "overloaded": _anthropic("overloaded_error"), "api": _anthropic("api_error"),
        "rate": _anthropic("rate_limit_error"), "timeout": _anthropic("timeout_error"),
    },
    "gemini": {
        "bare": _always(_GOOGLE_BARE), "event": _always(framed("gemini", compact(_GOOGLE))),
    },
    "gemini-array": {"element": _always(framed("gemini-array", compact(_GOOGLE)), b"\n]")},
    "ollama": {"line": _always(compact({"error": MESSAGE}) + b"\n")},
    "openai-completions": _SHARED,
    "cohere": {
        "end": _always(
            _sse({"type": "message-end", "delta": {"finish_reason": "ERROR", "error": MESSAGE}},
                 "message-end"),
            _DONE,
        ),
    },
    "bedrock-converse": {how: _aws("bedrock-converse", name) for how, name in _AWS.items()},
    "bedrock-invoke": {
        **{how: _aws("bedrock-invoke", name) for how, name in _AWS.items()},
        "timeout": _aws("bedrock-invoke", "modelTimeoutException"),
    },
    "gemini-interactions": {
        "event": _always(
            _sse({"event_type": "error", "error": {"code": "unavailable", "message": MESSAGE}},
                 "error"),
        ),
        "failed": _always(
            _sse({"event_type": "interaction.completed",
                  "interaction": {"id": "lab", "object": "interaction", "status": "failed"}},
                 "interaction.completed"),
            b"event: done\n" + _DONE,
        ),
    },
    "openai-assistants": {
        "event": _always(
            _sse({"message": MESSAGE, "type": "server_error", "param": None, "code": None},
                 "error"),
            b"event: done\n" + _DONE,
        ),
        "failed": _always(
            _sse({"id": "lab", "object": "thread.run", "status": "failed",
                  "last_error": {"code": "server_error", "message": MESSAGE}},
                 "thread.run.failed"),
            b"event: done\n" + _DONE,
        ),
    },
}  # fmt: skip
"""Errors inside a stream by dialect and variant; the first is the commonest."""

# Errors over HTTP -------------------------------------------------------------------------

_HTTP_KINDS: dict[int, tuple[str, str | None]] = {
    400: ("invalid_request_error", None), 401: ("invalid_request_error", "invalid_api_key"),
    402: ("insufficient_quota", "insufficient_quota"), 403: ("permission_error", None),
    404: ("invalid_request_error", "model_not_found"), 408: ("timeout", None),
    409: ("conflict", None), 429: ("tokens", "rate_limit_exceeded"),
    500: ("server_error", None), 503: ("service_unavailable_error", None),
}  # fmt: skip
_ANTHROPIC_KINDS = {
    400: "invalid_request_error", 401: "authentication_error", 402: "billing_error",
    403: "permission_error", 404: "not_found_error", 409: "conflict_error",
    413: "request_too_large", 429: "rate_limit_error", 504: "timeout_error",
    529: "overloaded_error",
}  # fmt: skip
_GOOGLE_KINDS = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    409: "ABORTED", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}  # fmt: skip
