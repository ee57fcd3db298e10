"""The two-replica example without containers: its configuration, a real Redis and nginx."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("httptools")

from tests.deploy.proxies import DEPLOY, Proxy, free_port, put, start_nginx, unbroken, until
from tests.journal.redis_server import redis_server
from unbroken.lab.server.app import LabServer

BODY = {"messages": [{"role": "user", "content": "say something"}], "stream": True}
CALLER = "sk-unbroken-" + "5" * 48
AUTH = {"authorization": f"Bearer {CALLER}"}


class Replica:
    """One `unbroken serve`, which can be ended and started again."""

    def __init__(self, folder: Path, config: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._file = folder / f"{self.port}.toml"
        self._file.write_text(put(config, {"0.0.0.0:8411": f"127.0.0.1:{self.port}"}), "utf-8")
        self._said = folder / f"{self.port}.said"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("UNBROKEN_")}
        with self._said.open("ab") as out:
            self._process = subprocess.Popen(
                unbroken("serve", "--config", str(self._file)),
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=clean,
            )  # fmt: skip
        until(self._ready, 30, self.said)

    def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.said()
        with contextlib.suppress(httpx2.TransportError):
            return httpx2.get(f"{self.url}/readyz").status_code == 200
        return False

    @property
    def streams(self) -> int:
        return int(httpx2.get(f"{self.url}/readyz").json()["streams"])

    def said(self) -> str:
        return self._said.read_text()

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def end(self, limit_s: float = 20) -> int:
        assert self._process is not None
        return self._process.wait(limit_s)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


class Pair:
    """Two replicas behind nginx, with the lab before them."""

    def __init__(self, lab: LabServer, replicas: tuple[Replica, Replica], front: Proxy) -> None:
        self.lab, self.replicas, self.front = lab, replicas, front

    def ask(self, model: str, **headers: str):
        return httpx2.stream(
            "POST", f"{self.front.url}/v1/chat/completions", json={"model": model, **BODY},
            headers={**AUTH, **{name.replace("_", "-"): v for name, v in headers.items()}},
            timeout=60,
        )  # fmt: skip

    def read_on(self, stream_id: str, **headers: str):
        return httpx2.stream(
            "GET", f"{self.front.url}/streams/{stream_id}", headers={**AUTH, **headers}, timeout=60
        )

    def asked(self) -> list[tuple[str, int]]:
        """What nginx handed on so far: method, and the replica's port."""
        lines = re.findall(
            r'"(GET|POST) [^"]*".*"127\.0\.0\.1:(\d+)"$', self.front.log.read_text(), re.MULTILINE
        )
        return [(method, int(port)) for method, port in lines]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    secrets = tmp_path / "secrets"
    secrets.mkdir(mode=0o700)
    random = base64.b64encode(os.urandom(32)).decode()
    for name, text in (
        ("openai-key", "the provider's"),
        ("demo-caller-key", CALLER),
        ("journal-key", random),
        ("resume-secret", random),
    ):
        (secrets / name).write_text(text)
        (secrets / name).chmod(0o600)
    with contextlib.ExitStack() as stack:
        lab = stack.enter_context(LabServer())
        redis = stack.enter_context(
            redis_server(
                "--appendonly", "no", "--maxmemory", "512mb", "--maxmemory-policy", "noeviction"
            )
        )
        config = put(
            (DEPLOY / "compose/unbroken.toml").read_text("utf-8"),
            {
                "https://api.openai.com/v1": f"{lab.url}/v1",
                "/run/secrets": str(secrets),
                "redis://redis:6379/0": redis.url,
            },
        )
        replicas = Replica(tmp_path, config), Replica(tmp_path, config)
        for each in replicas:
            stack.callback(each.stop)
            each.start()
        port = free_port()
        (tmp_path / "unbroken_proxy.conf").write_text(
            (DEPLOY / "nginx/unbroken_proxy.conf").read_text("utf-8"), "utf-8"
        )
        site = put(
            (DEPLOY / "compose/nginx.conf").read_text("utf-8"),
            {
                "172.31.84.11:8411": f"127.0.0.1:{replicas[0].port}",
                "172.31.84.12:8411": f"127.0.0.1:{replicas[1].port}",
                "listen 8080;": f"listen 127.0.0.1:{port};",
                "/dev/stdout": str(tmp_path / "access.log"),
                "/etc/nginx/unbroken_proxy.conf": str(tmp_path / "unbroken_proxy.conf"),
            },
        )
        stack.enter_context(start_nginx(tmp_path, site, port))
        front = Proxy(kind="nginx", url=f"http://127.0.0.1:{port}", log=tmp_path / "access.log")
        yield Pair(lab, replicas, front)


def text_of(body: bytes) -> str:
    events = [json.loads(line[6:]) for line in body.split(b"\n") if line.startswith(b"data: {")]
    choices = [choice for event in events for choice in event.get("choices", [])]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


