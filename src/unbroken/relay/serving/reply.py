"""One answer, written to as it comes; and the connection on which each request has a task.

An upstream's bytes come when they come, and a recording's at their times: so each request has a
task here, and a `Reply` that it writes to, which is what the pump calls a downstream.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from ipaddress import ip_address
from typing import Any, Literal, TypeAlias

from unbroken.relay.messages import Framing, Headers, RelayRequest, ResponseHead
from unbroken.relay.pump import AbortHow, DownstreamLeftError
from unbroken.relay.serving.connection import Arrived, Connection, Then, reason_of

__all__ = ["Reply", "ReplyConnection", "Serve"]

_log = logging.getLogger(__name__)


class Reply:
    """The answer to one request, as a `Downstream` of the relay.

    Attributes:
        started: Whether a head was sent.
        ended: Whether it is over, by an end, an abort, or since the client left.
        sent_bytes: Of the body.
        from_here: Whether the client is on this machine.
        settle: Told how it ends, once or more, before the client can see it: ``whole``, ``fin``,
            ``rst`` or ``left``. So a client that has seen the end finds it in the log.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        *,
        method: str,
        is_http_10: bool,
        keep_alive: bool,
        done: Callable[[Then], None],
    ) -> None:
        self._transport = transport
        self._method = method
        self._is_http_10 = is_http_10
        self._keep_alive = keep_alive
        self._done = done
        self._framing: Framing = "none"
        self._room = asyncio.Event()
        self._room.set()
        self._gone = asyncio.Event()
        self._to_come: int | None = None  # bytes until a client sees the end by itself
        self.settle: Callable[[Literal["whole", "fin", "rst", "left"]], None] = _nothing
        self.started = False
        self.ended = False
        self.sent_bytes = 0
        self.from_here = _is_loopback(transport.get_extra_info("peername"))

    async def start(self, head: ResponseHead, *, true_length: bool = True) -> None:
        """Send status line and headers.

        Args:
            head: They.
            true_length: Whether the body is as long as the head says.
        """
        self._alive()
        self.started = True
        self._framing = head.framing
        if self._framing == "chunked" and self._is_http_10:
            self._framing = "close"
        if self._framing == "close":
            self._keep_alive = False
        headers: Headers = list(head.headers)
        if self._framing == "chunked":
            headers.append(("Transfer-Encoding", "chunked"))
        if not self._keep_alive:
            headers.append(("Connection", "close"))
        elif self._is_http_10:
            headers.append(("Connection", "keep-alive"))
        if true_length and head.framing in ("length", "none"):
            self._to_come = _length_of(head)
            self._settle_if_last()
        lines = [f"HTTP/1.1 {head.status} {head.reason or reason_of(head.status)}"]
        lines += [f"{name}: {value}" for name, value in headers]
        self._transport.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace"))

    def start_raw(self) -> None:
        """Send no head: what is written is all that the connection carries, up to its close."""
        self._alive()
        self.started = True
        self._framing = "close"
        self._keep_alive = False

    async def write(self, data: bytes) -> None:
        """Send a part of the body; returns when there is room for more."""
        self._alive()
        if not data or self._framing == "none":
            return
        framed = b"%x\r\n%b\r\n" % (len(data), data) if self._framing == "chunked" else data
        self.sent_bytes += len(data)
        if self._to_come is not None:
            self._to_come -= len(data)
            self._settle_if_last()
        self._transport.write(framed)
        if not self._room.is_set():
            await self._room.wait()
            self._alive()

    async def end(self) -> None:
        """Send the body's proper end."""
        self._alive()
        self.settle("whole")
        if self._framing == "chunked":
            self._transport.write(b"0\r\n\r\n")
        self._finish("keep" if self._keep_alive else "fin")

    async def abort(self, how: AbortHow) -> None:
        """Close the connection with the body unfinished."""
        self._alive()
        self.settle(how)
        self._finish(how)

    async def left(self) -> None:
        """Return when the client is gone."""
        await self._gone.wait()

    async def answer(self, status: int, body: bytes, content_type: str) -> None:
        """Send an answer that is no stream."""
        headers = [("Content-Type", content_type), ("Content-Length", str(len(body)))]
        framing: Framing = "none" if self._method == "HEAD" else "length"
        await self.start(ResponseHead(status=status, headers=headers, framing=framing))
        await self.write(body)
        await self.end()

    # What the connection says.

    def block(self) -> None:
        """Take note that the buffer is full."""
        self._room.clear()

    def unblock(self) -> None:
        """Take note that there is room again."""
        self._room.set()

    def client_left(self) -> None:
        """Take note that the client has gone."""
        self._gone.set()
        self._room.set()
        if not self.ended:
            self.settle("left")
        self._finish("gone")

    def _settle_if_last(self) -> None:
        if self._to_come is not None and self._to_come <= 0:
            self.settle("whole")

    def _alive(self) -> None:
        if self.ended:
            raise DownstreamLeftError

    def _finish(self, then: Then) -> None:
        if not self.ended:
            self.ended = True
            self._done(then)


Serve: TypeAlias = Callable[[RelayRequest, Reply], Coroutine[Any, Any, None]]
"""Answers one request; must end the reply."""


class ReplyConnection(Connection):
    """One client's connection, whose requests are answered by tasks.

    Args:
        serve: Answers a request, in a task of its own.
        open_connections: The set of all; a connection puts itself in, and out.
        tasks: The set of all tasks.
        most_body_bytes: Longest body of a request that is taken.
    """

    def __init__(
        self,
        serve: Serve,
        open_connections: set[Connection],
        tasks: set[asyncio.Task[None]],
        *,
        most_body_bytes: int | None = None,
    ) -> None:
        super().__init__(open_connections)
        self._serve = serve
        self._tasks = tasks
        if most_body_bytes is not None:
            self.most_body_bytes = most_body_bytes

    def begin(self, arrived: Arrived) -> Reply:
        """Start a task for a request."""
        reply = Reply(
            self.transport,
            method=arrived.request.method,
            is_http_10=arrived.is_http_10,
            keep_alive=arrived.keep_alive,
            done=self.sent,
        )
        task = asyncio.get_running_loop().create_task(self._answer(arrived.request, reply))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return reply

    async def _answer(self, request: RelayRequest, reply: Reply) -> None:
        try:
            await self._serve(request, reply)
        except DownstreamLeftError:
            return
        except Exception:  # noqa: BLE001 - the server lives on
            # A client must not wait for ever for what will not come.
            _log.exception("no answer could be made at %s", request.target.partition("?")[0])
        if not reply.ended:
            await reply.abort("rst")


def _nothing(_: str) -> None:
    """Tell nobody."""


def _length_of(head: ResponseHead) -> int | None:
    try:
        return 0 if head.framing == "none" else int(head.header("content-length") or "")
    except ValueError:
        return None


def _is_loopback(peer: Any) -> bool:
    try:
        return ip_address(peer[0]).is_loopback
    except (TypeError, ValueError, IndexError):
        return False
