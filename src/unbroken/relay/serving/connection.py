"""Connections: requests are read by h11, answers are written by hand.

h11 would not let us send half a body, so it is used for reading alone: a fresh reader for each
request takes over what the one before left unread. What goes out is a `Sender`'s, which a class
built on `Connection` makes.

A client that closes its side has left, also where it only half-closed; most servers of models
take it so, and there is no way to tell.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import ClassVar, Literal, Protocol, TypeAlias, cast

import h11

from unbroken.relay.messages import RelayRequest

__all__ = ["MOST_BODY_BYTES", "Arrived", "Connection", "Sender", "Then", "reason_of"]

MOST_BODY_BYTES = 32 * 1024 * 1024
"""Longest body of a request that is taken, where a class says nothing else."""

_MOST_HEAD_BYTES = 64 * 1024
_MOST_AHEAD_BYTES = 64 * 1024  # of a next request that comes while an answer is on its way
_HIGH_WATER_BYTES = 64 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close() sends RST
_BEFORE_RESET_S = 0.05
_LINGER_S = 1.0
_REASONS = {529: "Overloaded", 499: "Client Closed Request"}

Then: TypeAlias = Literal["keep", "fin", "rst", "gone"]
"""How a connection goes on after an answer: the next request may come; it is closed in an orderly
way; by a reset; or the client has closed it already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A request that is to be answered.

    Attributes:
        request: It, whole.
        is_http_10: The client knows no chunked bodies.
        keep_alive: The client would send another request on this connection.
    """

    request: RelayRequest
    is_http_10: bool
    keep_alive: bool


class Sender(Protocol):
    """What sends an answer; a connection tells it how things stand."""

    def block(self) -> None:
        """Take note that the connection's buffer is full."""

    def unblock(self) -> None:
        """Take note that there is room again."""

    def client_left(self) -> None:
        """Take note that the client has gone. Must call `Connection.sent` with ``gone``."""


