"""Two gateways and one Redis that is killed, paused or full in the middle of streams.

No healthy stream is hurt by it. Readers on the other gateway get the whole answer or are told
that they do not; and afterwards all works again.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from tests.gateway.serving_process import Process
from tests.journal.redis_server import RedisServer, redis, redis_server
from unbroken.lab.oracle import examine
from unbroken.lab.server.app import LabServer

STREAMS = 6
AUTH = {"authorization": "Bearer caller"}
CONFIG = """
[[routes]]
upstream = "lab"
heartbeat_s = 0.5
[upstreams.lab]
url = "{lab}"
[journal]
kind = "redis"
url = "{redis}"
key = {{ file = "{key}" }}
[resume]
secret = {{ file = "{key}" }}
"""
_MOST_MEMORY = "24mb"


@dataclass
class Scene:
    lab: LabServer
    redis: RedisServer
    gateways: list[Process]

    def url(self, number: int) -> str:
        return f"http://127.0.0.1:{self.gateways[number].port}"


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    key = tmp_path / "key"
    key.write_text(base64.b64encode(os.urandom(32)).decode())
    key.chmod(0o600)
    limits = ("--maxmemory", _MOST_MEMORY, "--maxmemory-policy", "noeviction")
    with LabServer() as lab, redis_server(*limits) as server, contextlib.ExitStack() as stack:
        gateways = []
        for number in range(2):
            file = tmp_path / f"gateway-{number}.toml"
            command = [sys.executable, "-m", "unbroken.cli", "serve", "--config", str(file)]
            settings = CONFIG.format(lab=lab.url, redis=server.url, key=key)
            gateways.append(Process(file, settings, command=command))
            stack.callback(gateways[-1].stop)
        assert all(gateway.port for gateway in gateways)
        yield Scene(lab, server, gateways)


def _text(body: bytes) -> str:
    """The text of whole frames only."""
    lines = body[: body.rfind(b"\n\n") + 2].split(b"\n")
    events = [json.loads(line[6:]) for line in lines if line.startswith(b"data: {")]
    choices = [choice for event in events for choice in event.get("choices", [])]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


@dataclass
class Heard:
    body: bytes = b""
    status: int = 0
    error: str = ""
    stream: str = ""
    kept: bool = False


def _take(response: httpx2.Response, heard: Heard) -> None:
    heard.status = response.status_code
    try:
        for data in response.iter_bytes():
            heard.body += data
    except httpx2.RemoteProtocolError as error:
        heard.error = str(error)


def _ask(scene: Scene, name: str, begun: threading.Event, *, tps: int = 30) -> Heard:
    heard = Heard()
    model = f"lab/ok;id={name};tokens=100;tps={tps}"
    body = {"model": model, "messages": [{"role": "user", "content": "x"}], "stream": True}
    headers = {**AUTH, "x-unbroken-resume": "1"}
    url = f"{scene.url(0)}/v1/chat/completions"
    with httpx2.stream("POST", url, json=body, headers=headers, timeout=40) as response:
        heard.stream = response.headers.get("x-unbroken-stream", "")
        heard.kept = "x-unbroken-resume" in response.headers
        begun.stream = heard.stream  # type: ignore[attr-defined]
        begun.set()
        _take(response, heard)
    return heard


def _read(scene: Scene, begun: threading.Event) -> Heard:
    """Read the same stream by the other gateway."""
    heard = Heard()
    assert begun.wait(20)
    url = f"{scene.url(1)}/streams/{begun.stream}"  # type: ignore[attr-defined]
    with httpx2.stream("GET", url, headers=AUTH, timeout=40) as response:
        _take(response, heard)
    return heard


@contextlib.contextmanager
def _killed(server: RedisServer) -> Iterator[None]:
    server.stop()
    yield
    server.start()


@contextlib.contextmanager
def _full(server: RedisServer) -> Iterator[None]:
    with server.client() as client:
        with contextlib.suppress(redis.exceptions.OutOfMemoryError):
            for number in range(10_000):
                client.set(f"junk:{number}", b"x" * 65_536)
        for size in (4096, 256, 16):  # to the last byte
            with contextlib.suppress(redis.exceptions.OutOfMemoryError):
                for number in range(10_000):
                    client.set(f"junk:{size}:{number}", b"x" * size)
        yield
        for name in client.scan_iter("junk:*", count=10_000):
            client.delete(name)


TROUBLES = {"killed": _killed, "paused": lambda server: server.paused(), "full": _full}


def _whole(scene: Scene, name: str, heard: Heard) -> bool:
    return examine(_text(heard.body), scene.lab.sessions[name].numbered).whole


@pytest.mark.parametrize("trouble", TROUBLES)
def test_no_healthy_stream_is_hurt(scene: Scene, trouble: str) -> None:
    names = [f"{trouble}-{number}" for number in range(STREAMS)]
    begun = [threading.Event() for _ in names]
    with ThreadPoolExecutor(4 * STREAMS) as pool:
        direct = [pool.submit(_ask, scene, *pair) for pair in zip(names, begun, strict=True)]
        readers = [pool.submit(_read, scene, event) for event in begun]
        assert all(event.wait(20) for event in begun)
        time.sleep(0.7)
        with TROUBLES[trouble](scene.redis):
            # One that begins meanwhile is an ordinary one.
            meanwhile = threading.Event()
            new = pool.submit(_ask, scene, f"{trouble}-new", meanwhile, tps=200)
            time.sleep(2.0)
        asked = [one.result(60) for one in direct]
        read = [one.result(60) for one in readers]
        late = new.result(60)
    for name, heard in zip(names, asked, strict=True):
        assert (heard.status, heard.error) == (200, ""), name
        assert _whole(scene, name, heard), name
    assert late.status == 200
    assert _whole(scene, f"{trouble}-new", late)
    told = 0
    for name, heard in zip(names, read, strict=True):
        report = examine(_text(heard.body), scene.lab.sessions[name].numbered, ended_well=False)
        assert report.verdict != "corrupted", (name, report.describe())
        if not report.whole:
            told += 1
            assert heard.error or heard.status in (404, 410, 503), f"{name}: cut, and not told"
            assert b"[DONE]" not in heard.body
    print(f"{trouble}: {len(read) - told} of {len(read)} readers got all, {told} were told")
    _works_again(scene, trouble)
    assert all(len(scene.lab.sessions[name].attempts) == 1 for name in names)


def _works_again(scene: Scene, trouble: str) -> None:
    deadline = time.monotonic() + 20
    for number in range(100):
        name, begun = f"{trouble}-after-{number}", threading.Event()
        heard = _ask(scene, name, begun, tps=2000)
        assert _whole(scene, name, heard)
        if heard.kept:
            again = _read(scene, begun)
            if again.status == 200 and not again.error and _whole(scene, name, again):
                return
        assert time.monotonic() < deadline, f"after 20 s streams are still not kept: {heard.kept}"
        time.sleep(0.3)
