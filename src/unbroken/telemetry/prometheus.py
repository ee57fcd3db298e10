"""Figures as Prometheus metrics. Needs ``unbroken[gateway]``, or prometheus-client alone.

`exposition` turns figures, which may be those of several workers, into the text that a
Prometheus server scrapes; `collector` puts a monitor's into a registry of your own. Nothing is
counted here: a scrape reads what the monitor has, so streams pay nothing for it. The labels
``provider``, ``model`` and ``route`` have a limited number of values; what is beyond is
``other``. See docs/reference/metrics.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from unbroken.telemetry.health import Figures, Group, HealthMonitor, Histogram

try:
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )
    from prometheus_client.exposition import CONTENT_TYPE_LATEST
    from prometheus_client.registry import Collector
    from prometheus_client.utils import floatToGoString
except ImportError as error:
    msg = (
        'Prometheus metrics need prometheus-client: pip install "unbroken[gateway]",'
        " or prometheus-client alone"
    )
    raise ImportError(msg) from error

__all__ = ["METRICS", "Metric", "MonitorCollector", "collector", "exposition"]

_LABELS = ("provider", "model", "route", "dialect")
_TIMES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)
_GAPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 50.0, 100.0)
_LONG = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0)
_SIZES = (1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6, 1e7, 1e8)


class Metric(NamedTuple):
    """One metric.

    Attributes:
        name: As it is scraped, without the suffixes of a histogram.
        kind: ``counter``, ``gauge`` or ``histogram``.
        help: What it counts.
        labels: Its own labels, beside provider, model, route and dialect.
        values: Its values in a group, each with those labels; of a histogram one.
        edges: Of a histogram: upper edges of its buckets.
    """

    name: str
    kind: str
    help: str
    labels: tuple[str, ...]
    values: Callable[[Group], Iterable[tuple[tuple[str, ...], Any]]]
    edges: tuple[float, ...] = ()

    @property
    def all_labels(self) -> tuple[str, ...]:
        """All labels, in order."""
        return (*_LABELS, *self.labels)


def _one(name: str) -> Callable[[Group], Iterable[tuple[tuple[str, ...], Any]]]:
    return lambda group: [((), getattr(group, name))]


def _each(name: str) -> Callable[[Group], Iterable[tuple[tuple[str, ...], Any]]]:
    return lambda group: [((key,), count) for key, count in getattr(group, name).items()]


def _recoveries(group: Group) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, count in group.recoveries.items():
        rung, _, guarantee = key.partition(" ")
        yield (rung, guarantee or "none"), count


def _usage(group: Group) -> Iterator[tuple[tuple[str, ...], Any]]:
    for kind in ("input", "output", "cached_input", "reasoning", "estimated_output"):
        yield (kind,), getattr(group.usage, kind)


METRICS: tuple[Metric, ...] = (
    Metric("unbroken_streams_active", "gauge", "Streams that run now.", (), _one("active")),
    Metric("unbroken_streams_started_total", "counter", "Streams that began.", (),
           _one("started")),
    Metric("unbroken_streams_total", "counter", "Streams that ended, by outcome.", ("outcome",),
           _each("ended")),
    Metric("unbroken_faults_total", "counter", "Faults, by kind; recovered ones too.", ("kind",),
           _each("faults")),
    Metric("unbroken_errors_total", "counter",
           "Fatal faults by kind, and exceptions by class.", ("type",), _each("errors")),
    Metric("unbroken_retries_total", "counter", "Upstream requests after a stream's first.", (),
           _one("retries")),
    Metric("unbroken_recoveries_total", "counter",
           "Further attempts of ended streams, by rung and what was proven of them.",
           ("rung", "guarantee"), _recoveries),
    Metric("unbroken_stalls_total", "counter", "Notices that nothing moved for a while.", (),
           _one("stalls")),
    Metric("unbroken_buffered_streams_total", "counter",
           "Ended streams whose events something in the path held back.", (), _one("buffered")),
    Metric("unbroken_delivered_bytes_total", "counter", "Bytes of streams delivered.", (),
           _one("bytes")),
    Metric("unbroken_delivered_frames_total", "counter", "Frames delivered.", (),
           _one("frames")),
    Metric("unbroken_output_tokens_total", "counter",
           "Tokens of output delivered by ended streams.", (), _one("tokens")),
    Metric("unbroken_usage_tokens_total", "counter",
           "Tokens as billed, over all attempts of ended streams.", ("type",), _usage),
    Metric("unbroken_wasted_tokens_total", "counter",
           "Output that was bought and not delivered, as far as it is known.", (),
           _one("wasted_tokens")),
    Metric("unbroken_saved_tokens_total", "counter",
           "Output delivered before a break that was not bought again.", (),
           _one("saved_tokens")),
    Metric("unbroken_cost_total", "counter",
           "What all attempts of ended streams cost, in the currency of the prices given.", (),
           _one("cost")),
    Metric("unbroken_internal_errors_total", "counter",
           "Bugs of Unbroken's own, after which it stepped aside.", (), _one("internal_errors")),
    Metric("unbroken_time_to_first_token_seconds", "histogram",
           "From the request to the first content.", (), _one("ttft_s"), _TIMES),
    Metric("unbroken_inter_event_gap_seconds", "histogram",
           "Waits between two pieces of content.", (), _one("gap_s"), _GAPS),
    Metric("unbroken_stream_duration_seconds", "histogram",
           "From the request to the end.", (), _one("duration_s"), _LONG),
    Metric("unbroken_stream_bytes", "histogram", "Sizes of ended streams.", (),
           _one("size_bytes"), _SIZES),
)  # fmt: skip
"""Every metric there is."""

_FAMILIES = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}


def _families(figures: Figures) -> Iterator[Any]:
    for metric in METRICS:
        if metric.kind == "histogram":
            yield _histogram(metric, figures)
            continue
        family = _FAMILIES[metric.kind](metric.name, metric.help, labels=metric.all_labels)
        for group in figures.groups:
            for labels, value in metric.values(group):
                family.add_metric([*_labels_of(group), *labels], value)
        if metric.name == "unbroken_internal_errors_total" and figures.internal_errors:
            family.add_metric([""] * len(_LABELS), figures.internal_errors)
        yield family


def _histogram(metric: Metric, figures: Figures) -> Any:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.all_labels)
    for group in figures.groups:
        for labels, histogram in metric.values(group):
            family.add_metric(
                [*_labels_of(group), *labels],
                buckets=_buckets(histogram, metric.edges),
                sum_value=histogram.total,
            )
    return family


def _buckets(histogram: Histogram, edges: tuple[float, ...]) -> list[tuple[str, float]]:
    # As Prometheus itself writes numbers: 5.0 and 5 would be two series.
    names = [floatToGoString(edge) for edge in edges]  # type: ignore[no-untyped-call]
    found = [(name, histogram.up_to(edge)) for name, edge in zip(names, edges, strict=True)]
    return [*found, ("+Inf", histogram.count)]


def _labels_of(group: Group) -> list[str]:
    return [getattr(group.labels, name) for name in _LABELS]


class MonitorCollector(Collector):
    """A collector for a registry of prometheus_client's; `collector` makes it.

    Args:
        figures: Gives the figures at each scrape.
    """

    def __init__(self, figures: Callable[[], Figures]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Any]:
        """Yield all metrics as they are now."""
        return _families(self._figures())

    def describe(self) -> Iterator[Any]:
        """Yield all metrics without values."""
        return _families(Figures())


def collector(monitor: HealthMonitor) -> MonitorCollector:
    """Return a collector of a monitor's figures, for a registry of your own.

    ``prometheus_client.REGISTRY.register(collector(monitor))`` adds them to what your
    application exposes already. With prometheus_client's multi-process mode it gives the
    figures of the process that is scraped only.
    """
    return MonitorCollector(monitor.figures)


def exposition(figures: Figures) -> tuple[str, bytes]:
    """Return figures as a Prometheus server scrapes them: content type and body."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(MonitorCollector(lambda: figures))
    return CONTENT_TYPE_LATEST, generate_latest(registry)
