"""One request and its answer, between the HTTP protocol and the ASGI application.

It is what uvicorn's request cycle is, with three things more, which the application finds in
``scope["extensions"]``:

- ``"unbroken.abort"``: a function that ends the connection in the middle of the body, so that the
  client cannot take what it has for a whole answer.
- ``"unbroken.left"``: the exchange itself. Its `on_left` calls a function when the client has
  gone; a task for each stream that only waits for this would cost more memory than the stream.
- ``"unbroken.wire"``: the exchange itself. Its `write` sends a piece of the body at once, without
  a message and a coroutine for each.

What the application's own exceptions say is never logged: it may quote a prompt.
"""

from __future__ import annotations

import asyncio
import http
import logging
import re
import traceback
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Literal, Protocol, TypeAlias

from uvicorn.protocols.http.flow_control import FlowControl

__all__ = ["AbortHow", "Connection", "Exchange"]

AbortHow: TypeAlias = Literal["fin", "rst"]
_App: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]
_Message: TypeAlias = MutableMapping[str, Any]

_logger = logging.getLogger("unbroken.gateway")
_HIGH_WATER_BYTES = 65_536
_BAD_NAME = re.compile(rb"[^!#$%&'*+.^_`|~0-9A-Za-z-]")
_NAMES: dict[bytes, bytes] = {}  # names of headers that were looked at, in lower case
_MAX_NAMES = 1024
_BODILESS = (204, 304)


def _status_line(status: int) -> bytes:
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode("latin-1")


_STATUS_LINES = {status: _status_line(status) for status in range(100, 600)}


class Connection(Protocol):
    """What an exchange needs of its connection."""

    transport: asyncio.Transport
    flow: FlowControl

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def reset(self) -> None: ...
    def close_cut(self, *, delimited: bool) -> None: ...
    def exchange_ended(self) -> None: ...
    def default_headers(self) -> Iterable[tuple[bytes, bytes]]: ...


