"""One exchange with a client, as ASGI has it: its request's body, and the way of the answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any, TypeAlias

from unbroken.relay.messages import Headers, ResponseHead, header_of
from unbroken.relay.pump import AbortHow

__all__ = [
    "AsgiDownstream",
    "ClientLeftError",
    "FullError",
    "Receive",
    "Scope",
    "Send",
    "TooLargeError",
    "announced_bytes",
    "headers_of",
    "read_body",
    "target_of",
]

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class ClientLeftError(Exception):
    """The client went before its request was whole."""


class FullError(Exception):
    """There is no room for the request's body beside those of others."""


class TooLargeError(Exception):
    """The request's body is larger than allowed."""


def headers_of(scope: Scope) -> Headers:
    """Return the request's headers, as they came."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]


def target_of(scope: Scope) -> str:
    """Return path and query as they came, still percent-encoded."""
    path: str = scope.get("raw_path", b"").decode("latin-1") or scope["path"]
    query: str = scope["query_string"].decode("latin-1")
    return f"{path}?{query}" if query else path


async def read_body(
    receive: Receive, headers: Headers, *, limit_bytes: int, take: Callable[[int], bool]
) -> bytes:
    """Return the whole body.

    Args:
        receive: ASGI's.
        headers: Of the request.
        limit_bytes: Largest body.
        take: Takes so many bytes of what all requests may hold; False if there are no more.

    Raises:
        TooLargeError: As soon as more than ``limit_bytes`` are announced, or have come.
        FullError: If there is no room for it now.
        ClientLeftError: If it does not come to its end.
    """
    announced = announced_bytes(headers)
    if announced > limit_bytes:
        raise TooLargeError
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientLeftError
        part: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        size += len(part)
        if size > limit_bytes:
            raise TooLargeError
        if not take(len(part)):
            raise FullError
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)  # the common case: no copy


def announced_bytes(headers: Headers) -> int:
    """Return the size of the body that a request announces; 0 if it does not say."""
    announced = header_of(headers, "content-length")
    return int(announced) if announced is not None and announced.isdigit() else 0


class AsgiDownstream:
    """Who is answered; an `unbroken.relay.pump.Downstream`.

    Attributes:
        started: Whether the head was sent.
        status: The status that was sent; 0 before.
        sent_bytes: How much of the body was.
        stuck: Whether the client has to take what was written before more can be.
        lost: Whether the client was seen to leave before the end.

    Args:
        scope: The request.
        receive: ASGI's, with the request's body read already, or to be read by `request_body`.
        send: ASGI's.
        more: Headers that every answer gets beside its own; filled up to its start.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, more: Headers) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._more = more
        # Of our own server: cheaper than a message for each write, and a task that waits.
        extensions = scope.get("extensions") or {}
        self._wire = extensions.get("unbroken.wire")
        self._leaving = extensions.get("unbroken.left")
        self.started = False
        self.status = 0
        self.sent_bytes = 0
        self.stuck = False
        self.lost = False
        self._body_read: asyncio.Event | None = None  # set while the body comes yet

    def request_body(self) -> AsyncIterator[bytes]:
        """Return the request's body as it comes, for a request that is only passed on.

        Iterating raises `ClientLeftError` if the body does not come to its end.
        """
        self._body_read = asyncio.Event()
        return self._read_body(self._body_read)

    async def _read_body(self, read: asyncio.Event) -> AsyncIterator[bytes]:
        try:
            more = True
            while more:
                message = await self._receive()
                if message["type"] != "http.request":
                    self.lost = True
                    raise ClientLeftError
                more = message.get("more_body", False)
                if message.get("body"):
                    yield message["body"]
        finally:
            read.set()

    async def start(self, head: ResponseHead) -> None:
        self.started = True
        # What we say to a browser is said once: of two CORS headers it takes neither.
        ours = {name.lower() for name, _ in self._more if name.lower() != "vary"}
        self.status = head.status
        await self._send(
            {
                "type": "http.response.start",
                "status": head.status,
                "headers": [
                    (name.lower().encode("latin-1"), value.encode("latin-1"))
                    for name, value in (*head.headers, *self._more)
                    if (name, value) in self._more or name.lower() not in ours
                ],
            }
        )

    async def write(self, data: bytes) -> None:
        self.sent_bytes += len(data)
        if self._wire is None:
            await self._send({"type": "http.response.body", "body": data, "more_body": True})
        elif not self._wire.write(data):
            self.stuck = True
            await self._wire.drain()
            self.stuck = False

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    async def abort(self, how: AbortHow) -> None:
        abort = self._scope.get("extensions", {}).get("unbroken.abort")
        if abort is not None:  # a server that is not ours closes when the app returns
            abort(how)

    def left(self) -> Awaitable[None]:
        if self._body_read is not None or self._leaving is None:
            return self._received_leave()
        gone = asyncio.get_running_loop().create_future()
        self._leaving.on_left(partial(self._leave, gone))
        return gone

    def _leave(self, gone: asyncio.Future[None]) -> None:
        self.lost = True
        if not gone.done():
            gone.set_result(None)

    async def _received_leave(self) -> None:
        if self._body_read is not None:  # until then what is received is the body
            await self._body_read.wait()
        while not self.lost and (await self._receive())["type"] != "http.disconnect":
            pass
        self.lost = True
