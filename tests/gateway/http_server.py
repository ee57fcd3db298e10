"""The protocol under test behind a real socket, with a small application, in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import uvicorn
import uvloop
from uvicorn.server import ServerState

from unbroken.gateway.http import protocol_factory
from unbroken.gateway.http_limits import HttpLimits, Sweeper


class Server:
    """A server for one test; what the application saw is in its attributes."""

    def __init__(self, limits: HttpLimits) -> None:
        self.limits = limits
        self.seen: list[dict[str, Any]] = []  # one for each request that reached the application
        self.left = threading.Event()
        self.written = 0
        self.waited = threading.Event()

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        request: dict[str, Any] = {
            "method": scope["method"], "path": scope["path"], "query": scope["query_string"],
            "headers": list(scope["headers"]), "body": b"", "whole": False,
        }  # fmt: skip
        self.seen.append(request)
        do = scope["path"].rpartition("/")[2]
        if do == "early":
            await answer(send, 413, b"too much")
            return
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            request["body"] += message["body"]
            if not message["more_body"]:
                break
        request["whole"] = True
        request["after"] = scope["headers"]
        wire = scope["extensions"]["unbroken.wire"]
        await getattr(self, f"do_{do}", self.do_ok)(scope, receive, send, wire)

    async def do_ok(self, scope: Any, receive: Any, send: Any, wire: Any) -> None:
        await answer(send, 200, b"ok")

    async def do_chunks(self, scope: Any, receive: Any, send: Any, wire: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        assert wire.write(b"two")
        await send({"type": "http.response.body", "body": b"three"})

    async def do_fin(self, scope: Any, receive: Any, send: Any, wire: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        wire.write(b"half")
        scope["extensions"]["unbroken.abort"]("fin")
        await send({"type": "http.response.body", "body": b"never", "more_body": False})

    async def do_rst(self, scope: Any, receive: Any, send: Any, wire: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        wire.write(b"half")
        await asyncio.sleep(0.05)
        scope["extensions"]["unbroken.abort"]("rst")

    async def do_wait(self, scope: Any, receive: Any, send: Any, wire: Any) -> None:
        gone = asyncio.Event()

        def left() -> None:
            self.left.set()
            gone.set()

        wire.on_left(left)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        wire.write(b"first")
        self.waited.set()
        await gone.wait()

    async def do_receive(self, scope: Any, receive: Any, send: Any, wire: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        self.waited.set()
        if (await receive())["type"] == "http.disconnect":
            self.left.set()

    async def do_much(self, scope: Any, receive: Any, send: Any, wire: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        wire.on_left(self.left.set)
        piece = b"x" * 4096
        while not wire.left:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            self.written += len(piece)

    async def do_late(self, scope: Any, receive: Any, send: Any, wire: Any) -> None:
        """All bytes that were announced are out before the application says so."""
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok", "more_body": True})
        await asyncio.sleep(0.2)
        await send({"type": "http.response.body", "body": b""})

    async def do_bug(self, scope: Any, receive: Any, send: Any, wire: Any) -> None:
        raise ValueError("the prompt: sk-secret")

    async def do_bughalf(self, scope: Any, receive: Any, send: Any, wire: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        wire.write(b"half")
        raise ValueError("the prompt: sk-secret")

    async def do_split(self, scope: Any, receive: Any, send: Any, wire: Any) -> None:
        headers = [(b"x-a", b"b\r\nset-cookie: c")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=5)

    def talk(self, *parts: bytes) -> bytes:
        """Send, and return all that comes back until the connection ends."""
        with self.connect() as sock:
            for part in parts:
                sock.sendall(part)
            return rest(sock)

    @property
    def connections(self) -> int:
        return len(self.state.connections)

    def _serve(self, ready: threading.Event) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            self._loop, self._stop = loop, asyncio.Event()
            self.sweeper = Sweeper(self.limits)
            make = protocol_factory(self.sweeper)
            config = uvicorn.Config(
                self.app, http=make, ws="none", lifespan="off", interface="asgi3",
                log_config=None, proxy_headers=False,
            )  # fmt: skip
            config.load()
            self.state = ServerState()
            server = await loop.create_server(
                lambda: make(config=config, server_state=self.state, app_state={}),
                "127.0.0.1", 0,
            )  # fmt: skip
            self.port = server.sockets[0].getsockname()[1]
            ready.set()
            await self._stop.wait()
            server.close()
            for task in self.state.tasks:
                task.cancel()
            for connection in list(self.state.connections):
                connection.transport.abort()
            await asyncio.sleep(0.05)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)


async def answer(send: Any, status: int, body: bytes) -> None:
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextlib.contextmanager
def serving(limits: HttpLimits | None = None) -> Iterator[Server]:
    server, ready = Server(limits or HttpLimits()), threading.Event()
    thread = threading.Thread(target=server._serve, args=(ready,), daemon=True)
    thread.start()
    assert ready.wait(5)
    try:
        yield server
    finally:
        server.stop()
        thread.join(5)
        assert not thread.is_alive()


def rest(sock: socket.socket) -> bytes:
    got = []
    while data := sock.recv(65536):
        got.append(data)
    return b"".join(got)