class Exchange:
    """One request and its answer.

    Attributes:
        left: Whether the client has gone, or the connection was ended by `abort`.
        started: Whether the answer's head was sent.
        response_complete: Whether the answer was sent whole.
        keep_alive: Whether the connection may serve another request after this one.
        body_complete: Whether the request's body has arrived whole.
        waits_for_continue: Whether the client waits for ``100 Continue`` before its body.
    """

    __slots__ = (
        "_body",
        "_chunked",
        "_connection",
        "_flow",
        "_head",
        "_on_left",
        "_remaining",
        "_scope",
        "_unsent",
        "_waiters",
        "body_complete",
        "keep_alive",
        "left",
        "response_complete",
        "started",
        "waits_for_continue",
    )

    def __init__(
        self, scope: dict[str, Any], connection: Connection, *, keep_alive: bool, expects: bool
    ) -> None:
        self._scope = scope
        self._connection = connection
        self._flow = connection.flow
        self.keep_alive = keep_alive
        self.waits_for_continue = expects
        self.body_complete = False
        self.left = False
        self.started = False
        self.response_complete = False
        self._body: list[bytes] = []
        self._waiters: asyncio.Event | None = None  # made only when somebody waits
        self._on_left: list[Callable[[], None]] | None = None
        self._chunked = False
        self._head = scope["method"] == "HEAD"
        self._remaining = -1  # of the answer's Content-Length; -1: none was said
        self._unsent = b""  # the answer's head, in the turn of the loop in which it was made
        scope["extensions"] = {
            "unbroken.abort": self.abort,
            "unbroken.left": self,
            "unbroken.wire": self,
        }

    # ------------------------------------------------------------ from the connection

    def receive_body(self, data: bytes) -> None:
        """Take a part of the request's body; stop reading when much of it waits."""
        if self.response_complete or self.left:
            return
        body = self._body
        body.append(data)
        if len(body) > 64:  # many tiny parts: join them, so that none costs an object
            body[:] = (b"".join(body),)
        if sum(map(len, body)) > _HIGH_WATER_BYTES:
            self._connection.pause_reading()
        self._wake()

    def receive_end(self) -> None:
        self.body_complete = True
        self._wake()

    def leave(self) -> None:
        """The client has gone: tell whoever asked."""
        if self.left or self.response_complete:
            return
        self.left = True
        self._wake()
        functions, self._on_left = self._on_left, None
        for function in functions or ():
            try:
                function()
            except Exception as error:  # noqa: BLE001 - others wait for the same news
                _log_bug("on_left", error)

    def _wake(self) -> None:
        if self._waiters is not None:
            self._waiters.set()

    # ------------------------------------------------------------ for the application

    def on_left(self, function: Callable[[], None]) -> None:
        """Call ``function`` once, from the event loop, when the client leaves before the end.

        If it has left already, it is called soon. After the answer is whole it never is.
        """
        if self.left:
            asyncio.get_running_loop().call_soon(function)
        elif self._on_left is None:
            self._on_left = [function]
        else:
            self._on_left.append(function)

    def forget(self, function: Callable[[], None]) -> None:
        """Undo `on_left`; nothing happens if it was called already."""
        if self._on_left is not None and function in self._on_left:
            self._on_left.remove(function)

    def abort(self, how: AbortHow) -> None:
        """End the connection in the middle of the answer, which then shows that it is not whole.

        Args:
            how: ``"fin"`` sends what was written, then closes without the end of the body;
                ``"rst"`` resets the connection at once: the client may lose what is under way.
        """
        if self.left or self.response_complete:
            return
        connection = self._connection
        self._send_head()
        self.leave()
        if how == "rst":
            connection.reset()
        else:
            connection.close_cut(delimited=self._chunked or self._remaining > 0)

    def write(self, data: bytes) -> bool:
        """Send a part of the body at once; return whether more may follow before a `drain`.

        The answer's head must have been sent. Nothing happens when the client has gone.
        """
        if self.left:
            return True
        if not self.started or self.response_complete:
            msg = "the body was written before the head or after the end"
            raise RuntimeError(msg)
        self._write(data)
        return not self._flow.write_paused

    async def drain(self) -> None:
        """Wait until the client has taken enough of what was written."""
        if self._flow.write_paused and not self.left:
            await self._flow.drain()

    async def receive(self) -> _Message:
        """ASGI's ``receive``."""
        if self.waits_for_continue and not self.left and not self.started:
            self._connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.waits_for_continue = False
        told_end = self._body is _TOLD
        while not (self.left or self.response_complete):
            if not told_end and (self._body or self.body_complete):
                break
            self._connection.resume_reading()
            if self._waiters is None:
                self._waiters = asyncio.Event()
            self._waiters.clear()
            await self._waiters.wait()
            told_end = self._body is _TOLD
        if self.left or self.response_complete:
            return {"type": "http.disconnect"}
        parts, more = self._body, not self.body_complete
        self._body = [] if more else _TOLD
        if self._flow.read_paused:
            self._connection.resume_reading()
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        return {"type": "http.request", "body": body, "more_body": more}

    async def send(self, message: _Message) -> None:
        """ASGI's ``send``."""
        if self._flow.write_paused and not self.left:
            await self._flow.drain()
        if self.left:
            return
        if message["type"] == "http.response.body":
            if not self.started or self.response_complete:
                msg = "the body was sent before the head or after the end"
                raise RuntimeError(msg)
            more = message.get("more_body", False)
            self._write(message.get("body", b""), last=not more)
            if not more:
                self._end()
        elif message["type"] == "http.response.start" and not self.started:
            self._start(message["status"], message.get("headers", ()))
        else:
            msg = f"the application sent {message['type']} out of turn"
            raise RuntimeError(msg)

    async def run(self, app: _App) -> None:
        """Let the application answer; whatever it does wrong ends this exchange only."""
        try:
            await app(self._scope, self.receive, self.send)
        except asyncio.CancelledError:
            self.abort("rst")
            raise
        except BaseException as error:  # noqa: BLE001 - a bug of one request, told and survived
            _log_bug("application", error)
            await self._fail()
        else:
            if not self.left and not self.response_complete:
                _logger.error("the application returned before the answer was whole")
                await self._fail()
        finally:
            self._scope = {}  # the scope holds us

    async def _fail(self) -> None:
        if self.left or self.response_complete:
            return
        if self.started:
            self.abort("rst")
            return
        body = b'{"error":{"message":"the gateway failed","type":"server_error","code":"internal"}}'
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        self._start(500, headers)
        self._write(body, last=True)
        self._end()

    # ------------------------------------------------------------ the answer's bytes

    def _start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        out = [_STATUS_LINES.get(status) or _status_line(status)]
        closes = dated = False
        for name, value in headers:
            lower = _NAMES.get(name) or _lower(name)
            if b"\n" in value or b"\r" in value or b"\0" in value:
                msg = f"the application sent a header that cannot be sent: {lower!r}"
                raise RuntimeError(msg)
            if lower == b"transfer-encoding":
                continue  # how the body is framed is ours to say
            if lower == b"content-length":
                self._remaining = int(value)
            elif lower == b"connection" and b"close" in value.lower():
                self.keep_alive, closes = False, True
            elif lower == b"date":
                dated = True
            out += (lower, b": ", value, b"\r\n")
        for name, value in self._connection.default_headers():
            if not (dated and name == b"date"):
                out += (name, b": ", value, b"\r\n")
        if self._head or status in _BODILESS:
            self._remaining, self._head = -1, True
        elif self._remaining < 0:
            if self._scope["http_version"] == "1.1":
                self._chunked = True
                out.append(b"transfer-encoding: chunked\r\n")
            else:
                self.keep_alive = False  # HTTP/1.0 knows the end of such a body by the close
        if not self.keep_alive and not closes:
            out.append(b"connection: close\r\n")
        out.append(b"\r\n")
        self.started = True
        self.waits_for_continue = False
        # What is written in this turn goes with it: a system call less for each stream.
        self._unsent = b"".join(out)
        asyncio.get_running_loop().call_soon(self._send_head)

    def _send_head(self) -> None:
        head, self._unsent = self._unsent, b""
        if head and not self.left:
            self._connection.transport.write(head)

    def _write(self, data: bytes, *, last: bool = False) -> None:
        if self._head:
            return
        if not data and not last:
            return
        head, self._unsent = self._unsent, b""
        transport = self._connection.transport
        if self._chunked:
            if data:
                end = b"\r\n0\r\n\r\n" if last else b"\r\n"
                transport.write(b"%b%x\r\n%b%b" % (head, len(data), data, end))
            else:
                transport.write(head + b"0\r\n\r\n")
            return
        if self._remaining >= 0:
            if len(data) > self._remaining:
                msg = "the answer is longer than its Content-Length"
                raise RuntimeError(msg)
            self._remaining -= len(data)
        if head or data:
            transport.write(head + data if head else data)

    def _end(self) -> None:
        if self._remaining > 0:
            msg = "the answer is shorter than its Content-Length"
            raise RuntimeError(msg)
        self._send_head()  # it had no body
        self.response_complete = True
        self._on_left = None
        self._wake()
        self._connection.exchange_ended()


def _lower(name: bytes) -> bytes:
    if not name or _BAD_NAME.search(name):
        msg = f"the application sent a header that cannot be sent: {name[:40]!r}"
        raise RuntimeError(msg)
    lower = name.lower()
    if len(_NAMES) < _MAX_NAMES:
        _NAMES[name] = lower
    return lower


_TOLD: list[bytes] = []  # stands for a body that was given out to its end


def _log_bug(where: str, error: BaseException) -> None:
    """Log where something broke; not what it said, which may quote a prompt."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "?"
    _logger.error("a bug in the gateway (%s): %s at %s", where, type(error).__name__, place)
