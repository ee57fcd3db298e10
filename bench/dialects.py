"""Each dialect read to its outcome, beside its vendor's SDK iterating the same body, in one run.

    python bench/dialects.py [--events 5000] [--best-of 5] [--json] [--only SUBSTRING]

Ours is everything that stands between bytes and a verdict: wire, dialect, checks and the answer
put together (`Attempt` and `Received`). The vendor's row is the loop that its users write, over a
transport that hands out the same reads of 4 KiB from memory; it makes the SDK's own objects. So
the ratio says how much of an SDK's time it is to have the stream checked as well. The rows take
turns within a round, and each figure is the best of N rounds: compare ratios, not events/s.
Bodies are encoded by our own dialects, text in pieces of about twelve characters.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from unbroken.core.attempt import Attempt
from unbroken.core.dialects import DIALECTS, by_name
from unbroken.core.dialects.base import Answer
from unbroken.core.received import Received

READ_BYTES = 4096
GOAL = 1.0  # at least as fast as the SDK alone, everywhere
Reads = list[bytes]


def body_of(dialect: str, events: int) -> Reads:
    """Return a healthy body with so many pieces of text, as reads."""
    words = ("a small part", " of the text", ", and so on", " – naïve 流 ", ".\n\nThen the ")
    answer = Answer(text=tuple(words[n % len(words)] for n in range(events)), usage=(9, events))
    body = b"".join(by_name(dialect).encode(answer))
    return [body[at : at + READ_BYTES] for at in range(0, len(body), READ_BYTES)]


def ours(dialect: str) -> Callable[[Reads], int]:
    """Return our row: the answer's characters."""

    def run(reads: Reads) -> int:
        attempt, received = Attempt(by_name(dialect)), Received(limit_bytes=1 << 40)
        for data in reads:
            passed = attempt.receive_texts(data)
            if passed is not None:
                received.add_texts(passed[1].texts, passed[1].choice)
                continue
            for step in attempt.receive(data):
                received.add(step.frame, step.events)
        attempt.close("eof")
        assert attempt.completeness.finished, attempt.faults
        return len(received.text)

    return run


# --- the vendors' own loops: each returns the characters of text it was given -----------------


def _client(library: Any, reads: Reads, content_type: str) -> Any:
    class Body(library.SyncByteStream):  # type: ignore[misc]
        def __iter__(self) -> Iterator[bytes]:
            return iter(reads)

    def answer(request: Any) -> Any:
        return library.Response(200, headers={"content-type": content_type}, stream=Body())

    return library.Client(transport=library.MockTransport(answer))


def _httpx2(reads: Reads, content_type: str = "text/event-stream") -> Any:
    import httpx2

    return _client(httpx2, reads, content_type)


def _httpx(reads: Reads, content_type: str = "text/event-stream") -> Any:
    import httpx

    return _client(httpx, reads, content_type)


def openai_chat(reads: Reads) -> int:
    import openai

    client = openai.OpenAI(api_key="k", base_url="http://t/v1", http_client=_httpx2(reads))
    stream = client.chat.completions.create(model="m", messages=[], stream=True)
    return sum(len(c.delta.content or "") for event in stream for c in event.choices)


def openai_completions(reads: Reads) -> int:
    import openai

    client = openai.OpenAI(api_key="k", base_url="http://t/v1", http_client=_httpx2(reads))
    stream = client.completions.create(model="m", prompt="p", stream=True)
    return sum(len(choice.text or "") for event in stream for choice in event.choices)


def openai_responses(reads: Reads) -> int:
    import openai

    client = openai.OpenAI(api_key="k", base_url="http://t/v1", http_client=_httpx2(reads))
    stream = client.responses.create(model="m", input="p", stream=True)
    return sum(len(e.delta) for e in stream if e.type == "response.output_text.delta")


def anthropic_messages(reads: Reads) -> int:
    import anthropic

    client = anthropic.Anthropic(api_key="k", base_url="http://t", http_client=_httpx2(reads))
    stream = client.messages.create(model="m", messages=[], max_tokens=9, stream=True)
    return sum(
        len(event.delta.text)
        for event in stream
        if event.type == "content_block_delta" and event.delta.type == "text_delta"
    )


def gemini(reads: Reads) -> int:
    from google import genai

    http = {"base_url": "http://t", "httpx_client": _httpx2(reads)}
    client = genai.Client(api_key="k", http_options=http)
    stream = client.models.generate_content_stream(model="m", contents="p")
    return sum(len(event.text or "") for event in stream)


