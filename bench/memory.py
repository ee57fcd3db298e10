"""What a stream holds in memory, with 1,000 of them open at once, whatever the upstream sends.

    python -m bench.memory [--streams 1000] [--json]

Each row feeds every stream the same bytes, in turns, and then counts what is allocated
(tracemalloc), divided by the number of streams. The bound is what the options allow: the
answer remembered for recovery (`max_replay_bytes`), a tool call held back (`max_held_bytes`)
and one unfinished frame (`max_frame_bytes`), each at most twice over for Python's strings and
growing buffers, and a fixed part for the machine itself.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tracemalloc
from collections.abc import Callable, Iterator

from unbroken.core.actions import Deliver
from unbroken.core.dialects import by_name
from unbroken.core.options import Options
from unbroken.core.request import Request
from unbroken.core.stream import Stream

KIB = 1024
FIXED_BYTES = 24 * KIB
OPTIONS = Options(max_replay_bytes=64 * KIB, max_held_bytes=64 * KIB, max_frame_bytes=64 * KIB)
BOUND_BYTES = FIXED_BYTES + 2 * (64 + 64 + 64) * KIB
REQUEST = Request(
    method="POST",
    url="http://127.0.0.1/v1/chat/completions",
    body=b'{"model":"m","stream":true,"messages":[]}',
)
Feed = Callable[[], Iterator[bytes]]


def frame(delta: dict[str, object]) -> bytes:
    """Return one frame of the chat dialect."""
    payload = {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def idle() -> Iterator[bytes]:
    """An open stream of which nothing but the role has come."""
    yield frame({"role": "assistant", "content": ""})


def answer() -> Iterator[bytes]:
    """An answer of 500 tokens, not yet finished."""
    yield from idle()
    for number in range(500):
        yield frame({"content": f" token{number}"})


def endless_text() -> Iterator[bytes]:
    """Far more text than may be remembered."""
    yield from idle()
    for _ in range(60):
        yield frame({"content": "x" * 8000})


def endless_line() -> Iterator[bytes]:
    """One event that never ends."""
    yield from idle()
    yield b'data: {"choices": [{"delta": {"content": "'
    for _ in range(60):
        yield b"x" * 8000


def endless_call() -> Iterator[bytes]:
    """Tool arguments that never end."""
    yield from idle()
    call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"a": "'}}
    yield frame({"tool_calls": [call]})
    for _ in range(60):
        yield frame({"tool_calls": [{"index": 0, "function": {"arguments": "x" * 8000}}]})


def endless_comments() -> Iterator[bytes]:
    """Pings before any content, which lifecycle frames wait for."""
    yield from idle()
    for _ in range(4000):
        yield b": keep-alive, keep-alive, keep-alive, keep-alive, keep-alive, keep-alive\n\n"


ROWS: dict[str, Feed] = {
    "idle": idle,
    "answer of 500 tokens": answer,
    "endless text": endless_text,
    "endless line": endless_line,
    "endless tool call": endless_call,
    "endless comments": endless_comments,
}


def bytes_per_stream(feed: Feed, streams: int) -> float:
    """Return what is allocated for each of many streams that were fed alike."""
    gc.collect()
    tracemalloc.start()
    opened = []
    for _ in range(streams):
        stream = Stream(REQUEST, by_name("openai-chat"), options=OPTIONS, now=0.0, sent=True)
        stream.connected(200, {}, 0.0)
        opened.append(stream)
    for data in feed():
        for stream in opened:
            stream.receive(data, 0.0)
            while isinstance(stream.next_action(), Deliver):
                pass
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size / streams


def main() -> int:
    """Run, print, and return 1 if a row is over its bound."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    results = {name: bytes_per_stream(feed, given.streams) for name, feed in ROWS.items()}
    over = [name for name, size in results.items() if size > BOUND_BYTES]
    if given.json:
        print(json.dumps({"streams": given.streams, "bound": BOUND_BYTES, "bytes": results}))
    else:
        print(f"{given.streams} streams; bound {BOUND_BYTES / KIB:.0f} KiB each by the options")
        for name, size in results.items():
            print(f"  {name:24} {size / KIB:8.1f} KiB a stream")
        for name in over:
            print(f"OVER: {name}")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
