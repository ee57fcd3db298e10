"""The driver for event loops: asyncio, and trio by way of anyio.

No reader task, no task group, and no cancel scope that stays open while the consumer has
control: with them a plain ``break`` would cancel the consumer's own task. On asyncio one
lazily re-armed timer per stream shuts the socket down, and the waiting read wakes; elsewhere,
and where the socket is out of reach, a scope around each single read.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any

from unbroken.core.actions import (
    Connect,
    Deliver,
    Disconnect,
    FinishStream,
    Receive,
    Wait,
)
from unbroken.drivers.base import Driver, no_events
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
        self._loop = _asyncio_loop()
        self._timer: asyncio.TimerHandle | None = None
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
            action = stream.next_action()
            kind = type(action)
            if kind is Receive:
                delivered = await self._read()
                if delivered is not None:
                    return delivered
            elif kind is Deliver:
                return action  # type: ignore[return-value]
            elif isinstance(action, Connect):
                await self._connect(action)
            elif isinstance(action, Wait):
                self._tell()
                await self._sleep(action.until - self.clock())
                stream.handle_timer(self.clock())
            elif isinstance(action, Disconnect):
                await self._disconnect()
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
        if self._loop is not None:
            await asyncio.sleep(seconds)
        else:
            import anyio

            await anyio.sleep(seconds)

    async def _connect(self, action: Connect) -> None:
        self._tell()
        connect_s, head_s = self._head_limits()
        try:
            body = await self._upstream.send(action.request, connect_s=connect_s, head_s=head_s)
        except Exception as error:  # noqa: BLE001 - whatever the library raises is a fault
            fault = self._explain(error, connecting=True)
            self.stream.failed(fault, self.clock())
        else:
            self._opened(body)

    def _opened(self, body: AsyncBody) -> None:
        self._body = body
        if self._loop is None or not body.can_abort:
            self.record.limits = "scope"
        self.stream.connected(body.status, body.headers, self.clock())

    async def _read(self) -> Deliver | None:
        """Wait for bytes; return something only when stepping aside."""
        body, stream = self._body, self.stream
        assert body is not None
        stream.resume(self.clock())
        data: bytes | None = None
        error: Exception | None = None
        self._waiting = True
        try:
            if self.record.limits == "socket":
                self._arm()
                data = await body.read()
            else:
                data, late = await self._read_in_scope(body)
                if late:
                    stream.handle_timer(self.clock())
        except Exception as raised:  # noqa: BLE001 - whatever the library raises is a fault
            error = raised
        finally:
            self._waiting = False
        if not stream.reading:  # a deadline ended the attempt: what the read says is void
            self._read_error = error
            self._tell()
            return None
        now = self.clock()
        try:
            if error is not None:
                stream.failed(self._explain(error, connecting=False), now)
            elif data is None:
                stream.receive_eof(now)
            else:
                stream.receive(data, now)
        except Exception as bug:
            if error is not None:
                raise error from bug
            rest = self._step_aside(bug)
            if data is None and not rest:
                raise StopAsyncIteration from None
            return Deliver(rest, no_events())
        return None

    async def _read_in_scope(self, body: AsyncBody) -> tuple[bytes | None, bool]:
        """Read under a deadline; a read that was cancelled ends the attempt for good."""
        import anyio

        due = self.stream.next_deadline()
        wait = None if due is None else max(0.0, due - self.clock())
        with anyio.move_on_after(wait) as scope:
            return await body.read(), False
        return None, scope.cancelled_caught

    def _arm(self) -> None:
        """Have the timer fire at the stream's next time, or before it and look again."""
        due = self.stream.next_timer()
        if due is None or self._loop is None:
            return
        if self._timer is None:
            self._timer = self._loop.call_later(max(0.0, due - self.clock()), self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        stream = self.stream
        if not self._waiting or not stream.reading:
            return
        stream.handle_timer(self.clock())
        self._tell()
        if stream.reading:
            self._arm()
        elif self._body is not None:
            self._body.abort()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _pass_on(self) -> Deliver:
        assert self._body is not None
        data = await self._body.read()
        if data is None:
            raise StopAsyncIteration
        return Deliver(data, no_events())

    async def _disconnect(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            with contextlib.suppress(Exception):  # it is gone either way
                await body.aclose()

    async def aclose(self) -> None:
        """Leave: release the connection, and settle the outcome."""
        self._disarm()
        if not self._bypassed:
            self.stream.cancel(self.clock())
            while (action := self.stream.next_action()) is not None:
                if isinstance(action, FinishStream):
                    self._finish(action)
        await self._disconnect()

    def __del__(self) -> None:
        # Abandoned: nobody can await any more, but the socket can be let go at once.
        if self._body is not None:
            self._disarm()
            self._body.abort()


def _asyncio_loop() -> asyncio.AbstractEventLoop | None:
    """Return the running asyncio loop; None under trio."""
    if "trio" in sys.modules:
        import sniffio

        if sniffio.current_async_library() != "asyncio":
            return None
    return asyncio.get_running_loop()
