"""The spans of one stream.

A stream's span has the current span as its parent. It ends with the stream, however that ends:
also when it is abandoned, or given up. Spans of attempts end with it too, each at its own time,
since only then is known what an attempt came to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opentelemetry import trace

from unbroken.core.actions import Notice, Reconnecting, StallNotice
from unbroken.core.events import Start
from unbroken.core.outcome import AttemptRecord, Outcome
from unbroken.core.request import Request
from unbroken.telemetry.access_log import stream_hash
from unbroken.telemetry.health import StreamHealth
from unbroken.telemetry.otel.names import operation_of, plain, provider_of
from unbroken.telemetry.otel.propagation import stamped

if TYPE_CHECKING:
    from unbroken.telemetry.otel.monitor import TracedMonitor

__all__ = ["Spans", "error_of"]


class _Attempt:
    """The span of one upstream request."""

    def __init__(self, span: trace.Span, began_ns: int) -> None:
        self.span = span
        self.began_ns = began_ns


class Spans:
    """The spans of one stream."""

    def __init__(self, monitor: TracedMonitor, stream: StreamHealth, began: float) -> None:
        self._monitor = monitor
        self._stream = stream
        self.start: Start | None = None
        labels = stream.labels
        operation = operation_of(labels)
        self._span = monitor.tracer.start_span(
            f"{operation} {labels.model}".strip(),
            kind=trace.SpanKind.CLIENT,
            start_time=self._ns(began),
            attributes=_told(
                {
                    "gen_ai.operation.name": operation,
                    "gen_ai.provider.name": provider_of(labels),
                    "gen_ai.request.model": labels.model,
                    "gen_ai.request.stream": True,
                    "server.address": labels.provider if "." in labels.provider else None,
                    "unbroken.dialect": labels.dialect,
                    "unbroken.route": labels.route,
                    "unbroken.team": stream.team,
                    "unbroken.stream": stream_hash(stream.id),
                }
            ),
        )
        self._context = trace.set_span_in_context(self._span)
        self._attempts: dict[int, _Attempt] = {}
        self._attempt(1, "first", self._ns(began))

    @property
    def id(self) -> str:
        found = self._span.get_span_context()
        return trace.format_trace_id(found.trace_id) if found.is_valid else ""

    def _ns(self, at: float) -> int:
        return int(self._monitor.wall(at) * 1e9)

    def _attempt(self, number: int, rung: str, began_ns: int) -> _Attempt:
        span = self._monitor.tracer.start_span(
            f"attempt {rung}",
            context=self._context,
            kind=trace.SpanKind.CLIENT,
            start_time=began_ns,
            attributes={"unbroken.attempt": number, "unbroken.rung": rung},
        )
        made = self._attempts[number] = _Attempt(span, began_ns)
        return made

    def stamp(self, request: Request) -> Request:
        attempt = self._attempts[max(self._attempts)]
        parts = urlsplit(request.url)
        where: dict[str, str | int] = {
            "server.address": parts.hostname or "",
            "server.port": parts.port or {"https": 443}.get(parts.scheme, 80),
        }
        attempt.span.set_attributes(where)
        if len(self._attempts) == 1:
            self._span.set_attributes(where)
        return stamped(request, attempt.span)

    def notice(self, notice: Notice) -> None:
        if isinstance(notice, StallNotice):
            self._span.add_event("unbroken.stall")
            return
        self._span.add_event("unbroken.recovery", _recovery(notice))
        now = self._monitor.clock()
        self._attempt(notice.attempt, notice.rung, self._ns(now + max(0.0, notice.wait_s)))

    def end(self, outcome: Outcome | None) -> None:
        stream, span = self._stream, self._span
        row = stream.row(self._monitor.clock())
        over_ns = self._ns(self._monitor.clock())
        error = error_of(stream, outcome)
        self._end_attempts(outcome, error, over_ns)
        attributes: dict[str, Any] = {
            "unbroken.status": row.status,
            "unbroken.attempts": row.attempts,
            "unbroken.recoveries": row.recoveries,
            "unbroken.bytes": row.bytes,
            "unbroken.frames": row.frames,
            "unbroken.buffered": True if row.buffered else None,
            "unbroken.client_left": True if row.left else None,
            "gen_ai.response.time_to_first_chunk": row.ttft_s,
            "error.type": error,
        }
        if self.start is not None:
            attributes["gen_ai.response.model"] = plain(self.start.model)
            attributes["gen_ai.response.id"] = plain(self.start.id)
        if outcome is not None:
            reason = plain(outcome.stop_reason)
            attributes |= {
                "gen_ai.response.finish_reasons": [reason] if reason else None,
                "gen_ai.usage.input_tokens": outcome.usage.input,
                "gen_ai.usage.output_tokens": outcome.usage.output,
                "gen_ai.usage.cache_read.input_tokens": outcome.usage.cached_input,
                "unbroken.faults": [fault.kind.value for fault in outcome.faults],
                "unbroken.guarantees": [each.guarantee for each in outcome.provenance],
            }
        span.set_attributes(_told(attributes))
        if error:
            span.set_status(trace.Status(trace.StatusCode.ERROR, error))
        span.end(over_ns)

    def _end_attempts(self, outcome: Outcome | None, error: str, over_ns: int) -> None:
        for record in () if outcome is None else outcome.attempts:
            attempt = self._attempts.pop(record.number, None)
            if attempt is None:  # no notice told of it
                attempt = self._attempt(record.number, record.rung, self._ns(record.started_at))
                del self._attempts[record.number]
            ended_ns = over_ns if record.ended_at is None else self._ns(record.ended_at)
            _close_attempt(attempt, record, outcome, max(ended_ns, attempt.began_ns))
        for attempt in self._attempts.values():  # never sent, or of a stream that never began
            if error:
                attempt.span.set_attribute("error.type", error)
                attempt.span.set_status(trace.Status(trace.StatusCode.ERROR, error))
            attempt.span.end(max(over_ns, attempt.began_ns))


def _close_attempt(
    attempt: _Attempt, record: AttemptRecord, outcome: Outcome | None, ended_ns: int
) -> None:
    span, fault = attempt.span, record.fault
    assert outcome is not None
    wrote = next((each for each in outcome.provenance if each.attempt == record.number), None)
    span.set_attributes(
        _told(
            {
                "http.response.status_code": record.status,
                "unbroken.bytes": record.bytes,
                "unbroken.target": plain(record.target),
                "unbroken.request_id": plain(record.request_id),
                "unbroken.guarantee": None if wrote is None else wrote.guarantee,
                "unbroken.usage.input_tokens": record.usage.input,
                "unbroken.usage.output_tokens": record.usage.output,
                "unbroken.usage.estimated": True if record.usage.estimated else None,
                "error.type": None if fault is None or not fault.fatal else fault.kind.value,
            }
        )
    )
    for each in outcome.faults:
        if each.attempt == record.number:
            span.add_event(
                "unbroken.fault",
                {"unbroken.fault": each.kind.value, "unbroken.severity": each.severity},
                timestamp=ended_ns,
            )
    if fault is not None and fault.fatal:
        span.set_status(trace.Status(trace.StatusCode.ERROR, fault.kind.value))
    span.end(ended_ns)


def _recovery(notice: Reconnecting) -> dict[str, Any]:
    return {
        "unbroken.attempt": notice.attempt,
        "unbroken.rung": notice.rung,
        "unbroken.fault": notice.fault.kind.value,
        "unbroken.wait_s": notice.wait_s,
        "unbroken.added_bytes": notice.added_bytes,
        "unbroken.skipped": [each.rung for each in notice.skipped],
    }


def error_of(stream: StreamHealth, outcome: Outcome | None) -> str:
    """Return what a stream failed of, in one word of a limited number; ``""`` if it did not."""
    if stream.status == "abandoned":
        return "abandoned"
    if stream.status != "failed":
        return ""
    fault = None if outcome is None else outcome.fault
    if fault is not None:
        return fault.kind.value
    errors = stream.row(0.0).errors
    return (plain(errors[-1].kind) if errors else None) or "_OTHER"


def _told(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in attributes.items() if value not in (None, "", [])}
