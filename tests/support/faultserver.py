"""A small HTTP/1.1 server that tests script, and that can go wrong in every way we know.

It listens on 127.0.0.1, on a port of its own, in a thread of its own, and starts in a
millisecond or two, so each test has its own. A *script* says what each request is answered
with: one `Reply` (for all requests), a sequence of them (one a request; a request too many
gets a 418, which no SDK retries, and is counted in `unscripted`), or a function of the
`Request`.

    with FaultServer(Reply(pieces=frames, end="fin")) as server:
        client = openai.OpenAI(base_url=server.url + "/v1", api_key="k")
        ...
        assert len(server.requests) == 1
        assert server.wait_for_open(0)          # nothing leaks

A `Reply` is written piece by piece, each its own write to the socket (and its own HTTP
chunk), and the next piece only once the socket took the last: a client that stops reading
stops the server, and `bytes_written` shows where. `Pause` and `Gate` between pieces hold
the body for a time, or until the test opens the gate.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

__all__ = [
    "Exchange",
    "FaultServer",
    "Gate",
    "Pause",
    "Pieces",
    "Reply",
    "Request",
    "Script",
    "unused_url",
]

End = Literal["clean", "fin", "rst", "stall"]
Framing = Literal["chunked", "length", "close", "raw"]

# How long the bytes before a reset get to reach the client: a reset overtakes what is in flight.
_BEFORE_RESET_S = 0.02
_STOP_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Pause:
    """Write nothing for `seconds`."""

    seconds: float


class Gate:
    """Hold the body until the test calls `open()`; `reached` tells that the server waits."""

    def __init__(self) -> None:
        self._opened = threading.Event()
        self.reached = threading.Event()

    def open(self) -> None:
        self._opened.set()

    @property
    def is_open(self) -> bool:
        return self._opened.is_set()


Piece = bytes | Pause | Gate
Pieces = Iterable[Piece] | Callable[[], Iterable[Piece]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What one request is answered with.

    Attributes:
        status: None sends no status line and no headers: nothing, or garbage with `pieces`.
        headers: Added to those that the framing needs; a name given here replaces ours.
        pieces: Parts of the body, each written by itself. A function that makes them is for
            endless ones, so that one `Reply` can serve several requests.
        pace_s: Pause before each piece but the first.
        framing: ``chunked``; ``length`` (Content-Length); ``close`` (until FIN, as HTTP/1.0
            servers and nginx towards them do); ``raw`` writes the pieces as they are.
        content_length: What to declare with ``length``; None counts the pieces.
        end: ``clean`` keeps to the framing; ``fin`` closes without the last HTTP chunk (or
            short of the length); ``rst`` resets; ``stall`` stays silent until the client goes.
        delay_s: Time between the request and the status line.
    """

    status: int | None = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    pieces: Pieces = ()
    pace_s: float = 0.0
    framing: Framing = "chunked"
    content_length: int | None = None
    end: End = "clean"
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as it arrived; header names are lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    index: int
    connection: int
    received_s: float

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True, kw_only=True)
class Exchange:
    """How one request went; grows while the reply is being written.

    Attributes:
        bytes_written: Body bytes that the server handed to the socket, without HTTP framing.
        client_left: The client closed before the reply had ended.
        ended_s: `time.monotonic()` at the end; None while it lasts.
    """

    request: Request
    reply: Reply
    bytes_written: int = 0
    client_left: bool = False
    ended_s: float | None = None


Script = Reply | Sequence[Reply] | Callable[[Request], Reply]


