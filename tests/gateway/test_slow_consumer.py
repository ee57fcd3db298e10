"""A client that takes one byte a second: what the gateway holds for it, and what it does upstream.

The answer, of about 20 MB, is larger than all buffers on the way. Soon nothing moves any more: the
model's server is stopped by TCP itself, and the gateway's memory stays where it was.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.gateway.serving_process import Process
from unbroken.lab.server.app import LabServer

IN_KERNELS_BYTES = 14 * 2**20
"""Most that the kernel's buffers hold of two connections over loopback; Linux lets them grow."""

WINDOW_BYTES = 512 * 1024
CONSUMERS = 3
MOST_HELD_BYTES = 2**20
"""For each of them, beside the journal's window: buffers of sockets, parser, and the frames of
one read."""

CONFIG = """
[[routes]]
upstream = "lab"
heartbeat_s = 0.2
on_disconnect = "cancel"
[upstreams.lab]
url = "{url}"
[journal]
max_stream_bytes = {window}
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[LabServer]:
    with LabServer() as server:
        yield server


@pytest.fixture
def gateway(lab: LabServer, tmp_path: Path) -> Iterator[Process]:
    file = tmp_path / "gateway.toml"
    command = [sys.executable, "-m", "unbroken.cli", "serve", "--config", str(file)]
    process = Process(file, CONFIG.format(url=lab.url, window=WINDOW_BYTES), command=command)
    try:
        assert process.port
        yield process
    finally:
        process.stop()


class Slow:
    """Asks, and takes one byte a second."""

    def __init__(self, port: int, model: str, *headers: str) -> None:
        self._sock = socket.socket()
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._sock.connect(("127.0.0.1", port))
        turn = {"role": "user", "content": "go on"}
        body = json.dumps({"model": model, "messages": [turn], "stream": True}).encode()
        head = (
            "POST /v1/chat/completions HTTP/1.1", f"host: 127.0.0.1:{port}",
            "content-type: application/json", f"content-length: {len(body)}", *headers,
        )  # fmt: skip
        self._sock.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        self.bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self.bytes += len(self._sock.recv(1))
                if self._over.wait(1.0):
                    return

    def close(self) -> None:
        self._over.set()
        self._sock.close()
        self._thread.join(5)


def _sent(lab: LabServer, names: list[str]) -> list[int]:
    return [sum(one.sent_bytes for one in lab.sessions[name].attempts) for name in names]


def _settled(lab: LabServer, names: list[str]) -> list[int]:
    """Wait until nothing moves any more, and return what was sent by then."""
    before: list[int] = []
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        time.sleep(1.0)
        now = _sent(lab, names) if all(name in lab.sessions for name in names) else []
        if now and now == before and all(now):
            return now
        before = now
    pytest.fail(f"the upstream is not stopped: {before}")


@pytest.mark.parametrize("resume", [False, True], ids=["plain", "resumable"])
def test_a_slow_consumer_stops_the_upstream(lab: LabServer, gateway: Process, resume: bool) -> None:
    kind = "resumed" if resume else "plain"
    headers = ["x-unbroken-resume: 1"] if resume else []
    names = [f"slow-{kind}-{number}" for number in range(CONSUMERS)]
    memory = psutil.Process(gateway.pid).memory_info
    warm = Slow(gateway.port, f"lab/ok;id=warm-{kind};tokens=5", *headers)
    time.sleep(0.5)
    warm.close()
    before = memory().rss
    slow = [
        Slow(gateway.port, f"lab/ok;id={name};tokens=100000;delta=token", *headers)
        for name in names
    ]
    try:
        sent = _settled(lab, names)
        assert max(sent) < IN_KERNELS_BYTES
        held = memory().rss - before
        most = CONSUMERS * (MOST_HELD_BYTES + (2 * WINDOW_BYTES if resume else 0))
        print(f"{kind}: sent {sent}, held {held / CONSUMERS / 1024:.0f} KiB each")
        assert held < most, f"{held / CONSUMERS / 1024:.0f} KiB each"
        time.sleep(2.0)
        assert _sent(lab, names) == sent, "what the client takes in two seconds moves no frame"
        assert all(0 < one.bytes < 100 for one in slow)
        assert all(lab.sessions[name].open_streams == 1 for name in names), "nobody gave up"
    finally:
        for one in slow:
            one.close()
    if not resume:
        assert all(lab.sessions[name].wait_idle(5) for name in names), "the upstream is closed"