def ollama(reads: Reads) -> int:
    import ollama as sdk

    client = sdk.Client(host="http://t")
    client._client = _httpx(reads, "application/x-ndjson")
    client._client.base_url = "http://t"
    return sum(len(part.message.content or "") for part in client.chat("m", [], stream=True))


def cohere(reads: Reads) -> int:
    import cohere as sdk

    client = sdk.ClientV2(api_key="k", base_url="http://t", httpx_client=_httpx(reads))
    return sum(
        len(event.delta.message.content.text or "")
        for event in client.chat_stream(model="m", messages=[])
        if event.type == "content-delta"
    )


def bedrock_converse(reads: Reads) -> int:
    from botocore.eventstream import EventStreamBuffer

    buffer, count = EventStreamBuffer(), 0
    for data in reads:
        buffer.add_data(data)
        for message in buffer:
            payload = json.loads(message.payload)
            count += len((payload.get("delta") or {}).get("text") or "")
    return count


def anthropic_bedrock(reads: Reads) -> int:
    import anthropic

    client = anthropic.AnthropicBedrock(
        aws_access_key="a", aws_secret_key="s", aws_region="us-east-1", base_url="http://t",
        http_client=_httpx2(reads, "application/vnd.amazon.eventstream"),
    )  # fmt: skip
    stream = client.messages.create(model="m", messages=[], max_tokens=9, stream=True)
    return sum(
        len(event.delta.text)
        for event in stream
        if event.type == "content_block_delta" and event.delta.type == "text_delta"
    )


VENDORS: dict[str, tuple[str, Callable[[Reads], int]]] = {
    "openai-chat": ("openai", openai_chat),
    "openai-responses": ("openai", openai_responses),
    "openai-completions": ("openai", openai_completions),
    "anthropic-messages": ("anthropic", anthropic_messages),
    "gemini": ("google-genai", gemini),
    "ollama": ("ollama", ollama),
    "cohere": ("cohere", cohere),
    "bedrock-converse": ("botocore + json", bedrock_converse),
    "bedrock-invoke": ("anthropic bedrock", anthropic_bedrock),
}


def best_of(rows: list[tuple[Callable[[Reads], int], Reads]], rounds: int) -> list[float]:
    """Return the least seconds of each row; they take turns within a round."""
    best = [float("inf")] * len(rows)
    for _ in range(rounds):
        for number, (run, reads) in enumerate(rows):
            began = time.perf_counter()
            run(reads)
            best[number] = min(best[number], time.perf_counter() - began)
    return best


def measure(dialect: str, events: int, rounds: int) -> dict[str, Any]:
    """Return the figures of one dialect; the vendor's are None where its SDK is not here."""
    reads = body_of(dialect, events)
    mine = ours(dialect)
    name, theirs = VENDORS.get(dialect, ("", None))
    row: dict[str, Any] = {"dialect": dialect, "vendor": name, "ratio": None}
    rows = [(mine, reads)]
    if theirs is not None:
        try:
            said = theirs(reads)
        except ImportError as error:
            row["missing"] = str(error)
        else:
            if said != mine(reads):
                sys.exit(f"{dialect}: {name} read {said} characters, we {mine(reads)}")
            rows.append((theirs, reads))
    seconds = best_of(rows, rounds)
    row["events_per_s"] = round(events / seconds[0])
    if len(seconds) > 1:
        row["vendor_events_per_s"] = round(events / seconds[1])
        row["ratio"] = round(seconds[1] / seconds[0], 1)
    return row


def main() -> int:
    """Print the table; return 1 if a ratio is below the goal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--events", type=int, default=5000)
    parser.add_argument("--best-of", type=int, default=5)
    parser.add_argument("--only", default="")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = []
    for name in DIALECTS:
        if asked.only in name:
            try:
                rows.append(measure(name, asked.events, asked.best_of))
            except NotImplementedError:
                continue  # it does not encode
    if asked.json:
        print(json.dumps(rows))
    else:
        print(f"{'dialect':22}{'events/s':>12}  {'vendor':20}{'events/s':>12}{'ratio':>8}")
        for row in rows:
            theirs = row.get("vendor_events_per_s")
            print(
                f"{row['dialect']:22}{row['events_per_s']:>12,}  "
                f"{row['vendor'] or '(no SDK)':20}{theirs or '-':>12}"
                f"{row['ratio'] or '-':>8}" + (f"  {row['missing']}" if "missing" in row else "")
            )
    return int(any(row["ratio"] is not None and row["ratio"] < GOAL for row in rows))


if __name__ == "__main__":
    sys.exit(main())
