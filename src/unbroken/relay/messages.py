"""What passes through a relay: a request, the head of its answer, and how an upstream fails."""

from __future__ import annotations

from collections.abc import AsyncIterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["FailedHow", "Framing", "Headers", "RelayRequest", "ResponseHead", "UpstreamError"]

Headers: TypeAlias = list[tuple[str, str]]
"""Name and value pairs in order, names as they were written; a name may come again."""

Framing = Literal["chunked", "length", "close", "none"]
"""How a body's end is told: by chunked coding, by Content-Length, by the end of the connection;
``none`` has no body at all (HEAD, 204, 304)."""

FailedHow = Literal["unreachable", "tls", "silent", "reset", "incomplete", "no-answer", "not-http"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayRequest:
    """One request, with its whole body: it may have to be read, changed or sent again.

    Attributes:
        method: The HTTP method.
        target: Path and query exactly as they came, still percent-encoded.
        headers: As they came; `upstream` leaves out what must not pass.
        body: The whole body.
        reading: In place of it, a body that only passes and may be large; read once.
    """

    method: str
    target: str
    headers: Headers
    body: bytes = b""
    reading: AsyncIterable[bytes] | None = None

    def __repr__(self) -> str:
        # Crash reporters write down the variables of a traceback: no key, no prompt.
        path = self.target.partition("?")[0]
        return f"<RelayRequest {self.method} {path}, {len(self.body)} bytes>"

    def header(self, name: str) -> str | None:
        """Return the first value of a header, by case-insensitive name."""
        return header_of(self.headers, name)


@dataclass(slots=True, kw_only=True)
class ResponseHead:
    """Status line and headers of an answer, less those of the one connection.

    Attributes:
        status: The HTTP status.
        reason: The reason phrase as it came.
        headers: What passes; Content-Length is among them only where `framing` is ``length``
            (or the answer has no body).
        framing: How the upstream tells the body's end. A downstream does the same, so that
            its reader can tell as much as a direct one could.
    """

    status: int
    reason: str = ""
    headers: Headers
    framing: Framing = "chunked"

    def header(self, name: str) -> str | None:
        """Return the first value of a header, by case-insensitive name."""
        return header_of(self.headers, name)


def header_of(headers: Headers, name: str) -> str | None:
    """Return the first value of a header, by case-insensitive name."""
    lowered = name.lower()
    return next((value for known, value in headers if known.lower() == lowered), None)


class UpstreamError(Exception):
    """An upstream gave no answer, or not all of it. The message names address and cause.

    Attributes:
        how: ``unreachable``, ``tls``, ``no-answer`` and ``not-http`` come before an answer;
            ``silent`` (a time limit passed) and ``reset`` before or in it; ``incomplete`` is
            an orderly close in the middle of a body whose framing tells.
        address: Scheme, host and port: never a path or query, which may hold keys.
        detail: What failed, in words.
    """

    def __init__(self, *, how: FailedHow, address: str, detail: str) -> None:
        super().__init__(f"upstream {address}: {detail}")
        self.how: FailedHow = how
        self.address = address
        self.detail = detail
