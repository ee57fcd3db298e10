"""Bodies that come compressed although identity was asked for."""

from __future__ import annotations

import zlib
from typing import Protocol

__all__ = ["Inflater", "inflater_for"]


_MOST_BYTES = 256 * 1024
"""Largest piece: a few bytes of gzip can hold a thousand times as many."""


class Inflater(Protocol):
    """Decodes a body piece by piece. What it cannot read is a `zlib.error`."""

    def decode(self, data: bytes) -> bytes:
        """Return the first part of what the next bytes hold; `more` has the others."""
        ...

    def more(self) -> bytes:
        """Return the next part, or nothing if the next bytes are needed."""
        ...

    def flush(self) -> bytes:
        """Return what is left at the end; a body that was cut yields what can be had."""
        ...


class _Zlib:
    def __init__(self, bits: int) -> None:
        self._inner = zlib.decompressobj(bits)
        self._full = False

    def decode(self, data: bytes) -> bytes:
        out = self._inner.decompress(data, _MOST_BYTES)
        self._full = len(out) == _MOST_BYTES or bool(self._inner.unconsumed_tail)
        return out

    def more(self) -> bytes:
        return self.decode(self._inner.unconsumed_tail) if self._full else b""

    def flush(self) -> bytes:
        return self._inner.flush()


class _Deflate(_Zlib):
    """HTTP's deflate has zlib's header; some servers leave it out, and clients bear that."""

    def __init__(self) -> None:
        super().__init__(zlib.MAX_WBITS)
        self._head: bytes | None = b""  # until the header's two bytes have shown which it is

    def decode(self, data: bytes) -> bytes:
        if self._head is None:
            return super().decode(data)
        self._head += data
        try:
            out = super().decode(data)
        except zlib.error:
            self._inner = zlib.decompressobj(-zlib.MAX_WBITS)
            data, self._head = self._head, None
            return super().decode(data)
        if len(self._head) >= 2:
            self._head = None
        return out


def inflater_for(encoding: str) -> Inflater | None:
    """Return an inflater for a ``Content-Encoding``, or None if it is not known here.

    gzip and deflate cover what providers and proxies send unasked; any other is left to what
    the HTTP library can decode.
    """
    match encoding.strip().lower():
        case "gzip" | "x-gzip":
            return _Zlib(16 + zlib.MAX_WBITS)
        case "deflate":
            return _Deflate()
        case _:
            return None
