"""Listening, and the end of it: in a thread of its own, or in a loop that runs already."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self

from unbroken.relay.messages import RelayRequest
from unbroken.relay.serving.connection import Connection
from unbroken.relay.serving.reply import Reply, ReplyConnection

__all__ = ["ReplyService", "Service"]

_START_S = 10.0


class Service:
    """A server on a port; what its connections do is said by classes built on it.

    Use it as a context manager, or call `start` and `close`, which run it in a thread of its
    own; `serve` runs it in a loop that is there already. All methods may be called from any
    thread.

    Args:
        host: Where to listen.
        port: The port; 0 takes a free one.
        name: Of the thread.
        backlog: How many connections may wait to be taken.

    Attributes:
        host: Where it listens.
        port: The port, known from `listen` on.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        name: str = "unbroken-serving",
        backlog: int = 1024,
    ) -> None:
        self.host = host
        self.port = port
        self._name = name
        self._backlog = backlog
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._failed: OSError | ValueError | None = None

    # -- what a class built on this says ---------------------------------------------------

    def connection(self) -> Connection:
        """Make the connection for a client that has come; called in the server's loop."""
        raise NotImplementedError

    def around(self) -> AbstractAsyncContextManager[Any]:
        """Return what is open while it serves, such as a client of an upstream."""
        return contextlib.nullcontext()

    # -- what its users call ---------------------------------------------------------------

    @property
    def url(self) -> str:
        """The root, without a slash at its end."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def open_connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def start(self) -> Self:
        """Listen, in a thread of its own.

        Raises:
            OSError: If the port is taken, or the host is not this machine's; or as what is
                open while it serves says.
            ValueError: As what is open while it serves says.
        """
        if self._thread is not None:
            return self
        self.listen()
        started = threading.Event()
        self._failed = None

        def main() -> None:
            try:
                asyncio.run(self.serve(started.set))
            except (OSError, ValueError) as error:  # raised below, where somebody hears it
                self._failed = error
                started.set()

        self._thread = threading.Thread(target=main, name=self._name, daemon=True)
        self._thread.start()
        started.wait(_START_S)
        if self._failed is not None:
            self.close()
            raise self._failed
        return self

    def close(self) -> None:
        """Stop listening, and close what is open. Calling it twice is fine."""
        loop, stop = self._loop, self._stop
        if loop is not None and stop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(stop.set)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
            self._thread = None
        if self._listener is not None and self._loop is None:  # else `serve` closes it
            self._listener.close()
            self._listener = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def listen(self) -> socket.socket:
        """Take the port, so that `url` is known; `start` and `serve` do it too.

        Raises:
            OSError: If the port is taken, or the host is not this machine's.
        """
        if self._listener is None:
            family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
            self._listener = socket.create_server(
                (self.host, self.port), family=family, backlog=self._backlog
            )
            self.port = self._listener.getsockname()[1]
        return self._listener

    async def serve(self, ready: Callable[[], Any] | None = None) -> None:
        """Serve in the running loop until `close` is called or the task is cancelled.

        Args:
            ready: Called when it listens.
        """
        listener = self.listen()
        async with self.around():
            self._loop = asyncio.get_running_loop()
            self._stop = asyncio.Event()
            server = await self._loop.create_server(
                self.connection, sock=listener, backlog=self._backlog
            )
            try:
                if ready is not None:
                    ready()
                await self._stop.wait()
            finally:
                server.close()
                self._listener = self._loop = self._stop = None
                for connection in list(self._connections):
                    connection.abort()
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
                await asyncio.sleep(0)  # for the transports to close


class ReplyService(Service):
    """A server whose requests are answered by tasks: say how in `answer`."""

    most_body_bytes: int | None = None
    """Longest body of a request that is taken; None takes the usual limit."""

    async def answer(self, request: RelayRequest, reply: Reply) -> None:
        """Answer one request; what is not ended when this returns or raises is reset."""
        raise NotImplementedError

    def connection(self) -> Connection:
        """Make a connection whose requests `answer` answers."""
        return ReplyConnection(
            self.answer, self._connections, self._tasks, most_body_bytes=self.most_body_bytes
        )
