"""One answer on its way out: head, pieces at their times, and the end that was asked for.

No task runs for an answer: a timer calls `_step`, which sends what is due and sets the next
timer. A thousand streams of twenty pieces a second cost one core less than half so.

    start -> [waiting for the next part's time | blocked by a full buffer]* -> ended
    ended: whole (the parts came to their end), clean, fin, rst (a Stop), left (the client)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import formatdate
from itertools import chain, islice
from typing import Literal, TypeAlias

from unbroken.lab.parts import Head, Part, Pause, Piece, Stop
from unbroken.lab.server.physics import Pacer
from unbroken.relay.serving.connection import Then, reason_of

__all__ = ["Answer", "Ended", "Sending"]

Ended: TypeAlias = Literal["whole", "clean", "fin", "rst", "left"]
"""How an answer ended: ``whole`` by itself, ``left`` by the client, else by a `Stop`."""

_AT_ONCE = 64  # pieces that one stream may send before the others have their turn
_MOST_COLLECTED = 10_000  # parts; a body of known length is not endless
_NO_BODY = (204, 304)
_log = logging.getLogger(__name__)


def _nothing(_: object) -> None:
    """Take note of nothing."""


@dataclass(slots=True, kw_only=True)
class Answer:
    """What to send, and whom to tell.

    Attributes:
        head: Status, headers and framing. With ``status=None`` no byte is sent: pauses are
            kept, and the first `Stop` says how the connection is closed. With
            ``framing="raw"`` the parts are all that is sent.
        parts: The body; taken one by one, each when the one before it was sent.
        whole_bytes: Length of the body if nothing stops it, for ``framing="length"``.
        sent: Called with each piece that was written.
        ended: Called once with how it ended.
        late: Called at most once, at the end, with the worst lateness of a piece in seconds.
    """

    head: Head
    parts: Iterator[Part]
    whole_bytes: int | None = None
    sent: Callable[[Piece], None] = _nothing
    late: Callable[[float], None] = _nothing
    ended: Callable[[Ended], None] = _nothing


class Sending:
    """Sends one answer.

    Args:
        answer: What to send.
        transport: Where to.
        is_http_10: The client knows no chunked bodies.
        head_only: The request was a HEAD.
        keep_alive: The client would send another request on this connection.
        done: Called once, with how the connection is to go on: ``keep``, ``fin``, ``rst``, or
            ``gone`` where the client has closed it.
    """

    __slots__ = (
        "_answer", "_blocked", "_chunked", "_done", "_due", "_ended", "_free_since", "_head_only",
        "_is_http_10", "_keep_alive", "_loop", "_pacer", "_parts", "_prefix", "_silent", "_timer",
        "_transport", "_waiting", "_worst_s",
    )  # fmt: skip

    def __init__(
        self,
        answer: Answer,
        transport: asyncio.Transport,
        *,
        is_http_10: bool,
        head_only: bool,
        keep_alive: bool,
        done: Callable[[Then], None],
    ) -> None:
        self._answer = answer
        self._transport = transport
        self._is_http_10 = is_http_10
        self._head_only = head_only
        self._keep_alive = keep_alive
        self._done = done
        self._loop = asyncio.get_running_loop()
        self._pacer = Pacer(self._loop.time())
        self._parts = answer.parts
        self._prefix = b""  # a head that goes out together with the first piece
        self._waiting: Piece | Pause | None = None
        self._due = 0.0
        self._timer: asyncio.Handle | None = None
        self._blocked = False
        self._chunked = False
        self._silent = answer.head.status is None
        self._ended = False
        self._worst_s = 0.0
        self._free_since = 0.0  # when a slow reader last made room

    def start(self) -> None:
        """Send the head, and the body in its time."""
        with self._guarded():
            head = self._answer.head
            if head.framing == "raw":
                self._keep_alive = False
            elif head.status is not None:
                self._send_head(head, head.status)
                if self._head_only or head.status in _NO_BODY:
                    self._parts = iter(())
            self._send_due()

    def block(self) -> None:
        """Send nothing: the buffer is full."""
        self._blocked = True

    def unblock(self) -> None:
        """Go on: there is room again."""
        if self._blocked:
            self._blocked = False
            self._free_since = self._loop.time()
            if not self._ended and self._timer is None:
                self._soon()

    def client_left(self) -> None:
        """Stop at once: the client has gone."""
        self._end("left")

    def _send_head(self, head: Head, status: int) -> None:
        headers = dict(head.headers)
        framing = head.framing
        if framing == "chunked" and self._is_http_10:
            framing = "close"
        if framing == "length" and "content-length" not in headers:
            length = self._length()
            if length is None:
                framing = "close" if self._is_http_10 else "chunked"
            else:
                headers["content-length"] = str(length)
        if self._head_only or status in _NO_BODY:
            pass
        elif framing == "chunked":
            headers["transfer-encoding"] = "chunked"
            self._chunked = True
        elif framing == "close":
            self._keep_alive = False
        if not self._keep_alive:
            headers["connection"] = "close"
        elif self._is_http_10:
            headers["connection"] = "keep-alive"
        headers.setdefault("date", formatdate(usegmt=True))
        headers.setdefault("server", "unbroken-lab")
        lines = [f"HTTP/1.1 {status} {reason_of(status)}"]
        lines += [f"{name}: {_one_line(value)}" for name, value in headers.items()]
        data = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
        if framing == "length" and not self._head_only:
            self._prefix = data  # an answer that is no stream comes all at once
        else:
            self._transport.write(data)

    def _length(self) -> int | None:
        """Return the length of a body that is whole before it is sent; None if it never is.

        A body that is cut, other than cleanly, says its healthy length, and does not keep it.
        """
        parts = list(islice(self._parts, _MOST_COLLECTED))
        self._parts = chain(parts, self._parts)
        if len(parts) == _MOST_COLLECTED:
            return None
        length = sum(len(part.data) for part in parts if isinstance(part, Piece))
        stopped = any(isinstance(p, Stop) and p.how != "clean" for p in parts)
        return max(length, self._answer.whole_bytes or 0) if stopped else length

    def _step(self) -> None:
        """Send all that is due, and see to it that the rest is sent in time."""
        self._timer = None
        if not self._ended:
            with self._guarded():
                self._send_due()

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """Make a reset of what an injector or a model raises, and tell the log why."""
        try:
            yield
        except Exception:  # noqa: BLE001 - of a model or an injector; the server lives on
            _log.exception("the lab failed in the middle of an answer")
            self._end("rst")

    def _send_due(self) -> None:
        time, pacer = self._loop.time, self._pacer
        now = time()
        for _ in range(_AT_ONCE):
            if self._blocked:
                return
            if self._transport.is_closing():  # the client left; we are told in a moment
                return
            part = self._waiting
            if part is None:
                new = next(self._parts, None)
                if new is None or isinstance(new, Stop):
                    self._end("whole" if new is None else new.how)
                    return
                now = time()
                due = pacer.due_of(new, now)
                if due is None:
                    self._flush_head()
                    return  # nothing more, until the client leaves
                part, self._due = new, due
            if self._due > now and self._due > (now := time()):
                self._waiting = part
                self._timer = self._loop.call_at(self._due, self._step)
                return
            self._waiting = None
            if isinstance(part, Piece):
                if part.pace_s:  # without a pace there is nothing to fall behind
                    late_s = now - max(self._due, self._free_since)
                    self._worst_s = max(self._worst_s, late_s)
                self._write(part)
        self._soon()

    def _soon(self) -> None:
        self._timer = self._loop.call_soon(self._step)

    def _write(self, piece: Piece) -> None:
        data = piece.data
        if not data or self._silent:
            return
        if self._chunked:
            self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        elif self._prefix:
            self._transport.write(self._prefix + data)
            self._prefix = b""
        else:
            self._transport.write(data)
        self._answer.sent(piece)

    def _flush_head(self) -> None:
        if self._prefix and not self._silent:
            self._transport.write(self._prefix)
            self._prefix = b""

    def _end(self, how: Ended) -> None:
        if self._ended:
            return
        if self._silent and how in ("whole", "clean"):
            how = "fin"
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._waiting = None
        self._parts = iter(())
        # Told first, so that who saw a stream's end finds it in the log.
        try:
            self._answer.late(self._worst_s)
            self._answer.ended(how)
        except Exception:  # noqa: BLE001 - who is told may fail, and the end must come
            _log.exception("what is told of an answer's end failed")
        self._done(self._on_the_wire(how))

    def _on_the_wire(self, how: Ended) -> Then:
        if how == "left":
            return "gone"
        if how == "rst":
            if not self._silent:
                self._flush_head()
            return "rst"
        self._flush_head()
        if self._silent or how == "fin":
            return "fin"
        if self._chunked:
            self._transport.write(b"0\r\n\r\n")
        return "keep" if self._keep_alive else "fin"


def _one_line(value: str) -> str:
    return value.replace("\r", " ").replace("\n", " ")
