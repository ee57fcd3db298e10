"""The HTTP layer alone, with answers made by a test; and a client that is a bare socket."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from unbroken.lab.server.http import Connection, Respond


class Bare:
    """A server of `Connection` alone, in a thread."""

    def __init__(self, respond: Respond) -> None:
        self._respond = respond
        self.connections: set[Connection] = set()
        self.port = 0
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await self._loop.create_server(
            lambda: Connection(self._respond, self.connections), "127.0.0.1", 0
        )
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()
        for connection in list(self.connections):
            connection.abort()
        await asyncio.sleep(0)

    def __enter__(self) -> Bare:
        self._thread.start()
        self._started.wait(5)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        yield client


def read_all(client: socket.socket) -> tuple[bytes, str]:
    """Return what comes until the end, and which end it was: fin or rst."""
    got = []
    try:
        while data := client.recv(65536):
            got.append(data)
    except ConnectionResetError:
        return b"".join(got), "rst"
    return b"".join(got), "fin"


def read_until(client: socket.socket, mark: bytes) -> bytes:
    got = b""
    while mark not in got:
        data = client.recv(65536)
        assert data, got
        got += data
    return got
