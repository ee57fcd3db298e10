"""What a recording costs the stream that is recorded, a read.

    python bench/recording.py [--reads 200000] [--best-of 5] [--json]

One chat delta (about 200 bytes) a read, each delivered, to one tape. The flight recorder is always
on: its goal is 0.5 µs a read. The recorder writes to a file in a folder for temporary files, with
keys removed, and as asked with contents overwritten or hashed. Best of so many rounds. What masking
does in a second is shown for a request with one long string, an image, and for reads of SSE.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from unbroken.core.masking import LineMask
from unbroken.core.recording import Contents, Read, Sent
from unbroken.core.request import Request
from unbroken.telemetry.recording import FlightRecorder, Recorder, Tape

GOAL_US = 0.5
READ = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"m-1",'
    b'"choices":[{"index":0,"delta":{"content":" a few words"},"finish_reason":null}]}\n\n'
)
REQUEST = Request(
    method="POST", url="https://h/v1", headers=(("authorization", "Bearer abcdefgh"),)
)
IMAGE_BYTES = 4 << 20


def masked_mb_s(contents: Contents, *, image: bool) -> float:
    """Return how much a mask takes in a second: one long string, or SSE, 16 frames a read."""
    if image:
        body = (
            b'{"messages":[{"role":"user","content":"' + b"iVBORw0K" * (IMAGE_BYTES // 8) + b'"}]}'
        )
        lines: list[Sent | Read] = [Sent(at_s=0.0)]
    else:
        body, lines = READ * 16, [Read(at_s=0.0) for _ in range(200)]
    mask = LineMask(contents, salt=b"salt")
    began = time.perf_counter()
    for line in lines:
        mask.put(line, body)
    mask.finish()
    return len(body) * len(lines) / (time.perf_counter() - began) / 1e6


def read_us(tape: Tape, reads: int) -> float:
    """Return what one read costs, in microseconds; its delivery is told where it would be."""
    tape.request(REQUEST, 1, "first", "openai-chat", 0.0)
    read, delivered, all_told = tape.read, tape.delivered, not tape.only_late
    began = time.perf_counter()
    for at in range(reads):
        read(1, READ, at)
        if all_told:
            delivered(READ, at)
    return (time.perf_counter() - began) / reads * 1e6


def best(make: Callable[[], Tape], reads: int, rounds: int) -> float:
    """Return the best of so many rounds."""
    return min(read_us(make(), reads) for _ in range(rounds))


def main() -> int:
    """Measure, print, and return 1 where the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reads", type=int, default=200_000)
    parser.add_argument("--best-of", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    flight = FlightRecorder()
    rows = {"flight recorder": best(flight.stream, asked.reads, asked.best_of)}
    kinds: tuple[Contents, ...] = ("kept", "removed", "hashed")
    with tempfile.TemporaryDirectory() as folder:
        for kind in kinds:
            with Recorder(Path(folder) / f"{kind}.jsonl", contents=kind) as recorder:
                fewer = max(asked.reads // 50, 1)
                rows[f"recorder, {kind}"] = best(recorder.stream, fewer, min(asked.best_of, 3))
    speeds = {
        f"{name}, {kind}": max(masked_mb_s(kind, image=image) for _ in range(asked.best_of))
        for name, image in (("long string", True), ("SSE", False))
        for kind in kinds
    }
    if asked.json:
        told = {name: round(us, 3) for name, us in rows.items()}
        print(json.dumps(told | {f"{name}, MB/s": round(mb, 1) for name, mb in speeds.items()}))
    else:
        for name, us in rows.items():
            print(f"{name:20} {us:8.2f} µs a read")
        for name, mb in speeds.items():
            print(f"{name:20} {mb:8.1f} MB/s")
        print(f"goal: flight recorder under {GOAL_US} µs")
    return int(rows["flight recorder"] > GOAL_US)


if __name__ == "__main__":
    raise SystemExit(main())