class FaultServer:
    """A scripted server; use as a context manager, or call `start` and `stop`.

    Args:
        script: What to answer; may be replaced at any time (attribute `script`).
        send_buffer_bytes: Size of the kernel's send buffer of each connection. A small one
            makes a backpressure test exact; None leaves the system's.
        port: 0 takes a free one; a number serves to restart at the same address.
    """

    def __init__(
        self, script: Script = (), *, send_buffer_bytes: int | None = None, port: int = 0
    ) -> None:
        self.script = script
        self.exchanges: list[Exchange] = []
        self.unscripted = 0
        self.errors: list[BaseException] = []
        self.max_open = 0
        self.accepted = 0
        self._open: set[_Connection] = set()
        self._changed = threading.Condition()
        self._listener = _listen(port, send_buffer_bytes)
        self._address = self._listener.getsockname()
        self._loop = asyncio.new_event_loop()
        self._serving = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fault-server", daemon=True)

    # what tests read

    @property
    def port(self) -> int:
        return int(self._address[1])

    @property
    def url(self) -> str:
        """The root, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def requests(self) -> list[Request]:
        return [exchange.request for exchange in self.exchanges]

    @property
    def bodies(self) -> list[Any]:
        """The JSON body of each request."""
        return [request.json for request in self.requests]

    @property
    def bytes_written(self) -> int:
        return sum(exchange.bytes_written for exchange in self.exchanges)

    @property
    def open_connections(self) -> int:
        return len(self._open)

    def wait_for(self, condition: Callable[[], bool], within_s: float = 2.0) -> bool:
        """Wait until `condition()` holds; return whether it did. Checked on every change."""
        deadline = time.monotonic() + within_s
        with self._changed:
            while not condition():
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    return False
                self._changed.wait(min(left_s, 0.05))
        return True

    def wait_for_open(self, count: int = 0, within_s: float = 2.0) -> bool:
        """Wait until exactly `count` connections are open; return whether it came to that."""
        return self.wait_for(lambda: self.open_connections == count, within_s)

    # life

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening, drop all connections, end the thread. May be called twice.

        Connecting is refused from then on; a new server on the same `port` is a restart.
        """
        if self._thread.is_alive():
            self._serving.wait(_STOP_WITHIN_S)  # or the loop would stop in the middle of it
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_STOP_WITHIN_S)
            assert not self._thread.is_alive(), "the fault server's thread does not end"
        self._listener.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, exc_type: object, *_: object) -> None:
        self.stop()
        if exc_type is None and self.errors:
            raise self.errors[0]

    # inside

    def _run(self) -> None:
        loop = self._loop
        asyncio.set_event_loop(loop)
        serving = loop.create_server(lambda: _Connection(self), sock=self._listener, backlog=256)
        server = loop.run_until_complete(serving)
        self._serving.set()
        try:
            loop.run_forever()
        finally:
            server.close()
            for connection in list(self._open):
                connection.drop()
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            if tasks:  # of nothing, `gather` would look for a loop that another test's policy hides
                loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            loop.run_until_complete(asyncio.sleep(0))  # lets the transports close their sockets
            loop.close()

    def _answer(self, request: Request) -> Reply:
        script = self.script
        if isinstance(script, Reply):
            return script
        if callable(script):
            return script(request)
        if request.index < len(script):
            return script[request.index]
        self.unscripted += 1
        return _refusal(418, f"no reply is scripted for request {request.index}")

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _opened(self, connection: _Connection) -> int:
        self._open.add(connection)
        self.accepted += 1
        self.max_open = max(self.max_open, len(self._open))
        self._notify()
        return self.accepted - 1

    def _closed(self, connection: _Connection) -> None:
        self._open.discard(connection)
        self._notify()


class _ClientLeft(Exception):
    """The client closed its side; nobody reads what we would write."""