class Reading(threading.Thread):
    """Reads an answer beside the test."""

    def __init__(self, request) -> None:
        super().__init__(daemon=True)
        self._request = request
        self.body, self.whole, self.status = b"", False, 0
        self.headers: dict[str, str] = {}
        self.begun = threading.Event()
        self.start()

    def run(self) -> None:
        with contextlib.suppress(httpx2.RemoteProtocolError, httpx2.ReadError):
            with self._request as response:
                self.status, self.headers = response.status_code, dict(response.headers)
                for data in response.iter_bytes():
                    self.body += data
                    self.begun.set()
                self.whole = True
        self.begun.set()


def begin(request) -> Reading:
    reading = Reading(request)
    assert reading.begun.wait(20)
    assert reading.status == 200, reading.body
    return reading


def test_a_stream_is_read_on_from_the_other_replica_while_the_first_goes_on(pair: Pair) -> None:
    first = begin(pair.ask("lab/ok;id=both;tokens=60;tps=30", x_unbroken_resume="1"))
    stream_id = first.headers["x-unbroken-stream"]
    second = begin(pair.read_on(stream_id))
    until(lambda: first.body.count(b"id: ") > 8)
    position = re.findall(rb"id: (\S+)", first.body)[6].decode()
    third = begin(pair.read_on(stream_id, **{"last-event-id": position}))
    assert first.is_alive(), "the answer was too short for this test"
    for each in (first, second, third):
        each.join(20)
        assert each.whole
    text = pair.lab.sessions["both"].numbered.text
    assert text_of(first.body) == text_of(second.body) == text
    at = first.body.index(b"id: " + position.encode())
    rest = first.body[first.body.index(b"\n\n", at) + 2 :]
    assert third.body == rest
    until(lambda: len(pair.asked()) == 3)
    assert {port for _, port in pair.asked()} == {each.port for each in pair.replicas}
    assert len(pair.lab.sessions["both"].attempts) == 1


def test_an_idempotency_key_attaches_on_the_other_replica(pair: Pair) -> None:
    model = "lab/ok;id=idem;tokens=40;tps=30"
    readings = [begin(pair.ask(model, idempotency_key="5b0c1c7e-1e9a")) for _ in range(2)]
    for each in readings:
        each.join(20)
        assert each.whole
    assert readings[0].body == readings[1].body
    assert text_of(readings[0].body) == pair.lab.sessions["idem"].numbered.text
    assert len(pair.lab.sessions["idem"].attempts) == 1, "it was asked, and paid for, twice"
    until(lambda: len(pair.asked()) == 2)
    assert {port for _, port in pair.asked()} == {each.port for each in pair.replicas}


def test_readers_of_a_killed_replica_are_told(pair: Pair) -> None:
    first = begin(pair.ask("lab/ok;id=killed;tokens=2000;tps=20", x_unbroken_resume="1"))
    writer, other = sorted(pair.replicas, key=lambda each: -each.streams)
    assert (writer.streams, other.streams) == (1, 0)
    second = begin(pair.read_on(first.headers["x-unbroken-stream"]))
    assert other.streams == 1
    writer.signal(signal.SIGKILL)
    first.join(10)
    assert not first.is_alive()
    assert not first.whole, "nginx made an end of it"
    second.join(30)
    assert not second.is_alive()
    assert not second.whole
    assert b"[DONE]" not in second.body
    last = json.loads(second.body.rstrip().rpartition(b"data: ")[2])
    assert "writer-lost" in last["error"]["message"]
    # What was delivered stays readable, and says the same.
    with pair.ask("lab/ok;id=after;tokens=5") as response:
        assert response.read().rstrip().endswith(b"data: [DONE]")


def test_a_rolling_restart_drops_no_stream(pair: Pair) -> None:
    running: list[tuple[str, Reading]] = []
    stop = threading.Event()

    def keep_asking() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            name = f"roll-{n}"
            resume = {"x_unbroken_resume": "1"} if n % 2 else {}
            running.append(
                (name, Reading(pair.ask(f"lab/ok;id={name};tokens=30;tps=20", **resume)))
            )
            time.sleep(0.1)

    asking = threading.Thread(target=keep_asking, daemon=True)
    asking.start()
    try:
        for replica in pair.replicas:
            until(lambda replica=replica: replica.streams > 2, 10)
            replica.signal(signal.SIGTERM)
            assert replica.end() == 0, replica.said()
            assert "cut" not in replica.said()
            replica.start()
    finally:
        stop.set()
        asking.join(10)
    assert len(running) > 20
    for name, reading in running:
        reading.join(20)
        assert reading.whole, (name, reading.status, reading.body[-300:])
        errors = pair.front.log.with_name("error.log").read_text()
        assert reading.status == 200, (name, reading.body[-300:], errors)
        assert text_of(reading.body) == pair.lab.sessions[name].numbered.text
        assert reading.body.rstrip().endswith(b"data: [DONE]")
        assert len(pair.lab.sessions[name].attempts) == 1, name
    assert {port for _, port in pair.asked()} == {each.port for each in pair.replicas}
