"""A body that came compressed although nobody asked for it, made readable for faults."""

from __future__ import annotations

import zlib

__all__ = ["DAMAGED", "Decoding"]

DAMAGED = "the compressed body ends in its middle, or is damaged"
_GZIP = b"\x1f\x8b"
_CODINGS = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}


class Decoding:
    """Decodes one body of gzip (one member or several) or deflate.

    Attributes:
        is_coded: Whether the body is what its header says; None before its first two bytes.
            What is not, such as plain text or deflate without its frame, passes as it is.
    """

    def __init__(self, wbits: int) -> None:
        self._wbits = wbits
        self._one = zlib.decompressobj(wbits=wbits)
        self._held = b""  # too little to tell what it is
        self._over = False  # what is left is no member
        self.is_coded: bool | None = None

    @classmethod
    def of(cls, coding: str | None) -> Decoding | None:
        """Return what decodes a Content-Encoding; None where it passes as it is."""
        wbits = _CODINGS.get((coding or "").strip().lower())
        return None if wbits is None else cls(wbits)

    def feed(self, data: bytes) -> bytes:
        """Return what can be read by now.

        Raises:
            zlib.error: If the body is damaged.
        """
        data, self._held = self._held + data, b""
        if self.is_coded is None:
            if len(data) < len(_GZIP):
                self._held = data
                return b""
            self.is_coded = self._begins(data)
        if not self.is_coded:
            return data
        said = b""
        while data and not self._over:
            if self._one.eof:
                if len(data) < len(_GZIP):
                    self._held = data
                    break
                if self._wbits == zlib.MAX_WBITS or not data.startswith(_GZIP):
                    self._over = True  # padding, which gzip allows
                    break
                self._one = zlib.decompressobj(wbits=self._wbits)
            said += self._one.decompress(data)
            data = self._one.unused_data
        return said

    def rest(self) -> bytes:
        """Return what was too little to tell at the body's end; it passes as it is."""
        if self.is_coded:
            return b""
        data, self._held = self._held, b""
        return data

    @property
    def is_whole(self) -> bool:
        """Whether the body may end here."""
        return not self.is_coded or self._one.eof

    def _begins(self, data: bytes) -> bool:
        if self._wbits != zlib.MAX_WBITS:
            return data.startswith(_GZIP)
        return data[0] & 0x0F == 8 and int.from_bytes(data[:2]) % 31 == 0  # RFC 1950
