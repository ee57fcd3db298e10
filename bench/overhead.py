"""What Unbroken costs on a healthy stream: the whole path, with and without an SDK, in one run.

    python -m bench.overhead [--events 20000] [--best-of 5] [--json]

The body is the OpenAI chat stream of `bench.decode`, given at 16 events and at one event a
read. CPU seconds of the process are counted, so time spent waiting does not matter; rows take
turns within a round, and each figure is the best of N rounds. Rows:

- *bare*: ``split`` and a typed msgspec parse, nothing else: the least that any reader does.
- *machine*: `Stream` with everything on: decode, dialect, checks, bookkeeping, delivery.
- *openai*, *AsyncOpenAI*: the SDK over a transport that hands out the reads, plain.
- *openai + unbroken*: the same, with our transport between.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx2
import openai

import unbroken
from bench.decode import bare_msgspec, make_body
from unbroken.core.actions import Deliver
from unbroken.core.dialects import by_name
from unbroken.core.options import Options
from unbroken.core.request import Request
from unbroken.core.stream import Stream

GOALS = (
    # (figure, reads, at most)
    ("machine / bare", 16, 3.0),
    ("share of openai", 16, 0.05),
    ("share of openai", 1, 0.10),
    ("share of AsyncOpenAI", 1, 0.10),
)
HEADERS = {"content-type": "text/event-stream"}
REQUEST = Request(
    method="POST",
    url="http://127.0.0.1/v1/chat/completions",
    body=b'{"model":"m","stream":true,"messages":[]}',
)


class _Sync(httpx2.SyncByteStream):
    def __init__(self, reads: list[bytes]) -> None:
        self._reads = reads

    def __iter__(self) -> Iterator[bytes]:
        yield from self._reads


class _Async(httpx2.AsyncByteStream):
    def __init__(self, reads: list[bytes]) -> None:
        self._reads = reads

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for data in self._reads:
            yield data


class _Network:
    """Stands for a connection whose socket is in reach, as a real one's is."""

    def get_extra_info(self, name: str) -> object:
        return self

    def shutdown(self, how: int) -> None:
        pass


EXTENSIONS = {"network_stream": _Network(), "http_version": b"HTTP/1.1"}


class _Canned(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    """Answers every request with the reads."""

    def __init__(self, reads: list[bytes]) -> None:
        self._reads = reads

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(
            200, headers=HEADERS, stream=_Sync(self._reads), extensions=EXTENSIONS
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(
            200, headers=HEADERS, stream=_Async(self._reads), extensions=EXTENSIONS
        )


def machine(reads: list[bytes]) -> int:
    """Drive the core alone, as the sync driver does."""
    stream = Stream(REQUEST, by_name("openai-chat"), options=Options(), now=0.0, sent=True)
    stream.connected(200, HEADERS, 0.0)
    size, clock = 0, time.monotonic
    start = clock()
    for data in reads:
        stream.resume(clock() - start)
        stream.receive(data, clock() - start)
        while isinstance(action := stream.next_action(), Deliver):
            size += len(action.data)
    stream.receive_eof(clock() - start)
    while (last := stream.next_action()) is not None:
        if isinstance(last, Deliver):
            size += len(last.data)
    assert stream.outcome.status == "complete", stream.outcome.status
    return size


def sdk(reads: list[bytes], *, ours: bool) -> int:
    """Iterate the openai SDK's stream."""
    canned = _Canned(reads)
    http = unbroken.http_client(transport=canned) if ours else httpx2.Client(transport=canned)
    with openai.OpenAI(api_key="none", base_url="http://127.0.0.1/v1", http_client=http) as client:
        stream = client.chat.completions.create(model="m", messages=[], stream=True)
        return sum(1 for _ in stream)


def async_sdk(reads: list[bytes], *, ours: bool) -> int:
    """Iterate the async openai SDK's stream on asyncio."""

    async def run() -> int:
        canned = _Canned(reads)
        http = (
            unbroken.async_http_client(transport=canned)
            if ours
            else httpx2.AsyncClient(transport=canned)
        )
        async with openai.AsyncOpenAI(
            api_key="none", base_url="http://127.0.0.1/v1", http_client=http
        ) as client:
            stream = await client.chat.completions.create(model="m", messages=[], stream=True)
            return len([None async for _ in stream])

    return asyncio.run(run())


ROWS: dict[str, Callable[[list[bytes]], int]] = {
    "bare": bare_msgspec,
    "machine": machine,
    "openai": lambda reads: sdk(reads, ours=False),
    "openai + unbroken": lambda reads: sdk(reads, ours=True),
    "AsyncOpenAI": lambda reads: async_sdk(reads, ours=False),
    "AsyncOpenAI + unbroken": lambda reads: async_sdk(reads, ours=True),
}


def measure(events: int, per_read: int, best_of: int) -> dict[str, float]:
    """Return CPU microseconds an event for each row."""
    frames = make_body(events).split(b"\n\n")
    whole = [frame + b"\n\n" for frame in frames if frame]
    reads = [b"".join(whole[at : at + per_read]) for at in range(0, len(whole), per_read)]
    best = dict.fromkeys(ROWS, float("inf"))
    for _ in range(best_of):
        for name, row in ROWS.items():
            start = time.process_time()
            row(reads)
            best[name] = min(best[name], time.process_time() - start)
    return {name: seconds / len(whole) * 1e6 for name, seconds in best.items()}


def figures(times: dict[str, float]) -> dict[str, float]:
    """Return the ratios that count."""
    return {
        "machine / bare": times["machine"] / times["bare"],
        "share of openai": times["openai + unbroken"] / times["openai"] - 1,
        "share of AsyncOpenAI": times["AsyncOpenAI + unbroken"] / times["AsyncOpenAI"] - 1,
        "machine, share of openai": times["machine"] / times["openai"],
    }


def main() -> int:
    """Run, print, and return 1 if a goal was missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--best-of", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    results: dict[str, Any] = {}
    for per_read in (16, 1):
        times = measure(given.events, per_read, given.best_of)
        results[str(per_read)] = {"us_per_event": times, **figures(times)}
    missed = [
        (name, per_read, most)
        for name, per_read, most in GOALS
        if results[str(per_read)][name] > most
    ]
    if given.json:
        print(json.dumps({"openai": openai.__version__, "results": results}))
        return 1 if missed else 0
    print(f"openai {openai.__version__}, httpx2 {httpx2.__version__}; CPU microseconds an event")
    for per_read, result in results.items():
        print(f"\n{per_read} events a read")
        for name, micros in result["us_per_event"].items():
            print(f"  {name:24} {micros:8.2f}")
        for name, value in result.items():
            if name != "us_per_event":
                print(f"  {name:24} {value:8.3f}")
    for name, per_read, most in missed:
        print(f"MISSED: {name} at {per_read} events a read: goal at most {most}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
