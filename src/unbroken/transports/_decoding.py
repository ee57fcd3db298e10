"""Bodies that come compressed although identity was asked for."""

from __future__ import annotations

import zlib
from typing import Protocol

__all__ = ["Inflater", "inflater_for"]


class Inflater(Protocol):
    """Decodes a body piece by piece."""

    def decode(self, data: bytes) -> bytes:
        """Return what the next bytes hold."""

    def flush(self) -> bytes:
        """Return what is left at the end; a body that was cut yields what can be had."""


class _Zlib:
    def __init__(self, bits: int) -> None:
        self._inner = zlib.decompressobj(bits)

    def decode(self, data: bytes) -> bytes:
        try:
            return self._inner.decompress(data)
        except zlib.error as error:
            msg = f"the body's compression is broken ({error})"
            raise ValueError(msg) from None

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
            out = self._inner.decompress(data)
        except zlib.error:
            self._inner = zlib.decompressobj(-zlib.MAX_WBITS)
            data, self._head = self._head, None
            return super().decode(data)
        if len(self._head) >= 2:
            self._head = None
        return out


def inflater_for(encoding: str) -> Inflater | None:
    """Return an inflater for a ``Content-Encoding``, or None if it is not known here.

    gzip and deflate cover what providers and proxies send unasked.
    """
    match encoding.strip().lower():
        case "gzip" | "x-gzip":
            return _Zlib(16 + zlib.MAX_WBITS)
        case "deflate":
            return _Deflate()
        case _:
            return None
