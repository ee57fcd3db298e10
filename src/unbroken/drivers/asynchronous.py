"""The driver for event loops: asyncio, and trio by way of anyio.

No reader task, no task group, and no cancel scope that stays open while the consumer has
control: with them a plain ``break`` would cancel the consumer's own task. On asyncio one
lazily re-armed timer per stream shuts the socket down, and the waiting read wakes; elsewhere,
and where the socket is out of reach, a scope around each single read. `abort` may come from
any task or thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from unbroken.core.actions import (
    Connect,
    Deliver,
    Disconnect,
    FinishStream,
    Receive,
    Wait,
)
from unbroken.core.events import TextRun
from unbroken.drivers.base import ABORTED, PROBLEM_BYTES, PROBLEM_S, Driver, no_events
from unbroken.drivers.upstream import AsyncBody, AsyncUpstream

__all__ = ["AsyncDriver"]


class AsyncDriver(Driver):
    """An async iterator over a stream's deliveries.

    Args:
        upstream: Sends requests.
        body: The first attempt's open response, if the SDK had it sent.
    """

    def __init__(
        self, *args: Any, upstream: AsyncUpstream, body: AsyncBody | None = None, **more: Any
    ) -> None:
        super().__init__(*args, wording=upstream, sent=body is not None, **more)
        self._upstream = upstream
        self._body: AsyncBody | None = None
        self._waiting = False
        self._scope: Any = None  # around what waits now, where a scope can end it
        self._loop = _asyncio_loop()
        self._call_soon = _caller(self._loop)
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0
        self._plain = False  # of the last read nothing came but more of a text
        if body is not None:
            self._opened(body)

    def __aiter__(self) -> AsyncDriver:
        return self

    async def __anext__(self) -> Deliver:
        """Return the next delivery.

        Raises:
            StopAsyncIteration: The stream ended, proven or as without us.
            Exception: What the transport's wording makes of the fault.
        """
        if self._bypassed:
            return await self._pass_on()
        stream = self.stream
        while True:
            if self._aborted:
                stream.cancel(self.clock(), ABORTED)
            action = stream.next_action()
            kind = type(action)
            if kind is Receive:
                delivered = await self._read()
                if delivered is not None:
                    return delivered
            elif kind is Deliver:
                self._away = True
                if type(action.events) is not TextRun:  # type: ignore[union-attr]
                    self._plain = False
                self._hand_on(action)  # type: ignore[arg-type]
                return action  # type: ignore[return-value]
            elif isinstance(action, Connect):
                await self._connect(action)
            elif isinstance(action, Wait):
                self._tell()
                await self._sleep(action.until - self.clock())
                stream.handle_timer(self.clock())
            elif isinstance(action, Disconnect):
                await self._disconnect()
                if stream.over:
                    self._conclude()
            elif isinstance(action, FinishStream):
                self._disarm()
                error = self._finish(action)
                if error is not None:
                    raise error
                raise StopAsyncIteration
            else:
                raise StopAsyncIteration

    async def _sleep(self, seconds: float) -> None:
        if seconds <= 0:
            return
        import anyio

        with self._breakable():
            await anyio.sleep(seconds)

    @contextlib.contextmanager
    def _breakable(self) -> Iterator[None]:
        """Let `abort` end what waits inside. Never open while the consumer has control."""
        import anyio

        with anyio.CancelScope() as scope:
            self._scope = scope
            if self._aborted:
                scope.cancel()
            try:
                yield
            finally:
                self._scope = None

    async def _connect(self, action: Connect) -> None:
        self._tell()
        connect_s, head_s = self._head_limits()
        body: AsyncBody | None = None
        problem = b""
        if self._taping is not None:
            self._taping.sending(action.request, action.attempt)
        try:
            with self._breakable():
                body = await self._upstream.send(action.request, connect_s=connect_s, head_s=head_s)
                self._body = body
                if not 200 <= body.status < 300:
                    problem = await self._problem(body)
        except Exception as error:  # noqa: BLE001 - whatever the library raises is a fault
            if not self._aborted:
                self._unanswered(error)
        else:
            if body is not None:
                self._opened(body, problem)

    def _opened(self, body: AsyncBody, problem: bytes = b"") -> None:
        self._body = body
        self._plain = False
        if self._loop is None or not body.can_abort:
            self.record.limits = "scope"
        self._answered(body.status, body.headers, problem)

    async def _problem(self, body: AsyncBody) -> bytes:
        """Return what a response that is no stream says, as far as it comes soon."""
        import anyio

        said = b""
        try:
            with anyio.move_on_after(PROBLEM_S):
                while len(said) < PROBLEM_BYTES:
                    data = await body.read()
                    if not data:
                        break
                    said += data
        except Exception:  # noqa: BLE001 - the status is known; the rest is a courtesy
            pass
        return said[:PROBLEM_BYTES]

    async def _read(self) -> Deliver | None:
        """Wait for bytes; return something only when stepping aside."""
        body, stream = self._body, self.stream
        assert body is not None
        try:
            if self._away:
                self._come_back(self.clock())
            else:
                self._plain = False  # what came was held back, or is the first
            if self._timer is None and self.record.limits == "socket":
                stream.handle_timer(self.clock())  # a flood of pings leaves no read that waits
                if not stream.reading:
                    self._tell()
                    return None
        except Exception as bug:  # noqa: BLE001 - told, or raised again
            return Deliver(self._step_aside(bug, None), no_events())
        data: bytes | None = None
        error: Exception | None = None
        self._waiting = True
        try:
            if self.record.limits == "socket":
                self._arm()
                data = await body.read()
            else:
                data, late = await self._read_in_scope(body)
                if late or stream.options.mode == "observe":
                    stream.handle_timer(self.clock())
        except Exception as raised:  # noqa: BLE001 - whatever the library raises is a fault
            error = raised
        finally:
            self._waiting = False
        if self._aborted or not stream.reading:
            # It was aborted, or a deadline ended the attempt: what the read says is void.
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
            if not data and not rest:
                raise StopAsyncIteration from None
            return Deliver(rest, no_events())
        return None

    async def _read_in_scope(self, body: AsyncBody) -> tuple[bytes | None, bool]:
        """Read under a deadline; a read that was cancelled ends the attempt for good."""
        import anyio

        due = self.stream.next_deadline()
        wait = None if due is None else max(0.0, due - self.clock())
        with anyio.move_on_after(wait) as scope:
            self._scope = scope
            try:
                if not self._aborted:
                    return await body.read(), False
            finally:
                self._scope = None
        return None, scope.cancelled_caught

    def _arm(self) -> None:
        """Have the timer ring at the stream's next time, or before it and look again.

        More of a text only puts times off: a timer that is set rings too early then, and looks
        again. So neither a silent stream nor one that runs is looked at between its times.
        Whatever else was read may have brought one nearer (a last marker, text after thinking,
        anything after a notice): then it is looked soon.
        """
        plain, self._plain = self._plain, True  # until something else is seen
        if self._timer is not None:
            if plain or self._rings_at <= (soon := self._soon(self.clock())):
                return
            self._timer.cancel()
            self._set_timer(soon)
        elif self._loop is not None:
            self._plain = False  # there may have been a notice before
            due = self.stream.next_timer()
            if due is not None:
                self._set_timer(due)

    def _set_timer(self, at: float) -> None:
        assert self._loop is not None
        self._rings_at = at
        wait_s = max(0.0, at - self.clock())
        self._timer = self._loop.call_later(wait_s, _ring, weakref.ref(self))

    def _on_time(self) -> None:
        self._timer = None
        stream = self.stream
        if not self._waiting or not stream.reading:
            return
        stream.handle_timer(self.clock())
        if self._tell():
            self._plain = False
        if stream.reading:
            due = stream.next_timer()
            if due is not None:
                self._set_timer(due)
        elif self._body is not None:
            self._body.abort()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def abort(self) -> None:
        """End the stream from outside: from any task, or from any thread.

        A read that waits ends at once; who iterates gets an exception that says so, unless
        the answer was whole already.
        """
        self._aborted = True
        with contextlib.suppress(RuntimeError):  # a closed loop: nothing waits in it
            self._call_soon(self._abort_wait)

    def _abort_wait(self) -> None:
        """End what waits now; in the event loop."""
        if self._scope is not None:
            self._scope.cancel()
        elif self._waiting and self._body is not None:
            self._body.abort()

    async def _pass_on(self) -> Deliver:
        data = None if self._dead or self._body is None else await self._body.read()
        if not data:
            raise StopAsyncIteration
        return Deliver(data, no_events())

    async def _disconnect(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            with contextlib.suppress(Exception):  # it is gone either way
                await body.aclose()

    async def aclose(self) -> None:
        """Leave: release the connection, and settle the outcome."""
        if self._waiting or self._scope is not None:
            self.abort()  # another task reads: it lets go of the connection, at once
            return
        self._disarm()
        self._settle()
        await self._disconnect()

    def leave(self) -> None:
        """Leave from where nobody can await: the socket is let go at once."""
        self._disarm()
        body, self._body = self._body, None
        if body is not None:
            body.abort()
        if not self.stream.over:
            self._settle()

    def __del__(self) -> None:
        if getattr(self, "_body", None) is not None:
            self.leave()  # abandoned


def _ring(driver: weakref.ref[AsyncDriver]) -> None:
    """Let a driver look at the time; a timer must not keep an abandoned stream alive."""
    found = driver()
    if found is not None:
        found._on_time()


def _caller(loop: asyncio.AbstractEventLoop | None) -> Callable[[Callable[[], None]], object]:
    """Return what calls a function soon in the event loop, from any thread."""
    if loop is not None:
        return loop.call_soon_threadsafe
    import trio

    return trio.lowlevel.current_trio_token().run_sync_soon


def _asyncio_loop() -> asyncio.AbstractEventLoop | None:
    """Return the running asyncio loop; None under trio."""
    if "trio" in sys.modules:
        import sniffio

        if sniffio.current_async_library() != "asyncio":
            return None
    return asyncio.get_running_loop()
