"""The driver for blocking code."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from unbroken.core.actions import (
    Connect,
    Deliver,
    Disconnect,
    FinishStream,
    Receive,
    Wait,
)
from unbroken.drivers.base import ABORTED, PROBLEM_BYTES, PROBLEM_S, Driver, no_events
from unbroken.drivers.timer import Alarm, shared_timer
from unbroken.drivers.upstream import Body, Upstream

__all__ = ["SyncDriver"]


class SyncDriver(Driver):
    """An iterator over a stream's deliveries.

    The timer thread touches the machine only while this one is blocked in a read, and under
    the lock; a deadline that fires ends the attempt for good, since after a broken read the
    HTTP library would show a clean end. `abort` may come from any thread, `close` too.

    Args:
        upstream: Sends requests.
        body: The first attempt's open response, if the SDK had it sent.
    """

    def __init__(self, *args: Any, upstream: Upstream, body: Body | None = None, **more: Any):
        super().__init__(*args, wording=upstream, sent=body is not None, **more)
        self._upstream = upstream
        self._body: Body | None = None
        self._lock = threading.Lock()
        self._blocked = False
        self._reader: int | None = None
        self._connecting = False
        self._closed = threading.Event()
        self._alarm = Alarm(self._on_time)
        if body is not None:
            self._opened(body)

    def __iter__(self) -> SyncDriver:
        return self

    def __next__(self) -> Deliver:
        """Return the next delivery.

        Raises:
            StopIteration: The stream ended, proven or as without us.
            Exception: What the transport's wording makes of the fault.
        """
        if self._bypassed:
            return self._pass_on()
        stream = self.stream
        while True:
            if self._aborted:
                stream.cancel(self.clock(), ABORTED)
            action = stream.next_action()
            kind = type(action)
            if kind is Receive:
                delivered = self._read()
                if delivered is not None:
                    return delivered
            elif kind is Deliver:
                self._away = True
                self._hand_on(action)  # type: ignore[arg-type]
                return action  # type: ignore[return-value]
            elif isinstance(action, Connect):
                self._connect(action)
            elif isinstance(action, Wait):
                self._tell()
                self._closed.wait(max(0.0, action.until - self.clock()))
                stream.handle_timer(self.clock())
            elif isinstance(action, Disconnect):
                self._disconnect()
                if stream.over:
                    self._conclude()
            elif isinstance(action, FinishStream):
                error = self._finish(action)
                if error is not None:
                    raise error
                raise StopIteration
            else:
                raise StopIteration

    def _connect(self, action: Connect) -> None:
        self._tell()
        connect_s, head_s = self._head_limits()
        self._reader = threading.get_ident()
        self._connecting = True
        try:
            if self._aborted:
                return
            if self._taping is not None:
                self._taping.sending(action.request, action.attempt)
            body = self._upstream.send(action.request, connect_s=connect_s, head_s=head_s)
        except Exception as error:  # noqa: BLE001 - whatever the library raises is a fault
            if not self._aborted:
                self._unanswered(error)
        else:
            self._opened(body)
        finally:
            self._connecting = False

    def _opened(self, body: Body) -> None:
        self._body = body
        if not body.can_abort:
            # The clocks cannot be told apart by a read timeout: the shortest of them rules.
            self.record.limits = "read-timeout"
            due = self.stream.next_deadline()
            if due is not None:
                body.limit_reads(max(0.001, due - self.clock()))
        problem = b"" if 200 <= body.status < 300 else self._problem(body)
        self._answered(body.status, body.headers, problem)

    def _problem(self, body: Body) -> bytes:
        """Return what a response that is no stream says, as far as it comes soon."""
        body.limit_reads(PROBLEM_S)
        until = self.clock() + PROBLEM_S
        said = b""
        try:
            while len(said) < PROBLEM_BYTES and self.clock() < until and not self._aborted:
                data = body.read()
                if data is None:
                    break
                said += data
        except Exception:  # noqa: BLE001 - the status is known; the rest is a courtesy
            pass
        return said[:PROBLEM_BYTES]

    def _read(self) -> Deliver | None:
        """Block for bytes; return something only when stepping aside."""
        body, stream = self._body, self.stream
        assert body is not None
        now = self.clock()
        try:
            if self._away:
                self._come_back(now)
            if self._alarm.planned is None:
                stream.handle_timer(now)  # a flood of pings leaves no blocked read to wake
                if not self._still_reading():
                    self._tell()
                    return None
                shared_timer().arm(self._alarm, self._next_look(now))
        except Exception as bug:  # noqa: BLE001 - told, or raised again
            return Deliver(self._step_aside(bug, None), no_events())
        self._reader = threading.get_ident()
        self._blocked = True
        data: bytes | None = None
        error: Exception | None = None
        try:
            if not self._aborted:  # looked at after `_blocked`, which `abort` looks at after it
                data = body.read()
        except Exception as raised:  # noqa: BLE001 - whatever the library raises is a fault
            error = raised
        finally:
            # The lock waits for a callback that is under way; what it decided stands.
            with self._lock:
                self._blocked = False
                woken = self._aborted or not self._still_reading()
        if woken:
            self._read_error = None if self._aborted else error
            self._tell()
            return None
        now = self.clock()
        try:
            self._came(data, error, now)
        except Exception as bug:
            if error is not None:
                raise error from bug
            rest = self._step_aside(bug, data)
            if data is None and not rest:
                raise StopIteration from None
            return Deliver(rest, no_events())
        return None

    def _still_reading(self) -> bool:
        return not self.stream.over and self.stream.reading

    def _on_time(self) -> float | None:
        """On the timer thread: let the machine look at the time."""
        with self._lock:
            if not self._blocked or not self._still_reading():
                return None
            self.stream.handle_timer(self.clock())
            notices = self.stream.take_notices()
            if self._body is not None and not self._still_reading():
                self._body.abort()
        for notice in notices:  # outside the lock: an observer may abort the stream
            self._notify(notice)
        with self._lock:
            return self._next_look(self.clock()) if self._still_reading() else None

    def abort(self) -> None:
        """End the stream from outside, on any thread.

        A read that is blocked wakes up at once; who iterates gets an exception that says so,
        unless the answer was whole already.
        """
        self._aborted = True
        self._closed.set()
        with self._lock:
            if (self._blocked or self._connecting) and self._body is not None:
                self._body.abort()
        if self._connecting:
            self._upstream.abort()

    def _pass_on(self) -> Deliver:
        data = None if self._dead or self._body is None else self._body.read()
        if data is None:
            raise StopIteration
        return Deliver(data, no_events())

    def _disconnect(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            with contextlib.suppress(Exception):  # it is gone either way
                body.close()

    def close(self) -> None:
        """Leave: release the connection, and settle the outcome."""
        if (self._blocked or self._connecting) and self._reader != threading.get_ident():
            self.abort()  # the thread that reads lets go of the connection, at once
            return
        self._closed.set()
        self._settle()
        self._disconnect()

    def __del__(self) -> None:
        # Abandoned without `close`: the connection is not kept for the garbage collector.
        if getattr(self, "_body", None) is not None:
            self.close()
