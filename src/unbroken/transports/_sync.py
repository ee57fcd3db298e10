"""The blocking transport that httpx and httpx2 share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from unbroken.core.options import Options
from unbroken.core.request import Request
from unbroken.drivers.sync import SyncDriver
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

__all__ = ["Body", "ByteStream", "SyncTransport"]


class Body(ResponseFacts):
    """See `unbroken.drivers.upstream.Body`."""

    def __init__(self, response: Any, request: Any) -> None:
        super().__init__(response)
        self._timeouts = request.extensions.get("timeout")
        self._pieces: Iterator[bytes] | None = None
        self._ended = False

    def limit_reads(self, seconds: float) -> None:
        # httpcore looks at the request's timeouts once, when the body's first read begins.
        if self._pieces is None and isinstance(self._timeouts, dict):
            given = self._timeouts.get("read")
            self._timeouts["read"] = seconds if given is None else min(given, seconds)

    def read(self) -> bytes | None:
        if self._ended:
            return None
        if more := self.more():
            return more
        if self._pieces is None:
            response = self.response
            self._pieces = iter(response.iter_bytes() if self.foreign else response.stream)
        for data in self._pieces:
            if data := self.decoded(data):
                return data
        self._ended = True
        return self.rest() or None

    def close(self) -> None:
        self.response.close()


class _Upstream(Wording):
    """See `unbroken.drivers.upstream.Upstream`."""

    def __init__(self, library: ModuleType, request: Any, inner: Any) -> None:
        super().__init__(library, request)
        self._inner = inner

    def send(self, request: Request, *, connect_s: float | None, head_s: float | None) -> Body:
        built = self.build(request, connect_s=connect_s, head_s=head_s)
        return Body(self._inner.handle_request(built), built)


class ByteStream:
    """The body that the SDK reads; each library's class adds its own base."""

    def __init__(self, driver: SyncDriver) -> None:
        self._driver = driver

    def __iter__(self) -> Iterator[bytes]:
        for delivery in self._driver:
            if delivery.data:
                yield delivery.data

    def close(self) -> None:
        """Release the connection at once."""
        self._driver.close()


class SyncTransport:
    """Wraps any inner transport of its library; see `unbroken.http_client`.

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

    def handle_request(self, request: Any) -> Any:
        """Send a request; the body of a streamed answer is watched and healed."""
        treatment = treatment_for(request, self._options, self._observer)
        began = None if self._health is None else self._health.clock()
        tape = taped(self._tapes, treatment)
        try:
            response = self._inner.handle_request(request)
        except BaseException as error:
            unanswered(tape, error)
            raise
        if treatment is None or not is_protected(treatment, response):
            unread(tape, response)
            return response
        sink = None if self._make_sink is None else GuardedSink(self._make_sink)
        try:
            driver = SyncDriver(
                treatment.request,
                treatment.dialect,
                options=treatment.options,
                observer=self._observer,
                upstream=_Upstream(self.library, request, self._inner),
                body=Body(response, request),
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

    def close(self) -> None:
        """Close the inner transport. Streams that are still read end with an exception."""
        self._live.abort()
        self._inner.close()
