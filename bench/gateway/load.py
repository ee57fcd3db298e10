"""The load generator: bare sockets that send one prebuilt request and count what comes.

    python -m bench.gateway.load '{"load": "paced", "port": 8080, ...}'     # prints one JSON object

One process for each load on each gateway. It tells the upstream its plan, and reads the gateway's
CPU clock itself, so that what is counted is exactly what happened between two readings.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import urllib.request
from array import array
from typing import Any

import msgspec
import uvloop

from bench.gateway.processes import cpu_s, more_files, rss_bytes, tree

STAMP = 17  # characters after the @
FINAL = b"\r\n0\r\n\r\n"
WARM_STREAMS = 10
OPEN_WITHIN_S = 90.0
END_WITHIN_S = 10.0


class Job(msgspec.Struct, kw_only=True, frozen=True):
    """What to do, and to whom."""

    load: str
    port: int  # the gateway's
    upstream: int  # the upstream's port
    pid: int  # the gateway's; 0: nothing to measure
    path: str
    model: str
    headers: dict[str, str]
    streams: int
    seconds: float
    events: int = 200
    burst: int = 200
    gap_ms: int = 100
    open_per_s: float = 400.0
    request_bytes: int = 300


def request(job: Job) -> bytes:
    """Return the request that every stream sends."""
    body = {"model": job.model, "stream": True, "messages": [{"role": "user", "content": ""}]}
    body["messages"][0]["content"] = "x" * max(1, job.request_bytes - len(json.dumps(body)))
    raw = json.dumps(body).encode()
    head = {
        "host": f"127.0.0.1:{job.port}",
        "authorization": "Bearer bench-key",
        "content-type": "application/json",
        "accept": "text/event-stream",
        "content-length": str(len(raw)),
        **job.headers,
    }
    lines = [f"POST {job.path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
    return "\r\n".join([*lines, "", ""]).encode() + raw


class Counts:
    """What came, over all streams."""

    def __init__(self) -> None:
        self.events = 0
        self.first = 0  # streams whose first event is there
        self.ended = 0
        self.cut = 0
        self.refused: list[str] = []
        self.first_s = array("d")  # from the request sent to the first event
        self.delay_s = array("d")  # from an event written by the upstream to its arrival
        self.timing = False


class Stream(asyncio.Protocol):
    """A connection that asks, counts, and says when a stream is over."""

    def __init__(self, counts: Counts, ask: bytes) -> None:
        self._counts = counts
        self._ask = ask
        self.over: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.lost = False
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:  # uvloop's are no asyncio.Transport
        self._transport = transport

    def ask(self) -> None:
        self._head = b""
        self._in_head = True
        self._seen = False
        self._tail = b""
        self.over = asyncio.get_running_loop().create_future()
        self._asked_at = time.monotonic()
        self._transport.write(self._ask)

    def data_received(self, data: bytes) -> None:
        counts = self._counts
        now = time.monotonic()
        if self._in_head:
            self._head += data
            head, found, data = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            self._in_head = False
            self._head = b""
            if b" 200 " not in head[:20]:
                counts.refused.append((head[:80] + b" ... " + data[:300]).decode("latin-1"))
                self.close()
                return
        events = data.count(b"@")
        if events:
            counts.events += events
            if not self._seen:
                self._seen = True
                counts.first += 1
                counts.first_s.append(now - self._asked_at)
            if counts.timing:
                at = data.find(b"@")
                while at >= 0:
                    stamp = data[at + 1 : at + 1 + STAMP]
                    if len(stamp) == STAMP:  # a cut stamp is not timed; it is counted
                        counts.delay_s.append(now - float(stamp))
                    at = data.find(b"@", at + STAMP)
        self._tail = data[-7:] if len(data) >= 7 else (self._tail + data)[-7:]
        if self._tail == FINAL:
            counts.ended += 1
            if not self.over.done():
                self.over.set_result(True)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if not self.over.done():
            self._counts.cut += 1
            self.over.set_result(False)

    def close(self) -> None:
        if not self.over.done():
            self.over.set_result(False)
        if self._transport is not None:
            self._transport.close()


def control(job: Job, what: str) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{job.upstream}/_bench/{what}") as told:
        got: dict[str, float] = json.load(told)
        return got


async def connect(job: Job, counts: Counts, ask: bytes) -> Stream:
    loop = asyncio.get_running_loop()
    _, stream = await loop.create_connection(lambda: Stream(counts, ask), "127.0.0.1", job.port)
    return stream


async def full(job: Job, counts: Counts, ask: bytes) -> dict[str, Any]:
    """Waves of so many streams at once, each on a connection of its own, until time is up."""

    async def wave(streams: int) -> None:
        opened = await asyncio.gather(*(connect(job, counts, ask) for _ in range(streams)))
        for stream in opened:
            stream.ask()
        await asyncio.gather(*(stream.over for stream in opened))
        for stream in opened:
            stream.close()

    await wave(min(WARM_STREAMS, job.streams))
    counts.__init__()  # type: ignore[misc]
    pids = tree(job.pid) if job.pid else []
    own, before, began = time.process_time(), cpu_s(pids), time.monotonic()
    streams = 0
    while not streams or (time.monotonic() < began + job.seconds and not counts.refused):
        await wave(job.streams)
        streams += job.streams
    took_s = time.monotonic() - began
    return {
        "cpu_s": cpu_s(pids) - before,
        "own_cpu_s": time.process_time() - own,
        "took_s": took_s,
        "streams": streams,
        "events_due": streams * job.events,
    }


async def open_all(job: Job, counts: Counts, ask: bytes) -> list[Stream]:
    """Open the streams at a steady rate, and wait for the first event of each."""
    began = time.monotonic()
    streams = []
    for number in range(job.streams):
        wait_s = began + number / job.open_per_s - time.monotonic()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        stream = await connect(job, counts, ask)
        stream.ask()
        streams.append(stream)
    until = time.monotonic() + OPEN_WITHIN_S
    while counts.first + counts.cut + len(counts.refused) < job.streams:
        if time.monotonic() > until:
            break
        await asyncio.sleep(0.02)
    return streams


async def end_all(job: Job, streams: list[Stream]) -> None:
    await asyncio.to_thread(control, job, "end")
    await asyncio.wait([stream.over for stream in streams], timeout=END_WITHIN_S)
    for stream in streams:
        stream.close()


async def paced(job: Job, counts: Counts, ask: bytes) -> dict[str, Any]:
    """Open all, let them settle, and look for so many seconds."""
    pids = tree(job.pid) if job.pid else []
    opening = cpu_s(pids)
    streams = await open_all(job, counts, ask)
    opening = cpu_s(pids) - opening
    await asyncio.sleep(2.0)  # so that what was put off while opening is done
    upstream = await asyncio.to_thread(control, job, "stats")
    counts.timing = True
    own, before, began, events = time.process_time(), cpu_s(pids), time.monotonic(), counts.events
    await asyncio.sleep(job.seconds)
    cpu, took_s, seen = cpu_s(pids) - before, time.monotonic() - began, counts.events - events
    own = time.process_time() - own
    counts.timing = False
    upstream_after = await asyncio.to_thread(control, job, "stats")
    await end_all(job, streams)
    return {
        "cpu_s": cpu,
        "opening_cpu_s": opening,
        "own_cpu_s": own,
        "upstream_cpu_s": upstream_after["cpu_s"] - upstream["cpu_s"],
        "took_s": took_s,
        "streams": counts.first,
        "events_seen": seen,
        "events_due": round(counts.first * took_s * 1000 / job.gap_ms),
    }


async def idle(job: Job, counts: Counts, ask: bytes) -> dict[str, Any]:
    """Memory before and after that many streams opened that say nothing."""
    warm = await open_all(msgspec.structs.replace(job, streams=WARM_STREAMS), counts, request(job))
    await end_all(job, warm)
    await asyncio.sleep(1.0)
    counts.__init__()  # type: ignore[misc]
    control(job, "plan?kind=idle")
    pids = tree(job.pid) if job.pid else []
    before = rss_bytes(pids)
    streams = await open_all(job, counts, ask)
    await asyncio.sleep(2.0)
    after, cpu, began = rss_bytes(pids), cpu_s(pids), time.monotonic()
    await asyncio.sleep(2.0)
    cpu = (cpu_s(pids) - cpu) / (time.monotonic() - began)
    await end_all(job, streams)
    return {
        "rss_before_bytes": before,
        "rss_after_bytes": after,
        "streams": counts.first,
        "bytes_per_stream": (after - before) / max(counts.first, 1),
        "idle_cpu_share": cpu,
    }


def spread(values: array[float]) -> dict[str, float] | None:
    """Return median, 99th percentile and worst."""
    if not values:
        return None
    ordered = sorted(values)
    return {
        "p50": ordered[len(ordered) // 2],
        "p99": ordered[int(len(ordered) * 0.99)],
        "worst": ordered[-1],
    }


async def run(job: Job) -> dict[str, Any]:
    counts = Counts()
    plan = f"plan?kind={job.load}&events={job.events}&burst={job.burst}&gap_ms={job.gap_ms}"
    control(job, plan)
    figures = await {"full": full, "paced": paced, "idle": idle}[job.load](
        job, counts, request(job)
    )
    seen = figures.setdefault("events_seen", counts.events)
    if "cpu_s" in figures:
        figures["us_per_event"] = figures["cpu_s"] / max(seen, 1) * 1e6
        figures["cpu_share"] = figures["cpu_s"] / figures["took_s"]
        figures["streams_per_s"] = figures["streams"] / figures["took_s"]
    return {
        **figures,
        "asked": job.streams,
        "first_s": spread(counts.first_s),
        "delay_s": spread(counts.delay_s),
        "ended": counts.ended,
        "cut": counts.cut,
        "refused": len(counts.refused),
        "refusal": counts.refused[0] if counts.refused else "",
    }


def main() -> None:
    more_files()
    job = msgspec.json.decode(sys.argv[1].encode(), type=Job)
    print(json.dumps(uvloop.run(run(job))))


if __name__ == "__main__":
    main()
