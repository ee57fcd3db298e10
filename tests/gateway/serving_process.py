"""`tests.gateway.serving_app` in a process of its own, and plain requests to it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Process:
    """A served application.

    Args:
        file: The configuration; written here from ``settings``.
    """

    def __init__(self, file: Path, settings: str, *, command: list[str] | None = None) -> None:
        self.file = file
        self.configure(settings)
        clean = {k: v for k, v in os.environ.items() if not k.startswith("UNBROKEN_")}
        self._process = subprocess.Popen(
            command or [sys.executable, "-m", "tests.gateway.serving_app", str(file)],
            cwd=ROOT, env={**clean, "PYTHONPATH": _path()}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def configure(self, settings: str) -> None:
        self.file.write_text(f'listen = "127.0.0.1:0"\n{settings}\n', "utf-8")

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._lines.append(line)

    @property
    def said(self) -> str:
        return "".join(self._lines)

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_for(self, words: str, times: int = 1, limit_s: float = 15) -> None:
        until(lambda: self.said.count(words) >= times, limit_s, lambda: self.said)

    @property
    def port(self) -> int:
        self.wait_for("listening on http://")
        found = re.search(r"listening on http://127\.0\.0\.1:(\d+)", self.said)
        assert found, self.said
        return int(found[1])

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def begin(self, target: str) -> socket.socket:
        """Ask, and return the connection when the answer has begun."""
        sock = self.connect()
        sock.sendall(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        got = b""
        while b"\r\n\r\n" not in got:
            data = sock.recv(1)
            assert data, "it closed"
            got += data
        return sock

    def get(self, target: str) -> str:
        with self.connect() as sock:
            sock.sendall(f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
            answer = rest(sock)
        return answer.partition("\r\n\r\n")[2]

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self, limit_s: float = 15) -> int:
        code = self._process.wait(limit_s)
        self._reader.join(5)
        return code

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(3)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        assert self._process.stderr is not None
        self._reader.join(5)
        self._process.stderr.close()


def _path() -> str:
    return os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))


def rest(sock: socket.socket) -> str:
    got = b""
    while data := sock.recv(65536):
        got += data
    return got.decode()


def until(
    true: Callable[[], object], limit_s: float = 15, why: Callable[[], str] = lambda: ""
) -> None:
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, f"it did not happen: {why()}"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as file:  # a zombie is not alive
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
