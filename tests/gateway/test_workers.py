"""`unbroken serve --workers 4` with Redis: figures, limits and keys hold over all workers."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from tests.gateway.serving_process import Process
from tests.journal.redis_server import redis_server
from unbroken.lab.oracle import examine
from unbroken.lab.server.app import LabServer

WORKERS = 4
STREAMS = 40
CALLER = "sk-caller-0123456789abcdef0123456789"
LIMITED = "sk-limited-0123456789abcdef0123456789"
SLOW = "sk-few-0123456789abcdef01234567890000"
CONFIG = """
workers = 4
[[routes]]
upstream = "lab"
options = {{ heals_always = 1_000_000, breaker_failures = 0 }}
[upstreams.lab]
url = "{lab}"
key = {{ env = "LAB_KEY" }}
[[callers]]
team = "blue"
key = {{ env = "CALLER_KEY" }}
[[callers]]
team = "red"
key = {{ env = "LIMITED_KEY" }}
limits = {{ requests_per_minute = 10 }}
[[callers]]
team = "green"
key = {{ env = "SLOW_KEY" }}
limits = {{ streams = 3 }}
[journal]
kind = "redis"
url = "{redis}"
key = {{ file = "{key}" }}
[resume]
secret = {{ file = "{key}" }}
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[LabServer]:
    with LabServer() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(lab: LabServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("workers")
    key = folder / "key"
    key.write_text(base64.b64encode(os.urandom(32)).decode())
    key.chmod(0o600)
    file = folder / "gateway.toml"
    secrets = {"LAB_KEY": "sk-lab", "CALLER_KEY": CALLER, "LIMITED_KEY": LIMITED, "SLOW_KEY": SLOW}
    with redis_server() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in secrets.items():
            patch.setenv(name, value)
        settings = CONFIG.format(lab=lab.url, redis=server.url, key=key)
        command = [sys.executable, "-m", "unbroken.cli", "serve", "--config", str(file)]
        process = Process(file, settings, command=command)
        try:
            assert process.port
            _soon(lambda: _ready(process), 30)
            yield process
        finally:
            process.stop()


def _ready(process: Process) -> bool:
    with contextlib.suppress(httpx2.TransportError):
        return httpx2.get(f"http://127.0.0.1:{process.port}/readyz").status_code == 200
    return False


def _soon(true: Callable[[], object], limit_s: float = 10.0) -> None:
    deadline = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def _post(gateway: Process, model: str, key: str = CALLER, **headers: str) -> httpx2.Response:
    """Ask over a connection of its own, which any of the workers may take."""
    body = {"model": model, "messages": [{"role": "user", "content": "x"}], "stream": True}
    sent = {"authorization": f"Bearer {key}", **headers}
    url = f"http://127.0.0.1:{gateway.port}/v1/chat/completions"
    return httpx2.post(url, json=body, headers=sent, timeout=30)


def _text(body: bytes) -> str:
    events = [json.loads(line[6:]) for line in body.split(b"\n") if line.startswith(b"data: {")]
    choices = [choice for event in events for choice in event.get("choices", [])]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def _metric(gateway: Process, name: str) -> float:
    text = httpx2.get(f"http://127.0.0.1:{gateway.port}/_unbroken/metrics").text
    values = re.findall(rf"^{name}(?:{{[^}}]*}})? ([0-9.e+]+)$", text, re.MULTILINE)
    return sum(map(float, values))


def test_the_figures_are_those_of_all_workers(lab: LabServer, gateway: Process) -> None:
    before = _metric(gateway, "unbroken_streams_started_total")
    with ThreadPoolExecutor(10) as pool:
        models = [f"lab/{'cut@12t' if n % 2 else 'ok'};id=w{n};tokens=40" for n in range(STREAMS)]
        answers = list(pool.map(lambda model: _post(gateway, model), models))
    for number, answer in enumerate(answers):
        assert answer.status_code == 200
        assert examine(_text(answer.content), lab.sessions[f"w{number}"].numbered).whole
    wanted = before + STREAMS
    # The same, whichever worker is asked, once each has written its own: about a second.
    _soon(
        lambda: {_metric(gateway, "unbroken_streams_started_total") for _ in range(12)} == {wanted}
    )
    page = httpx2.get(f"http://127.0.0.1:{gateway.port}/_unbroken/")
    assert page.status_code == 200


def test_a_limit_holds_over_all_workers(gateway: Process) -> None:
    with ThreadPoolExecutor(8) as pool:
        asked = [f"lab/ok;id=limit{n};tokens=2" for n in range(30)]
        statuses = list(pool.map(lambda model: _post(gateway, model, LIMITED).status_code, asked))
    assert statuses.count(200) == 10, statuses
    assert statuses.count(429) == 20, statuses


def test_streams_at_once_hold_over_all_workers(gateway: Process) -> None:
    with ThreadPoolExecutor(9) as pool:
        asked = [f"lab/ok;id=few{n};tokens=30;tps=15" for n in range(9)]
        statuses = list(pool.map(lambda model: _post(gateway, model, SLOW).status_code, asked))
    assert statuses.count(200) == 3, statuses
    assert _post(gateway, "lab/ok;id=few-after;tokens=2", SLOW).status_code == 200


def test_one_key_is_one_answer_over_all_workers(lab: LabServer, gateway: Process) -> None:
    with ThreadPoolExecutor(12) as pool:
        asked = [
            pool.submit(
                _post, gateway, "lab/ok;id=once;tokens=40;tps=40", **{"idempotency-key": "once"}
            )
            for _ in range(12)
        ]
        bodies = {one.result().content for one in asked}
    assert len(lab.sessions["once"].attempts) == 1
    (body,) = bodies
    assert examine(_text(body), lab.sessions["once"].numbered).whole
    other = _post(gateway, "lab/ok;id=other", **{"idempotency-key": "once"})
    assert other.status_code == 422


def test_a_stream_is_read_on_by_any_worker(lab: LabServer, gateway: Process) -> None:
    answer = _post(gateway, "lab/ok;id=anywhere;tokens=40", **{"x-unbroken-resume": "1"})
    stream = f"http://127.0.0.1:{gateway.port}/streams/{answer.headers['x-unbroken-stream']}"
    headers = {"authorization": f"Bearer {CALLER}"}
    for _ in range(12):
        again = httpx2.get(stream, headers=headers, timeout=20)
        assert again.status_code == 200
        assert again.content == answer.content
