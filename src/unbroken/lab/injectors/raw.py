"""Writes an answer by hand: what no server library would send."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from http import HTTPStatus

from unbroken.lab.injectors.base import put
from unbroken.lab.parts import Head, Part, Piece, Stop

__all__ = ["END", "RawAnswer", "coded"]

END = b"0\r\n\r\n"


class RawAnswer:
    """The head and the chunked coding of one answer, as bytes.

    A helper of injectors of the stage ``framing``, which comes last: it sees the head when all
    others have changed it, and the pieces as they would go out.
    """

    def __init__(self) -> None:
        self._head = Head()

    def take(self, head: Head) -> Head:
        """Take the writing over from the server."""
        self._head = head
        head.framing = "raw"
        return head

    def opening(self) -> bytes:
        """Return status line and headers."""
        status = self._head.status or 200
        try:
            reason = HTTPStatus(status).phrase
        except ValueError:
            reason = "Unknown"
        headers = {**self._head.headers, "transfer-encoding": "chunked", "connection": "close"}
        headers.pop("content-length", None)
        lines = [f"HTTP/1.1 {status} {reason}", *(f"{n}: {v}" for n, v in headers.items()), "", ""]
        return "\r\n".join(lines).encode("latin-1", "replace")

    def written(self, part: Part) -> Iterable[Part]:
        """Return a part as it goes on the wire."""
        if isinstance(part, Piece):
            yield replace(part, data=coded(part.data))
        elif isinstance(part, Stop) and part.how == "clean":
            yield put(END, event=False)
            yield Stop("fin")
        else:
            yield part


def coded(data: bytes) -> bytes:
    """Return bytes in chunked coding; nothing for nothing, which would be the end."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
