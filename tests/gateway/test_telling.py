"""What the gateway tells: access log, audit and traces; and nothing private is in any of it."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("opentelemetry.proto")

from tests.telemetry.collector import Collector, attributes_of
from tests.telemetry.page.serving import Server
from unbroken.gateway.app import Gateway
from unbroken.gateway.config import GatewayConfig, RouteConfig, TelemetryConfig, UpstreamConfig
from unbroken.gateway.config.settings import CallerConfig
from unbroken.lab.model.settings import AnswerSettings
from unbroken.lab.server.app import LabServer

# Words that no id or digest holds by chance, as four digits would.
PROMPT = "Zyxophant quuxilever Snorvelpipe in the Grumblewick"
KEY = "sk-Vexillarius-Wobbegrum-Quagmirk"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.fixture(scope="module")
def lab() -> Iterator[LabServer]:
    with LabServer(settings=AnswerSettings(tps=2000, tokens=60)) as server:
        yield server


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as found:
        yield found


class Served:
    """A gateway before the lab, with its log and a collector."""

    def __init__(self, lab: LabServer, log: Path, collector: Collector | None = None) -> None:
        self.log = log
        self.config = GatewayConfig(
            upstreams={"lab": UpstreamConfig(url=lab.url)},
            routes=(RouteConfig(upstream="lab", name="all"),),
            telemetry=TelemetryConfig(
                access_log=str(log), otlp_endpoint="" if collector is None else collector.url
            ),
        )
        self.gateway = Gateway(self.config)
        self._server = Server(self.gateway)
        self.url = self._server.url

    def post(
        self, body: dict[str, Any], path: str = "/v1/chat/completions", **headers: str
    ) -> httpx2.Response:
        sent = {"authorization": f"Bearer {KEY}", **headers}
        with httpx2.stream(
            "POST", f"{self.url}{path}", json=body, headers=sent, timeout=20
        ) as answer:
            read = bytearray()
            with contextlib.suppress(httpx2.RemoteProtocolError):  # a failed stream ends like that
                for data in answer.iter_raw():
                    read += data
        return httpx2.Response(answer.status_code, headers=answer.headers, content=bytes(read))

    def stop(self) -> None:
        assert self._server.stop()

    def lines(self, kind: str = "", count: int = 1) -> list[dict[str, Any]]:
        """Return the log's lines, once there are so many."""
        end = time.monotonic() + 10
        while True:
            text = self.log.read_text("utf-8") if self.log.exists() else ""
            found = [json.loads(line) for line in text.splitlines()]
            found = [line for line in found if not kind or line["kind"] == kind]
            if len(found) >= count or time.monotonic() > end:
                return found
            time.sleep(0.02)


@pytest.fixture
def serve(lab: LabServer, tmp_path: Path) -> Iterator[Callable[..., Served]]:
    running: list[Served] = []

    def begin(collector: Collector | None = None) -> Served:
        running.append(Served(lab, tmp_path / "access.log", collector))
        return running[-1]

    yield begin
    for each in running:
        each._server.stop()


def ask(model: str) -> dict[str, Any]:
    return {"model": model, "stream": True, "messages": [{"role": "user", "content": PROMPT}]}


def test_a_stream_has_one_line(serve: Callable[..., Served]) -> None:
    served = serve()
    answer = served.post(ask("lab/ok"), path="/v1/chat/completions?key=querysecret")
    assert answer.text.rstrip().endswith("[DONE]")
    (line,) = served.lines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert line["request_id"] == answer.headers["x-unbroken-request-id"]
    expected = {
        "kind": "request", "route": "all", "provider": "lab", "model": "lab/ok", "method": "POST",
        "path": "/v1/chat/completions", "dialect": "openai-chat", "status": 200,
        "outcome": "complete", "attempts": 1,
    }  # fmt: skip
    assert {key: line[key] for key in expected} == expected
    assert line["bytes_out"] == line["stream_bytes"] == len(answer.content)
    assert line["bytes_in"] > 50
    assert line["frames"] > 50
    assert 0 < line["ttft_s"] < line["duration_s"]
    assert not {"faults", "recoveries", "client_left", "trace_id", "error"} & set(line)


def test_a_healed_stream_says_how_and_the_audit_says_what_was_sent(
    serve: Callable[..., Served],
) -> None:
    served = serve()
    answer = served.post(ask("lab/cut.rst@30t"))
    assert "[DONE]" in answer.text
    (line,), (audit,) = served.lines("request"), served.lines("resend")
    assert line["outcome"] == "complete"
    assert line["attempts"] == 2
    assert line["faults"] == {"connection-reset": 1}
    (recovery,) = line["recoveries"]
    assert recovery["guarantee"] == "seam-verified"
    assert audit["rung"] == recovery["rung"]
    assert audit["why"] == "connection-reset"
    assert audit["attempt"] == 2
    assert audit["added_bytes"] > len(PROMPT)
    assert (audit["provider"], audit["target_host"]) == ("lab", "127.0.0.1")
    assert audit["target_model"] == "lab/cut.rst@30t"
    assert audit["request_id"] == line["request_id"]
    assert audit["stream"] == line["stream"]


