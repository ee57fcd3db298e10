"""Read a URL to its end, or to its deadline, the way curl would ask for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

from unbroken.cli.screen import CliError
from unbroken.cli.sources import read_all

__all__ = ["Fetched", "all_headers", "data_of", "fetch", "headers_of"]

_MOST_BYTES = 1 << 30


@dataclass(slots=True, kw_only=True)
class Fetched:
    """A response, as far as it came.

    Attributes:
        status: The HTTP status.
        reason: Its words.
        content_type: What the response said it was.
        pieces: The body as read, decompressed.
        end: ``eof`` for a clean end; ``reset`` where the transport, or the compression,
            broke off; ``deadline`` where our own patience did.
    """

    status: int = 0
    reason: str = ""
    content_type: str = ""
    pieces: list[bytes] = field(default_factory=list)
    end: Literal["eof", "reset", "deadline"] = "eof"

    @property
    def body(self) -> bytes:
        """The whole body."""
        return b"".join(self.pieces)


def headers_of(lines: list[str]) -> list[tuple[str, str]]:
    """Split ``Name: value`` lines.

    Raises:
        CliError: If one has no colon.
    """
    found = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            message = "a header is written 'Name: value'; this one has no name or no colon"
            raise CliError(message)
        found.append((name.strip(), value.strip()))
    return found


def data_of(parts: list[str]) -> bytes | None:
    """Join ``-d`` values as curl does: by ``&``; ``@file`` is read, less its line ends."""
    if not parts:
        return None
    pieces = []
    for part in parts:
        if part.startswith("@"):
            pieces.append(read_all(part[1:]).translate(None, b"\r\n\0"))
        else:
            pieces.append(part.encode("utf-8", "surrogateescape"))
    return b"&".join(pieces)


def fetch(
    url: str,
    *,
    method: str,
    headers: list[tuple[str, str]],
    data: bytes | None,
    timeout_s: float,
) -> Fetched:
    """Ask for a URL and read the answer, whatever becomes of it.

    Args:
        url: Where.
        method: The HTTP method.
        headers: In order; they come after our own and replace them.
        data: The request's body, or None.
        timeout_s: For all of it, in seconds.

    Raises:
        CliError: If no response came at all.
    """
    # On an event loop, since a deadline over many blocking reads needs a thread or one of these.
    return asyncio.run(_fetch(url, method, headers, data, timeout_s))


async def _fetch(
    url: str, method: str, headers: list[tuple[str, str]], data: bytes | None, timeout_s: float
) -> Fetched:
    http: Any = import_module("httpx2")
    fetched = Fetched()
    size = 0
    sent = all_headers(headers, data)
    try:
        async with (
            http.AsyncClient(timeout=None) as client,
            asyncio.timeout(timeout_s),  # from here: making a client loads certificates
            client.stream(method, url, headers=sent, content=data) as response,
        ):
            fetched.status, fetched.reason = response.status_code, response.reason_phrase
            fetched.content_type = response.headers.get("content-type", "")
            async for piece in response.aiter_bytes():
                fetched.pieces.append(piece)
                size += len(piece)
                if size > _MOST_BYTES:
                    message = f"the answer is larger than {_MOST_BYTES:,} bytes; record a part"
                    raise CliError(message)
    except TimeoutError:
        if not fetched.status:
            message = f"no answer from {_host(url)} in {timeout_s:g} s (--timeout changes that)"
            raise CliError(message) from None
        fetched.end = "deadline"
    except (http.RequestError, http.InvalidURL, ValueError, UnicodeError) as error:
        if not fetched.status:
            why = " ".join(str(error).split()) or type(error).__name__
            message = f"cannot reach {_host(url)}: {why}"
            raise CliError(message) from None
        fetched.end = "reset"
    return fetched


def all_headers(
    headers: list[tuple[str, str]], data: bytes | None, *, agent: str = "unbroken-check"
) -> list[tuple[str, str]]:
    """Return what is sent: our own headers, and those that were asked for in their place."""
    own = {"accept": "*/*", "accept-encoding": "identity", "user-agent": agent}
    if data is not None:
        own["content-type"] = "application/x-www-form-urlencoded"  # as curl: -H says better
    given = {name.lower() for name, _ in headers}
    mine = [(name, value) for name, value in own.items() if name not in given]
    return mine + [(name, value) for name, value in headers if value]


def _host(url: str) -> str:
    """Name the host alone: the rest of an address may hold a key."""
    host = url.partition("://")[2].split("/")[0].split("?")[0]
    return host.rpartition("@")[2] or url
