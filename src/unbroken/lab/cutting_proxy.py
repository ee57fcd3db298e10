"""A proxy that passes requests on and breaks the answers on purpose.

One plan, a `Cut`, is used up by each POST, and by each GET that reads llama.cpp's answer to one
again; when the list is empty, and for all other requests, answers pass untouched. What reaches
the client keeps the upstream's pace: each read of the upstream is sent on at once, and nothing
is held back.

The four faults, and what a client sees of them:

=========  =====================================================================
``clean``  a proper end of the body after half of it: no error on any layer
``fin``    the connection closes in an orderly way, the chunked body unfinished;
           where the body is close-delimited that is a clean end, as in real life
``rst``    the connection is reset
``stall``  nothing for a while, then the rest
=========  =====================================================================
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from unbroken.lab.event_counter import EventCounter
from unbroken.lab.loopback import Exchange, LoopbackServer

__all__ = ["Cut", "CuttingProxy", "FaultDone"]

How = Literal["none", "clean", "fin", "rst", "stall"]

# Headers that belong to one connection, not to the message (RFC 9110, section 7.6.1).
_HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
_READ_BYTES = 65536
_STALL_STEP_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """The plan for one answer. Without a place it strikes before the body's first byte.

    Attributes:
        how: The fault; ``none`` lets the answer pass.
        after_events: Strike after so many SSE events (blocks that hold data), with the
            last byte of the last one.
        after_bytes: Strike after so many bytes of the body (its content, chunked framing
            not counted), also in the middle of an event.
        stall_s: How long a stall lasts; None stalls until the client leaves.
        ping_s: During a stall, seconds between SSE comments that only say that the
            connection lives; None sends none. They count neither as events nor as bytes.
    """

    how: How = "none"
    after_events: int | None = None
    after_bytes: int | None = None
    stall_s: float | None = None
    ping_s: float | None = None

    def __post_init__(self) -> None:
        if self.after_events is not None and self.after_bytes is not None:
            msg = "give after_events or after_bytes, not both"
            raise ValueError(msg)
        if (self.after_events or 0) < 0 or (self.after_bytes or 0) < 0:
            msg = "after_events and after_bytes must be at least 0"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultDone:
    """A fault that was really dealt out.

    Attributes:
        request: Number of the answer, from 1.
        how: The fault.
        body_bytes: Bytes of the body that went out before it.
        events: Whole SSE events among them.
    """

    request: int
    how: How
    body_bytes: int
    events: int


class CuttingProxy(LoopbackServer):
    """Stand between a client and `upstream`, and break answers as planned.

    Args:
        upstream: The root of the server behind, such as ``http://127.0.0.1:8080``; a
            path in it is put before the path of each request.
        cuts: One plan for each answer, in order of arrival.
        port: The port on 127.0.0.1; 0 takes a free one.
        timeout_s: Longest silence of the upstream.
        events_per_second: Slow every answer down to this pace, for eyes that want to
            watch; None keeps the upstream's own.

    Attributes:
        requests: How many requests for an answer came so far.
        faults: What was dealt out so far, oldest first. A plan whose place lies beyond
            the end of its answer leaves nothing here.
    """

    def __init__(
        self,
        upstream: str,
        cuts: Iterable[Cut] = (),
        *,
        port: int = 0,
        timeout_s: float = 600.0,
        events_per_second: float | None = None,
    ) -> None:
        parts = urlsplit(upstream)
        if parts.scheme != "http" or not parts.hostname:
            msg = f"upstream must be an http:// address, not {upstream!r}"
            raise ValueError(msg)
        self._host, self._upstream_port = parts.hostname, parts.port or 80
        self._prefix = parts.path.rstrip("/")
        self._timeout_s = timeout_s
        self.events_per_second = events_per_second
        self._lock = threading.Lock()
        self._plans = deque(cuts)
        self._upstream_sockets: set[socket.socket] = set()
        self.requests = 0
        self.faults: list[FaultDone] = []
        super().__init__(port=port)

    def plan(self, cuts: Iterable[Cut]) -> None:
        """Replace the plans that are left, and count requests and faults anew."""
        with self._lock:
            self._plans = deque(cuts)
            self.requests = 0
            self.faults = []

    @property
    def plans_left(self) -> int:
        """How many plans no request has used yet."""
        return len(self._plans)

    def respond(self, exchange: Exchange, body: bytes) -> None:
        """Pass one request on, and its answer back as far as the plan lets it."""
        number, cut = self._next_plan(exchange)
        upstream = http.client.HTTPConnection(
            self._host, self._upstream_port, timeout=self._timeout_s
        )
        with contextlib.ExitStack() as stack:
            stack.callback(upstream.close)
            try:
                upstream.connect()
                stack.enter_context(self._held(upstream.sock))
                answer = self._ask(upstream, exchange, body)
            except (OSError, http.client.HTTPException) as error:
                _send_bad_gateway(exchange, error)
                return
            # The connection gives its socket away to an answer that is its last, so the
            # answer must be closed too.
            stack.callback(answer.close)
            _Passage(self, exchange, answer, number, cut).run()

    def close(self) -> None:
        """Stop listening and end all connections, those to the upstream too."""
        super().close()
        with self._lock:
            sockets = list(self._upstream_sockets)
        for upstream in sockets:
            with contextlib.suppress(OSError):
                upstream.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def _held(self, upstream: socket.socket) -> Iterator[None]:
        """Keep a socket where `close` finds it, so that it can wake who reads from it."""
        with self._lock:
            self._upstream_sockets.add(upstream)
        try:
            yield
        finally:
            with self._lock:
                self._upstream_sockets.discard(upstream)

    def _next_plan(self, exchange: Exchange) -> tuple[int, Cut]:
        # llama.cpp sends the rest of a broken answer at a GET.
        answers = exchange.command == "POST" or exchange.path.startswith("/v1/stream?")
        with self._lock:
            if not answers:
                return 0, Cut()
            self.requests += 1
            return self.requests, self._plans.popleft() if self._plans else Cut()

    def _ask(
        self, upstream: http.client.HTTPConnection, exchange: Exchange, body: bytes
    ) -> http.client.HTTPResponse:
        path = self._prefix + exchange.path
        upstream.putrequest(exchange.command, path, skip_host=True, skip_accept_encoding=True)
        for name, value in exchange.headers.items():
            if name.lower() not in _HOP_BY_HOP | {"content-length", "expect"}:
                upstream.putheader(name, value)
        if body or exchange.command in ("POST", "PUT", "PATCH"):
            upstream.putheader("Content-Length", str(len(body)))
        upstream.putheader("Connection", "close")
        upstream.endheaders(body or None)
        return upstream.getresponse()

    def note_fault(self, fault: FaultDone) -> None:
        """Put a fault on record."""
        with self._lock:
            self.faults.append(fault)


class _Passage:
    """One answer on its way through, up to its end or its fault."""

    def __init__(
        self,
        proxy: CuttingProxy,
        exchange: Exchange,
        answer: http.client.HTTPResponse,
        number: int,
        cut: Cut,
    ) -> None:
        self._proxy = proxy
        self._exchange = exchange
        self._answer = answer
        self._number = number
        self._cut = cut
        self._armed = cut.how != "none"
        self._chunked = False
        self._bytes = 0
        self._events = EventCounter()
        self._began = time.monotonic()

    def run(self) -> None:
        self._send_head()
        while not self._strikes_here():
            try:
                data = self._answer.read1(_READ_BYTES)
            except ConnectionResetError:
                self._exchange.end_by_reset()
                return
            except (OSError, http.client.HTTPException):
                self._upstream_broke()
                return
            if not data:
                if self._answer.length:  # http.client takes a short body for a whole one
                    self._upstream_broke()
                else:
                    self._finish_body()
                return
            if not all(self._pass_on(piece) for piece in self._paced(data)):
                break
        self._strike()

    def _paced(self, data: bytes) -> Iterator[bytes]:
        """Yield the read as it is or, where a pace is set, event by event in time."""
        pace = self._proxy.events_per_second
        if pace is None:
            yield data
            return
        while data:
            due_s = self._began + self._events.count / pace - time.monotonic()
            if due_s > 0 and not self._proxy.sleep(due_s):
                raise ConnectionAbortedError
            end = self._events.end_of(self._events.count + 1, data) or len(data)
            yield data[:end]
            data = data[end:]

    def _pass_on(self, data: bytes) -> bool:
        """Send what comes before the fault; return False when its place is reached."""
        while True:
            place = self._place_in(data)
            piece = data if place is None else data[:place]
            self._bytes += len(piece)
            self._events.feed(piece)
            self._send(piece)
            if place is None:
                return True
            if self._cut.how != "stall":
                return False
            self._stall()
            data = data[place:]

    def _place_in(self, data: bytes) -> int | None:
        if not self._armed:
            return None
        if self._cut.after_events is not None:
            return self._events.end_of(self._cut.after_events, data)
        place = (self._cut.after_bytes or 0) - self._bytes
        return place if place <= len(data) else None

    def _strikes_here(self) -> bool:
        """Whether the fault comes before the first byte; a stall there is served here."""
        if not (self._armed and not self._cut.after_events and not self._cut.after_bytes):
            return False
        if self._cut.how != "stall":
            return True
        self._stall()
        return False

    def _strike(self) -> None:
        self._note()
        if self._cut.how == "clean":
            self._finish_body()
        elif self._cut.how == "rst":
            self._exchange.end_by_reset()
        else:
            self._exchange.end_by_fin()

    def _stall(self) -> None:
        self._armed = False
        self._note()
        left_s = float("inf") if self._cut.stall_s is None else self._cut.stall_s
        next_ping_s = 0.0
        while left_s > 0:
            if self._cut.ping_s is not None:
                next_ping_s -= _STALL_STEP_S
                if next_ping_s < 0:
                    next_ping_s = self._cut.ping_s
                    self._send(b": ping\n\n")
            if self._exchange.client_left():
                raise ConnectionAbortedError
            if not self._proxy.sleep(min(left_s, _STALL_STEP_S)):
                raise ConnectionAbortedError
            left_s -= _STALL_STEP_S

    def _note(self) -> None:
        fault = FaultDone(
            request=self._number,
            how=self._cut.how,
            body_bytes=self._bytes,
            events=self._events.count,
        )
        self._proxy.note_fault(fault)

    def _send_head(self) -> None:
        exchange, answer = self._exchange, self._answer
        exchange.send_response_only(answer.status, answer.reason)
        dropped = set(_HOP_BY_HOP)
        bodiless = exchange.command == "HEAD" or answer.status in (204, 304)
        sized = answer.headers.get("Content-Length") is not None
        if sized and self._cut.how == "clean":
            dropped.add("content-length")  # with it half a body could not end in a clean way
            sized = False
        for name, value in answer.headers.items():
            if name.lower() not in dropped:
                exchange.send_header(name, value)
        # A close-delimited body stays one: there a FIN is a clean end, and hides a crash.
        wanted = answer.chunked or self._cut.how == "clean"
        self._chunked = wanted and not sized and not bodiless and exchange.takes_chunked
        if self._chunked:
            exchange.send_header("Transfer-Encoding", "chunked")
        elif not sized and not bodiless:
            exchange.send_header("Connection", "close")
            exchange.close_connection = True
        exchange.end_headers()

    def _send(self, data: bytes) -> None:
        if data:
            framed = b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data
            self._exchange.wfile.write(framed)

    def _finish_body(self) -> None:
        if self._chunked:
            self._exchange.wfile.write(b"0\r\n\r\n")
        elif self._exchange.close_connection:
            self._exchange.end_by_fin()

    def _upstream_broke(self) -> None:
        # The client is shown what happened: an unfinished body (a clean end where the
        # body is close-delimited, as with any proxy that speaks HTTP/1.0).
        self._exchange.end_by_fin()


def _send_bad_gateway(exchange: Exchange, error: Exception) -> None:
    detail = {"message": f"upstream not reached: {type(error).__name__}", "type": "proxy_error"}
    body = json.dumps({"error": detail}).encode()
    exchange.send_response_only(502, "Bad Gateway")
    exchange.send_header("Content-Type", "application/json")
    exchange.send_header("Content-Length", str(len(body)))
    exchange.end_headers()
    exchange.wfile.write(body)
