"""Traces and metrics of streams, by OpenTelemetry's own SDK and names."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode, get_tracer

import unbroken
from tests.telemetry.health.clocks import Clock, tell
from unbroken.core.dialects import DIALECTS
from unbroken.core.events import Start, Text
from unbroken.core.request import Request
from unbroken.lab.model.settings import AnswerSettings
from unbroken.lab.server.app import LabServer
from unbroken.telemetry import otel
from unbroken.telemetry.health import Labels
from unbroken.telemetry.otel.names import provider_of
from unbroken.telemetry.otel.spans import Spans

ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "secret"}], "stream": True}


@pytest.fixture(scope="module")
def lab() -> Iterator[LabServer]:
    with LabServer(settings=AnswerSettings(tps=1000, tokens=60)) as server:
        yield server


class Watched:
    """A monitor whose spans and metrics are kept."""

    def __init__(self, **more: Any) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._reader = InMemoryMetricReader()
        self.monitor = otel.observe(
            tracer_provider=self.tracers,
            meter_provider=MeterProvider([self._reader]),
            **{"gaps_every": 1, **more},
        )

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    @property
    def stream(self) -> ReadableSpan:
        (found,) = (span for span in self.spans if not span.name.startswith("attempt"))
        return found

    @property
    def attempts(self) -> list[ReadableSpan]:
        found = [span for span in self.spans if span.name.startswith("attempt")]
        return sorted(found, key=lambda span: told(span)["unbroken.attempt"])

    @property
    def points(self) -> dict[str, list[Any]]:
        data = self._reader.get_metrics_data()
        return {
            metric.name: list(metric.data.data_points)
            for resource in ([] if data is None else data.resource_metrics)
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def ask(self, lab: LabServer, model: str, **more: Any) -> None:
        with unbroken.http_client(health=self.monitor, **more) as client:
            url = f"{lab.url}/v1/chat/completions"
            with client.stream("POST", url, json={**ASK, "model": model}) as response:
                with contextlib.suppress(httpx2.TransportError):
                    for _ in response.iter_raw():
                        pass


def told(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def test_a_healthy_stream_has_two_spans(lab: LabServer) -> None:
    watched = Watched()
    watched.ask(lab, "lab/ok")
    stream, (attempt,) = watched.stream, watched.attempts
    assert stream.name == "chat lab/ok"
    facts = told(stream)
    expected = {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "lab/ok", "gen_ai.request.stream": True,
        "gen_ai.response.finish_reasons": ("stop",), "server.address": "127.0.0.1",
        "unbroken.status": "complete", "unbroken.attempts": 1,
    }  # fmt: skip
    assert {key: facts.get(key) for key in expected} == expected
    assert facts["gen_ai.response.model"]
    assert 0 < facts["gen_ai.response.time_to_first_chunk"] < 5
    assert stream.status.status_code is StatusCode.UNSET
    assert attempt.parent is not None
    assert attempt.parent.span_id == stream.context.span_id
    assert told(attempt)["http.response.status_code"] == 200
    assert (stream.start_time or 0) <= (attempt.start_time or 0)
    assert (attempt.end_time or 0) <= (stream.end_time or 0)


def test_a_healed_stream_tells_of_each_attempt(lab: LabServer) -> None:
    watched = Watched()
    watched.ask(lab, "lab/cut.rst@30t")
    stream, (first, second) = watched.stream, watched.attempts
    assert told(stream)["unbroken.status"] == "complete"
    assert "error.type" not in told(stream)
    assert told(stream)["unbroken.faults"] == ("connection-reset",)
    (event,) = stream.events
    assert event.name == "unbroken.recovery"
    assert dict(event.attributes or {})["unbroken.fault"] == "connection-reset"
    assert told(first)["error.type"] == "connection-reset"
    assert first.status.status_code is StatusCode.ERROR
    assert [each.name for each in first.events] == ["unbroken.fault"]
    assert told(second)["unbroken.rung"] == told(stream)["unbroken.recoveries"][0]
    assert told(second)["unbroken.guarantee"] == "seam-verified"
    assert second.status.status_code is StatusCode.UNSET
    assert (first.end_time or 0) <= (second.end_time or 0)


def test_a_stream_that_fails_is_an_error(lab: LabServer) -> None:
    watched = Watched()
    watched.ask(lab, "lab/cut.rst@30t", options=unbroken.Options(mode="raise"))
    assert watched.stream.status.status_code is StatusCode.ERROR
    assert told(watched.stream)["error.type"] == "connection-reset"
    (point,) = watched.points["gen_ai.client.operation.duration"]
    assert point.attributes["error.type"] == "connection-reset"


def test_spans_end_when_a_stream_is_left_or_forgotten(lab: LabServer) -> None:
    watched = Watched()
    url = f"{lab.url}/v1/chat/completions"
    body = {**ASK, "model": "lab/ok"}
    with unbroken.stream(
        url=url, json=body, dialect="openai-chat", health=watched.monitor
    ) as stream:
        next(stream.iter_text())
    assert told(watched.stream)["unbroken.status"] == "cancelled"
    assert watched.stream.status.status_code is StatusCode.UNSET

    async def forget() -> None:
        client = unbroken.async_http_client(health=watched.monitor)
        response = await client.send(client.build_request("POST", url, json=body), stream=True)
        async for _ in response.aiter_raw():
            break
        del response
        gc.collect()
        await asyncio.sleep(0)
        await client.aclose()

    asyncio.run(forget())
    gc.collect()
    assert len(watched.spans) == 4
    assert not watched.monitor.active()


def test_a_stream_that_nobody_completes_is_given_up_and_its_span_ends() -> None:
    clock = Clock()
    watched = Watched(clock=clock, wall_time=clock, abandon_s=60.0)
    watched.monitor.start("s", model="m")
    clock.now += 100
    assert not watched.monitor.active()
    assert told(watched.stream)["error.type"] == "abandoned"
    assert len(watched.spans) == 2


def test_a_stream_belongs_to_the_span_it_is_made_in(lab: LabServer) -> None:
    watched = Watched()
    tracer = get_tracer("mine", tracer_provider=watched.tracers)
    with tracer.start_as_current_span("mine") as mine:
        watched.ask(lab, "lab/ok")
    stream = next(span for span in watched.spans if span.name.startswith("chat"))
    assert stream.parent is not None
    assert stream.parent.span_id == mine.get_span_context().span_id


def test_metrics_have_the_conventions_names_and_buckets(lab: LabServer) -> None:
    semconv = pytest.importorskip("opentelemetry.semconv._incubating.metrics.gen_ai_metrics")
    known = {value for name, value in vars(semconv).items() if name.startswith("GEN_AI_CLIENT")}
    assert set(otel.METRICS) == known
    watched = Watched()
    watched.ask(lab, "lab/ok;usage=true")
    points = watched.points
    (first,) = points["gen_ai.client.operation.time_to_first_chunk"]
    assert first.count == 1
    assert first.explicit_bounds == tuple(0.01 * 2**n for n in range(14))
    (gaps,) = points["gen_ai.client.operation.time_per_output_chunk"]
    assert 10 < gaps.count < 400
    (duration,) = points["gen_ai.client.operation.duration"]
    assert duration.sum > gaps.sum
    kinds = {
        point.attributes["gen_ai.token.type"]: point.sum
        for point in points.get("gen_ai.client.token.usage", [])
    }
    assert set(kinds) <= {"input", "output"}
    assert dict(duration.attributes) == {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "lab/ok;usage=true",
    }  # fmt: skip


def test_attributes_have_the_conventions_names(lab: LabServer) -> None:
    attributes = pytest.importorskip(
        "opentelemetry.semconv._incubating.attributes.gen_ai_attributes"
    )
    known = {value for name, value in vars(attributes).items() if name.startswith("GEN_AI_")}
    watched = Watched()
    watched.ask(lab, "lab/cut.rst@30t")
    used = {name for span in watched.spans for name in told(span) if name.startswith("gen_ai.")}
    assert len(used) > 6
    assert used <= known
    providers = {each.value for each in attributes.GenAiProviderNameValues}
    operations = {each.value for each in attributes.GenAiOperationNameValues}
    for name in DIALECTS:
        if name != "ollama":
            assert provider_of(Labels(dialect=name)) in providers
    assert {otel.monitor.operation_of(Labels(dialect=name)) for name in DIALECTS} <= operations


@pytest.mark.parametrize(
    ("label", "provider"),
    [
        ("api.openai.com", "openai"),
        ("mine.openai.azure.com", "azure.ai.openai"),
        ("bedrock-runtime.eu-west-1.amazonaws.com", "aws.bedrock"),
        ("us-central1-aiplatform.googleapis.com", "gcp.vertex_ai"),
        ("api.groq.com", "groq"),
        ("groq", "groq"),
        ("my-own", "openai"),
    ],
)
def test_providers_are_named_as_the_conventions_do(label: str, provider: str) -> None:
    assert provider_of(Labels(provider=label, dialect="openai-chat")) == provider


def test_one_gap_in_so_many_is_recorded() -> None:
    clock = Clock()
    watched = Watched(clock=clock, wall_time=clock, gaps_every=4)
    stream = watched.monitor.start("s", model="m")
    tell(stream, clock, [(0.1, 1)] * 41)
    stream.end("complete")
    (gaps,) = watched.points["gen_ai.client.operation.time_per_output_chunk"]
    assert gaps.count == 10


def test_models_that_callers_make_up_are_not_endless_series() -> None:
    watched = Watched()
    for number in range(500):
        watched.monitor.start(model=f"made-up-{number}").end("failed")
    assert len(watched.points["gen_ai.client.operation.duration"]) <= 101


def test_a_name_that_could_be_a_sentence_is_not_shown() -> None:
    watched = Watched()
    stream = watched.monitor.start("s", model="m")
    start = Start(id="the secret answer is", model="gpt-5")
    stream.delivered(b"data: {}\n\n", [start, Text(text="x")], watched.monitor.clock())
    stream.end("complete")
    assert told(watched.stream)["gen_ai.response.model"] == "gpt-5"
    assert "gen_ai.response.id" not in told(watched.stream)


def test_a_request_is_stamped_once() -> None:
    watched = Watched()
    stream = watched.monitor.start("s", model="m")
    assert isinstance(stream, otel.TracedStream)
    request = Request(
        method="POST", url="https://h:8443/x", headers=(("Traceparent", "old"), ("a", "b"))
    )
    stamped = stream.stamp(request)
    names = [name.lower() for name, _ in stamped.headers]
    assert names == ["a", "traceparent"]
    assert stream.trace_id in dict(stamped.headers)["traceparent"]
    stream.end("complete")
    assert told(watched.attempts[0])["server.port"] == 8443
    assert stream.stamp(request) is request, "a stream that is over stamps nothing"


@pytest.mark.parametrize(
    ("headers", "goes_on"),
    [
        ([("TraceParent", "00-" + "4b" * 16 + "-" + "0f" * 8 + "-01")], True),
        ([("traceparent", "00-" + "4b" * 16 + "-" + "0f" * 8 + "-01")] * 2, False),
        ([("traceparent", "nonsense")], False),
        ([], False),
    ],
)
def test_a_trace_goes_on_only_by_what_is_one(headers: list[tuple[str, str]], goes_on: bool) -> None:
    watched = Watched()
    with otel.continued(headers):
        watched.monitor.start("s").end("complete")
    assert (format(watched.stream.context.trace_id, "032x") == "4b" * 16) is goes_on


def test_a_bug_in_tracing_does_no_harm(
    lab: LabServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def bug(*_: object, **__: object) -> None:
        raise RuntimeError("bug")

    for name in ("notice", "end", "stamp"):
        monkeypatch.setattr(Spans, name, bug)
    watched = Watched()
    for name in otel.METRICS:
        watched.monitor.record[name] = bug
    with caplog.at_level(logging.WARNING, "unbroken"):
        watched.ask(lab, "lab/cut.rst@30t")
    assert watched.monitor.report().succeeded == 1
    assert sum("tracing raised RuntimeError" in each.message for each in caplog.records) == 1


def test_nothing_of_it_is_loaded_unless_asked_for() -> None:
    code = (
        "import sys, unbroken, unbroken.telemetry, unbroken.telemetry.access_log\n"
        "import unbroken.gateway.app as app, unbroken.gateway.config as c\n"
        "app.Gateway(c.GatewayConfig())\n"
        "assert not [m for m in sys.modules if m.startswith('opentelemetry')]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_missing_package_is_named() -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "import unbroken.gateway.app as app, unbroken.gateway.config as c\n"
        "t = c.TelemetryConfig(otlp_endpoint='http://127.0.0.1:4318')\n"
        "try: app.Gateway(c.GatewayConfig(telemetry=t))\n"
        "except c.ConfigError as error: print(error)\n"
        "try: import unbroken.telemetry.otel\n"
        "except ImportError as error: print(error)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True
    )
    assert ran.stdout.count('pip install "unbroken[otel]"') == 2


@pytest.mark.parametrize("endpoint", ["collector:4318", "grpc://x", "http://"])
def test_an_endpoint_that_is_none_is_refused(endpoint: str) -> None:
    with pytest.raises(ValueError, match="must be the URL"):
        otel.observe(endpoint=endpoint)
