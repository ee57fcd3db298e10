"""The verdict on real causes: the lab's faults, a real nginx, a reader that is slow."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.debugger.capture import ask, capture
from tests.real.nginx import Nginx, nginx_program
from unbroken.debugger import report
from unbroken.debugger.facts import StreamReport
from unbroken.lab.server.app import LabServer

needs_nginx = pytest.mark.skipif(nginx_program() is None, reason="nginx is not installed")
BUFFERED_NEVER = "proxy_buffering off; proxy_http_version 1.1;"


@pytest.fixture(scope="module")
def lab() -> Iterator[LabServer]:
    with LabServer() as server:
        yield server


_numbers = count()


def told(url: str, model: str, **how: object) -> StreamReport:
    # Another name each time: the lab would take the same one for a retry.
    body = ask(f"{model};id=causes-{next(_numbers)}")
    return report(capture(url, body, **how)).streams[0]  # type: ignore[arg-type]


PACE = "tokens=80;tps=200;ttft=0.05"

# plan, status, first fatal fault, where, words of the evidence
LAB = [
    ("ok", "complete", None, "none", ""),
    ("cut.clean@30t", "failed", "truncated-between-events", "middlebox", "framing ended in order"),
    ("cut.close@30t", "failed", "truncated-between-events", "middlebox", "close alone"),
    ("cut.half-line@30t", "failed", "truncated-mid-event", "middlebox", ""),
    ("cut.fin@30t", "failed", "connection-reset", "network", "orderly close"),
    ("cut.rst@30t", "failed", "connection-reset", "network", "bytes were flowing"),
    ("error@30t", "failed", "provider-error", "provider", "event of the stream"),
    ("corrupt-json@30t", "failed", "malformed-json", "provider", ""),
    ("http.429", "failed", "http-error", "provider", "HTTP 429"),
    ("http.500", "failed", "http-error", "provider", "HTTP 500"),
    ("http.401", "failed", "http-error", "consumer", "HTTP 401"),
    ("page", "failed", "not-a-stream", "middlebox", "never with pages"),
    ("gzip", "complete", None, "none", ""),
    ("crlf", "complete", None, "none", ""),
]  # fmt: skip


@pytest.mark.parametrize(("plan", "status", "fault", "where", "words"), LAB, ids=str)
def test_the_labs_faults(
    lab: LabServer, plan: str, status: str, fault: str | None, where: str, words: str
) -> None:
    stream = told(lab.url, f"lab/{plan};{PACE}")
    assert stream.status == status
    assert (stream.fault.kind if stream.fault else None) == fault
    assert stream.verdict.where == where, stream.verdict
    assert words in " ".join(stream.verdict.evidence)


def test_a_stall_behind_pings_is_the_providers(lab: LabServer) -> None:
    """The reader gives up at last: pings kept its socket busy until then."""
    stream = told(lab.url, f"lab/stall.comment@20t;{PACE}", leave_after=25)
    assert stream.status == "cancelled"
    assert stream.attempts[0].pings >= 2
    assert stream.verdict.where == "provider"
    assert any(
        "without content" in entry.text or "pings" in entry.text for entry in stream.timeline
    )


def test_silence_without_pings_is_not_known(lab: LabServer) -> None:
    stream = told(lab.url, f"lab/stall@20t;{PACE}", timeout_s=0.6)
    assert stream.fault is not None
    assert stream.fault.kind == "stalled"
    assert stream.verdict.where == "unknown"
    assert {other.where for other in stream.verdict.others} == {"provider", "network", "consumer"}


def test_a_slow_reader_is_named(lab: LabServer) -> None:
    stream = told(
        lab.url,
        "lab/ok;tokens=80;tps=200;ttft=0.05",
        pause=lambda number: 0.5 if number % 40 == 20 else 0.0,
    )
    assert stream.status == "complete"
    assert stream.verdict.where == "consumer", stream.verdict
    assert stream.consumer.busy_s > 1.0
    assert stream.consumer.longest_s == pytest.approx(0.5, abs=0.2)


def test_leaving_is_the_readers(lab: LabServer) -> None:
    stream = told(lab.url, f"lab/ok;{PACE}", leave_after=20)
    assert stream.status == "cancelled"
    assert stream.verdict.where == "consumer"


@needs_nginx
def test_nginx_as_shipped_collects(lab: LabServer, tmp_path: Path) -> None:
    nginx = Nginx(tmp_path, lab.url)
    try:
        stream = told(nginx.url, "lab/ok;tokens=120;tps=100;ttft=0.2")
    finally:
        nginx.close()
    assert stream.status == "complete"
    assert stream.verdict.where == "middlebox", stream.verdict
    assert "collects" in stream.verdict.headline
    assert any("nginx" in sentence for sentence in stream.verdict.evidence)
    assert stream.verdict.confidence > 0.8


@needs_nginx
def test_nginx_that_passes_on_does_not(lab: LabServer, tmp_path: Path) -> None:
    nginx = Nginx(tmp_path, lab.url, BUFFERED_NEVER)
    try:
        stream = told(nginx.url, "lab/ok;tokens=120;tps=100;ttft=0.2")
    finally:
        nginx.close()
    assert stream.verdict.where == "none", stream.verdict


@needs_nginx
def test_nginx_turns_a_crash_into_an_end(lab: LabServer, tmp_path: Path) -> None:
    nginx = Nginx(tmp_path, lab.url)  # HTTP/1.0 upstream
    try:
        stream = told(nginx.url, f"lab/cut.close@30t;{PACE}")
    finally:
        nginx.close()
    assert stream.fault is not None
    assert stream.fault.kind == "truncated-between-events"
    assert stream.verdict.where == "middlebox"
    assert stream.verdict.confidence >= 0.75
    assert any("nginx" in sentence for sentence in stream.verdict.evidence)


@needs_nginx
@pytest.mark.parametrize(("plan", "answer"), [("stall@30t", None), ("slow-head@4s", 504)])
def test_nginxs_read_timeout(lab: LabServer, tmp_path: Path, plan: str, answer: int | None) -> None:
    nginx = Nginx(tmp_path, lab.url, BUFFERED_NEVER + "proxy_read_timeout 2s;")
    try:
        stream = told(nginx.url, f"lab/{plan};{PACE}")
    finally:
        nginx.close()
    assert stream.verdict.where == "middlebox", stream.verdict
    if answer is None:
        assert stream.fault is not None
        assert stream.fault.kind == "connection-reset"
        assert "read timeout" in stream.verdict.headline
        # nginx's timers are lazy: it may count from 0.3 s before the last byte.
        assert stream.fault.at_s == pytest.approx(2.1, abs=0.4)
    else:
        assert stream.attempts[0].status == answer
        assert "proxy" in stream.verdict.headline


def test_nobody_listens() -> None:
    stream = told("http://127.0.0.1:9", "lab/ok;tokens=9")
    assert "refused" in stream.verdict.headline
    assert stream.verdict.others[0].where == "consumer"
    assert stream.fault is not None
    assert stream.fault.kind == "connect-failed"
    assert stream.verdict.where == "network"
