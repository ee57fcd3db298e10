"""Streams of the library, watched: through an SDK's client, without an SDK, sync and async."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

import unbroken
from unbroken.lab.model.settings import AnswerSettings
from unbroken.lab.server.app import LabServer
from unbroken.telemetry import HealthMonitor
from unbroken.telemetry.health import StreamRow

# Each plan is a session of the lab's, which breaks its first request: every test has its own.
ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}], "stream": True}


@pytest.fixture(scope="module")
def lab() -> Iterator[LabServer]:
    with LabServer(settings=AnswerSettings(tps=400, tokens=60)) as server:
        yield server


def ask(lab: LabServer, monitor: HealthMonitor, model: str) -> unbroken.Outcome:
    with (
        unbroken.http_client(health=monitor) as client,
        client.stream("POST", chat(lab), json={**ASK, "model": model}) as response,
    ):
        record = response.extensions["unbroken"]
        with contextlib.suppress(httpx2.TransportError):
            for _ in response.iter_raw():
                pass
    outcome = record.outcome
    assert outcome is not None
    return outcome


def chat(lab: LabServer) -> str:
    return f"http://127.0.0.1:{lab.port}/v1/chat/completions"


def only(monitor: HealthMonitor) -> StreamRow:
    assert not monitor.active()
    (row,) = monitor.ended()
    return row


def test_a_healthy_stream(lab: LabServer) -> None:
    monitor = HealthMonitor()
    outcome = ask(lab, monitor, "lab/ok")
    row = only(monitor)
    assert (row.status, row.phase) == ("complete", "over")
    assert (row.provider, row.dialect) == ("127.0.0.1", "openai-chat")
    assert row.model == "lab/ok"
    assert (row.bytes, row.frames) == (outcome.bytes, outcome.frames)
    assert row.tokens > 50
    assert row.ttft_s is not None
    assert 0 < row.ttft_s < row.duration_s
    assert 0.0005 < monitor.report().gap_s.average < 0.05
    assert not row.buffered


def test_a_stream_that_breaks_and_is_healed(lab: LabServer) -> None:
    monitor = HealthMonitor()
    phases: list[tuple[str, int]] = []
    monitor.listen(lambda row: phases.append((row.phase, row.reconnects)))
    outcome = ask(lab, monitor, "lab/cut.rst@41t")
    assert outcome.healed
    row = only(monitor)
    assert (row.status, row.reconnects) == ("complete", outcome.recoveries)
    assert row.errors[0].kind == "connection-reset"
    assert phases == [("connecting", 0), ("recovering", 1), ("over", 1)]
    report = monitor.report()
    assert report.success_rate == 1.0
    assert [each.count for each in report.recoveries] == [1]
    assert report.recoveries[0].guarantee == outcome.provenance[-1].guarantee
    assert {each.name for each in report.faults} >= {"connection-reset"}
    fault = monitor.latest_faults()[-1]
    assert (fault.stream, fault.kind, fault.rung) == (row.id, "connection-reset", row.recoveries[0])


def test_a_stream_that_fails(lab: LabServer) -> None:
    monitor = HealthMonitor()
    options = unbroken.Options(mode="raise")
    with pytest.raises(unbroken.IncompleteStreamError), unbroken.stream(
        url=chat(lab), json={**ASK, "model": "lab/cut.rst@42t"}, dialect="openai-chat",
        options=options, health=monitor,
    ) as stream:  # fmt: skip
        stream.text()
    assert only(monitor).status == "failed"
    report = monitor.report()
    assert (report.failed, report.success_rate) == (1, 0.0)
    assert report.errors_by_type[0].name == "connection-reset"


def test_leaving_early_is_cancelled(lab: LabServer) -> None:
    monitor = HealthMonitor()
    with unbroken.stream(
        url=chat(lab), json={**ASK, "model": "lab/ok"}, dialect="openai-chat", health=monitor
    ) as stream:
        next(stream.iter_text())
        (row,) = monitor.active()
        assert (row.status, row.phase) == ("active", "text")
    assert only(monitor).status == "cancelled"


def test_async_streams_at_once(lab: LabServer) -> None:
    monitor = HealthMonitor()

    async def one(client: Any, number: int) -> None:
        model = f"lab/cut.rst@{20 + number}t" if number % 2 else "lab/ok"
        body = {**ASK, "model": model}
        async with client.stream("POST", chat(lab), json=body) as response:
            async for _ in response.aiter_raw():
                pass

    async def direct() -> None:
        async with unbroken.astream(
            url=chat(lab), json={**ASK, "model": "lab/ok"}, dialect="openai-chat",
            health=monitor,
        ) as stream:  # fmt: skip
            async for _ in stream:
                pass

    async def work() -> None:
        async with unbroken.async_http_client(health=monitor) as client:
            await asyncio.gather(*(one(client, number) for number in range(10)), direct())

    asyncio.run(work())
    report = monitor.report()
    assert (report.total, report.succeeded, report.active) == (11, 11, 0)
    assert report.retries == 5
    assert report.ttft_s.count == 11
    assert report.tokens > 11 * 50
    assert report.bytes == sum(row.bytes for row in monitor.ended()) > 11 * 1000
    assert len(report.models) == 6


def test_wrapped_clients_and_what_is_no_stream(lab: LabServer) -> None:
    monitor = HealthMonitor()
    with unbroken.wrap(httpx2.Client(), health=monitor) as client:
        body = {**ASK, "model": "lab/ok"}
        assert client.post(chat(lab), json={**body, "stream": False}).status_code == 200
        assert monitor.report().total == 0
        assert client.post(chat(lab), json=body).status_code == 200
    assert only(monitor).status == "complete"


def test_a_bug_in_health_does_no_harm(
    lab: LabServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def bug(*_: object) -> None:
        raise RuntimeError("bug")

    from unbroken.telemetry.health import StreamHealth

    for name in ("delivered", "notice", "outcome"):
        monkeypatch.setattr(StreamHealth, name, bug)
    outcome = ask(lab, HealthMonitor(), "lab/cut.rst@43t")
    assert outcome.healed
    assert any("RuntimeError" in record.message for record in caplog.records)


def test_no_prompt_answer_or_key_is_in_what_is_kept(lab: LabServer) -> None:
    monitor = HealthMonitor()
    body = {
        "model": "lab/cut.rst@44t",
        "stream": True,
        "messages": [{"role": "user", "content": "my secret prompt"}],
    }
    with unbroken.stream(
        url=chat(lab), json=body, dialect="openai-chat", api_key="sk-secret", health=monitor
    ) as stream:
        text = stream.text()
    kept = repr((monitor.ended(), monitor.latest_faults(), monitor.figures(), monitor.report()))
    assert "secret" not in kept
    words = text.split()
    assert not [word for word in words[:40] if len(word) > 5 and word in kept]