class _Connection(asyncio.Protocol):
    """One connection: reads a request, writes its reply, then the next."""

    def __init__(self, server: FaultServer) -> None:
        self._server = server
        self._received = bytearray()
        self._more = asyncio.Event()
        self._gone = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self._waits_for = 2  # the transport, and our task
        self._transport: asyncio.Transport

    # called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        # Nothing is buffered in this process: what was written is what the kernel took.
        transport.set_write_buffer_limits(high=0)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._number = self._server._opened(self)
        self._task = asyncio.get_running_loop().create_task(self._serve())
        self._task.add_done_callback(lambda _: self._settle())

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._more.set()

    def eof_received(self) -> None:
        self._leave()

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        self._settle()

    def _settle(self) -> None:
        # Closed is what has closed and been recorded: whoever sees the count of open
        # connections fall may read the exchanges.
        self._waits_for -= 1
        if self._waits_for == 0:
            self._server._closed(self)

    def pause_writing(self) -> None:
        self._drained.clear()

    def resume_writing(self) -> None:
        self._drained.set()

    def drop(self) -> None:
        """End it at once; what is still unsent is lost."""
        self._leave()
        self._transport.abort()

    # our side

    def _leave(self) -> None:
        self._gone.set()
        self._more.set()
        self._drained.set()

    async def _serve(self) -> None:
        try:
            while (request := await self._read_request()) is not None:
                reply = self._server._answer(request)
                exchange = Exchange(request=request, reply=reply)
                self._server.exchanges.append(exchange)
                try:
                    keep = await self._write_reply(exchange)
                except _ClientLeft:
                    exchange.client_left = True
                    keep = False
                finally:
                    exchange.ended_s = time.monotonic()
                    self._server._notify()
                if not keep or request.headers.get("connection", "").lower() == "close":
                    break
        except asyncio.CancelledError:
            raise
        except BaseException as exc:  # a bug in a script: the test must see it
            self._server.errors.append(exc)
        finally:
            if self._gone.is_set():
                self._transport.abort()
            else:
                self._transport.close()

    async def _read_request(self) -> Request | None:
        head = await self._read_until(b"\r\n\r\n")
        if head is None:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        pairs = (line.partition(":") for line in lines if line)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        if "chunked" in headers.get("transfer-encoding", ""):
            content = await self._read_chunked()
        else:
            content = await self._read_exactly(int(headers.get("content-length", "0")))
        if content is None:
            return None
        return Request(
            method=method,
            target=target,
            headers=headers,
            body=content,
            index=len(self._server.exchanges),
            connection=self._number,
            received_s=time.monotonic(),
        )

    async def _read_until(self, mark: bytes) -> bytes | None:
        while (end := self._received.find(mark)) < 0:
            if not await self._read_more():
                return None
        taken = bytes(self._received[:end])
        del self._received[: end + len(mark)]
        return taken

    async def _read_exactly(self, size: int) -> bytes | None:
        while len(self._received) < size:
            if not await self._read_more():
                return None
        taken = bytes(self._received[:size])
        del self._received[:size]
        return taken

    async def _read_chunked(self) -> bytes | None:
        content = bytearray()
        while (line := await self._read_until(b"\r\n")) is not None:
            size = int(line.partition(b";")[0], 16)
            part = await self._read_exactly(size + 2)
            if part is None or size == 0:
                return bytes(content)
            content += part[:-2]
        return None

    async def _read_more(self) -> bool:
        if self._gone.is_set():
            return False
        self._more.clear()
        await self._more.wait()
        return not self._gone.is_set()

    async def _write_reply(self, exchange: Exchange) -> bool:
        """Write it all; return whether the connection can carry another request."""
        reply = exchange.reply
        if reply.delay_s:
            await self._sleep(reply.delay_s)
        framing = reply.framing if reply.status is not None else "raw"
        if reply.status is not None and framing != "raw":
            await self._write(_head(reply))
        first = True
        for piece in reply.pieces() if callable(reply.pieces) else reply.pieces:
            if isinstance(piece, Pause):
                await self._sleep(piece.seconds)
                continue
            if isinstance(piece, Gate):
                await self._pass(piece)
                continue
            if reply.pace_s and not first:
                await self._sleep(reply.pace_s)
            first = False
            if piece:  # an empty HTTP chunk would end the body
                framed = b"%x\r\n%s\r\n" % (len(piece), piece) if framing == "chunked" else piece
                await self._write(framed)
                exchange.bytes_written += len(piece)
        match reply.end:
            case "clean":
                if framing == "chunked":
                    await self._write(b"0\r\n\r\n")
                return framing in ("chunked", "length")
            case "fin":
                return False
            case "rst":
                await asyncio.sleep(_BEFORE_RESET_S)
                self._reset()
                return False
            case "stall":
                self._server._notify()
                await self._gone.wait()
                raise _ClientLeft

    def _reset(self) -> None:
        # Lingering for 0 s makes close() send RST instead of FIN.
        linger = struct.pack("ii", 1, 0)
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._transport.abort()

    async def _write(self, data: bytes) -> None:
        if self._gone.is_set():
            raise _ClientLeft
        self._transport.write(data)
        await self._drained.wait()
        # A write that the kernel takes at once never yields; an endless body must not keep
        # the loop from seeing that the client has gone.
        await asyncio.sleep(0)
        if self._gone.is_set():
            raise _ClientLeft

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._gone.wait(), seconds)
            raise _ClientLeft

    async def _pass(self, gate: Gate) -> None:
        gate.reached.set()
        while not gate.is_open:  # opened from another thread: looked at, not waited for
            await self._sleep(0.002)


def _listen(port: int, send_buffer_bytes: int | None) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if send_buffer_bytes is not None:  # accepted sockets inherit it
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
    listener.bind(("127.0.0.1", port))
    listener.listen(256)  # from here on clients connect, also before the thread runs
    return listener


def _head(reply: Reply) -> bytes:
    headers = {"content-type": "text/event-stream; charset=utf-8"}
    match reply.framing:
        case "chunked":
            headers["transfer-encoding"] = "chunked"
        case "length":
            size = reply.content_length
            if size is None:
                size = sum(len(piece) for piece in _pieces_of(reply))
            headers["content-length"] = str(size)
        case _:
            headers["connection"] = "close"
    headers |= {name.lower(): value for name, value in reply.headers.items()}
    lines = [f"HTTP/1.1 {reply.status} {_REASONS.get(reply.status or 0, 'Status')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _pieces_of(reply: Reply) -> Iterator[bytes]:
    assert isinstance(reply.pieces, Sequence), "framing 'length' needs a list of pieces to count"
    return (piece for piece in reply.pieces if isinstance(piece, bytes))


def _refusal(status: int, message: str) -> Reply:
    error = {"error": {"message": message, "type": "test_script", "code": None}}
    return Reply(
        status=status,
        headers={"content-type": "application/json"},
        pieces=[json.dumps(error).encode()],
        framing="length",
    )


def unused_url() -> str:
    """The address of a port where nobody listens: connecting is refused at once."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


_REASONS = {
    200: "OK",
    400: "Bad Request",
    418: "I'm a teapot",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
    529: "Overloaded",
}
