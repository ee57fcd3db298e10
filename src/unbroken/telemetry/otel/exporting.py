"""Providers that send to a collector by OTLP over HTTP."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import uuid
from collections.abc import Callable
from urllib.parse import urlsplit

from opentelemetry import metrics, trace

__all__ = ["exporting"]

_EXPORT_S = 5.0
_CLOSE_S = 5.0


def exporting(
    endpoint: str, service_name: str
) -> tuple[trace.TracerProvider, metrics.MeterProvider, Callable[[], None]]:
    """Return providers that send to a collector, and what sends the rest at the end."""
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        msg = 'sending to an OpenTelemetry collector needs pip install "unbroken[otel]"'
        raise ImportError(msg) from error
    if urlsplit(endpoint).scheme not in ("http", "https") or not urlsplit(endpoint).hostname:
        msg = "endpoint must be the URL of a collector, as http://127.0.0.1:4318"
        raise ValueError(msg)
    base = endpoint.rstrip("/")
    for known in ("/v1/traces", "/v1/metrics"):
        base = base.removesuffix(known)
    attributes: dict[str, str] = {"service.instance.id": str(uuid.uuid4())}
    if "OTEL_SERVICE_NAME" not in os.environ:
        attributes["service.name"] = service_name
    resource = Resource.create(attributes)
    tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
    tracers.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(f"{base}/v1/traces", timeout=_EXPORT_S))
    )
    reader = PeriodicExportingMetricReader(
        OTLPMetricExporter(f"{base}/v1/metrics", timeout=_EXPORT_S)
    )
    meters = MeterProvider([reader], resource=resource, shutdown_on_exit=False)

    # Each try that fails is a warning: a collector that is gone would fill the log with them.
    exporters = logging.getLogger("opentelemetry.exporter.otlp.proto.http")
    if exporters.level == logging.NOTSET:
        exporters.setLevel(logging.ERROR)

    def finish() -> None:
        with contextlib.suppress(Exception):  # a collector that is gone is nobody's error
            meters.shutdown(_CLOSE_S * 1000)
        with contextlib.suppress(Exception):
            tracers.shutdown()

    def close() -> None:
        # In a thread: exporters try again for longer than a process that ends may wait.
        last = threading.Thread(target=finish, name="unbroken-otel-close", daemon=True)
        last.start()
        last.join(_CLOSE_S)

    return tracers, meters, close
