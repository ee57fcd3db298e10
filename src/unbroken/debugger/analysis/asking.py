"""What a request asked for, and so what is to be expected; and heads and ends in words."""

from __future__ import annotations

import msgspec

from unbroken.core.dialects import framed
from unbroken.core.dialects.base import Dialect
from unbroken.core.recording import ResponseHead
from unbroken.core.request import Request
from unbroken.core.verdict import recognise
from unbroken.debugger.facts import AttemptReport
from unbroken.debugger.words import clip

__all__ = ["choices_of", "framing_of", "head_said", "how_said", "is_stream", "model_of"]

_STREAMS = ("text/event-stream", "application/x-ndjson", "application/vnd.amazon.eventstream")
_PLAIN = ("application/json", "text/css", "text/javascript", "application/javascript")


def framing_of(facts: AttemptReport) -> str:
    """Tell how HTTP frames the body, where the recorder could not see it."""
    if "chunked" in facts.header("transfer-encoding").lower():
        return "chunked"
    return "length" if facts.header("content-length") else ""


def choices_of(dialect: Dialect, request: Request) -> int:
    """Return how many answers were asked for."""
    try:
        return dialect.facts(request).choices
    except (KeyError, TypeError, ValueError):  # a body that is none of its dialect
        return 1


class _Named(msgspec.Struct):
    model: str = ""


_named = msgspec.json.Decoder(_Named)


def model_of(request: Request) -> str:
    """Return the model that is asked for, unless its name was removed."""
    try:
        model = _named.decode(request.body).model if request.body else ""
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        model = ""
    return "" if set(model) <= {"x"} else clip(model, 80)


def is_stream(request: Request, dialect: Dialect | None, facts: AttemptReport, head: bytes) -> bool:
    """Whether a stream is to be expected, or one plain answer."""
    kind = facts.header("content-type").partition(";")[0].strip().lower()
    if kind in _STREAMS:
        return True
    if dialect is not None and request.body:
        return dialect.wants_stream(request)
    if kind in _PLAIN or kind.startswith(("image/", "font/", "audio/")):
        # Some recorders and test servers call everything JSON: an object is one answer, and
        # what reads as a stream is a stream.
        begins = head.lstrip()[:1]
        if begins == b"[" and dialect is not None:
            return framed(dialect, head).wire == "json-array"
        return begins != b"{" and recognise(head) is not None
    return dialect is not None or kind != "text/html"


_HOW = {
    "eof": "the body ended",
    "incomplete": "the connection closed inside the body",
    "reset": "the connection failed",
    "silent": "the reader's library gave up",
    "deadline": "a deadline passed",
    "left": "the reader left",
    "given-up": "the attempt was given up",
    "unanswered": "no answer came",
}


def how_said(how: str) -> str:
    """Return how a body ended, in words."""
    return _HOW.get(how, how)


def head_said(line: ResponseHead, facts: AttemptReport) -> str:
    """Return a response's head, in words."""
    kind = facts.header("content-type").partition(";")[0]
    framing = {"close": "ends by close", "none": "no body"}.get(line.framing, line.framing)
    parts = [f"HTTP {line.status} {line.reason}".rstrip(), kind, framing]
    return ", ".join(part for part in parts if part)
