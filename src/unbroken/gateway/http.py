"""HTTP/1.1 for clients that may be hostile: uvicorn's protocol, with every wait and size bounded.

What a client can do, and what stops it:

- A head that never ends: 431 or 414 by its size, 408 by its time (slow-loris).
- A body that never ends: 408 when it stops, or is slower than `min_body_bytes_per_s`; 400 when it
  is all framing (chunk extensions of a megabyte).
- A request that can be read in two ways, so that a proxy before us sees another end of it
  (Content-Length beside Transfer-Encoding, or twice; obs-fold; bare CR or LF; a coding other than
  ``chunked``; a body behind ``Upgrade``): 400, and what follows is never read as a request.
- Trailers that look like headers: read and dropped.
- Requests sent ahead by the thousand: those in one packet are left unanswered, and the connection
  closes after the first answer, as HTTP allows; whoever sent them asks again.
- Connections by the thousand: 503 beyond `max_connections`.
- A reader that takes a byte a second: the writer waits, little is held for it, and it is cut when
  it takes nothing at all for `write_stall_s`.

llhttp, the parser, refuses most framing tricks itself (its strict mode; tests hold it to that).
An answer that is sent before the request was whole ends the connection, without a reset that
would eat the answer.

Deadlines are kept by one sweep a second over the connections that we wait for, not by a timer
for each: a running stream costs nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import socket
import struct
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

import httptools
import msgspec
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import get_local_addr, get_remote_addr

from unbroken.gateway.http_exchange import Exchange
from unbroken.gateway.http_limits import Sweeper

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

__all__ = ["HttpProtocol", "protocol_factory"]

_logger = logging.getLogger("unbroken.gateway")
_LINGER_S = 2.0
_MAX_LINGERING = 256
_EARLY_BYTES = 65_536
_FRAMING_BYTES = 16_384  # of a chunked body beyond 16 bytes for each of its own
_LOOKED_AT = frozenset((b"host", b"content-length", b"transfer-encoding", b"expect"))
_NOT_HTTP = "the request is not proper HTTP/1.1"
_HEAD_TOO_LARGE = "the request's headers are too large"
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no seconds


class _Reads(enum.Enum):
    """What we wait for from the client.

    ``IDLE -> HEAD -> BODY -> ANSWERED -> IDLE``; any of them may go to ``CLOSING``.
    """

    IDLE = enum.auto()  # nothing of a request has come
    HEAD = enum.auto()
    BODY = enum.auto()
    ANSWERED = enum.auto()  # the request is whole, its answer is not
    CLOSING = enum.auto()  # what still comes is thrown away


class _RefusedError(Exception):
    """Raised inside the parser to end it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class HttpProtocol(HttpToolsProtocol):
    """One connection of a client's.

    Only the frame is uvicorn's: where it is made, counted and shut down by the server. What is
    read and written is here and in `Exchange`.
    """

    # Beside uvicorn's attributes: more than 30 of them in one dict cost a connection 1.2 KiB more.
    __slots__ = (
        "_alone", "_body_bytes", "_early", "_head_bytes", "_limits", "_lingers",
        "_notable", "_raw_bytes", "_reads", "_refusal", "_since_bytes", "_stall", "_sweeper",
        "_unsent", "_upgrade",
    )  # fmt: skip
    cycle: Exchange  # type: ignore[assignment]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        sweeper: Sweeper,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        del self.pipeline  # uvicorn's, for what is not done here
        self._sweeper = sweeper
        self._limits = sweeper.limits
        self._reads = _Reads.IDLE
        self._refusal: _RefusedError | None = None
        self._notable: list[tuple[bytes, bytes]] = []  # headers that say how to read on
        self._head_bytes = 0  # of the header fields that were read
        self._raw_bytes = 0  # of the head that is not whole yet; then of the body, with framing
        self._body_bytes = 0
        self._since_bytes = 0  # where the body was when it was last looked at
        self._early: bytearray | None = None  # came before the answer was whole
        self._upgrade: bytes | None = None  # the head again, without its Upgrade
        self._alone = True  # no second request came with this one
        self._stall: asyncio.TimerHandle | None = None
        self._unsent = -1
        self._lingers = False

    # ------------------------------------------------------------ asyncio's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.flow = FlowControl(self.transport)
        self.server = get_local_addr(self.transport)
        self.client = get_remote_addr(self.transport)
        self.scheme = "http"
        self.connections.add(self)
        self.transport.set_write_buffer_limits(high=self._limits.write_buffer_bytes)
        if len(self.connections) - self._sweeper.lingering > self._limits.max_connections:
            self._refuse(503, "too-many-connections", "too many connections; try again soon")
            return
        self._set_unsent()
        self._sweeper.expect(self, self.loop.time() + self._limits.head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self.connections.discard(self)
        self._sweeper.content(self)
        if self._lingers:
            self._lingers = False
            self._sweeper.lingering -= 1
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
        self._reads = _Reads.CLOSING
        self._early = None
        cycle = cast("Exchange | None", self.cycle)
        if cycle is not None:
            cycle.leave()
            self.cycle = None  # type: ignore[assignment]  # it knows us: both can go now
        self.flow.resume_writing()
        self.transport.close()
        self.parser = None  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        reads = self._reads
        if reads is _Reads.CLOSING:
            return
        if reads is _Reads.ANSWERED:
            self._keep_early(data)
            return
        if reads is _Reads.IDLE:
            self._begin_head()
        if self._reads in (_Reads.HEAD, _Reads.BODY):
            self._raw_bytes += len(data)
        self._feed(data)
        if self._reads is not reads:
            self._expect_more()
        if self._reads is _Reads.HEAD and self._raw_bytes > self._limits.max_head_bytes:
            self._refuse(431, "head-too-large", _HEAD_TOO_LARGE)
        elif (
            self._reads is _Reads.BODY
            and self._raw_bytes
            > 16 * self._body_bytes + _FRAMING_BYTES + self._limits.max_head_bytes
        ):
            self._refuse(400, "bad-framing", "the body is mostly framing")

    def pause_writing(self) -> None:
        self.flow.pause_writing()
        self._watch_writes()

    # ------------------------------------------------------------ reading

    def _begin_head(self) -> None:
        self._limits = self._sweeper.limits
        self._reads = _Reads.HEAD
        self._head_bytes = self._raw_bytes = self._body_bytes = 0

    def _expect_more(self) -> None:
        """Set the deadline of what a read began and left unfinished."""
        if self._reads is _Reads.HEAD:
            self._sweeper.expect(self, self.loop.time() + self._limits.head_s)
        elif self._reads is _Reads.BODY:
            self._since_bytes = self._raw_bytes
            self._sweeper.expect(self, self.loop.time() + self._limits.body_idle_s)

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            refusal, self._refusal = self._refusal, None
            if not self._alone:  # a second request came along: not read, see on_message_begin
                return
            too_large = self._reads is _Reads.HEAD and self._raw_bytes > self._limits.max_head_bytes
            if refusal is None and too_large:
                refusal = _RefusedError(431, "head-too-large", _HEAD_TOO_LARGE)
            elif refusal is None:
                refusal = _RefusedError(400, "bad-request", _NOT_HTTP)
            self._refuse(refusal.status, refusal.code, refusal.message)

    def _without_upgrade(self, rest: bytes) -> None:
        """Read a request anew without its wish for another protocol, which RFC 9110 7.8 allows.

        The parser stops behind such a head, body or not: what follows would be taken for the
        next request. (Java's HTTP client wishes for h2c in every first request.)
        """
        head, self._upgrade = self._upgrade, None
        if head is None:
            self._refuse(400, "bad-request", _NOT_HTTP)
            return
        self.parser = httptools.HttpRequestParser(self)
        self._reads, self._head_bytes = _Reads.HEAD, 0
        self._feed(head + rest)

    def _keep_early(self, data: bytes) -> None:
        """Keep what came before the answer was whole, as the application sees it.

        It is the next request of a client that counted the answer's bytes, or abuse.
        """
        if self._early is None:
            self._early = bytearray()
        self._early += data
        if len(self._early) > _EARLY_BYTES:
            self.flow.pause_reading()

    # ------------------------------------------------------------ the parser's calls

    def on_message_begin(self) -> None:
        if self._reads is _Reads.ANSWERED:
            # Another request in the packet of the one before. No client of ours sends ahead; it
            # may, but must then ask again when the connection is closed (RFC 9112 9.3.2).
            self._alone = False
            self.cycle.keep_alive = False
            raise _RefusedError(400, "sent-ahead", "requests cannot be sent ahead")
        if self._reads is _Reads.IDLE:
            self._begin_head()
        super().on_message_begin()
        self._head_bytes = 0
        self._notable.clear()

    def on_url(self, url: bytes) -> None:
        if len(self.url) + len(url) > self._limits.max_line_bytes:
            self._stop(414, "target-too-long", "the request's target is too long")
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > self._limits.max_head_bytes + len(self.url):
            self._stop(431, "head-too-large", _HEAD_TOO_LARGE)
        if self._reads is not _Reads.HEAD:
            return  # a trailer: never to be taken for a header
        if len(self.headers) >= self._limits.max_headers:
            self._stop(431, "too-many-headers", "the request has too many headers")
        name = name.lower()
        self.headers.append((name, value))
        if name in _LOOKED_AT:
            self._notable.append((name, value))

    def on_headers_complete(self) -> None:
        version = self.parser.get_http_version()
        method = self.parser.get_method()
        self._check_head(version, method)
        if self.parser.should_upgrade():
            self._upgrade = self._head_without_upgrade(version, method)
            return
        raw_path, _, query = self.url.partition(b"?")
        path = raw_path.decode("ascii")
        scope = cast("dict[str, Any]", self.scope)
        scope.update(
            method=method.decode("ascii"),
            http_version=version,
            path=unquote(path) if "%" in path else path,
            raw_path=raw_path,
            query_string=query,
        )
        expects = any(n == b"expect" and v.lower() == b"100-continue" for n, v in self._notable)
        keep_alive = version != "1.0" and self.parser.should_keep_alive()
        self.cycle = Exchange(
            scope, cast("Any", self), keep_alive=keep_alive, expects=expects and version != "1.0"
        )
        self._reads = _Reads.BODY
        self._raw_bytes = 0
        self._head_bytes = 0  # trailers have their own measure
        task = self.loop.create_task(self.cycle.run(cast("Any", self.app)))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def on_body(self, body: bytes) -> None:
        if self._reads is _Reads.BODY:
            self._body_bytes += len(body)
            self.cycle.receive_body(body)

    def on_message_complete(self) -> None:
        if self._reads is _Reads.BODY:
            self._reads = _Reads.ANSWERED
            self._sweeper.content(self)
            self.cycle.receive_end()

    def _stop(self, status: int, code: str, message: str) -> None:
        self._refusal = _RefusedError(status, code, message)
        raise self._refusal

    def _check_head(self, version: str, method: bytes) -> None:
        """Refuse what could be read in two ways, by us and by a proxy before us."""
        if version not in ("1.0", "1.1"):
            self._stop(505, "bad-version", "only HTTP/1.1 and HTTP/1.0 are spoken here")
        if method == b"CONNECT" or not (self.url[:1] == b"/" or self.url == b"*"):
            self._stop(400, "bad-target", "the request's target must be a path")
        if b"#" in self.url or not self.url.isascii():
            self._stop(400, "bad-target", "the request's target must be a path")
        hosts, lengths, codings = 0, 0, []
        for name, value in self._notable:
            if name == b"host":
                hosts += 1
            elif name == b"content-length":
                lengths += 1
            elif name == b"transfer-encoding":
                codings.append(value.lower())
        if hosts > 1 or (hosts == 0 and version == "1.1"):
            self._stop(400, "bad-host", "the request must have one Host header")
        if codings and (lengths or version == "1.0" or codings != [b"chunked"]):
            self._stop(400, "bad-framing", "the request's body must be framed in one way")
        if lengths > 1:
            self._stop(400, "bad-framing", "the request has several Content-Length headers")

    def _head_without_upgrade(self, version: str, method: bytes) -> bytes:
        out = [method, b" ", self.url, b" HTTP/", version.encode(), b"\r\n"]
        for name, value in self.headers:
            if name == b"upgrade":
                continue
            if name == b"connection":
                tokens = [token.strip() for token in value.lower().split(b",")]
                value = b", ".join(t for t in tokens if t not in (b"upgrade", b"http2-settings"))
                if not value:
                    continue
            out += (name, b": ", value, b"\r\n")
        out.append(b"\r\n")
        return b"".join(out)

    # ------------------------------------------------------------ for the exchange

    def pause_reading(self) -> None:
        self.flow.pause_reading()

    def resume_reading(self) -> None:
        if self._early is None and not self.transport.is_closing():
            self.flow.resume_reading()

    def default_headers(self) -> Iterable[tuple[bytes, bytes]]:
        return self.server_state.default_headers

    def exchange_ended(self) -> None:
        """The answer is whole: take the next request, or end well."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self._reads is _Reads.BODY:
            self._linger()  # it answered before it had all, and does not want the rest
        elif not self.cycle.keep_alive:
            self._close()
        else:
            self._reads = _Reads.IDLE
            self._sweeper.expect(self, self.loop.time() + self._limits.keep_alive_s)
            if self._early is not None:
                self.loop.call_soon(self._read_early)  # not inside the application's send
            else:
                self.flow.resume_reading()

    def _read_early(self) -> None:
        early, self._early = self._early, None
        if early is None or self.transport.is_closing():
            return
        self.flow.resume_reading()
        self.data_received(bytes(early))

    # ------------------------------------------------------------ ends

    def reset(self) -> None:
        """Reset the connection at once."""
        self._reads = _Reads.CLOSING
        self._sweeper.content(self)
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def close_cut(self, *, delimited: bool) -> None:
        """Close after what was written, in the middle of a body.

        Args:
            delimited: Whether the client can see that something is missing. If not (HTTP/1.0), a
                reset must say so, after a moment for what is under way.
        """
        self._reads = _Reads.CLOSING
        self._sweeper.content(self)
        if delimited:
            self.transport.close()
            self.loop.call_later(_LINGER_S, self.transport.abort)  # it may not take the rest
        else:
            self.loop.call_later(0.2, self.reset)

    def overdue(self, now: float) -> None:
        """A deadline has passed."""
        limits = self._limits
        if self._reads is _Reads.IDLE:
            self._close()
        elif self._reads is _Reads.HEAD:
            self._refuse(408, "slow-head", f"the headers did not come within {limits.head_s:g} s")
        elif self._reads is _Reads.BODY:
            # Looked at anew in each interval: what came fast long ago is no credit, or a body that
            # gives a byte now and then could be held for hours.
            came = self._raw_bytes - self._since_bytes
            we_wait = self.flow.read_paused or self.cycle.waits_for_continue
            if we_wait or came >= limits.min_body_bytes_per_s * limits.body_idle_s:
                self._since_bytes = self._raw_bytes
                self._sweeper.expect(self, now + limits.body_idle_s)
                return
            self._refuse(408, "slow-body", "the body came too slowly, or stopped")

    def shutdown(self) -> None:
        """End the connection when its answer is whole (called by uvicorn's server)."""
        if self._reads in (_Reads.IDLE, _Reads.HEAD):
            self._close()
        elif self._reads is not _Reads.CLOSING:
            self.cycle.keep_alive = False

    def _close(self) -> None:
        self._reads = _Reads.CLOSING
        self._sweeper.content(self)
        self.transport.close()
        if self.transport.get_write_buffer_size():
            self._watch_writes()

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Answer with an error, where that is still possible, and end the connection."""
        self._sweeper.refused[code] = self._sweeper.refused.get(code, 0) + 1
        _logger.debug("refused a client: %s (%d)", code, status)
        cycle = cast("Exchange | None", self.cycle)
        if cycle is not None and cycle.started and not cycle.response_complete:
            self.reset()  # half an answer of the application's is out
            cycle.leave()
            return
        body = msgspec.json.encode(
            {"error": {"message": message, "type": "invalid_request_error", "code": code}}
        )
        head = (
            f"HTTP/1.1 {status} \r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nx-unbroken-error: {code}\r\n"
            f"{'retry-after: 1' if status == 503 else 'cache-control: no-store'}\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self._linger()
        if cycle is not None:
            cycle.leave()

    def _linger(self) -> None:
        """Close our side, and read on for a moment without looking.

        A socket that is closed with bytes unread resets the connection, and the client may never
        see the answer.
        """
        self._reads = _Reads.CLOSING
        self._sweeper.content(self)
        if self.transport.is_closing():
            return
        if self._sweeper.lingering >= _MAX_LINGERING:
            self.transport.close()
            self.loop.call_later(_LINGER_S, self.transport.abort)
            return
        self._lingers = True
        self._sweeper.lingering += 1
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_LINGER_S, self.transport.abort)

    # ------------------------------------------------------------ slow readers

    def _set_unsent(self) -> None:
        """Let the kernel hold little that was not sent: Linux would hold megabytes."""
        option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
        sock = self.transport.get_extra_info("socket")
        if option is not None and sock is not None and self.client is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, option, self._limits.unsent_bytes)

    def _watch_writes(self) -> None:
        if self._stall is None and self._limits.write_stall_s is not None:
            self._unsent = self._waiting_bytes()
            self._stall = self.loop.call_later(self._limits.write_stall_s, self._check_stall)

    def _check_stall(self) -> None:
        self._stall = None
        waiting = self._waiting_bytes()
        if not waiting or not (self.flow.write_paused or self.transport.is_closing()):
            return
        if waiting == self._unsent:
            self._sweeper.refused["stalled-reader"] = (
                self._sweeper.refused.get("stalled-reader", 0) + 1
            )
            self.reset()
            return
        self._watch_writes()

    def _waiting_bytes(self) -> int:
        """Bytes that the client has not taken: ours, and the kernel's where it can be asked."""
        waiting = self.transport.get_write_buffer_size()
        sock = self.transport.get_extra_info("socket")
        with contextlib.suppress(ImportError, OSError, AttributeError, struct.error):
            import fcntl
            import termios

            answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
            waiting += struct.unpack("i", answer)[0]
        return waiting


def protocol_factory(sweeper: Sweeper) -> Callable[..., HttpProtocol]:
    """Return what uvicorn's ``Config(http=...)`` takes: it makes a protocol a connection."""

    def make(*args: Any, **kwargs: Any) -> HttpProtocol:
        return HttpProtocol(*args, **kwargs, sweeper=sweeper)

    return make
