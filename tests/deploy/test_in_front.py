"""A real nginx and HAProxy before the real gateway before the lab: nothing is lost on the way."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import subprocess
import threading
import time

import httpx2
import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("httptools")

from tests.deploy.proxies import KINDS, free_port, program, proxy, until
from tests.support.gateway import config_for, serving
from tests.support.recorder import recording
from unbroken.gateway.config import UpstreamConfig
from unbroken.lab.server.app import LabServer

BODY = {"messages": [{"role": "user", "content": "say something"}], "stream": True}
AUTH = {"authorization": "Bearer caller-key"}
READ_TIMEOUT_S = 2.0
HEARTBEAT_S = 0.4


@pytest.fixture(scope="module")
def lab():
    with LabServer() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(lab):
    config = config_for(
        lab.url,
        options={"max_attempts": 4},
        heartbeat_s=HEARTBEAT_S,
        hosts=("llm.example.com",),
    )
    with serving(config) as running:
        yield running


@pytest.fixture(scope="module", params=KINDS)
def front(request, gateway, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    with proxy(request.param, folder, [gateway.port], read_timeout_s=READ_TIMEOUT_S) as running:
        yield running


def ask(front, model: str, *, headers=None, **more):
    body = {"model": model, **BODY, **more}
    url = front.url + "/v1/chat/completions"
    return httpx2.stream("POST", url, json=body, headers={**AUTH, **(headers or {})}, timeout=30)


def text_of(body: bytes) -> str:
    events = [json.loads(line[6:]) for line in body.split(b"\n") if line.startswith(b"data: {")]
    choices = [choice for event in events for choice in event.get("choices", [])]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def name_of(front, what: str) -> str:
    """A name for a session of the lab's, which all proxies share."""
    return f"{what}-{front.url.rpartition(':')[2]}"


def test_each_event_leaves_as_it_arrives(front):
    came: list[float] = []
    with ask(front, f"lab/ok;id={name_of(front, 'paced')};tokens=10;tps=10") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert "content-encoding" not in response.headers
        for data in response.iter_bytes():
            came += [time.monotonic()] * data.count(b"data: {")
    gaps = [later - earlier for earlier, later in itertools.pairwise(came)]
    assert sum(gap > 0.05 for gap in gaps) >= 9, gaps


def test_an_upstream_that_cuts_is_healed(lab, front):
    name = name_of(front, "healed")
    with ask(front, f"lab/cut@30t;id={name};tokens=80", seed=1, temperature=0) as response:
        body = response.read()
    assert body.rstrip().endswith(b"data: [DONE]")
    assert text_of(body) == lab.sessions[name].numbered.text
    assert len(lab.sessions[name].attempts) == 2


def test_a_stream_that_cannot_be_healed_has_no_clean_end(front):
    received = b""
    name = name_of(front, "fails")
    with ask(front, f"lab/cut@30t*;id={name};tokens=90;honours=") as response:
        with contextlib.suppress(httpx2.RemoteProtocolError):
            for data in response.iter_bytes():
                received += data
            pytest.fail("the body came to an end")
    assert b"[DONE]" not in received
    last = json.loads(received.rstrip().rpartition(b"data: ")[2])
    assert "do not treat the answer as complete" in last["error"]["message"]


def test_nor_has_it_over_tls(front):
    """By HTTP/2, where the proxy offers it."""
    curl = program("curl")
    if " HTTP2" not in _output(curl, "--version"):
        pytest.skip("needs curl that speaks HTTP/2")
    for plan in ("ok", "cut@30t*"):
        name = name_of(front, f"tls-{len(plan)}")
        body = {"model": f"lab/{plan};id={name};tokens=90;honours=", **BODY}
        ran = subprocess.run(
            [curl, "-skN", "--http2", "-w", "%{http_version}",
             "-H", "content-type: application/json", "-H", "authorization: Bearer k",
             "-H", "host: llm.example.com",
             "-d", json.dumps(body), f"{front.tls_url}/v1/chat/completions"],
            capture_output=True, check=False,
        )  # fmt: skip
        assert ran.stdout.endswith(b"2" if front.kind == "nginx" else b"1.1")
        assert (ran.returncode == 0) == (plan == "ok"), ran
        assert (b"[DONE]" in ran.stdout) == (plan == "ok")


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_heartbeats_keep_a_silent_stream_alive(lab, front):
    """Silences longer than the proxy waits for a byte."""
    name = name_of(front, "silent")
    tps = 1 / (1.75 * READ_TIMEOUT_S)
    with ask(front, f"lab/ok;id={name};tokens=2;tps={tps:.3f}") as response:
        body = response.read()
    assert body.rstrip().endswith(b"data: [DONE]")
    assert text_of(body) == lab.sessions[name].numbered.text
    assert body.count(b"\n:") + body.startswith(b":") >= 4, body


