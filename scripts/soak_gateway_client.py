"""The client of `soak_gateway.py`: bare HTTP, the dialects' bare rules, and nothing of Unbroken's.

It takes what the vendors' SDKs take for an end: a clean end of the body is one, whatever was in
it. An error is a status from 400 on, an error in the stream, or a body that breaks off. Asked to,
it hangs up in mid-answer and reads on, by the stream's id or by the same request again.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp

__all__ = ["Answer", "Ask", "read"]

NDJSON = ("ollama",)
_BLOCK_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_ID = re.compile(rb"(?:^|[\r\n])id: (\d+-\d+)\n")
_TRANSIENT = {429, 500, 502, 503, 504, 529}
_MOST_LEAVES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One question.

    Attributes:
        url: Where to ask.
        gateway: The gateway's root, where streams are read on.
        dialect: What it speaks.
        say: ``tool`` for the arguments of a call, in place of text.
        body: What is sent.
        key: The caller's key.
        how: ``plain``; ``resume`` reads on by the stream's id; ``again`` by the same request.
        leaves: How likely it hangs up, each time that something comes.
        chance: Decides when.
    """

    url: str
    gateway: str
    dialect: str
    say: str
    body: dict[str, Any]
    key: str
    how: str
    leaves: float
    chance: random.Random


@dataclass(slots=True)
class Answer:
    """What was heard, and why it ended; ``error`` is "" after a clean end."""

    status: int = 0
    body: bytearray = field(default_factory=bytearray)
    error: str = ""
    left: int = 0
    text: str = ""
    finished: bool = False


class LeftError(Exception):
    """The client hung up, as it was to."""


async def read(session: aiohttp.ClientSession, ask: Ask) -> Answer:
    """Ask, and read to the end; errors are noted, not raised."""
    answer = Answer()
    stream = ""  # its id, once known
    retried = False
    while True:
        headers = {"authorization": f"Bearer {ask.key}"}
        if ask.how != "plain":
            headers["x-unbroken-resume"] = "1"
        if ask.how == "again":
            headers["idempotency-key"] = ask.key
        mark = _cut_to_mark(ask.dialect, answer.body)
        if mark:
            headers["last-event-id"] = mark
        by_id = ask.how == "resume" and stream
        way = session.get if by_id else session.post
        url = f"{ask.gateway}/streams/{stream}" if by_id else ask.url
        body = None if by_id else ask.body
        try:
            async with way(url, headers=headers, json=body) as response:
                answer.status = response.status
                if response.status >= 400:
                    told = (await response.read())[:300].decode("utf-8", "replace")
                    answer.error = f"status {response.status}: {told}"
                    again = response.headers.get("x-should-retry") != "false"
                    if response.status in _TRANSIENT and again and not retried and not answer.body:
                        retried, answer.error = True, ""
                        await asyncio.sleep(ask.chance.uniform(0.05, 0.3))
                        continue
                else:
                    stream = response.headers.get("x-unbroken-stream", stream)
                    if ask.how != "plain" and not response.headers.get("x-unbroken-resume"):
                        answer.error = "not kept: " + response.headers.get(
                            "x-unbroken-not-kept", "?"
                        )
                        break
                    await _take(response, ask, answer)
                break
        except LeftError:
            answer.left += 1
            await asyncio.sleep(ask.chance.uniform(0, 0.4))
        except (aiohttp.ClientError, ConnectionError) as error:
            answer.error = f"{type(error).__name__}: {error}"[:300]
            break
    _understand(ask, answer)
    return answer


async def _take(response: aiohttp.ClientResponse, ask: Ask, answer: Answer) -> None:
    async for data in response.content.iter_any():
        answer.body += data
        may = ask.how != "plain" and answer.left < _MOST_LEAVES
        if may and ask.chance.random() < ask.leaves:
            # In the middle of whatever came.
            del answer.body[len(answer.body) - ask.chance.randint(0, len(data)) :]
            response.close()
            raise LeftError


