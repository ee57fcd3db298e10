"""Record one request for a test: the bytes of the body read by read, with their times.

Smaller than the real recorder on purpose: it shows what a recording is, and lets a test be slow to
read, or stop in the middle.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from unbroken.core.recording import (
    Connected,
    Delivered,
    End,
    Line,
    Opening,
    Read,
    RequestSent,
    ResponseHead,
    Sent,
    Wanted,
    bytes_fields,
    encode_line,
)

CHAT = "/v1/chat/completions"


def ask(model: str = "lab/ok", **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "hello"}]
    return {"model": model, "stream": True, "messages": messages, **more}


def capture(
    url: str,
    body: dict[str, Any],
    *,
    path: str = CHAT,
    headers: dict[str, str] | None = None,
    read_bytes: int = 65536,
    pause: Callable[[int], float] | None = None,
    leave_after: int | None = None,
    timeout_s: float = 30.0,
) -> list[Line]:
    """Ask, read, and return the lines of the recording.

    Args:
        url: Root of the server.
        body: Sent as JSON.
        path: Where it is sent to.
        headers: More of them.
        read_bytes: Largest read.
        pause: Given the number of a read, how many seconds the consumer takes after it.
        leave_after: Leave after so many reads.
        timeout_s: Of the socket.
    """
    began = time.monotonic()
    now = lambda: time.monotonic() - began  # noqa: E731
    parts = urlsplit(url)
    sent = json.dumps(body).encode()
    named = {"content-type": "application/json", **(headers or {})}
    lines: list[Line] = [
        Opening(version=1, made_by="test", started_at=time.time(), side="command"),
        RequestSent(at_s=now(), url=url + path, headers=list(named.items())),
    ]
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        try:
            connection.connect()
            lines.append(Connected(at_s=now(), address=f"{parts.hostname}:{parts.port}"))
            connection.request("POST", path, sent, named)
            lines.append(Sent(at_s=now(), **bytes_fields(sent)))
            response = connection.getresponse()
        except OSError as error:
            how = "silent" if isinstance(error, TimeoutError) else "unanswered"
            lines.append(End(at_s=now(), how=how, detail=str(error)))  # type: ignore[arg-type]
            return lines
        chunked = "chunked" in (response.getheader("transfer-encoding") or "")
        length = response.getheader("content-length") is not None
        lines.append(
            ResponseHead(
                at_s=now(),
                status=response.status,
                reason=response.reason,
                headers=response.getheaders(),
                framing="chunked" if chunked else "length" if length else "close",
            )
        )
        how, detail = "eof", ""
        number = 0
        while True:
            asked = now()
            try:
                data = response.read1(read_bytes)
            except http.client.IncompleteRead:
                how, detail = "incomplete", "the connection closed inside the body"
                break
            except TimeoutError:
                how, detail = "silent", f"no byte in {timeout_s:g} s"
                break
            except (OSError, ValueError) as error:
                how, detail = "reset", str(error) or type(error).__name__
                break
            if not data:
                break
            at = now()
            lines.append(Read(at_s=at, waited_s=at - asked, **bytes_fields(data)))
            lines.append(Delivered(at_s=now(), size=len(data)))
            number += 1
            if leave_after is not None and number >= leave_after:
                how = "left"
                break
            if pause is not None and (away := pause(number)):
                time.sleep(away)
            lines.append(Wanted(at_s=now()))
        lines.append(End(at_s=now(), how=how, detail=detail))  # type: ignore[arg-type]
    finally:
        connection.close()
    return lines


def written(lines: list[Line], path: Any) -> Any:
    path.write_bytes(b"".join(map(encode_line, lines)))
    return path
