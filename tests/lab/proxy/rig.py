"""What the proxy's tests share: raw requests, and waiting for what comes soon."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from unbroken.lab.proxy.app import FaultProxy
from unbroken.lab.proxy.log import Entry


def until(condition: Callable[[], bool], *, within_s: float = 5.0) -> bool:
    deadline = time.monotonic() + within_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


def entries(proxy: FaultProxy, count: int = 1) -> list[Entry]:
    """Return the log once so many requests have ended: that is after their last byte."""
    done = [e for e in proxy.log.entries() if e.went != "open"]
    until(lambda: sum(e.went != "open" for e in proxy.log.entries()) >= count)
    done = [e for e in proxy.log.entries() if e.went != "open"]
    assert len(done) == count, proxy.log.entries()
    return done


@dataclass(frozen=True)
class Seen:
    """What a client of bare sockets saw."""

    head: bytes
    wire: bytes
    ending: str

    @property
    def status(self) -> int:
        return int(self.head.split(b" ", 2)[1])

    def header(self, name: str) -> list[str]:
        lines = [line.partition(b":") for line in self.head.split(b"\r\n")[1:]]
        return [v.strip().decode() for n, _, v in lines if n.lower() == name.encode()]

    @property
    def body(self) -> bytes:
        return self.unchunked[0]

    @property
    def closed(self) -> bool:
        """Whether a chunked body had its proper end."""
        return self.unchunked[1]

    @property
    def unchunked(self) -> tuple[bytes, bool]:
        if "chunked" not in self.header("transfer-encoding"):
            return self.wire, True
        body, wire = b"", self.wire
        while wire:
            size_text, _, wire = wire.partition(b"\r\n")
            size = int(size_text, 16)
            if size == 0:
                return body, wire == b"\r\n"
            body, wire = body + wire[:size], wire[size + 2 :]
        return body, False


def request_bytes(
    path: str = "/v1/chat/completions",
    *,
    body: Any = None,
    headers: dict[str, str] | None = None,
    method: str = "POST",
    version: str = "1.1",
) -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body or {"stream": True}).encode()
    lines = [f"{method} {path} HTTP/{version}", "Host: localhost", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if method != "GET":
        lines.append(f"Content-Length: {len(raw)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + (raw if method != "GET" else b"")


def ask(port: int, path: str = "/v1/chat/completions", **more: Any) -> Seen:
    """Ask by a bare socket, and read to the end."""
    received, ending = b"", "fin"
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request_bytes(path, **more))
        try:
            while data := connection.recv(65536):
                received += data
        except ConnectionResetError:
            ending = "rst"
    head, _, wire = received.partition(b"\r\n\r\n")
    return Seen(head, wire, ending)


def frame(word: str, finish: str | None = None) -> bytes:
    """One delta of chat, as providers send it."""
    choice = {"index": 0, "delta": {"content": word} if word else {}, "finish_reason": finish}
    value = {"id": "c", "object": "chat.completion.chunk", "choices": [choice]}
    return f"data: {json.dumps(value)}\n\n".encode()


FRAMES = [*(frame(f"w{n} ") for n in range(20)), frame("", "stop"), b"data: [DONE]\n\n"]
BODY = b"".join(FRAMES)
