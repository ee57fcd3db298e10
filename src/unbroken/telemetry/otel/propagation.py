"""Traces that go on over HTTP: ``traceparent`` as it comes in and goes out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from opentelemetry import context, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from unbroken.core.request import Request

__all__ = ["continued", "stamped"]

_propagator = TraceContextTextMapPropagator()
_TRACE_HEADERS = ("traceparent", "tracestate")


@contextlib.contextmanager
def continued(headers: Sequence[tuple[str, str]]) -> Iterator[None]:
    """Go on with the trace that a request's ``traceparent`` names, if there is none yet.

    What an instrumentation of yours has begun for the request comes first.
    """
    token: Any = None
    if not trace.get_current_span().get_span_context().is_valid:
        carrier: dict[str, list[str]] = {}
        for name, value in headers:
            if name.lower() in _TRACE_HEADERS:
                carrier.setdefault(name.lower(), []).append(value)
        if "traceparent" in carrier:  # two of them, joined, are none
            joined = {name: ",".join(values) for name, values in carrier.items()}
            token = context.attach(_propagator.extract(joined, context.Context()))
    try:
        yield
    finally:
        if token is not None:
            context.detach(token)


def stamped(request: Request, span: trace.Span) -> Request:
    """Return a request as it goes out: as a part of a span, and of no other."""
    added: dict[str, str] = {}
    _propagator.inject(added, trace.set_span_in_context(span))
    if not added:
        return request
    kept = [pair for pair in request.headers if pair[0].lower() not in _TRACE_HEADERS]
    return msgspec.structs.replace(request, headers=(*kept, *added.items()))
