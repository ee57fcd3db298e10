"""What the gateway itself has to say, in the words of the dialect that the client reads.

Before the first byte an HTTP error with the provider's shape of body, so that the SDK raises what
it always raises; after it the dialect's error inside a stream. None of them ends an answer: what
follows an error frame is a connection closed in mid-body, for the SDKs that raise nothing on it
(PROTOCOLS: cohere ends its text, openai's Responses yields a flat error as one more event, so
here it is the nested form).
"""

from __future__ import annotations

from typing import Any

import msgspec

from unbroken.core.dialects import DIALECTS
from unbroken.core.wire import encode_aws_event_stream
from unbroken.relay.messages import Headers, ResponseHead, UpstreamError

__all__ = ["error_frame", "http_error", "status_of"]

_encode = msgspec.json.encode


def http_error(
    dialect: str, status: int, kind: str, message: str, *, headers: Headers | None = None
) -> tuple[ResponseHead, bytes]:
    """Return head and body of an HTTP error.

    Args:
        dialect: What the client reads; ``""`` where that is not known.
        status: The HTTP status.
        kind: A stable name of what went wrong: a fault kind, or one of the gateway's own.
        message: What happened and what to do; no key, prompt or output.
        headers: Further headers.
    """
    body = _encode(_http_shape(dialect, status, kind, message))
    head = ResponseHead(
        status=status,
        headers=[
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("cache-control", "no-store"),  # browsers keep a 410 of a stream otherwise
            ("x-unbroken-error", kind),
            *(headers or []),
        ],
        framing="length",
    )
    return head, body


def status_of(error: UpstreamError) -> int:
    """Return the HTTP status for an upstream that gave no answer."""
    return 504 if error.how == "silent" else 502


def error_frame(dialect: str, kind: str, message: str, *, begun: bool = True) -> bytes:
    """Return the frame that says inside a stream that it failed; ``b""`` where there is none.

    Args:
        dialect: What the client reads.
        kind: A stable name of what went wrong.
        message: What happened and what to do.
        begun: Whether an element of a JSON array was sent already.
    """
    known = DIALECTS.get(dialect)
    match dialect:
        case "anthropic-messages":
            return _sse({"type": "error", "error": {"type": "api_error", "message": message}})
        case "openai-responses":
            error = {"type": "server_error", "code": kind, "message": message, "param": None}
            return _sse({"type": "error", "error": error})
        case "gemini":
            return b"data: " + _encode(_google(503, message)) + b"\r\n\r\n"
        case "gemini-array":
            return (b",\n" if begun else b"[") + _encode(_google(503, message))
        case "gemini-interactions":
            error = {"code": "unavailable", "message": message}
            return _sse({"event_type": "error", "error": error}, event="error")
        case "cohere":
            delta = {"finish_reason": "ERROR", "error": message}
            return _sse({"type": "message-end", "delta": delta})
        case "openai-assistants":
            return _sse(_openai(kind, message)["error"], event="error")
        case "ollama":
            return _encode({"error": message}) + b"\n"
        case _ if known is not None and known.wire == "aws-event-stream":
            failure = "serviceUnavailableException"
            return encode_aws_event_stream(
                _encode({"message": message}), event=failure, failure=True
            )
        case _ if known is not None and known.wire == "ndjson":
            return _encode({"error": message}) + b"\n"
        case _:
            return b"data: " + _encode(_openai(kind, message)) + b"\n\n"


def _sse(value: dict[str, Any], event: str = "") -> bytes:
    name = event or str(value["type"])
    return b"event: " + name.encode() + b"\ndata: " + _encode(value) + b"\n\n"


def _http_shape(dialect: str, status: int, kind: str, message: str) -> Any:
    match dialect:
        case "anthropic-messages":
            plain = "invalid_request_error" if status < 500 else "api_error"
            name = _ANTHROPIC.get(status, plain)
            return {"type": "error", "error": {"type": name, "message": message}}
        case "gemini" | "gemini-interactions":
            return _google(status, message)
        case "gemini-array":
            return [_google(status, message)]
        case "ollama":
            return {"error": message}
        case "cohere" | "bedrock-converse" | "bedrock-invoke":
            return {"message": message}
        case _:
            plain = "invalid_request_error" if status < 500 else "server_error"
            return _openai(kind, message, _OPENAI.get(status, plain))


def _openai(kind: str, message: str, type: str = "server_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": type, "param": None, "code": kind}}


def _google(status: int, message: str) -> dict[str, Any]:
    return {"error": {"code": status, "message": message, "status": _GOOGLE.get(status, "UNKNOWN")}}


_OPENAI = {
    403: "permission_error",
    409: "conflict",
    429: "rate_limit_error",
}
_ANTHROPIC = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
}
_GOOGLE = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    415: "INVALID_ARGUMENT",
    422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
