"""Gemini ``streamGenerateContent`` without ``alt=sse``: the same answers as one JSON array.

It is streamed element by element, and an element means what an SSE frame means. The one thing
more is the closing bracket: a body that ends without it was cut, but behind a finish nothing of
the answer is missing.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from unbroken.core.dialects.base import Reader, RequestFacts
from unbroken.core.dialects.gemini.dialect import Gemini, wire_asked
from unbroken.core.dialects.gemini.splice import GeminiSplicer
from unbroken.core.dialects.gemini.write import GeminiWriter
from unbroken.core.dialects.payloads import dump
from unbroken.core.events import Block, End, Event
from unbroken.core.frames import Frame
from unbroken.core.received import Received
from unbroken.core.request import Request
from unbroken.core.wire.json_array import END, encode_json_array
from unbroken.core.wire.sse import SSEDecoder

__all__ = ["GeminiArray"]


class _Reader:
    """See `unbroken.core.dialects.base.Reader`."""

    def __init__(self, elements: Reader) -> None:
        self._elements = elements

    def fork(self) -> _Reader:
        return _Reader(self._elements.fork())

    def texts(self, payloads: list[bytes], choice: int, block: Block) -> list[str] | None:
        return None

    def read(self, frame: Frame) -> list[Event]:
        return [End("]")] if frame.payload == END else self._elements.read(frame)


class _Splicer(GeminiSplicer):
    """See `unbroken.core.dialects.base.Splicer`."""

    def __init__(self, delivered: Received, *, rung: str) -> None:
        super().__init__(delivered, rung=rung)
        self._begun = delivered.has_content or bool(delivered.skeleton)

    def _pass(self, frame: Frame) -> list[bytes]:
        return [self._element(frame.payload)] if frame.dispatched else []

    def _write(self, value: dict[str, Any], frame: Frame) -> bytes:
        return self._element(dump(value))

    def _element(self, payload: bytes) -> bytes:
        (raw,) = encode_json_array([payload], begun=self._begun)
        self._begun = True
        return raw


class _Writer(GeminiWriter):
    """See `unbroken.core.dialects.writing.Writer`."""

    def __init__(self, **known: Any) -> None:
        super().__init__(**known)
        self._elements = False

    def _emit(self, frame: bytes) -> None:
        payloads = [each.payload for each in SSEDecoder().feed(frame)] or [frame]
        for raw in encode_json_array(payloads, begun=self._elements):
            super()._emit(raw)
        self._elements = True

    def _end(self, reason: str, *, marked: bool) -> None:
        super()._end(reason, marked=marked)
        if marked:
            self._emit(END)


class GeminiArray(Gemini):
    """``POST .../models/M:streamGenerateContent``, without ``alt=sse``."""

    name = "gemini-array"
    family = "gemini"
    wire = "json-array"
    content_types = ("application/json",)
    last_marker = "the array's closing bracket"
    heartbeat = None  # no SDK reads this form, so none could be asked what it takes

    def wants_stream(self, request: Request) -> bool:
        """Whether the request asks for a streamed array: the method does, without ``alt=sse``."""
        parts = urlsplit(request.url)
        return self.recognises_path(parts.path) and wire_asked(parts.query) == "json"

    def reader(self) -> Reader:
        return _Reader(super().reader())

    def splicer(self, delivered: Received, *, rung: str, facts: RequestFacts) -> GeminiSplicer:
        return _Splicer(delivered, rung=rung)

    def url_for(self, base_url: str, model: str) -> str:
        parts = urlsplit(super().url_for(base_url, model))
        query = "&".join(part for part in parts.query.split("&") if part != "alt=sse")
        return parts._replace(query=query).geturl()

    def writer(
        self, *, id: str, model: str, created: int, asked: Request | None = None
    ) -> GeminiWriter:
        return _Writer(id=id, model=model, created=created, asked=asked)
