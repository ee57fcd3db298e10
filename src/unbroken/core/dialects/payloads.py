"""Payloads: to JSON and back, and the errors that any provider may put into them."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import msgspec

from unbroken.core.events import ProviderError
from unbroken.core.frames import Frame
from unbroken.core.wire.sse import encode_sse

__all__ = [
    "as_object",
    "MalformedPayloadError",
    "bare_error",
    "dump",
    "error_from",
    "number",
    "parse_payload",
    "parsed",
    "positive",
    "record",
    "records",
    "sse",
    "string",
    "strings",
    "under",
]

_parse = msgspec.json.Decoder()


class MalformedPayloadError(Exception):
    """A whole frame whose payload is not exactly one JSON value. Never leaves the core."""


def parse_payload(payload: bytes) -> Any:
    """Return the payload's JSON value.

    The strict parser comes first; the standard library's also takes what real providers
    send and the strict one refuses: a surrogate pair that was cut over two deltas.

    Raises:
        MalformedPayloadError: If it is not exactly one JSON value.
    """
    try:
        return _parse.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as strict:
        try:
            return json.loads(payload)
        except (ValueError, RecursionError):
            reason = str(strict) if isinstance(strict, msgspec.DecodeError) else "not UTF-8"
            raise MalformedPayloadError(reason) from None
    except RecursionError:
        msg = "JSON nested too deeply"
        raise MalformedPayloadError(msg) from None


def as_object(value: Any) -> dict[str, Any]:
    """Return the value, which must be an object.

    Raises:
        MalformedPayloadError: If it is anything else.
    """
    if isinstance(value, dict):
        return value
    msg = f"a JSON {type(value).__name__}, not an object"
    raise MalformedPayloadError(msg)


def error_from(value: Any, *, final: frozenset[str] = frozenset()) -> ProviderError | None:
    """Return the error in a payload, whatever the shape, or None if there is none.

    The shapes are those of PROTOCOLS: ``{"error": {...}}``, ``{"error": "..."}``,
    ``[{"error": ...}]``, ``{"type": "error", ...}``, ``{"object": "error", ...}``,
    ``{"code", "error"}`` (xAI), ``{"error", "error_type"}`` (TGI), ``{"detail"}`` (FastAPI).

    Args:
        value: The parsed payload.
        final: Types and codes for which the same request would fail again.
    """
    if isinstance(value, list):
        value = value[0] if len(value) == 1 else None
    if not isinstance(value, dict):
        return None
    inner = value.get("error")
    if isinstance(inner, dict):
        source = inner
    elif isinstance(inner, str) and inner:
        source = {
            "message": inner,
            "type": value.get("error_type") or value.get("type"),
            "code": value.get("code"),
        }
    elif value.get("type") == "error" or value.get("object") == "error":
        source = value
    elif value.keys() == {"detail"}:
        source = {"message": str(value["detail"])}
    else:
        return None
    metadata = source.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    kind = str(source.get("type") or metadata.get("error_type") or source.get("status") or "")
    if kind == "error":
        kind = ""
    code = str(source.get("code") if source.get("code") is not None else "")
    words = {kind.lower(), code.lower()} - {""}
    refused = bool(words & _REFUSED)
    return ProviderError(
        type=kind,
        code=code,
        message=str(source.get("message") or ""),
        retryable=not refused and not words & (_FINAL | final),
        refused=refused,
        elsewhere=bool(words & _ELSEWHERE),
    )


# The same request again would be refused again: keys, quota, and the request itself.
_FINAL = frozenset(
    {
        "400", "401", "402", "403", "404", "405", "413", "422",
        "authentication_error", "billing_error", "context_length_exceeded",
        "failed_precondition", "insufficient_quota", "invalid_api_key", "invalid_argument",
        "invalid_prompt", "invalid_request", "invalid_request_error", "model_not_found",
        "not_found", "not_found_error", "permission_denied", "permission_error",
        "request_too_large", "unauthenticated", "validation",
    }
)  # fmt: skip
_ELSEWHERE = frozenset(
    {
        "401", "402", "403", "404", "429",
        "authentication_error", "billing_error", "insufficient_quota", "invalid_api_key",
        "model_not_found", "not_found", "not_found_error", "permission_denied",
        "permission_error", "rate_limit_error", "resource_exhausted", "unauthenticated",
    }
)  # fmt: skip
_REFUSED = frozenset(
    {"content_filter", "content_policy_violation", "guardrail", "refusal", "safety"}
)


def dump(value: Any) -> bytes:
    """Return the value as JSON.

    Half of a surrogate pair is legal in JSON only as an escape, which the strict writer
    refuses and the standard library's writes. Providers do cut pairs over two deltas.
    """
    try:
        return msgspec.json.encode(value)
    except (UnicodeEncodeError, OverflowError, msgspec.MsgspecError):
        return json.dumps(value, separators=(",", ":")).encode()


def sse(value: Any, *, event: str | None = None, eol: bytes = b"\n") -> bytes:
    """Return one SSE frame around a JSON value, with the line ends that are asked for."""
    raw = encode_sse(dump(value), event=event)
    return raw if eol == b"\n" else raw.replace(b"\n", eol)


def parsed(payload: bytes) -> Any:
    """Return the payload's JSON value, or None if it is not exactly one."""
    try:
        return parse_payload(payload)
    except MalformedPayloadError:
        return None


def string(value: Any) -> str:
    """Return the value if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def number(source: Any, key: str) -> int | None:
    """Return an integer field of an object, or None."""
    value = source.get(key) if isinstance(source, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def positive(source: Any, *keys: str) -> int | None:
    """Return the first integer above 0 among these fields of an object, or None."""
    found = (number(source, key) for key in keys)
    return next((value for value in found if value is not None and value > 0), None)


def strings(value: Any) -> tuple[str, ...]:
    """Return the strings of a list, or a lone string, without empty ones."""
    given = value if isinstance(value, list) else [value]
    return tuple(item for item in given if isinstance(item, str) and item)


def record(value: Any) -> dict[str, Any]:
    """Return the value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def records(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a list; an empty list for anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def bare_error(frame: Frame, *, final: frozenset[str] = frozenset()) -> ProviderError | None:
    """Return the error in a block that the wire does not dispatch, or None.

    Vertex has written its error body into the stream as it stands, over many lines and
    without ``data:`` (corpus, 2026); llama.cpp has written an unknown field ``error:``.
    """
    bare = frame.raw.strip()
    if bare[:1] in (b"{", b"["):
        try:
            return error_from(parse_payload(bare), final=final)
        except MalformedPayloadError:
            return None
    for line in frame.unknown:
        name, _, rest = line.partition(":")
        if name.strip() == "error":
            try:
                value = parse_payload(rest.strip().encode())
            except MalformedPayloadError:
                value = rest.strip()
            return error_from({"error": value}, final=final) or ProviderError(message=rest.strip())
    return None


def under(base_url: str, path: str, *, query: str = "") -> str:
    """Return the URL of a path below a base URL, whose own query stays (``api-version=``)."""
    parts = urlsplit(base_url)
    joined = "&".join(filter(None, (parts.query, query)))
    return parts._replace(path=parts.path.rstrip("/") + path, query=joined, fragment="").geturl()
