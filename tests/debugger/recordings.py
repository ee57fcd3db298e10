"""Recordings for tests, written line by line, so that times and ends are what a test says."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from unbroken.core.recording import (
    Contents,
    End,
    Line,
    Opening,
    Read,
    RequestSent,
    ResponseHead,
    Sent,
    bytes_fields,
    encode_line,
)

CHAT = "/v1/chat/completions"
CHUNKED = [("content-type", "text/event-stream"), ("x-request-id", "req_1")]
DONE = b"data: [DONE]\n\n"
PING = b": ping\n\n"


def delta(text: str, **more: Any) -> bytes:
    """A chat frame with text."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return frame({"id": "c1", "model": "m", "choices": [choice], **more})


def finish(reason: str = "stop", **more: Any) -> bytes:
    choice = {"index": 0, "delta": {}, "finish_reason": reason}
    return frame({"id": "c1", "model": "m", "choices": [choice], **more})


def frame(value: Any) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def whole(*texts: str) -> list[bytes]:
    return [*map(delta, texts), finish(), DONE]


def attempt(
    reads: Iterable[bytes | tuple[float, bytes]],
    *,
    stream: int = 1,
    number: int = 1,
    path: str = CHAT,
    method: str = "POST",
    body: bytes | None = b'{"stream": true}',
    status: int | None = 200,
    headers: Sequence[tuple[str, str]] = CHUNKED,
    framing: str = "chunked",
    how: str | None = "eof",
    at_s: float = 0.0,
    gap_s: float = 0.01,
) -> list[Line]:
    """One attempt; each read comes `gap_s` after the one before, or at its own time."""
    about: dict[str, Any] = {"stream": stream, "attempt": number}
    url = f"https://api.example.com{path}"
    lines: list[Line] = [RequestSent(at_s=at_s, method=method, url=url, **about)]
    if body is not None:
        lines.append(Sent(at_s=at_s, **bytes_fields(body), **about))
    now = at_s + gap_s
    if status is not None:
        head = ResponseHead(
            at_s=now, status=status, headers=list(headers), framing=framing, **about
        )
        lines.append(head)
    for read in reads:
        now, data = (now + gap_s, read) if isinstance(read, bytes) else (at_s + read[0], read[1])
        lines.append(Read(at_s=now, **bytes_fields(data), **about))
    if how is not None:
        lines.append(End(at_s=now + gap_s, how=how, **about))  # type: ignore[arg-type]
    return lines


def recording(
    path: Path, *attempts: Iterable[Line], contents: Contents = "kept", side: str = "proxy"
) -> Path:
    """Write a recording of these attempts."""
    lines: list[Line] = [Opening(version=1, side=side, contents=contents)]
    for lines_of_one in attempts:
        lines += lines_of_one
    path.write_bytes(b"".join(map(encode_line, lines)))
    return path
