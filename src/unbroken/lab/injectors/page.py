"""A page in place of a stream, with the status of a success."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from unbroken.core.faults import FaultKind
from unbroken.lab.injectors.base import put
from unbroken.lab.injectors.instead import Instead
from unbroken.lab.parts import Head, Part
from unbroken.lab.shapes import MESSAGE, error_body

__all__ = ["Page"]

_HTML = (
    b"<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head>\n"
    b"<body><h1>Bad Gateway</h1><p>" + MESSAGE.encode() + b"</p></body></html>\n"
)
_TYPES = {
    "html": "text/html; charset=utf-8",
    "json": "application/json",
    "text": "text/plain; charset=utf-8",
    "disguised": "",
}


class Page(Instead):
    """Answers 200 with something else: what captive portals and broken gateways do.

    ``json`` is the provider's error body; ``disguised`` a page that keeps the stream's type.
    """

    name = "page"
    summary = "200 with an HTML page, a JSON error or plain text in place of the stream"
    kind = FaultKind.NOT_A_STREAM
    hows: ClassVar[tuple[str, ...]] = tuple(_TYPES)

    @classmethod
    def kind_for(cls, how: str, dialect: str) -> str:
        """Where JSON is the wire's own form, the error is one in the stream."""
        if how == "json" and dialect in ("ollama", "gemini-array"):
            return FaultKind.PROVIDER_ERROR
        return super().kind_for(how, dialect)

    def head(self, head: Head) -> Head:
        """Say what it is, or do not."""
        if kind := _TYPES[self.how]:
            head.headers["content-type"] = kind
        if head.framing != "raw":
            head.framing = "length"
        return head

    def body(self) -> Iterable[Part]:
        """Return the page."""
        if self.how == "json":
            yield put(error_body(self.scene.dialect, 500), "error")
        else:
            yield put(MESSAGE.encode() if self.how == "text" else _HTML)
