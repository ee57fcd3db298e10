"""Connections: requests are read by h11, answers are written by hand.

h11 would not let us send half a body, so it is used for reading alone: a fresh reader for each
request takes over what the one before left unread. What goes out is `sending.py`'s.

A client that closes its side has left, also where it only half-closed; most servers of models
take it so, and there is no way to tell.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, cast

import h11

from unbroken.lab.parts import Head, Piece
from unbroken.lab.server.sending import Answer, Sending

__all__ = ["MOST_BODY_BYTES", "Connection", "Request", "Respond"]

MOST_BODY_BYTES = 32 * 1024 * 1024
_MOST_HEAD_BYTES = 64 * 1024
_MOST_AHEAD_BYTES = 64 * 1024  # of a next request that comes while an answer is on its way
_HIGH_WATER_BYTES = 64 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close() sends RST
_BEFORE_RESET_S = 0.05
_LINGER_S = 1.0
_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Request:
    """One request, whole.

    Attributes:
        method: In capitals.
        path: As it was sent, with the query.
        headers: By names in lower case; several of one name are joined by a comma.
        body: Its bytes, at most `MOST_BODY_BYTES`.
    """

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


Respond: TypeAlias = Callable[[Request], Answer]
"""Makes the answer to a request at once; what takes time is in the answer's parts."""


class Connection(asyncio.Protocol):
    """One client's connection, with one request after another.

    Args:
        respond: Makes the answers.
        open_connections: The set of all; a connection puts itself in, and out.
    """

    def __init__(self, respond: Respond, open_connections: set[Connection]) -> None:
        self._respond = respond
        self._all = open_connections
        self._sending: Sending | None = None
        self._closing = False
        self._new_reader()

    def _new_reader(self) -> None:
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=_MOST_HEAD_BYTES)
        self._head: h11.Request | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._ahead_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        # asyncio has set TCP_NODELAY: each piece is a packet of its own.
        self._transport.set_write_buffer_limits(high=_HIGH_WATER_BYTES)
        self._all.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.discard(self)
        self._closing = True
        if self._sending is not None:
            self._sending.left()

    def eof_received(self) -> bool:
        if self._sending is not None:
            self._sending.left()
        return False  # closes the transport, once what was written is out

    def pause_writing(self) -> None:
        if self._sending is not None:
            self._sending.block()

    def resume_writing(self) -> None:
        if self._sending is not None:
            self._sending.unblock()

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return  # read and dropped, so that our FIN does not become a RST
        if self._sending is not None:
            self._ahead_bytes += len(data)
            if self._ahead_bytes > _MOST_AHEAD_BYTES:
                self._transport.abort()
                return
        self._h11.receive_data(data)
        if self._sending is None:
            self._read()

    def abort(self) -> None:
        """Close at once; what runs has ended as ``left``."""
        self._closing = True
        self._transport.abort()

    # -- reading ---------------------------------------------------------------------------

    def _read(self) -> None:
        """Read on, up to the end of a request."""
        try:
            while True:
                event = self._h11.next_event()
                if isinstance(event, h11.Request):
                    self._head = event
                    if _length_of(event) > MOST_BODY_BYTES:
                        self._refuse(413, f"the body is longer than {MOST_BODY_BYTES:,} bytes")
                        return
                    if self._h11.they_are_waiting_for_100_continue:
                        self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                elif isinstance(event, h11.Data):
                    self._body.append(bytes(event.data))
                    self._body_bytes += len(event.data)
                    if self._body_bytes > MOST_BODY_BYTES:
                        self._refuse(413, f"the body is longer than {MOST_BODY_BYTES:,} bytes")
                        return
                elif isinstance(event, h11.EndOfMessage):
                    self._answer()
                    return
                else:  # NEED_DATA; PAUSED only comes after the end
                    return
        except h11.RemoteProtocolError as error:
            self._refuse(error.error_status_hint, f"not a request that can be read: {error}")

    def _answer(self) -> None:
        assert self._head is not None
        head, body = self._head, b"".join(self._body)
        self._body.clear()
        headers: dict[str, str] = {}
        for raw_name, raw_value in head.headers:
            name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        request = Request(
            method=head.method.decode("ascii").upper(),
            path=_path_of(head.target.decode("latin-1")),
            headers=headers,
            body=body,
        )
        try:
            answer = self._respond(request)
        except Exception:  # noqa: BLE001 - of a model or an injector; the server lives on
            _log.exception("the lab failed at %s", request.path.partition("?")[0])
            self._refuse(500, "the lab failed; its log says how")
            return
        is_http_10 = head.http_version < b"1.1"
        said = headers.get("connection", "").lower()
        keep_alive = "keep-alive" in said if is_http_10 else "close" not in said
        self._send(answer, is_http_10=is_http_10, method=request.method, keep_alive=keep_alive)

    def _refuse(self, status: int, why: str) -> None:
        """Say that a request cannot be taken, and close."""
        body = f"lab: {why}\n".encode()
        head = Head(
            status=status, headers={"content-type": "text/plain; charset=utf-8"}, framing="length"
        )
        answer = Answer(head=head, parts=iter([Piece(body)]))
        self._send(answer, is_http_10=False, method="", keep_alive=False)

    # -- writing ---------------------------------------------------------------------------

    def _send(self, answer: Answer, *, is_http_10: bool, method: str, keep_alive: bool) -> None:
        self._sending = Sending(
            answer,
            self._transport,
            is_http_10=is_http_10,
            head_only=method == "HEAD",
            keep_alive=keep_alive,
            done=self._sent,
        )
        self._sending.start()

    def _sent(self, then: Literal["keep", "fin", "rst", "gone"]) -> None:
        self._sending = None
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
        if self._sending is None and not self._closing:
            self._read()

    def _end_by_fin(self) -> None:
        """Shut our side, and wait for the client's before the socket is closed.

        A socket that is closed while unread bytes lie in it sends RST, which may destroy what
        the client has not read.
        """
        with contextlib.suppress(OSError, RuntimeError):
            self._transport.write_eof()
        asyncio.get_running_loop().call_later(_LINGER_S, self._linger)

    def _linger(self) -> None:
        if self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size():  # a slow reader takes its time
            asyncio.get_running_loop().call_later(_LINGER_S, self._linger)
        else:
            self._transport.close()

    def _end_by_reset(self) -> None:
        if self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size():
            asyncio.get_running_loop().call_later(_BEFORE_RESET_S, self._end_by_reset)
            return
        with contextlib.suppress(OSError):
            self._transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE
            )
        self._transport.abort()


def _length_of(request: h11.Request) -> int:
    for name, value in request.headers:
        if name == b"content-length":
            return int(value)  # h11 has checked that it is a number
    return 0


def _path_of(target: str) -> str:
    """Return path and query, also of the absolute form that is sent to proxies."""
    if target.startswith("/"):
        return target
    _, _, rest = target.partition("://")
    return "/" + rest.partition("/")[2]
