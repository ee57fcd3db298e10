"""The request as recovery sees it: bytes to send, and what they ask for."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec

__all__ = ["NO_JSON", "Origin", "Request", "origin_of"]

Origin = tuple[str, str, int | None]
"""Scheme, host and port: who may see a key."""

_KEY_OF_A_BODY = "idempotency-key"
_STREAM_TRUE = re.compile(rb'"stream"\s*:\s*true')
_STREAM_FALSE = re.compile(rb'"stream"\s*:\s*false')


def origin_of(url: str) -> Origin:
    """Return whom a URL asks.

    A port that is no number is -1: there is no such place, and the HTTP library will say so.
    """
    parts = urlsplit(url)
    try:
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        port = -1
    return parts.scheme, parts.hostname or "", port


class _StreamFlag(msgspec.Struct):
    stream: bool | None = None


_stream_flag = msgspec.json.Decoder(_StreamFlag)
NO_JSON = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding raises on a body that is none: bytes that are no text, a thousand brackets."""


class Request(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One upstream request, ready to be sent.

    Holds a reference to the body that the SDK built, not a copy; it is parsed only when
    a failure makes it necessary.

    Attributes:
        method: HTTP method.
        url: Absolute URL.
        headers: Name and value pairs in order; they may hold keys: never logged.
        body: The exact body.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def __repr__(self) -> str:
        # Crash reporters write down the variables of a traceback: no key, no prompt.
        url = re.sub(r"//[^/@]*@", "//", self.url.partition("?")[0])
        return f"<Request {self.method} {url}, {len(self.body)} bytes>"

    @property
    def path(self) -> str:
        """The URL's path."""
        return urlsplit(self.url).path

    @property
    def host(self) -> str:
        """The URL's host name."""
        return urlsplit(self.url).hostname or ""

    @property
    def origin(self) -> Origin:
        """Scheme, host and port."""
        return origin_of(self.url)

    @property
    def stream_flag(self) -> bool | None:
        """The body's top-level ``stream``, or None where it is not given.

        A scan of the bytes comes first, so that a large body without the word is never
        parsed.
        """
        if not _STREAM_TRUE.search(self.body) and not _STREAM_FALSE.search(self.body):
            return None
        try:
            return _stream_flag.decode(self.body).stream
        except NO_JSON:
            return None

    @property
    def json(self) -> dict[str, Any]:
        """The body as an object; ``{}`` where it is not one. Parsed once, not to be changed."""
        cached: dict[str, Any] | None = self.__dict__.get("_json")
        if cached is None:
            try:
                parsed = msgspec.json.decode(self.body) if self.body else {}
            except NO_JSON:
                parsed = {}
            cached = parsed if isinstance(parsed, dict) else {}
            self.__dict__["_json"] = cached
        return cached

    def forget_json(self) -> None:
        """Let go of the parsed body, which takes as much memory again; it can be parsed anew."""
        self.__dict__.pop("_json", None)

    def with_json(self, body: dict[str, Any]) -> Request:
        """Return the same request with another body.

        Without its idempotency key: that belongs to the body, and would be refused with another.
        """
        headers = tuple(pair for pair in self.headers if pair[0].lower() != _KEY_OF_A_BODY)
        return msgspec.structs.replace(self, headers=headers, body=msgspec.json.encode(body))

    @property
    def signed(self) -> bool:
        """Whether the request carries an AWS signature (Signature Version 4) over its content."""
        return (self.header("authorization") or "").startswith("AWS4-")

    @property
    def signed_at(self) -> float | None:
        """When it was signed, in seconds since the epoch, or None where nothing tells."""
        try:
            date = self.header("x-amz-date") or ""
            at = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError:
            return None
        return at.timestamp() if self.signed else None

    def header(self, name: str) -> str | None:
        """Return the first value of a header, by case-insensitive name."""
        lowered = name.lower()
        return next((v for k, v in self.headers if k.lower() == lowered), None)
