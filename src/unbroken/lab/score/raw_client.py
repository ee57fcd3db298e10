"""The client that reads what a gateway gives out: HTTP and the dialect's bare rules, no retries.

It goes by what SDKs go by. An error is told by a status from 400 on, by an error in the stream,
or by a body that ends before its framing says so. A clean end of the body is taken for the
answer's end, with or without finish reason and last marker, as the SDKs take it: whether it was
one, the text tells. What is no event of the dialect, such as an HTML page with status 200, is
nothing to it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import h11

__all__ = ["DIALECTS", "Heard", "Reading", "ask"]

DIALECTS = ("openai-chat", "anthropic-messages")
"""What it speaks."""

_READ_BYTES = 65_536
_CONNECT_S = 10.0


@dataclass(slots=True)
class Heard:
    """What came of one request.

    Attributes:
        status: Of HTTP; 0 where none came.
        text: The answer's text, or a tool's arguments.
        error: Why it failed, as ``Class: message``; "" where it ended cleanly.
        finish: The finish reason; "" where none came.
        marker: Whether the last marker came.
        ids: What the answer is called in its frames.
        usage: As it was told last.
        frames: The data of each event.
        content_s: When content came, frame by frame, by a monotonic clock.
        reads: How many reads had content in them.
    """

    status: int = 0
    text: str = ""
    error: str = ""
    finish: str = ""
    marker: bool = False
    ids: set[str] = field(default_factory=set)
    usage: Any = None
    frames: list[str] = field(default_factory=list)
    content_s: list[float] = field(default_factory=list)
    reads: int = 0


async def ask(
    base_url: str,
    *,
    dialect: str,
    model: str,
    prompt: str,
    say: str = "text",
    key: str = "lab-key",
    into: Heard | None = None,
) -> Heard:
    """Ask for an answer and read it to its end; errors are noted, not raised.

    Args:
        base_url: The root; ``/v1`` at its end is fine.
        dialect: One of `DIALECTS`.
        model: The model's name.
        prompt: What to ask.
        say: ``tool`` offers a tool and reads its arguments.
        key: The key to send.
        into: Where to note what is heard, so that it is there if this is cancelled.
    """
    heard = Heard() if into is None else into
    url = urlsplit(base_url)
    host, tls = url.hostname or "127.0.0.1", url.scheme == "https"
    port = url.port or (443 if tls else 80)
    try:
        reader, writer = await asyncio.wait_for(
            asyncio.open_connection(host, port, ssl=tls or None), _CONNECT_S
        )
    except (OSError, TimeoutError) as error:
        heard.error = f"ConnectError: {error}"
        return heard
    try:
        connection = h11.Connection(h11.CLIENT)
        path, headers, body = _request(dialect, model, prompt, say, key)
        prefix = url.path.rstrip("/").removesuffix("/v1")
        head = h11.Request(
            method="POST",
            target=prefix + path,
            headers=[
                ("host", f"{host}:{port}"), ("content-length", str(len(body))),
                ("connection", "close"), *headers.items(),
            ],
        )  # fmt: skip
        for event in (head, h11.Data(data=body), h11.EndOfMessage()):
            writer.write(connection.send(event) or b"")
        await writer.drain()
        await _read(connection, reader, Reading(dialect, heard, say))
    except (OSError, h11.RemoteProtocolError) as error:
        heard.error = f"{type(error).__name__}: {error}"
    finally:
        writer.close()
    return heard


async def _read(connection: h11.Connection, reader: asyncio.StreamReader, reading: Reading) -> None:
    heard = reading.heard
    refused = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_READ_BYTES))
        elif isinstance(event, h11.Response):
            heard.status = event.status_code
        elif isinstance(event, h11.Data):
            if heard.status >= 400:
                refused += event.data
            else:
                reading.feed(bytes(event.data), time.monotonic())
        elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
            break
    reading.close()
    if heard.status >= 400:
        said = refused[:200].decode("utf-8", "replace")
        heard.error = f"HTTPStatusError: {heard.status} {' '.join(said.split())}"


def _request(
    dialect: str, model: str, prompt: str, say: str, key: str
) -> tuple[str, dict[str, str], bytes]:
    body: dict[str, Any] = {
        "model": model,
        "stream": True,
        "messages": [{"role": "user", "content": prompt}],
    }
    headers = {"content-type": "application/json", "accept": "text/event-stream"}
    schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    if dialect == "anthropic-messages":
        body["max_tokens"] = 100_000
        if say == "tool":
            body["tools"] = [{"name": "write", "description": "Write.", "input_schema": schema}]
        headers |= {"x-api-key": key, "anthropic-version": "2023-06-01"}
        path = "/v1/messages"
    else:
        body["stream_options"] = {"include_usage": True}
        if say == "tool":
            function = {"name": "write", "description": "Write.", "parameters": schema}
            body["tools"] = [{"type": "function", "function": function}]
        headers["authorization"] = f"Bearer {key}"
        path = "/v1/chat/completions"
    return path, headers, json.dumps(body).encode()


# ---------------------------------------------------------------- the bare rules of a dialect


class Reading:
    """Server-sent events in, what they say out; of one dialect."""

    def __init__(self, dialect: str, heard: Heard, say: str = "text") -> None:
        self.heard = heard
        self._anthropic = dialect == "anthropic-messages"
        self._tool = say == "tool"
        self._rest = b""

    def feed(self, data: bytes, now: float) -> None:
        """Take bytes as they come."""
        before = len(self.heard.content_s)
        self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                self._event(line[5:].decode("utf-8", "replace").strip(), now)
        self.heard.reads += len(self.heard.content_s) > before

    def close(self) -> None:
        """The body has ended; half a line is no event."""
        self._rest = b""

    def _event(self, data: str, now: float) -> None:
        heard = self.heard
        if heard.marker or heard.error:
            return  # nobody reads on behind the end, or behind an error
        heard.frames.append(data)
        if data == "[DONE]":
            heard.marker = True
            return
        try:
            event = json.loads(data)
        except ValueError:
            heard.error = "JSONDecodeError: an event is no JSON"
            return
        if not isinstance(event, dict):
            return
        if told := _error_in(event):
            heard.error = told
            return
        try:
            parts = self._anthropic_text(event) if self._anthropic else self._chat_text(event)
            said = "".join(parts)
        except (AttributeError, TypeError):
            heard.error = "ValidationError: an event is not as the dialect has it"
            return
        if said:
            heard.text += said
            heard.content_s.append(now)

    def _chat_text(self, event: Mapping[str, Any]) -> Iterator[str]:
        heard = self.heard
        _add_id(heard.ids, event)
        heard.usage = event.get("usage") or heard.usage
        for choice in event.get("choices") or ():
            heard.finish = choice.get("finish_reason") or heard.finish
            delta = choice.get("delta") or {}
            if not self._tool:
                yield delta.get("content") or ""
                continue
            for call in delta.get("tool_calls") or ():
                yield (call.get("function") or {}).get("arguments") or ""

    def _anthropic_text(self, event: Mapping[str, Any]) -> Iterator[str]:
        heard = self.heard
        match event.get("type"):
            case "message_start":
                message = event.get("message") or {}
                _add_id(heard.ids, message)
            case "content_block_delta":
                delta = event.get("delta") or {}
                yield delta.get("partial_json" if self._tool else "text") or ""
            case "message_delta":
                heard.finish = (event.get("delta") or {}).get("stop_reason") or heard.finish
                heard.usage = event.get("usage") or heard.usage
            case "message_stop":
                heard.marker = True


def _add_id(ids: set[str], named: Mapping[str, Any]) -> None:
    name = named.get("id")
    if isinstance(name, str):
        ids.add(name)


def _error_in(event: Mapping[str, Any]) -> str:
    """Return an error that is told in the stream, in any shape that SDKs know."""
    error = event.get("error")
    if event.get("type") == "error" or error:
        told = error if isinstance(error, dict) else event
        return f"APIError: {told.get('message') or 'an error without a message'}"[:300]
    return ""