def _cut_to_mark(dialect: str, body: bytearray) -> str:
    """Drop what is not whole, and return the position behind the rest; "" for the beginning."""
    if dialect in NDJSON:
        del body[body.rfind(b"\n") + 1 :]
        # Heartbeats are spaces before an object, and no part of the log.
        counted = sum(len(line.lstrip(b" ")) for line in bytes(body).splitlines(keepends=True))
        return f"0-{counted}" if counted else ""
    ends = [found.end() for found in _BLOCK_END.finditer(body)]
    del body[ends[-1] if ends else 0 :]
    marks = _ID.findall(body)
    if not marks:
        body.clear()
        return ""
    last: bytes = marks[-1]
    return last.decode()


# ---------------------------------------------------------------- what it means


def _understand(ask: Ask, answer: Answer) -> None:
    pieces: list[str] = []
    try:
        for name, event in _events(ask.dialect, bytes(answer.body), whole=not answer.error):
            if not answer.error and _is_error(name, event):
                answer.error = f"error in the stream: {json.dumps(event)[:300]}"
            pieces += _said(ask.dialect, ask.say == "tool", event)
    except ValueError as error:
        answer.error = answer.error or f"{type(error).__name__}: {error}"[:200]
    answer.text = "".join(piece for piece in pieces if piece)


def _events(dialect: str, body: bytes, *, whole: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    text = body.decode("utf-8", "replace").removeprefix("\ufeff")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if dialect in NDJSON:
        lines = text.split("\n")
        for line in lines if whole else lines[:-1]:
            if line.strip():
                yield "", json.loads(line)
        return
    blocks = text.split("\n\n")
    for block in blocks if whole else blocks[:-1]:
        name, data = "", []
        for line in block.split("\n"):
            field_name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field_name == "data":
                data.append(value)
            elif field_name == "event":
                name = value
            elif field_name == "error":
                yield "error", {"error": value}
        said = "\n".join(data)
        if said and said != "[DONE]":
            event = json.loads(said)
            yield name, event if isinstance(event, dict) else {"odd": event}


def _is_error(name: str, event: dict[str, Any]) -> bool:
    kind = event.get("type")
    if name == "error" or event.get("error") or kind in ("error", "response.failed"):
        return True
    delta = event.get("delta")
    return event.get("object") == "error" or (isinstance(delta, dict) and bool(delta.get("error")))


def _said(dialect: str, tool: bool, event: dict[str, Any]) -> Iterator[str]:
    match dialect:
        case "openai-chat":
            for choice in (event.get("choices") or [])[:1]:
                delta = choice.get("delta") or {}
                if not tool:
                    yield delta.get("content") or ""
                for call in delta.get("tool_calls") or () if tool else ():
                    yield call["function"].get("arguments") or ""
        case "anthropic-messages":
            delta = event.get("delta") or {}
            if event.get("type") == "content_block_delta":
                yield delta.get("partial_json" if tool else "text") or ""
        case "openai-responses":
            call, text = "response.function_call_arguments.delta", "response.output_text.delta"
            if event.get("type") == (call if tool else text):
                yield event["delta"]
        case "gemini":
            for candidate in (event.get("candidates") or [])[:1]:
                for part in (candidate.get("content") or {}).get("parts") or ():
                    if tool and "functionCall" in part:
                        yield json.dumps(part["functionCall"].get("args"))
                    elif not tool and not part.get("thought"):
                        yield part.get("text") or ""
        case "ollama":
            message = event.get("message") or {}
            if not tool:
                yield message.get("content") or ""
            for call in message.get("tool_calls") or () if tool else ():
                yield json.dumps(call["function"]["arguments"])
        case "cohere":
            message = (event.get("delta") or {}).get("message") or {}
            if event.get("type") == "content-delta" and not tool:
                yield message["content"].get("text") or ""
            elif tool and event.get("type") in ("tool-call-start", "tool-call-delta"):
                yield message["tool_calls"]["function"].get("arguments") or ""
