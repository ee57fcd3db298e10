"""The feed: once a second what changed, as server-sent events, to every reader of the page.

One task asks for the parts of the page (`Parts`), and writes one message for all readers. A new
reader gets everything first; one that does not keep up loses its queue and gets everything
again, so that a slow phone holds neither memory nor the others.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, Protocol

import msgspec

from unbroken.telemetry.page.headers import NEVER, SECURITY

__all__ = ["Feed", "Parts"]

_log = logging.getLogger("unbroken")

_Message = MutableMapping[str, Any]

_QUEUE = 8
# Nobody reads: then the charts of whoever comes next are coarser, and streams are left in peace.
_UNWATCHED_EVERY = 5
_HEARTBEAT: Final = b": hb\n\n"
_HEADERS: Final = [
    (name.lower().encode(), value.encode())
    for name, value in {
        **SECURITY,
        **NEVER,
        "Cache-Control": "no-store, no-transform",
        "Content-Type": "text/event-stream",
        "X-Accel-Buffering": "no",
    }.items()
]


class Parts(Protocol):
    """What the feed shows."""

    def sample(self, *, rows: bool = True) -> dict[str, object]:
        """Take a point for the charts, and return it; with `rows` read what `parts` shows."""

    def parts(self) -> dict[str, object]:
        """Return the parts of the page, each JSON-able. Called only while somebody reads."""

    def history(self) -> dict[str, object]:
        """Return the points so far, for a new reader."""


class Feed:
    """Sends the parts of a page to its readers.

    Args:
        parts: What to send.
        every_s: Seconds between two messages.
        max_readers: Readers at once; a further one gets 503.
        life_s: Seconds after which a reader is let go; a browser comes back by itself. Only a
            backstop for servers that wait for every connection and do not say so.
    """

    def __init__(
        self, parts: Parts, *, every_s: float = 1.0, max_readers: int = 32, life_s: float = 900.0
    ) -> None:
        self._parts = parts
        self._every_s = every_s
        self._max_readers = max_readers
        self._life_s = life_s
        self._readers: set[asyncio.Queue[bytes | None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._sent: dict[str, bytes] = {}
        self._complained = False

    @property
    def readers(self) -> int:
        """How many read now."""
        return len(self._readers)

    def start(self) -> None:
        """Begin to sample. Without it (an app that is mounted runs no lifespan) a request does."""
        self._closed = False
        self._begin()

    def _begin(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="unbroken-page")

    def close(self) -> None:
        """Let every reader go, and refuse further ones. To be called on the loop's thread."""
        self._closed = True
        for queue in self._readers:
            _replace(queue, None)
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def serve(
        self,
        receive: Callable[[], Awaitable[_Message]],
        send: Callable[[_Message], Awaitable[None]],
    ) -> None:
        """Answer one reader, as an ASGI application, until it leaves or the feed is closed."""
        if self._closed or len(self._readers) >= self._max_readers:
            await _refuse(send)
            return
        self._begin()
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(_QUEUE)
        self._readers.add(queue)
        loop = asyncio.get_running_loop()
        watcher = loop.create_task(_watch(receive, queue))
        until = loop.time() + self._life_s
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            await _write(send, b"retry: 2000\n\n" + self._everything())
            while (message := await _next(queue, until - loop.time())) is not None:
                await _write(send, message)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._readers.discard(queue)
            watcher.cancel()

    @staticmethod
    def _stopping() -> bool:
        """Whether the server we run in was told to stop.

        uvicorn waits for open answers before it tells the application anything (its lifespan
        ends last), so an endless answer has to find out itself. Its signal handler is a method
        of the server, which shows the wish.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            server = getattr(signal.getsignal(number), "__self__", None)
            if getattr(server, "should_exit", False) is True:
                return True
        return False

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        silent_s = 0.0
        ticks = 0
        while True:
            if self._stopping():
                self._task = None
                self.close()
                return
            watched = bool(self._readers)
            message = self._message() if watched or ticks % _UNWATCHED_EVERY == 0 else b""
            ticks += 1
            silent_s = 0.0 if message else silent_s + self._every_s
            if silent_s >= 15.0:
                message, silent_s = _HEARTBEAT, 0.0
            if message:
                self._tell(message)
            # From the clock and not by a fixed sleep, so that seconds stay seconds; a process
            # that was suspended does not make up for what it missed.
            due = max(due + self._every_s, loop.time() - self._every_s)
            await asyncio.sleep(max(0.05, due - loop.time()))

    def _message(self) -> bytes:
        """Sample, and write what changed since the last message; b"" where nobody reads."""
        try:
            point = self._parts.sample(rows=bool(self._readers))
            if not self._readers:
                return b""
            fields = {"point": msgspec.json.encode(point)}
            for name, part in self._parts.parts().items():
                encoded = msgspec.json.encode(part)
                if self._sent.get(name) != encoded:
                    fields[name] = self._sent[name] = encoded
            return _event(fields)
        except Exception:  # noqa: BLE001 - logged, and the page goes on
            # A figure that cannot be shown is no reason to show none from now on.
            if not self._complained:
                self._complained = True
                _log.exception("the live page could not read its figures; it goes on trying")
            return b""

    def _everything(self) -> bytes:
        if len(self._readers) <= 1:
            self._parts.sample()  # what was read last may be old, and is without rows
        fields = {"full": b"true", "history": msgspec.json.encode(self._parts.history())}
        for name, part in self._parts.parts().items():
            fields[name] = msgspec.json.encode(part)
            if len(self._readers) <= 1:
                self._sent[name] = fields[name]
            elif self._sent.get(name) != fields[name]:
                self._sent.pop(name, None)  # the others have not had it: it goes out with the next
        return _event(fields)

    def _tell(self, message: bytes) -> None:
        everything: bytes | None = None
        for queue in self._readers:
            if queue.full():
                everything = everything or self._everything()
                _replace(queue, everything)
            else:
                queue.put_nowait(message)


def _event(fields: dict[str, bytes]) -> bytes:
    body = b",".join(b'"%b":%b' % (name.encode(), value) for name, value in fields.items())
    return b"data: {" + body + b"}\n\n"


def _replace(queue: asyncio.Queue[bytes | None], item: bytes | None) -> None:
    while not queue.empty():
        queue.get_nowait()
    queue.put_nowait(item)


async def _next(queue: asyncio.Queue[bytes | None], timeout_s: float) -> bytes | None:
    try:
        return await asyncio.wait_for(queue.get(), max(0.0, timeout_s))
    except TimeoutError:
        return None


async def _watch(
    receive: Callable[[], Awaitable[_Message]], queue: asyncio.Queue[bytes | None]
) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    _replace(queue, None)


async def _write(send: Callable[[_Message], Awaitable[None]], body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _refuse(send: Callable[[_Message], Awaitable[None]]) -> None:
    headers = [*_HEADERS, (b"retry-after", b"5"), (b"content-length", b"0")]
    headers = [header for header in headers if header[0] != b"content-type"]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