def test_a_client_that_leaves_closes_the_upstream_within_a_second(lab, front):
    name = name_of(front, "left")
    with ask(front, f"lab/ok;id={name};tokens=400;tps=20") as response:
        next(response.iter_bytes())
    left = time.monotonic()
    until(lambda: lab.sessions[name].attempts[0].ended, 5)
    attempt = lab.sessions[name].attempts[0]
    assert attempt.ended == "left"
    assert attempt.ended_at_s - left < 1.0


def test_a_lost_connection_is_read_on(lab, front):
    name = name_of(front, "resumed")
    got = b""
    headers = {"x-unbroken-resume": "1"}
    with ask(front, f"lab/ok;id={name};tokens=60;tps=40", headers=headers) as response:
        stream_id = response.headers["x-unbroken-stream"]
        for data in response.iter_bytes():
            got += data
            if got.count(b"\n\n") > 8:
                break
    got = got[: got.rindex(b"\n\n") + 2]  # half an event is thrown away, as SSE has it
    last = got[got.rindex(b"id: ") + 4 :].split(b"\n")[0].decode()
    url, headers = f"{front.url}/streams/{stream_id}", {**AUTH, "last-event-id": last}
    with httpx2.stream("GET", url, headers=headers, timeout=30) as response:
        assert response.status_code == 200
        rest = response.read()
    assert text_of(got + rest) == lab.sessions[name].numbered.text
    assert rest.rstrip().endswith(b"data: [DONE]")
    assert len(lab.sessions[name].attempts) == 1


def test_the_gateway_knows_the_name_that_clients_use(front):
    for host, status in (("llm.example.com", 404), ("evil.example", 421)):
        answer = httpx2.get(f"{front.url}/streams/s_none", headers={**AUTH, "host": host})
        assert answer.status_code == status, answer.text


def test_the_access_log_has_no_query(front):
    httpx2.get(f"{front.url}/readyz?key=AIza-not-for-logs")
    until(lambda: "/readyz" in front.log.read_text(), 5, front.log.read_text)
    assert "AIza" not in front.log.read_text()


# What goes upstream --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_provider_is_not_told_who_asks(kind, tmp_path):
    with recording(status=200) as (root, seen):
        upstreams = {"lab": UpstreamConfig(url=f"{root}/v1")}
        with serving(config_for("", upstreams=upstreams)) as gateway:
            with proxy(kind, tmp_path, [gateway.port]) as front:
                said = {"x-forwarded-for": "203.0.113.7", "x-real-ip": "203.0.113.7"}
                answer = httpx2.get(f"{front.url}/v1/models", headers={**AUTH, **said})
                assert answer.status_code == 200, answer.text
    assert seen[0]["authorization"] == AUTH["authorization"]
    assert not {n for n in seen[0] if n.startswith("x-") or n == "forwarded"}, seen[0]


# Replicas that go ----------------------------------------------------------------------------


class Backend:
    """Counts the requests that reach it, and closes without a word."""

    def __init__(self) -> None:
        self.asked = 0
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._sock.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._sock.accept()
                with connection:
                    head = connection.recv(65536)
                    if head.startswith(b"GET /readyz"):
                        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                    elif head:
                        self.asked += 1

    def close(self) -> None:
        self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_post_is_never_sent_twice(kind, tmp_path):
    backends = [Backend(), Backend()]
    try:
        with proxy(kind, tmp_path, [each.port for each in backends]) as front:
            answer = httpx2.post(f"{front.url}/v1/messages", json=BODY)
            assert answer.status_code == 502
            assert sum(each.asked for each in backends) == 1
    finally:
        for each in backends:
            each.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_replica_that_takes_no_connection_is_passed_over(kind, gateway, tmp_path):
    with proxy(kind, tmp_path, [free_port(), gateway.port]) as front:
        for n in range(6):
            with ask(front, f"lab/ok;id={name_of(front, f'over{n}')};tokens=5") as response:
                assert response.read().rstrip().endswith(b"data: [DONE]")
