"""A health monitor whose streams become traces and metrics."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from opentelemetry import metrics, trace

from unbroken.core.actions import Notice
from unbroken.core.events import Event, Start, TextRun
from unbroken.core.outcome import Outcome
from unbroken.core.request import Request
from unbroken.telemetry.health import HealthMonitor, Labels, StreamHealth
from unbroken.telemetry.health.bill import bill_of
from unbroken.telemetry.otel.exporting import exporting
from unbroken.telemetry.otel.names import operation_of, provider_of
from unbroken.telemetry.otel.spans import Spans, error_of

__all__ = ["METRICS", "TracedMonitor", "TracedStream", "observe"]

_log = logging.getLogger("unbroken")
_SECONDS = tuple(0.01 * 2**n for n in range(14))
_TOKENS = tuple(4**n for n in range(14))

METRICS: Mapping[str, tuple[str, str, tuple[float, ...]]] = {
    "gen_ai.client.operation.duration": (
        "s", "From the request to the stream's end.", _SECONDS),
    "gen_ai.client.operation.time_to_first_chunk": (
        "s", "From the request to the first content.", _SECONDS),
    "gen_ai.client.operation.time_per_output_chunk": (
        "s", "Waits between reads that brought content; one in several is recorded.", _SECONDS),
    "gen_ai.client.token.usage": (
        "{token}", "Tokens as billed, over all attempts of a stream.", _TOKENS),
}  # fmt: skip
"""The metrics: unit, what they count, and the buckets that the conventions name."""


def observe(
    *,
    endpoint: str = "",
    tracer_provider: trace.TracerProvider | None = None,
    meter_provider: metrics.MeterProvider | None = None,
    service_name: str = "unbroken",
    gaps_every: int = 8,
    **monitor: Any,
) -> TracedMonitor:
    """Return a health monitor whose streams become traces and metrics too.

    Give it to `unbroken.http_client`, `unbroken.wrap` or `unbroken.stream` as ``health=``.

    Args:
        endpoint: Where an OTLP collector takes HTTP, as ``http://127.0.0.1:4318``. With one,
            providers are made for it, and `TracedMonitor.close` sends what is left. Headers
            and the like are set by OpenTelemetry's own variables (``OTEL_EXPORTER_OTLP_*``).
        tracer_provider: Makes the spans; None takes the global one.
        meter_provider: Makes the metrics; None takes the global one.
        service_name: The name of your service, with an ``endpoint``; ``OTEL_SERVICE_NAME`` wins.
        gaps_every: One gap in so many is recorded, over all streams: recording costs ten times
            what watching an event costs. 1 records each.
        monitor: Further arguments of `HealthMonitor`.

    Raises:
        ImportError: With an ``endpoint``, if ``unbroken[otel]`` is not installed.
        ValueError: If ``gaps_every`` is less than 1, or ``endpoint`` is no URL of HTTP.
    """
    if gaps_every < 1:
        msg = f"gaps_every must be at least 1, not {gaps_every}"
        raise ValueError(msg)
    close: Callable[[], None] | None = None
    if endpoint:
        tracer_provider, meter_provider, close = exporting(endpoint, service_name)
    return TracedMonitor(
        trace.get_tracer("unbroken", tracer_provider=tracer_provider),
        metrics.get_meter("unbroken", meter_provider=meter_provider),
        gaps_every=gaps_every,
        close=close,
        **monitor,
    )


class TracedMonitor(HealthMonitor):
    """A health monitor that traces; `observe` makes it.

    Args:
        tracer: Makes spans.
        meter: Makes metrics.
        gaps_every: See `observe`.
        close: Sends what is left.
        monitor: See `HealthMonitor`.
    """

    def __init__(
        self,
        tracer: trace.Tracer,
        meter: metrics.Meter,
        *,
        gaps_every: int = 8,
        close: Callable[[], None] | None = None,
        **monitor: Any,
    ) -> None:
        self.tracer = tracer
        self.gaps_every = gaps_every
        self.gaps = 0
        self.record = {
            name: meter.create_histogram(
                name, unit=unit, description=about, explicit_bucket_boundaries_advisory=edges
            ).record
            for name, (unit, about, edges) in METRICS.items()
        }
        self._close = close
        self._failed = False
        super().__init__(**monitor)

    def make(self, stream_id: str, labels: Labels, *, team: str, began: float) -> StreamHealth:
        """Make the record of a stream that begins."""
        return TracedStream(self, stream_id, labels, team=team, began=began)

    def close(self) -> None:
        """Send what is left to the ``endpoint``; takes a few seconds where nobody answers."""
        close, self._close = self._close, None
        if close is not None:
            close()

    @contextlib.contextmanager
    def harmless(self) -> Iterator[None]:
        """Let nothing that tracing does hurt a stream: it is logged once."""
        try:
            yield
        except Exception as bug:  # noqa: BLE001 - who only watches must not end a stream
            if not self._failed:
                self._failed = True
                _log.warning("tracing raised %s; streams go on", type(bug).__name__, exc_info=bug)


class TracedStream(StreamHealth):
    """The health of one stream, and its trace."""

    def __init__(
        self, monitor: TracedMonitor, stream_id: str, labels: Labels, *, team: str, began: float
    ) -> None:
        super().__init__(monitor, stream_id, labels, team=team, began=began)
        self._traced = monitor
        self._trace: Spans | None = None
        self._outcome: Outcome | None = None
        self._record_gap = monitor.record["gen_ai.client.operation.time_per_output_chunk"]
        self._measured: dict[str, Any] = {}
        with monitor.harmless():
            self._trace = Spans(monitor, self, began)

    @property
    def trace_id(self) -> str:
        """The id of the trace, in hex; ``""`` where there is none."""
        return "" if self._trace is None else self._trace.id

    def stamp(self, request: Request) -> Request:
        """Return a request as it goes out: with the ``traceparent`` of its attempt's span."""
        if self._trace is not None:
            with self._traced.harmless():
                return self._trace.stamp(request)
        return request

    def delivered(self, data: bytes, events: Sequence[Event], now: float) -> None:
        """Whole frames went to the consumer. See `StreamHealth`."""
        before = self._deltas
        super().delivered(data, events, now)
        if type(events) is not TextRun and self._trace is not None:
            for event in events:
                if type(event) is Start:
                    self._trace.start = event
        if self._deltas != before:
            self._came(first=before == 0)

    def _came(self, *, first: bool) -> None:
        """Content came: record the first at once, and of later gaps one in so many."""
        monitor = self._traced
        if first:
            with monitor.harmless():
                self._measured = self._names()
                monitor.record["gen_ai.client.operation.time_to_first_chunk"](
                    self._ttft_s or 0.0, self._measured
                )
            return
        monitor.gaps += 1  # threads may lose one: it is only a sample
        if monitor.gaps % monitor.gaps_every == 0:
            with monitor.harmless():
                self._record_gap(self._gap_s, self._measured)

    def notice(self, notice: Notice) -> None:
        """A stall, or a further attempt. See `telemetry.Observer`."""
        super().notice(notice)
        if self._trace is not None:
            with self._traced.harmless():
                self._trace.notice(notice)

    def outcome(self, outcome: Outcome) -> None:
        """The stream is over. See `telemetry.Observer`."""
        self._outcome = outcome
        super().outcome(outcome)

    def end(self, status: str) -> None:
        """The stream is over; a second end changes nothing."""
        super().end(status)
        found, self._trace = self._trace, None
        outcome, self._outcome = self._outcome, None
        if found is not None:
            with self._traced.harmless():
                found.end(outcome)
                self._measure(outcome)

    def _measure(self, outcome: Outcome | None) -> None:
        record, named = self._traced.record, self._measured or self._names()
        row = self.row(self._traced.clock())
        error = error_of(self, outcome)
        record["gen_ai.client.operation.duration"](
            row.duration_s, {**named, "error.type": error} if error else named
        )
        if outcome is None:
            return
        usage = bill_of(outcome, tokens=row.tokens).usage
        told = {"input": usage.input, "output": usage.output - usage.estimated_output}
        for kind, count in told.items():
            if count > 0:
                record["gen_ai.client.token.usage"](count, {**named, "gen_ai.token.type": kind})

    def _names(self) -> dict[str, Any]:
        """Return what metrics are told apart by: of a limited number, unlike models' names."""
        with self._traced.locked:
            labels = self._traced.group_of(self).labels
        return {
            "gen_ai.operation.name": operation_of(labels),
            "gen_ai.provider.name": provider_of(labels),
            "gen_ai.request.model": labels.model,
        }
