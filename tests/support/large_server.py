"""A server of long answers, written on the fly, in a process of its own.

    with running() as url:
        ...  # POST url + "/v1/chat/completions", the size named by the model

The model's name says what comes: ``frames=1000,size=1024`` is so many text frames of so many
characters each. With ``cut=500`` the first request of that name is reset behind so many
frames; all later ones are whole. The text is a function of the frame's number (`text_at`), so
nobody has to keep it.

    python -m tests.support.large_server     # prints its URL; ends with standard input
"""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

__all__ = ["checksum", "running", "text_at"]

_ROOT = Path(__file__).parent.parent.parent
_WRITE_BYTES = 64 * 1024
_BEFORE_RESET_S = 0.2
_BEGIN = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":'
    b'[{"index":0,"delta":{"content":"'
)
_END = b'"},"finish_reason":null}]}\n\n'
_ROLE = _BEGIN + b'","role":"assistant' + _END
_STOP = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":'
    b'[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)
_FILLER = " the waves came in and the waves went out, and the keeper counted them all night"


def text_at(number: int, size: int) -> str:
    """The text of one frame."""
    begun = f"{number:010d}"
    return (begun + _FILLER * (size // len(_FILLER) + 1))[:size]


def checksum(frames: int, size: int) -> int:
    """The CRC-32 of the whole answer's text."""
    found = 0
    for number in range(frames):
        found = zlib.crc32(text_at(number, size).encode(), found)
    return found


class _Handler(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        while line := self.rfile.readline():
            headers: dict[str, str] = {}
            while header := self.rfile.readline().strip():
                name, _, value = header.decode("latin-1").partition(":")
                headers[name.lower()] = value.strip()
            body = self.rfile.read(int(headers.get("content-length", 0)))
            assert line.startswith(b"POST ")
            model = json.loads(body)["model"]
            spec = {k: int(v) for k, v in (part.split("=") for part in model.split(","))}
            with contextlib.suppress(OSError):
                if not self._answer(spec["frames"], spec["size"], self._cut(model, spec)):
                    return

    def _cut(self, model: str, spec: dict[str, int]) -> int | None:
        with self.server.lock:
            first = model not in self.server.seen
            self.server.seen.add(model)
        return spec.get("cut") if first else None

    def _answer(self, frames: int, size: int, cut: int | None) -> bool:
        self.wfile.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        filled = text_at(0, size)[10:].encode()
        each = max(1, _WRITE_BYTES // (len(_BEGIN) + size + len(_END)))
        self._send(_ROLE)
        last = frames if cut is None else cut
        for start in range(0, last, each):
            block = range(start, min(start + each, last))
            self._send(b"".join([_BEGIN + b"%010d" % n + filled + _END for n in block]))
        if cut is not None:
            time.sleep(_BEFORE_RESET_S)  # a reset overtakes what is in flight
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
            return False
        self._send(_STOP)
        self.wfile.write(b"0\r\n\r\n")
        return True

    def _send(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: set[str] = set()
        self.lock = threading.Lock()

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that went away


@contextlib.contextmanager
def running() -> Iterator[str]:
    """Run the server; give its URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.large_server"],
        cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def _main() -> None:
    with _Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    _main()
