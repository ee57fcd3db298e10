"""How fast bytes become frames, beside everyone else's decoders, in one run.

    python bench/decode.py [--events 50000] [--best-of 3] [--json] [--only SUBSTRING]

The body is an OpenAI chat stream (about 230 bytes a payload), given in reads of 1-16 KiB,
one event a read, and 16 bytes a read. Every row gets the same reads and must find the same
number of events. Each figure is the best of N rounds; the rows take turns within a round, and
quick ones repeat for 0.3 s in theirs, so that a busy machine slows all of them alike. Ratios
are what to compare: events/s alone depends on the machine.

The rivals get the cheapest legal input: httpx-sse's and httpx2's decoders are fed text that
an incremental UTF-8 decoder makes of the reads, as their own `iter_text` does; the row
"(public)" goes through a mock response. The two full `Stream`s run over an httpx2 response
whose body is the list of reads, and parse into the SDK's own models.
"""

from __future__ import annotations

import argparse
import codecs
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from unbroken.core.wire import SSEDecoder

GOALS = (
    # (ours, rival, reads, at least)
    ("unbroken decode + typed parse", "openai.Stream", "1-16 KiB", 60.0),
    ("unbroken decode + typed parse", "bare split + json.loads", "1-16 KiB", 3.0),
    ("unbroken decode", "httpx-sse", "1-16 KiB", 2.0),
    ("unbroken decode", "httpx-sse", "one event", 1.0),
    ("unbroken decode", "httpx-sse", "16 bytes", 1.0),
)


class Delta(msgspec.Struct, gc=False):
    """What a consumer reads of one delta."""

    content: str | None = None
    role: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None


class Choice(msgspec.Struct, gc=False):
    """One choice of one event."""

    index: int = 0
    delta: Delta | None = None
    finish_reason: str | None = None


class ChatEvent(msgspec.Struct, gc=False):
    """One event of the chat stream."""

    id: str = ""
    choices: list[Choice] = []
    model: str = ""


TURN_S = 0.3  # how long a row may repeat within one turn

PARSE = msgspec.json.Decoder(ChatEvent).decode
Reads = list[bytes]


def make_body(events: int, *, seed: int = 7) -> bytes:
    """Make a chat stream of `events` events before its ``[DONE]``."""
    rng = random.Random(seed)
    words = [" the", " token", " stream", ",", " naïve", " of", " answers", ".", "\n\n", " 流"]
    blocks = []
    for number in range(events):
        delta: dict[str, str] = {"content": rng.choice(words)}
        if number == 0:
            delta = {"role": "assistant", "content": ""}
        payload = {
            "id": "chatcmpl-Bz7xkQ2mVw9LrTn4Yp1sDf6HgJ3cA",
            "object": "chat.completion.chunk",
            "created": 1760000000,
            "model": "gpt-5-mini-2025-08-07",
            "system_fingerprint": "fp_44709d6fcb",
            "choices": [
                {
                    "index": 0,
                    "delta": delta,
                    "finish_reason": "stop" if number == events - 1 else None,
                }
            ],
        }
        text = json.dumps(payload, separators=(",", ":"), ensure_ascii=False)
        blocks.append(b"data: " + text.encode() + b"\n\n")
    return b"".join(blocks) + b"data: [DONE]\n\n"


def cut(body: bytes, how: str, *, seed: int = 11) -> Reads:
    """Cut the body into reads."""
    if how == "one event":
        return [block + b"\n\n" for block in body.split(b"\n\n")[:-1]]
    rng = random.Random(seed)
    reads, at = [], 0
    while at < len(body):
        size = 16 if how == "16 bytes" else rng.randint(1024, 16384)
        reads.append(body[at : at + size])
        at += size
    return reads


# --- rows: each takes the reads and returns how many events it found -------------------------


def unbroken_decode(reads: Reads) -> int:
    feed, count = SSEDecoder().feed, 0
    for data in reads:
        count += len(feed(data))
    return count


def unbroken_parse(reads: Reads) -> int:
    feed, count = SSEDecoder().feed, 0
    for data in reads:
        for frame in feed(data):
            if frame.payload != b"[DONE]":
                PARSE(frame.payload)
            count += 1
    return count


def httpx_sse_decoders(reads: Reads) -> int:
    from httpx_sse._decoders import SSEDecoder as EventDecoder
    from httpx_sse._decoders import SSELineDecoder

    lines, decode, count = SSELineDecoder().decode, EventDecoder().decode, 0
    text = codecs.getincrementaldecoder("utf-8")("replace").decode
    for data in reads:
        for line in lines(text(data)):
            if decode(line) is not None:
                count += 1
    return count


