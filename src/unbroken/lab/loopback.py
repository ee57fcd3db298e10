"""A threaded HTTP server on 127.0.0.1 that can end its connections in each way TCP knows.

Both the fault proxy and the built-in model server stand on it. A subclass writes
`respond`, which runs in a thread of its own for each connection; the base class keeps
book of the open sockets, so that closing never hangs and leaves nothing open.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Self

__all__ = ["Exchange", "LoopbackServer"]

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close() sends RST
_BEFORE_RESET_S = 0.05
_DRAIN_S = 0.5


class Exchange(BaseHTTPRequestHandler):
    """One connection: reads requests, and has the owner answer each of them."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def answer(self) -> None:
        """Read the request's body, then let the owner respond."""
        try:
            self.server.owner.respond(self, self._read_body())
        except (ConnectionError, TimeoutError):
            self.close_connection = True  # the client left: its business, not ours
        except ValueError:  # a length that is no number; nothing after it can be read
            self.close_connection = True
        except OSError:
            if not self.server.owner.stopping:
                raise
            self.close_connection = True

    do_GET = do_POST = do_DELETE = do_PUT = do_OPTIONS = do_HEAD = do_PATCH = answer  # noqa: N815

    def _read_body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():  # trailers, up to the empty line
            pass
        return b"".join(pieces)

    @property
    def takes_chunked(self) -> bool:
        """Whether the client may be sent a chunked body (HTTP/1.1 or later)."""
        return self.request_version != "HTTP/1.0"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a test's output is not the place for access logs."""

    def end_by_fin(self) -> None:
        """Close the connection by FIN, whatever the body's framing still owed."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            # Unread input would turn our FIN into RST: take it in until the client leaves.
            deadline = time.monotonic() + _DRAIN_S
            while (left_s := deadline - time.monotonic()) > 0:
                self.connection.settimeout(left_s)
                if not self.connection.recv(65536):
                    break

    def end_by_reset(self) -> None:
        """Close the connection by RST."""
        self.close_connection = True
        # RST overtakes what the client has not read yet on some systems; a short wait
        # lets it read what was sent before the cut.
        self.server.owner.sleep(_BEFORE_RESET_S)
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            # close() alone would wait for the files that were made from the socket.
            socket.close(self.connection.detach())

    def client_left(self) -> bool:
        """Whether the client has closed its side."""
        try:
            seen: bytes = self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return not seen


class _Listener(socketserver.ThreadingMixIn, socketserver.TCPServer):
    # Not http.server's HTTPServer: it asks the resolver for its own name when it starts,
    # which takes seconds on a machine that is off the net.
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, owner: LoopbackServer, port: int) -> None:
        self.owner = owner
        self._lock = threading.Lock()
        self._open: set[Any] = set()
        super().__init__(("127.0.0.1", port), Exchange)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report what a connection's thread raised, unless the client just went away.

        A reset may also arrive while the next request line is awaited, where no code of
        ours is on the stack.
        """
        error = sys.exception()
        gone = isinstance(error, (ConnectionError, TimeoutError))
        if not gone and not (self.owner.stopping and isinstance(error, (OSError, ValueError))):
            super().handle_error(request, client_address)

    def cut_all(self) -> None:
        """Wake every thread that reads or writes, by ending its connection."""
        with self._lock:
            sockets = list(self._open)
        for connection in sockets:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def open_connections(self) -> int:
        """How many client connections are open."""
        with self._lock:
            return len(self._open)


class LoopbackServer:
    """Listen on 127.0.0.1 in background threads; use it as a context manager.

    Args:
        port: The port to listen on; 0 takes a free one.
    """

    def __init__(self, *, port: int = 0) -> None:
        self._stop = threading.Event()
        self._listener = _Listener(self, port)
        self.port: int = self._listener.server_address[1]
        self._start()

    def respond(self, exchange: Exchange, body: bytes) -> None:
        """Answer one request; called in the connection's thread."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        """The root, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """What an OpenAI SDK takes as its ``base_url``."""
        return f"{self.url}/v1"

    @property
    def stopping(self) -> bool:
        """Whether the server is closing, so that errors of sockets mean nothing."""
        return self._stop.is_set()

    @property
    def open_connections(self) -> int:
        """How many client connections are open now."""
        return self._listener.open_connections

    def sleep(self, seconds: float) -> bool:
        """Sleep, but not beyond the server's end; return False when it ended."""
        return not self._stop.wait(seconds)

    def close(self) -> None:
        """Stop listening and end all connections by FIN, in mid-answer where one runs.

        That is also how the kernel ends them for a process that is killed. Calling it
        twice is fine.
        """
        if self._stop.is_set():
            return
        self._stop.set()
        self._listener.shutdown()
        self._listener.server_close()
        self._listener.cut_all()
        self._thread.join()

    def kill(self) -> None:
        """The same as `close`, by the name that it has where the server is a process."""
        self.close()

    def restart(self) -> None:
        """Listen again on the same port; what is still open is cut first."""
        self.close()
        self._stop = threading.Event()
        self._listener = _Listener(self, self.port)
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _start(self) -> None:
        self._thread = threading.Thread(
            target=self._listener.serve_forever, args=(0.02,), name=type(self).__name__, daemon=True
        )
        self._thread.start()
