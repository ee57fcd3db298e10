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


def inflater_for(encoding: str) -> Inflater | None:
    """Return an inflater for a ``Content-Encoding``, or None if it is not known here.

    gzip and deflate cover what providers and proxies send unasked.
    """
    match encoding.strip().lower():
        case "gzip" | "x-gzip":
            return _Zlib(16 + zlib.MAX_WBITS)
        case "deflate":
            return _Zlib(zlib.MAX_WBITS)
        case _:
            return None
