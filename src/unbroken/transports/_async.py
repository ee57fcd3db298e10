"""The transport for event loops that httpx and httpx2 share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from types import ModuleType
from typing import Any

from unbroken.core.options import Options
from unbroken.core.request import Request
from unbroken.drivers.asynchronous import AsyncDriver
from unbroken.sinks.base import GuardedSink, Sink
from unbroken.telemetry import Callbacks, HealthMonitor, Observer
from unbroken.telemetry.recording.tape import Tapes
from unbroken.transports._family import (
    LiveStreams,
    ResponseFacts,
    Wording,
    checked,
    is_protected,
    response_headers,
    taped,
    treatment_for,
    unanswered,
    unread,
    watched,
)

__all__ = ["AsyncByteStream", "AsyncTransport", "Body"]


class Body(ResponseFacts):
    """See `unbroken.drivers.upstream.AsyncBody`."""

    def __init__(self, response: Any) -> None:
        super().__init__(response)
        self._pieces: AsyncIterator[bytes] | None = None
        self._ended = False

    async def read(self) -> bytes | None:
        if self._ended:
            return None
        if more := self.more():
            return more
        if self._pieces is None:
            response = self.response
            self._pieces = aiter(response.aiter_bytes() if self.foreign else response.stream)
        async for data in self._pieces:
            if data := self.decoded(data):
                return data
        self._ended = True
        return self.rest() or None

    async def aclose(self) -> None:
        await self.response.aclose()


class _Upstream(Wording):
    """See `unbroken.drivers.upstream.AsyncUpstream`."""

    def __init__(self, library: ModuleType, request: Any, inner: Any) -> None:
        super().__init__(library, request)
        self._inner = inner

    async def send(
        self, request: Request, *, connect_s: float | None, head_s: float | None
    ) -> Body:
        built = self.build(request, connect_s=connect_s, head_s=head_s)
        return Body(await self._inner.handle_async_request(built))


class AsyncByteStream:
    """The body that the SDK reads; each library's class adds its own base.

    A class and not a generator: an abandoned generator would be closed by the event loop at
    some later time, and with it the connection.
    """

    def __init__(self, driver: AsyncDriver) -> None:
        self._driver = driver

    def __aiter__(self) -> AsyncByteStream:
        return self

    async def __anext__(self) -> bytes:
        while True:
            delivery = await anext(self._driver)
            if delivery.data:
                return delivery.data

    async def aclose(self) -> None:
        """Release the connection at once."""
        await self._driver.aclose()


class AsyncTransport:
    """Wraps any inner transport of its library; see `unbroken.async_http_client`.

    Args:
        inner: Sends the requests; keeps proxies, TLS and limits as it was set up.
        options: How to treat streams.
        observer: Who hears of stalls, reconnections and outcomes.
        sink: Makes the sink of each stream.
        health: Watches each stream.
        tapes: Record each stream.
    """

    library: ModuleType
    byte_stream: type[Any]

    def __init__(
        self,
        inner: Any,
        *,
        options: Options | None = None,
        observer: Observer | None = None,
        sink: Callable[[], Sink] | None = None,
        health: HealthMonitor | None = None,
        tapes: Tapes | None = None,
    ) -> None:
        self._inner = inner
        self._options = checked(options)
        self._live = LiveStreams()
        self._observer = observer or Callbacks()
        self._make_sink = sink
        self._health = health
        self._tapes = tapes

    async def handle_async_request(self, request: Any) -> Any:
        """Send a request; the body of a streamed answer is watched and healed."""
        treatment = treatment_for(request, self._options, self._observer)
        began = None if self._health is None else self._health.clock()
        tape = taped(self._tapes, treatment)
        try:
            response = await self._inner.handle_async_request(request)
        except BaseException as error:
            unanswered(tape, error)
            raise
        if treatment is None or not is_protected(treatment, response):
            unread(tape, response)
            return response
        sink = None if self._make_sink is None else GuardedSink(self._make_sink)
        try:
            driver = AsyncDriver(
                treatment.request,
                treatment.dialect,
                options=treatment.options,
                observer=self._observer,
                upstream=_Upstream(self.library, request, self._inner),
                body=Body(response),
                sink=sink,
                health=watched(self._health, treatment.request, treatment.dialect, began),
                tape=tape,
            )
        except Exception as bug:  # noqa: BLE001 - told; the response goes its way without us
            self._observer.internal_error(bug)
            if sink is not None:
                sink.abandon("unbroken itself failed, and the stream was not read")
            return response
        if treatment.options.mode != "observe":
            self._live.add(driver)
        return self.library.Response(
            status_code=response.status_code,
            headers=response_headers(treatment, response),
            stream=self.byte_stream(driver),
            extensions={**response.extensions, "unbroken": driver.record},
        )

    async def aclose(self) -> None:
        """Close the inner transport. Streams that are still read end with an exception."""
        self._live.abort()
        await self._inner.aclose()
