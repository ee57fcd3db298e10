"""Metrics: what is exposed is what was counted, parsers take it, and the page describes it."""

from __future__ import annotations

import http.server
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from tests.docs.markdown import ROOT
from tests.telemetry.health.clocks import Clock, monitor_at, tell
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.outcome import AttemptRecord, Outcome, Provenance
from unbroken.core.received import Usage
from unbroken.telemetry.health import EDGES, Figures, HealthMonitor
from unbroken.telemetry.prometheus import METRICS, collector, exposition

START_S = 30.0


def busy() -> HealthMonitor:
    """A monitor with something in every metric."""
    clock = Clock()
    monitor = monitor_at(clock)
    healed = monitor.start(provider="p", model='m"\\\n', dialect="openai-chat", route="r")
    tell(healed, clock, [(0.3, 1), (0.05, 2), (0.02, 1)])
    healed.outcome(
        Outcome(
            status="complete",
            faults=[Fault.of(FaultKind.STALLED, "silent for 20 s")],
            attempts=[
                AttemptRecord(number=1, usage=Usage(output=25, estimated=True)),
                AttemptRecord(number=2, rung="prefill", usage=Usage(input=9, output=60)),
            ],
            provenance=[
                Provenance(attempt=1, start=0, end=50, rung="first", guarantee="byte-exact"),
                Provenance(attempt=2, start=50, end=100, rung="prefill", guarantee="seam-verified"),
            ],
            usage=Usage(output=40),
        )
    )
    held = monitor.start(provider="p", model="m2")
    tell(held, clock, [(0.4, 16)] * 8)
    held.end("failed")
    running = monitor.start(provider="p", model="m2")
    tell(running, clock, [(0.3, 1)])
    return monitor


def scraped(figures: Figures) -> dict[str, dict[tuple[str, ...], float]]:
    """Read an exposition: by sample name, values by the labels' values."""
    _, body = exposition(figures)
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            assert labels not in found.setdefault(sample.name, {})
            found[sample.name][labels] = sample.value
    return found


def test_what_was_counted_is_exposed() -> None:
    found = scraped(busy().figures())
    whole = {name: sum(values.values()) for name, values in found.items()}
    assert whole["unbroken_streams_started_total"] == 3
    assert whole["unbroken_streams_active"] == 1
    assert whole["unbroken_streams_total"] == 2
    assert whole["unbroken_saved_tokens_total"] == 20
    assert whole["unbroken_buffered_streams_total"] == 1
    assert whole["unbroken_output_tokens_total"] == 40 + 128
    assert whole["unbroken_stream_bytes_count"] == 2
    assert whole["unbroken_time_to_first_token_seconds_count"] == 3
    assert whole["unbroken_time_to_first_token_seconds_sum"] == pytest.approx(1.0)
    assert whole["unbroken_retries_total"] == 1
    recovered = found["unbroken_recoveries_total"]
    assert [labels for labels in recovered if "seam-verified" in labels and "prefill" in labels]
    assert any("stalled" in labels for labels in found["unbroken_faults_total"])
    assert any('m"\\?' in labels for labels in found["unbroken_streams_total"])


def test_buckets_are_cumulative_and_right() -> None:
    monitor = monitor_at(clock := Clock())
    stream = monitor.start()
    tell(stream, clock, [(0.05, 1), (0.02, 1), (0.2, 1), (3.0, 1), (200.0, 1)])
    _, body = exposition(monitor.figures())
    lines = [x for x in body.decode().splitlines() if x.startswith("unbroken_inter_event_gap")]
    found = {m[1]: float(x.split()[-1]) for x in lines if (m := re.search(r'le="([^"]+)"', x))}
    assert [found[edge] for edge in ("0.01", "0.05", "0.5", "5.0", "100.0", "+Inf")] == [
        0, 1, 2, 3, 3, 4,
    ]  # fmt: skip


def test_every_edge_is_one_of_the_histograms() -> None:
    for metric in METRICS:
        assert not set(metric.edges) - set(EDGES), metric.name