class Connection(asyncio.Protocol):
    """One client's connection, with one request after another.

    Args:
        open_connections: The set of all; a connection puts itself in, and out.

    Attributes:
        who: Who speaks in the answers to what is no request.
        server: The Server header of those answers.
        most_body_bytes: Longest body of a request that is taken.
        transport: Where answers go; there from `connection_made` on.
    """

    who: ClassVar[str] = "unbroken"
    server: ClassVar[str] = "unbroken"
    most_body_bytes: int = MOST_BODY_BYTES

    transport: asyncio.Transport

    def __init__(self, open_connections: set[Connection]) -> None:
        self._all = open_connections
        self._sender: Sender | None = None
        self._closing = False
        self._new_reader()

    def begin(self, arrived: Arrived) -> Sender | None:
        """Begin to answer a request.

        Args:
            arrived: It.

        Returns:
            What sends the answer, which calls `sent` once at its end; None where the answer is
            out already and `sent` or `refuse` was called.
        """
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        # asyncio has set TCP_NODELAY: each piece is a packet of its own.
        self.transport.set_write_buffer_limits(high=_HIGH_WATER_BYTES)
        self._all.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.discard(self)
        self._closing = True
        if self._sender is not None:
            self._sender.client_left()

    def eof_received(self) -> bool:
        if self._sender is not None:
            self._sender.client_left()
        return False  # closes the transport, once what was written is out

    def pause_writing(self) -> None:
        if self._sender is not None:
            self._sender.block()

    def resume_writing(self) -> None:
        if self._sender is not None:
            self._sender.unblock()

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return  # read and dropped, so that our FIN does not become a RST
        if self._sender is not None:
            self._ahead_bytes += len(data)
            if self._ahead_bytes > _MOST_AHEAD_BYTES:
                self.transport.abort()
                return
        self._h11.receive_data(data)
        if self._sender is None:
            self._read()

    def abort(self) -> None:
        """Close at once; for what runs, the client has left."""
        self._closing = True
        self.transport.abort()

    # -- reading ---------------------------------------------------------------------------

    def _new_reader(self) -> None:
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=_MOST_HEAD_BYTES)
        self._head: h11.Request | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._ahead_bytes = 0

    def _read(self) -> None:
        """Read on, up to the end of a request."""
        try:
            while True:
                event = self._h11.next_event()
                if isinstance(event, h11.Request):
                    self._head = event
                    if _length_of(event) > self.most_body_bytes:
                        self._refuse_long()
                        return
                    if self._h11.they_are_waiting_for_100_continue:
                        self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                elif isinstance(event, h11.Data):
                    self._body.append(bytes(event.data))
                    self._body_bytes += len(event.data)
                    if self._body_bytes > self.most_body_bytes:
                        self._refuse_long()
                        return
                elif isinstance(event, h11.EndOfMessage):
                    self._arrived()
                    return
                else:  # NEED_DATA; PAUSED only comes after the end
                    return
        except h11.RemoteProtocolError as error:
            self.refuse(error.error_status_hint, f"not a request that can be read: {error}")

    def _arrived(self) -> None:
        assert self._head is not None
        head, body = self._head, b"".join(self._body)
        self._body.clear()
        headers = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in head.headers.raw_items()
        ]
        said = ",".join(value for name, value in headers if name.lower() == "connection").lower()
        is_http_10 = head.http_version < b"1.1"
        request = RelayRequest(
            method=head.method.decode("ascii").upper(),
            target=_target_of(head.target.decode("latin-1")),
            headers=headers,
            body=body,
        )
        keep_alive = "keep-alive" in said if is_http_10 else "close" not in said
        sender = self.begin(Arrived(request=request, is_http_10=is_http_10, keep_alive=keep_alive))
        if sender is not None:
            self._sender = sender

    def _refuse_long(self) -> None:
        self.refuse(413, f"the body is longer than {self.most_body_bytes:,} bytes")

    # -- writing ---------------------------------------------------------------------------

    def refuse(self, status: int, why: str) -> None:
        """Say that a request cannot be taken, and close; only before its answer began."""
        body = f"{self.who}: {why}\n".encode()
        head = (
            f"HTTP/1.1 {status} {reason_of(status)}\r\n"
            f"content-type: text/plain; charset=utf-8\r\ncontent-length: {len(body)}\r\n"
            f"connection: close\r\ndate: {formatdate(usegmt=True)}\r\nserver: {self.server}\r\n\r\n"
        )
        self.transport.write(head.encode("latin-1", "replace") + body)
        self.sent("fin")

    def sent(self, then: Then) -> None:
        """Go on after an answer."""
        self._sender = None
        match then:
            case "keep":
                rest, _ = self._h11.trailing_data
                self._new_reader()
                if rest:
                    self._h11.receive_data(rest)
                    # Not from here, or many small requests at once would nest.
                    asyncio.get_running_loop().call_soon(self._read_if_free)
            case "fin":
                self._closing = True
                self._end_by_fin()
            case "rst":
                self._closing = True
                # RST overtakes on some systems what the client has not read yet; a short wait
                # lets it read what was sent before.
                asyncio.get_running_loop().call_later(_BEFORE_RESET_S, self._end_by_reset)
            case "gone":
                self._closing = True

    def _read_if_free(self) -> None:
        if self._sender is None and not self._closing:
            self._read()

    def _end_by_fin(self) -> None:
        """Shut our side, and wait for the client's before the socket is closed.

        A socket that is closed while unread bytes lie in it sends RST, which may destroy what
        the client has not read.
        """
        with contextlib.suppress(OSError, RuntimeError):
            self.transport.write_eof()
        asyncio.get_running_loop().call_later(_LINGER_S, self._linger)

    def _linger(self) -> None:
        if self.transport.is_closing():
            return
        if self.transport.get_write_buffer_size():  # a slow reader takes its time
            asyncio.get_running_loop().call_later(_LINGER_S, self._linger)
        else:
            self.transport.close()

    def _end_by_reset(self) -> None:
        if self.transport.is_closing():
            return
        if self.transport.get_write_buffer_size():
            asyncio.get_running_loop().call_later(_BEFORE_RESET_S, self._end_by_reset)
            return
        with contextlib.suppress(OSError):
            self.transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE
            )
        self.transport.abort()


def reason_of(status: int) -> str:
    """Return the words of an HTTP status."""
    try:
        return _REASONS.get(status) or HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _length_of(request: h11.Request) -> int:
    for name, value in request.headers:
        if name == b"content-length":
            return int(value)  # h11 has checked that it is a number
    return 0


def _target_of(target: str) -> str:
    """Return path and query, also of the absolute form that is sent to proxies."""
    if target.startswith("/"):
        return target
    _, _, rest = target.partition("://")
    return "/" + rest.partition("/")[2]