def httpx_sse_public(reads: Reads) -> int:
    import httpx
    import httpx_sse

    class Body(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            return iter(reads)

    headers = {"content-type": "text/event-stream; charset=utf-8"}
    response = httpx.Response(200, headers=headers, stream=Body())
    return sum(1 for _ in httpx_sse.EventSource(response).iter_sse())


def httpx2_sse(reads: Reads) -> int:
    from httpx2._sse import _SSEParser

    parser, count = _SSEParser(), 0
    text = codecs.getincrementaldecoder("utf-8")("replace").decode
    for data in reads:
        for _ in parser.decode(text(data)):
            count += 1
    return count


def openai_decoder(reads: Reads) -> int:
    from openai._streaming import SSEDecoder as Decoder

    return sum(1 for _ in Decoder().iter_bytes(iter(reads)))


def anthropic_decoder(reads: Reads) -> int:
    from anthropic._streaming import SSEDecoder as Decoder

    return sum(1 for _ in Decoder().iter_bytes(iter(reads)))


def _mock_client(reads: Reads) -> Any:
    import httpx2

    class Body(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            return iter(reads)

    def answer(request: Any) -> Any:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Body())

    return httpx2.Client(transport=httpx2.MockTransport(answer))


def openai_stream(reads: Reads) -> int:
    import openai

    client = openai.OpenAI(api_key="none", base_url="http://t/v1", http_client=_mock_client(reads))
    stream = client.chat.completions.create(model="m", messages=[], stream=True)
    return sum(1 for _ in stream) + 1  # it keeps [DONE] to itself


def anthropic_stream(reads: Reads) -> int:
    import anthropic

    http = _mock_client(reads)
    client = anthropic.Anthropic(api_key="none", base_url="http://t", http_client=http)
    stream = client.messages.create(model="m", messages=[], max_tokens=1, stream=True)
    return sum(1 for _ in stream)


def bare_json(reads: Reads) -> int:
    return _bare(reads, json.loads)


def bare_msgspec(reads: Reads) -> int:
    return _bare(reads, PARSE)


def _bare(reads: Reads, parse: Callable[[bytes], object]) -> int:
    """What people write by hand: right only for this very stream."""
    rest, count = b"", 0
    for data in reads:
        *blocks, rest = (rest + data).split(b"\n\n")
        for block in blocks:
            payload = block[6:]
            if payload != b"[DONE]":
                parse(payload)
            count += 1
    return count


Row = Callable[[Reads], int]
ROWS: dict[str, Row] = {
    "unbroken decode": unbroken_decode,
    "unbroken decode + typed parse": unbroken_parse,
    "httpx-sse": httpx_sse_decoders,
    "httpx-sse (public)": httpx_sse_public,
    "httpx2 SSE": httpx2_sse,
    "openai SSEDecoder": openai_decoder,
    "anthropic SSEDecoder": anthropic_decoder,
    "openai.Stream": openai_stream,
    "anthropic.Stream": anthropic_stream,
    "bare split + json.loads": bare_json,
    "bare split + msgspec": bare_msgspec,
}
READS = ("1-16 KiB", "one event", "16 bytes")


def as_anthropic(body: bytes) -> bytes:
    """The same number of events in the shape that `anthropic.Stream` parses."""
    blocks = []
    for block in body.split(b"\n\n")[:-2]:
        text = json.loads(block[6:])["choices"][0]["delta"]["content"]
        delta = {"type": "text_delta", "text": text}
        payload = {"type": "content_block_delta", "index": 0, "delta": delta}
        encoded = json.dumps(payload, ensure_ascii=False).encode()
        blocks.append(b"event: content_block_delta\ndata: " + encoded + b"\n\n")
    return b"".join(blocks) + b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


def best_time(row: Row, reads: Reads, expected: int, name: str) -> float:
    """Return the best time of one turn; a quick row repeats, so that it meets a quiet moment."""
    best, begin = float("inf"), time.perf_counter()
    while best == float("inf") or time.perf_counter() - begin < TURN_S:
        start = time.perf_counter()
        found = row(reads)
        best = min(best, time.perf_counter() - start)
        if found != expected:
            msg = f"{name}: found {found} events of {expected}"
            raise SystemExit(msg)
    return best


def measure(events: int, best_of: int, only: str | None) -> dict[str, dict[str, float]]:
    """Return events/s by reads and row."""
    body = make_body(events)
    other = as_anthropic(body)
    results: dict[str, dict[str, float]] = {}
    rows = {name: row for name, row in ROWS.items() if only is None or only in name}
    for how in READS:
        reads, other_reads = cut(body, how), cut(other, how)
        best: dict[str, float] = {}
        for _ in range(best_of):
            for name, row in rows.items():
                given = other_reads if name == "anthropic.Stream" else reads
                took = best_time(row, given, events + 1, f"{name}, {how} a read")
                best[name] = min(best.get(name, took), took)
        results[how] = {name: (events + 1) / took for name, took in best.items()}
    return results


def judge(results: dict[str, dict[str, float]]) -> list[dict[str, Any]]:
    """Return each goal with what was reached; goals whose rows did not run are left out."""
    goals = []
    for ours, rival, how, least in GOALS:
        rates = results[how]
        if ours in rates and rival in rates:
            ratio = rates[ours] / rates[rival]
            goals.append(
                {
                    "goal": f"{ours} / {rival}, {how} a read",
                    "at_least": least,
                    "ratio": round(ratio, 2),
                    "met": ratio >= least,
                }
            )
    return goals


def main() -> int:
    """Measure, print, and return 1 if a goal was missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=50_000, help="events in the stream")
    parser.add_argument("--best-of", type=int, default=3, help="rounds; the best one counts")
    parser.add_argument("--only", help="run only the rows whose name holds this")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    if args.events < 2 or args.best_of < 1:
        parser.error("--events must be at least 2 and --best-of at least 1")
    results = measure(args.events, args.best_of, args.only)
    goals = judge(results)
    if args.json:
        rates = {how: {name: round(r) for name, r in rows.items()} for how, rows in results.items()}
        print(json.dumps({"events": args.events, "events_per_s": rates, "goals": goals}))
    else:
        for how, rows in results.items():
            print(
                f"\n{args.events} events, {how} a read{'events/s':>28}{'us/event':>10}{'ratio':>9}"
            )
            first = next(iter(rows.values()), 1.0)
            for name, rate in rows.items():
                print(f"  {name:42}{rate:13,.0f}{1e6 / rate:10.2f}{first / rate:9.2f}")
        print("\n(ratio: how many times as fast the first row is)")
        for goal in goals:
            met = "met   " if goal["met"] else "MISSED"
            print(f"{met} {goal['ratio']:7.2f} x (goal {goal['at_least']:g}) {goal['goal']}")
    return 0 if all(goal["met"] for goal in goals) else 1


if __name__ == "__main__":
    sys.exit(main())
