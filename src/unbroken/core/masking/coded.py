"""A compressed body: kept as it came, unless a key is in it.

Nothing in it can be overwritten. So it is decoded beside, and looked through: a read is let go when
all that it says was found to be no key. With the first key that is found, from that read on only
sizes are kept. What no decoder reads on is looked through as it is.
"""

from __future__ import annotations

import zlib
from collections import deque
from typing import Protocol

__all__ = ["CODINGS", "CodedBody", "Masks"]

CODINGS = ("gzip", "x-gzip", "deflate")
"""Those that can be looked into."""

_PIECE_BYTES = 256 * 1024
_MOST_PLAIN_BYTES = 256 * 1024 * 1024


class Masks(Protocol):
    """What looks through a body's bytes: returns as many, in the end, keys overwritten."""

    def feed(self, data: bytes) -> bytes:
        """Return what is decided after more bytes came."""

    def end(self) -> bytes:
        """Return what was held back."""


class CodedBody:
    """One compressed body on its way through the masks.

    Args:
        coding: Its ``Content-Encoding``, one of `CODINGS`.
        masks: Look through what is in it.
        raw: Look through the bytes themselves, where they cannot be decoded.

    Attributes:
        ready: Bytes that are decided.
        hidden: A key is in it: only sizes are kept from here on.
    """

    def __init__(self, coding: str, masks: Masks, raw: Masks) -> None:
        self._masks = masks
        self._raw = raw
        self._deflate = coding == "deflate"
        self._inner = zlib.decompressobj(zlib.MAX_WBITS if self._deflate else 16 + zlib.MAX_WBITS)
        self._first = True
        self._broken = False
        self._plain = bytearray()  # decoded, and not looked through yet
        self._decoded = self._looked = 0
        self._waiting: deque[tuple[bytes, int]] = deque()
        self.ready = bytearray()
        self.hidden = False

    def feed(self, data: bytes) -> None:
        """Take in what a line holds."""
        if self.hidden:
            return
        if self._broken:
            self.ready += self._raw.feed(data)
            return
        try:
            self._decode(data)
        except zlib.error:
            self._give_up(data)
            return
        self._waiting.append((data, self._decoded))
        self._let_go()

    def end(self) -> None:
        """Decide all that is held back."""
        if self._broken:
            self.ready += self._raw.end()
            return
        if not self.hidden:
            self._look(self._masks.end())
            self._let_go(last=True)

    def _decode(self, data: bytes) -> None:
        while data and not self.hidden:
            try:
                found = self._inner.decompress(data, _PIECE_BYTES)
            except zlib.error:
                if not (self._first and self._deflate):
                    raise
                self._inner = zlib.decompressobj(-zlib.MAX_WBITS)  # without zlib's header
                found = self._inner.decompress(data, _PIECE_BYTES)
            self._first = False
            self._plain += found
            self._decoded += len(found)
            self.hidden = self._decoded > _MOST_PLAIN_BYTES
            self._look(self._masks.feed(found))
            data = self._inner.unconsumed_tail
            if self._inner.eof:
                data = self._inner.unused_data
                if data and self._deflate:
                    msg = "more behind the end"
                    raise zlib.error(msg)
                self._inner = zlib.decompressobj(16 + zlib.MAX_WBITS)

    def _look(self, masked: bytes) -> None:
        if masked != self._plain[: len(masked)]:
            self.hidden = True
        del self._plain[: len(masked)]
        self._looked += len(masked)

    def _let_go(self, *, last: bool = False) -> None:
        while self._waiting and not self.hidden:
            data, until = self._waiting[0]
            if until > self._looked and not last:
                return
            self.ready += data
            self._waiting.popleft()

    def _give_up(self, data: bytes) -> None:
        """Go on with the bytes as they are: nobody can read them."""
        self._look(self._masks.end())
        self._let_go(last=True)
        self._broken = True
        if not self.hidden:
            self.ready += self._raw.feed(data)
