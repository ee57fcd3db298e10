"""A server of bare sockets, which says what a script says, to the byte."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator

Script = Callable[[socket.socket], None]

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
CLOSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def length(size: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size


def read_request(connection: socket.socket) -> bytes:
    """Read one request, its body too."""
    received = b""
    while b"\r\n\r\n" not in received:
        data = connection.recv(65536)
        if not data:
            return received
        received += data
    head, _, body = received.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            while len(body) < int(line.partition(b":")[2]):
                body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class RawServer:
    """Runs `script` for each connection, once its request was read."""

    def __init__(
        self, script: Script, *, context: ssl.SSLContext | None = None, reads: bool = True
    ) -> None:
        self._script = script
        self._reads = reads
        self._context = context
        self.requests: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(20)
        with contextlib.suppress(OSError):
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            self.requests.append(read_request(connection) if self._reads else b"")
            with connection:
                self._script(connection)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@contextlib.contextmanager
def raw_server(
    script: Script, *, context: ssl.SSLContext | None = None, reads: bool = True
) -> Iterator[RawServer]:
    server = RawServer(script, context=context, reads=reads)
    try:
        yield server
    finally:
        server.close()


def sends(*pieces: bytes, then: Callable[[socket.socket], None] | None = None) -> Script:
    def script(connection: socket.socket) -> None:
        for piece in pieces:
            connection.sendall(piece)
        if then is not None:
            then(connection)

    return script


def left_by_peer(connection: socket.socket) -> bool:
    """Wait until the other side has closed."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