def test_what_is_no_stream_and_what_is_refused_has_its_line(serve: Callable[..., Served]) -> None:
    served = serve()
    assert served.post({**ask("lab/ok"), "stream": False}).status_code == 200
    assert served.post(ask("lab/ok"), **{"x-unbroken-mode": "odd"}).status_code == 400
    assert httpx2.get(f"{served.url}/healthz").status_code == 200
    plain, refused = served.lines(count=2)
    assert (plain["status"], plain["provider"], "outcome" in plain) == (200, "lab", False)
    assert (refused["status"], refused["error"]) == (400, "unknown-mode")
    assert len(served.lines()) == 2, "probes have no line"


def test_a_stream_that_is_read_on_has_a_line_for_itself(serve: Callable[..., Served]) -> None:
    served = serve()
    named = {"x-unbroken-resume": "1", "idempotency-key": "once-1"}
    first = served.post(ask("lab/ok"), **named)
    stream_id = first.headers["x-unbroken-stream"]
    url = f"{served.url}/streams/{stream_id}"
    again = httpx2.get(url, headers={"authorization": f"Bearer {KEY}", "last-event-id": ""})
    assert again.status_code == 200
    begun, read = served.lines("request", 2)
    (stream,) = served.lines("stream")
    assert begun["stream"] == read["stream"] == stream["stream"]
    assert stream["outcome"] == "complete"
    assert stream["request_id"] == begun["request_id"] != read["request_id"]
    assert read["attached"] is True
    assert "attached" not in begun
    assert read["path"] == f"/streams/{read['stream']}"
    assert stream_id not in served.log.read_text("utf-8")


def test_a_client_that_leaves(serve: Callable[..., Served]) -> None:
    served = serve()
    body = ask("lab/stall@5t")
    headers = {"authorization": f"Bearer {KEY}"}
    with httpx2.stream(
        "POST", f"{served.url}/v1/chat/completions", json=body, headers=headers
    ) as got:
        next(got.iter_raw())
    (line,) = served.lines("request")
    assert line["client_left"] is True
    assert line["outcome"] == "cancelled"


def test_a_reload_takes_another_file(serve: Callable[..., Served], tmp_path: Path) -> None:
    served = serve()
    served.post(ask("lab/ok"))
    assert len(served.lines()) == 1
    served.log.rename(tmp_path / "access.log.1")
    served._server.call(lambda: served.gateway._telling.reload(served.config.telemetry))
    served.post(ask("lab/ok"))
    assert len(served.lines()) == 1


def test_the_team_is_named(lab: LabServer, tmp_path: Path) -> None:
    import hashlib

    digest = hashlib.sha256(KEY.encode()).hexdigest()
    log = tmp_path / "log"
    config = GatewayConfig(
        upstreams={"lab": UpstreamConfig(url=lab.url)},
        routes=(RouteConfig(upstream="lab"),),
        callers=(CallerConfig(team="search", key_sha256=digest),),
        telemetry=TelemetryConfig(access_log=str(log)),
    )
    server = Server(Gateway(config))
    try:
        url = f"{server.url}/v1/chat/completions"
        headers = {"authorization": f"Bearer {KEY}"}
        httpx2.post(url, json=ask("lab/cut.rst@20t"), headers=headers)
        httpx2.post(url, json=ask("lab/ok"), headers={"authorization": "Bearer other"})
    finally:
        server.stop()
    lines = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    audit, first, refused = lines
    assert audit["team"] == first["team"] == "search"
    assert (refused["status"], refused["error"], "team" in refused) == (401, "key-refused", False)


def test_traces_go_on_and_reach_the_collector(
    serve: Callable[..., Served], collector: Collector, lab: LabServer
) -> None:
    served = serve(collector)
    served.post(ask("lab/cut.rst@30t"), traceparent=PARENT, tracestate="vendor=1")
    served.stop()
    stream, *attempts = sorted(collector.spans, key=lambda span: not span.name.startswith("chat"))
    assert len(attempts) == 2
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE}
    assert stream.parent_span_id.hex() == "00f067aa0ba902b7"
    assert {span.parent_span_id for span in attempts} == {stream.span_id}
    told = attributes_of(stream)
    assert told["unbroken.status"] == "complete"
    assert told["server.address"] == "127.0.0.1"
    assert told["unbroken.route"] == "all"
    (line,) = served.lines("request")
    assert line["trace_id"] == TRACE
    assert collector.services == {"unbroken"}
    assert "gen_ai.client.operation.duration" in collector.metrics


