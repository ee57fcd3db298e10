"""The mock upstream: bare sockets, prebuilt bytes, one process for all who are measured.

    python -m bench.gateway.upstream     # prints its port, serves until it is killed

It speaks the wire of OpenAI's chat completions, each event an HTTP chunk of its own. Whatever is
asked, it answers by the plan that the load generator set before (`GET /_bench/plan?...`):

- *full*: the whole answer, as fast as the reader takes it.
- *paced*: the first event at once, then one each `gap_ms` until `GET /_bench/end`. The streams are
  spread evenly over the gap, a millisecond apart.
- *idle*: the first event, then nothing until `GET /_bench/end`.

Each event carries `@` and the time it was written (CLOCK_MONOTONIC, which all processes of a
machine share), 17 characters. There is no other `@`, so that events are counted by one `count`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import uvloop

HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
EVENT = (
    '{"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1790000000,"model":"bench",'
    '"system_fingerprint":"fp_bench","choices":[{"index":0,"delta":%s,"logprobs":null,'
    '"finish_reason":%s}]}'
)
TICK_S = 0.001


def chunk(payload: bytes) -> bytes:
    """Return one SSE event as one HTTP chunk."""
    data = b"data: " + payload + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


def _event(delta: str, finish: str = "null") -> bytes:
    return chunk((EVENT % (delta, finish)).encode())


# The stamp has a fixed width, so that only it changes between events.
_STAMPED = _event('{"content":" @%017.6f"}' % 0.0).split(b"0000000000.000000")  # noqa: UP031
_FIRST = _event('{"role":"assistant","content":" @%017.6f"}' % 0.0).split(  # noqa: UP031
    b"0000000000.000000"
)
END = _event("{}", '"stop"') + chunk(b"[DONE]") + b"0\r\n\r\n"


def stamped(parts: list[bytes], at: float) -> bytes:
    """Return an event that says when it was written."""
    return b"%s%017.6f%s" % (parts[0], at, parts[1])


class Plan:
    """What every request is answered with, and what became of it."""

    def __init__(self) -> None:
        self.kind = "full"
        self.gap_ms = 100
        self.full: list[bytes] = []
        self.opened = self.sent = self.ended = self.left = 0
        self.buckets: list[set[Connection]] = []
        self.next_bucket = 0
        self.open: set[Connection] = set()
        self.ticking: asyncio.TimerHandle | None = None
        self.set({})

    def set(self, asked: dict[str, str]) -> None:
        """Take a new plan; streams of the last one that are still open get their end."""
        self.end()
        self.kind = asked.get("kind", "full")
        self.gap_ms = int(asked.get("gap_ms", 100))
        events, burst = int(asked.get("events", 200)), int(asked.get("burst", 200))
        # Stamps that differ, as a real answer's text does, and mean nothing at full speed.
        all_of_them = [stamped(_FIRST, 0.0)]
        all_of_them += [stamped(_STAMPED, number) for number in range(1, events)]
        self.full = [
            b"".join(all_of_them[at : at + burst]) for at in range(0, len(all_of_them), burst)
        ]
        self.full[0] = HEAD + self.full[0]
        self.full[-1] += END
        self.events = events
        self.opened = self.sent = self.ended = self.left = 0
        self.buckets = [set() for _ in range(self.gap_ms)]
        self.next_bucket = 0

    def begin(self, connection: Connection) -> None:
        self.opened += 1
        if self.kind == "full":
            self.sent += self.events
            self.ended += 1
            connection.answer(self.full)
            return
        connection.write(HEAD + stamped(_FIRST, time.monotonic()))
        self.sent += 1
        self.open.add(connection)
        if self.kind == "paced":
            self.buckets[self.next_bucket].add(connection)
            self.next_bucket = (self.next_bucket + 1) % self.gap_ms
            if self.ticking is None:
                self.tick(asyncio.get_running_loop(), time.monotonic(), 0)

    def tick(self, loop: asyncio.AbstractEventLoop, began: float, number: int) -> None:
        """Send one event on each stream whose turn it is; late turns are made up for."""
        clock = time.monotonic
        while clock() >= began + number * TICK_S:
            for connection in self.buckets[number % self.gap_ms]:
                connection.write(stamped(_STAMPED, clock()))
                self.sent += 1
            number += 1
        wait_s = began + number * TICK_S - clock()
        self.ticking = loop.call_later(max(wait_s, 0.0), self.tick, loop, began, number)

    def forget(self, connection: Connection) -> None:
        if connection in self.open:
            self.left += 1
            self.open.discard(connection)
            for bucket in self.buckets:
                bucket.discard(connection)

    def end(self) -> None:
        """End every open stream as a provider does."""
        if self.ticking is not None:
            self.ticking.cancel()
            self.ticking = None
        for connection in self.open:
            connection.write(END)
            self.ended += 1
        self.open.clear()
        for bucket in self.buckets:
            bucket.clear()

    def stats(self) -> dict[str, float]:
        return {
            "opened": self.opened,
            "open": len(self.open),
            "events": self.sent,
            "ended": self.ended,
            "left": self.left,
            "cpu_s": time.process_time(),
        }


class Connection(asyncio.Protocol):
    """One connection of a gateway: requests one after another, bodies counted and thrown away."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._head = b""
        self._left = 0  # bytes of the request's body still to come; -1: chunked
        self._tail = b""
        self._pieces: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        self.write: Callable[[bytes], None] = transport.write

    def connection_lost(self, exc: Exception | None) -> None:
        self._plan.forget(self)

    def data_received(self, data: bytes) -> None:
        while data:
            if self._left > 0:
                taken = min(self._left, len(data))
                self._left -= taken
                data = data[taken:]
                if self._left == 0:
                    self._plan.begin(self)
            elif self._left < 0:
                self._tail = (self._tail + data)[-7:]
                data = b""
                if self._tail.endswith(b"0\r\n\r\n"):
                    self._left, self._tail = 0, b""
                    self._plan.begin(self)
            else:
                head, found, rest = (self._head + data).partition(b"\r\n\r\n")
                if not found:
                    self._head = head
                    return
                self._head, data = b"", rest
                self._request(head)

    def _request(self, head: bytes) -> None:
        lower = head.lower()
        method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        if method != "POST":
            self._control(target)
        elif b"transfer-encoding: chunked" in lower:
            self._left = -1
        else:
            self._left = int(lower.partition(b"\r\ncontent-length:")[2].split(b"\r\n")[0] or b"0")
        if b"\r\nexpect: 100-continue" in lower:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _control(self, target: str) -> None:
        url = urlsplit(target)
        said: dict[str, object] = {}
        if url.path == "/_bench/plan":
            self._plan.set({name: values[0] for name, values in parse_qs(url.query).items()})
        elif url.path == "/_bench/end":
            self._plan.end()
        elif url.path == "/_bench/stats":
            said = {**self._plan.stats()}
        body = json.dumps(said or {"object": "list", "data": []}).encode()
        self.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
            % (len(body), body)
        )

    def answer(self, pieces: list[bytes]) -> None:
        """Write the pieces, each in a turn of the loop of its own."""
        self.write(pieces[0])
        if len(pieces) > 1:
            asyncio.get_running_loop().call_soon(self.answer, pieces[1:])


async def serve() -> None:
    plan = Plan()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(plan), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    from bench.gateway.processes import more_files

    more_files()
    uvloop.run(serve())
