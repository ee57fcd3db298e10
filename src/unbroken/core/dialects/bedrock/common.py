"""What the two dialects of Amazon Bedrock share: addresses, exceptions, frames."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import msgspec

from unbroken.core.dialects.payloads import dump, number, parsed, record, string
from unbroken.core.events import ProviderError
from unbroken.core.frames import Frame
from unbroken.core.request import Request
from unbroken.core.wire.aws_event_stream import encode_aws_event_stream

__all__ = [
    "CONTENT_TYPE",
    "FINAL_ERRORS",
    "exception_in",
    "message",
    "model_in",
    "recognises",
    "url_with",
    "with_model",
]

CONTENT_TYPE = "application/vnd.amazon.eventstream"

# The model stands in the path, percent-encoded; an ARN brings slashes, which some clients leave.
_PATH = re.compile(r"/model/(?P<model>.+)/(?P<call>converse|invoke)(-with-response)?-stream/?$")

# The same request would fail again. The others are a service that is overloaded or failing:
# throttling, serviceUnavailable, internalServer, modelStreamError, modelTimeout, modelNotReady.
FINAL_ERRORS = frozenset(
    {
        "accessdeniedexception", "conflictexception", "resourcenotfoundexception",
        "servicequotaexceededexception", "unrecognizedclientexception", "validationexception",
    }
)  # fmt: skip

_ELSEWHERE = FINAL_ERRORS - {"conflictexception", "validationexception"}


def message(value: dict[str, Any], event: str) -> bytes:
    """Return one event as a frame."""
    return encode_aws_event_stream(dump(value), event=event)


def exception_in(frame: Frame) -> ProviderError:
    """Return the error in a frame that the wire calls one."""
    value = record(parsed(frame.payload))
    said = string(value.get("message")) or string(value.get("Message"))
    status = number(value, "originalStatusCode")
    return ProviderError(
        type=frame.event,
        code="" if status is None else str(status),
        message=said or string(value.get("originalMessage")),
        retryable=frame.event.lower() not in FINAL_ERRORS,
        elsewhere=frame.event.lower() in _ELSEWHERE,
    )


def model_in(request: Request) -> str:
    """Return the model that the path names, or an empty string."""
    found = _PATH.search(request.path)
    return unquote(found["model"]) if found else ""


def recognises(path: str, call: str) -> bool:
    """Whether a path is that of a streaming call."""
    found = _PATH.search(path)
    return found is not None and found["call"] == call


def with_model(request: Request, model: str) -> Request:
    """Return the request with another model in its path."""
    parts = urlsplit(request.url)
    found = _PATH.search(parts.path)
    if found is None:
        return request
    begin, end = found.span("model")
    path = parts.path[:begin] + quote(model, safe="") + parts.path[end:]
    return msgspec.structs.replace(request, url=urlunsplit(parts._replace(path=path)))


def url_with(base_url: str, model: str, call: str) -> str:
    """Return the URL of a streaming call."""
    return f"{base_url.rstrip('/')}/model/{quote(model, safe='')}/{call}"