def test_no_figures_are_metrics_too() -> None:
    _, body = exposition(Figures())
    for metric in METRICS:
        assert f"# TYPE {metric.name} " in body.decode()


def test_a_registry_of_the_users_own() -> None:
    registry = CollectorRegistry()
    monitor = busy()
    registry.register(collector(monitor))
    value = registry.get_sample_value(
        "unbroken_streams_active",
        {"provider": "p", "model": "m2", "route": "", "dialect": ""},
    )
    assert value == 1.0


def test_the_page_describes_every_metric() -> None:
    text = (ROOT / "docs" / "reference" / "metrics.md").read_text("utf-8")
    rows = re.findall(
        r"^\| `(unbroken_\w+)` \| (\w+) \| (\w+) \|(.*?)\| (.*) \|$", text, re.MULTILINE
    )
    listed = {
        name: (kind, tuple(re.findall(r"`(\w+)`", labels)), about)
        for name, kind, _, labels, about in rows
    }
    assert listed == {m.name: (m.kind, m.labels, m.help) for m in METRICS}
    for name, _, unit, _, _ in rows:
        assert f"_{unit}" in name or unit not in ("seconds", "bytes")


def test_names_follow_prometheus_rules() -> None:
    for metric in METRICS:
        assert metric.name.startswith("unbroken_")
        assert metric.name.endswith("_total") == (metric.kind == "counter")


def test_a_missing_package_is_named() -> None:
    code = (
        "import sys; sys.modules['prometheus_client'] = None\n"
        "try:\n import unbroken.telemetry.prometheus\n"
        "except ImportError as error: print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "unbroken[gateway]"' in ran.stdout


def test_importing_telemetry_loads_none_of_it() -> None:
    code = "import sys, unbroken.telemetry; print('prometheus_client' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


# A real server -----------------------------------------------------------------------------------


class _Exposed:
    """A page for a real Prometheus to scrape."""

    def __init__(self, monitor: HealthMonitor) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                kind, body = exposition(monitor.figures())
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.server_port}"


class _Prometheus:
    """A Prometheus server that scrapes one address four times a second."""

    def __init__(self, folder: Path, target: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        config = folder / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 250ms, scrape_timeout: 200ms}\n"
            "scrape_configs: [{job_name: unbroken, static_configs:"
            f" [{{targets: ['{target}']}}]}}]\n"
        )
        program = shutil.which("prometheus")
        assert program is not None
        self._process = subprocess.Popen(
            [program, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
             f"--web.listen-address={self.address}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder,
        )  # fmt: skip

    def get(self, path: str, **query: str) -> Any:
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=5) as answer:
            return json.load(answer)["data"]

    def wait_for(self, query: str) -> list[Any]:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            try:
                found = self.get("query", query=query)["result"]
            except OSError:
                found = []
            if found:
                return list(found)
            time.sleep(0.1)
        raise AssertionError(f"{query} found nothing: {self.get('targets')}")

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[_Prometheus]:
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed")
    exposed = _Exposed(busy())
    server = _Prometheus(tmp_path, exposed.address)
    yield server
    server.close()
    exposed.server.shutdown()
    exposed.server.server_close()


def test_a_real_prometheus_scrapes_all(served: _Prometheus) -> None:
    def value(query: str) -> float:
        return float(served.wait_for(query)[0]["value"][1])

    assert value("sum(unbroken_streams_started_total)") == 3
    assert value("up") == 1
    assert value('sum(unbroken_streams_total{outcome="complete"})') == 1
    assert value('unbroken_recoveries_total{rung="prefill",guarantee="seam-verified"}') == 1
    quantile = "histogram_quantile(0.5, sum by (le) (unbroken_time_to_first_token_seconds_bucket))"
    assert 0.2 <= value(quantile) <= 0.5
    (target,) = served.get("targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    names = set(served.get("label/__name__/values"))
    for metric in METRICS:
        if metric.name == "unbroken_errors_total":
            continue
        suffix = "_bucket" if metric.kind == "histogram" else ""
        assert metric.name + suffix in names
    kinds = served.get("metadata")
    for metric in METRICS:
        assert kinds[metric.name][0]["type"] == metric.kind