def test_each_attempt_sends_its_own_traceparent(
    serve: Callable[..., Served], collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[dict[str, str]] = []
    from unbroken.relay.upstream import UpstreamClient

    real = UpstreamClient.ask

    async def noted(self: UpstreamClient, request: Any) -> Any:
        assert len([n for n, _ in request.headers if n.lower() == "traceparent"]) == 1
        sent.append(dict(request.headers))
        return await real(self, request)

    monkeypatch.setattr(UpstreamClient, "ask", noted)
    served = serve(collector)
    served.post(ask("lab/cut.rst@30t"), traceparent=PARENT)
    served.stop()
    spans = {span.span_id.hex(): span for span in collector.spans}
    ids = [each["traceparent"].split("-") for each in sent]
    assert {each[1] for each in ids} == {TRACE}
    rungs = [attributes_of(spans[each[2]])["unbroken.rung"] for each in ids]
    assert rungs[0] == "first"
    assert len(rungs) == 2
    assert rungs[1] != "first"


def test_lines_that_are_lost_are_counted_and_hurt_nobody(lab: LabServer) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full (Linux)")
    config = GatewayConfig(
        upstreams={"lab": UpstreamConfig(url=lab.url)},
        routes=(RouteConfig(upstream="lab"),),
        telemetry=TelemetryConfig(access_log="/dev/full"),
    )
    server = Server(Gateway(config))
    try:
        for _ in range(3):
            answer = httpx2.post(f"{server.url}/v1/chat/completions", json=ask("lab/ok"))
            assert answer.text.rstrip().endswith("[DONE]")
        counted = r'unbroken_errors_total\{.*type="access-log-lost"\} 3\.0'
        end = time.monotonic() + 10
        while not re.search(counted, httpx2.get(f"{server.url}/_unbroken/metrics").text):
            assert time.monotonic() < end
            time.sleep(0.02)
    finally:
        server.stop()


def test_an_sdk_that_is_set_up_is_used() -> None:
    code = (
        "import sys, unbroken.gateway.app as app, unbroken.gateway.config as c\n"
        "from opentelemetry import trace\n"
        "assert not hasattr(app.Gateway(c.GatewayConfig()).monitor, 'tracer')\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "trace.set_tracer_provider(TracerProvider())\n"
        "monitor = app.Gateway(c.GatewayConfig()).monitor\n"
        "assert monitor.start('s').trace_id\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_nothing_private_is_told(
    serve: Callable[..., Served], collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    """Prompt, key and answer are in no line, span, metric, page or log."""
    caplog.set_level(logging.DEBUG)
    served = serve(collector)
    texts: list[str] = []
    for model in (
        "lab/ok", "lab/cut.rst@30t", "lab/error.server@20t", "lab/http.429*", "lab/page.html*",
        "lab/cut.fin@3t*9", "lab/nonesuch",
    ):  # fmt: skip
        texts.append(served.post(ask(model)).text)
        texts.append(served.post({**ask(model), "stream": False}).text)
    body = {"model": "lab/ok", "stream": True, "max_tokens": 99,
            "messages": [{"role": "user", "content": PROMPT}]}  # fmt: skip
    texts.append(served.post(body, "/v1/messages", **{"x-api-key": KEY}).text)
    path = f"/v1beta/models/lab-ok:streamGenerateContent?alt=sse&key={KEY}"
    texts.append(served.post({"contents": [{"parts": [{"text": PROMPT}]}]}, path).text)
    pages = [
        httpx2.get(f"{served.url}/_unbroken/{name}").text for name in ("metrics", "", "snapshot")
    ]
    served.lines(count=14)
    served.stop()
    told = "\n".join(
        [
            served.log.read_text("utf-8"),
            *(body.decode("utf-8", "replace") for body in collector.bodies),
            *pages,
            *(
                record.getMessage()
                for record in caplog.records
                if not record.name.startswith("http")  # the test's own client
            ),
        ]
    )
    assert collector.spans
    assert "lab/cut.rst@30t" in told, "it does look at what is told"
    private = {*PROMPT.split(), KEY, *KEY.split("-")} - {"sk", "in", "the"}
    assert not [word for word in private if word.lower() in told.lower()]
    answer = "".join(re.findall(r'"content":"([^"]*)"', texts[0]))
    words = set(re.findall(r"\w{9,}", answer))
    assert words
    assert not [word for word in words if word in told]
