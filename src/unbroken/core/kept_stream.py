"""A stream that another Unbroken keeps: the cursor that any dialect has behind a gateway.

The gateway's answer says under which id it can be read on (docs/reference/resume-protocol.md,
version 1). A position is ``EPOCH-OFFSET`` in the body as the gateway keeps it. On an SSE wire each
block names the position after itself as its event id; on NDJSON the client counts the bytes up to
the end of the last whole line, without the blanks that are heartbeats.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec

from unbroken.core.dialects._llama_stream import bodiless
from unbroken.core.dialects.base import Cursor
from unbroken.core.request import Request
from unbroken.core.wire import Wire

__all__ = ["KeptStream", "asks_to_resume", "kept_stream"]

_OURS = ("idempotency-key", "last-event-id", "x-unbroken-resume", "x-unbroken-token")
_POSITION = re.compile(r"\d{1,9}-\d{1,15}")


def asks_to_resume(request: Request, key: str) -> Request:
    """Return the request that asks another Unbroken to keep its answer; what it says itself stays.

    Args:
        request: The request.
        key: The idempotency key: names this stream and no other.
    """
    given = {name.lower() for name, _ in request.headers}
    ours = (("X-Unbroken-Resume", "1"), ("Idempotency-Key", key))
    missing = tuple(pair for pair in ours if pair[0].lower() not in given)
    return msgspec.structs.replace(request, headers=(*request.headers, *missing))


def kept_stream(headers: Mapping[str, str], wire: Wire) -> KeptStream | None:
    """Return the stream that an answer's head offers to keep, or None.

    Args:
        headers: Of the answer, with lower-case names.
        wire: How its body is framed.
    """
    name = headers.get("x-unbroken-stream", "")
    offered = headers.get("x-unbroken-resume", "").strip().startswith("1")
    if not (offered and name) or wire not in ("sse", "ndjson"):
        return None
    return KeptStream(name, headers.get("x-unbroken-token", ""), wire)


class KeptStream:
    """Where one body can be read on, over all connections that it is read by.

    Args:
        name: Its id at the gateway.
        token: What lets its reader in beside the request's own key, or ``""``.
        wire: How it is framed.
    """

    def __init__(self, name: str, token: str, wire: Wire) -> None:
        self._name = name
        self._token = token
        self._counts = wire == "ndjson"
        self._position = ""
        self._whole_bytes = 0  # up to the end of the last whole line
        self._line_bytes = 0  # of the line that is not whole

    def receive(self, data: bytes) -> None:
        """Take in body bytes."""
        if not self._counts:
            return
        for line in _lines(data):
            own = line if self._line_bytes else line.lstrip(b" ")
            self._line_bytes += len(own)
            if own.endswith(b"\n"):
                self._whole_bytes += self._line_bytes
                self._line_bytes = 0

    def reopen(self) -> None:
        """The body goes on over another connection, after the last whole frame."""
        self._line_bytes = 0

    def cursor(self, request: Request, *, event_id: str, frames: int) -> Cursor | str:
        """Return the request for the rest, or why there is none.

        Args:
            request: The request of the attempt that broke.
            event_id: The last event id that came over the last connection, or ``""``.
            frames: How many frames came over it.
        """
        if self._counts:
            self._position = f"0-{self._whole_bytes}" if self._whole_bytes else ""
        elif event_id:
            self._position = event_id
        elif frames and not self._position:
            return "the gateway's events carry no position"
        if self._position and _POSITION.fullmatch(self._position) is None:
            return "the gateway's events carry an id that is no position"
        parts = urlsplit(request.url)
        path = f"/streams/{quote(self._name, safe='')}"
        plain = bodiless(request, urlunsplit((parts.scheme, parts.netloc, path, "", "")))
        headers = [pair for pair in plain.headers if pair[0].lower() not in _OURS]
        if self._position:
            headers.append(("Last-Event-ID", self._position))
        if self._token:
            headers.append(("X-Unbroken-Token", self._token))
        return Cursor(request=msgspec.structs.replace(plain, headers=tuple(headers)))


def _lines(data: bytes) -> list[bytes]:
    """Return the lines, the last one as far as it came: `splitlines` would cut at a CR as well."""
    parts = data.split(b"\n")
    return [part + b"\n" for part in parts[:-1]] + parts[-1:]
