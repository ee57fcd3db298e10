"""What stands in the place of a text, as many bytes as it had.

Two kinds of bytes stay, for what judges a stream is to judge it alike: those that are no UTF-8
(as one that is none), and those that make a JSON string broken.
"""

from __future__ import annotations

import re
from hashlib import blake2b, shake_256
from typing import Any, TypeAlias

__all__ = ["Chain", "Letters"]

Chain: TypeAlias = Any
"""The state of a text that comes in pieces; None at its beginning."""

_BROKEN_ESCAPE = re.compile(rb'\\(?!["\\/bfnrt]|u[0-9a-fA-F]{4})(?=.)|\\\\', re.DOTALL)
_CONTROL = re.compile(rb"[\x00-\x1f]")
_TO_LETTERS = bytes(97 + byte % 26 for byte in range(256))
_BEST = 26 * 9  # of a digest's bytes those below are even over 26 letters


class Letters:
    """Write x's, or letters of a keyed hash.

    Args:
        salt: The hash's key, at most 64 bytes; None writes x's. Where nobody keeps it, nobody can
            try what a text may have been.
    """

    def __init__(self, salt: bytes | None = None) -> None:
        self.hashed = salt is not None
        self._salt = salt or b""

    def whole(self, text: bytes) -> bytes:
        """Return what stands for a whole text: equal letters for equal texts."""
        if not self.hashed:
            return _mended(text, b"x" * len(text))
        digest = shake_256(len(self._salt).to_bytes() + self._salt + text).digest(len(text))
        return _mended(text, digest.translate(_TO_LETTERS))

    def piece(self, text: bytes, chain: Chain) -> tuple[bytes, Chain]:
        """Return what stands for the next piece of a text, and the state after it.

        However a text is cut into pieces, theirs joined are the same. Texts that begin alike have
        letters that begin alike.
        """
        if not self.hashed:
            return _mended(text, b"x" * len(text)), None
        running = blake2b(key=self._salt, digest_size=8) if chain is None else chain.copy()
        out = bytearray()
        for byte in text:
            running.update(byte.to_bytes())
            out.append(next((b for b in running.digest() if b < _BEST), 0) % 26 + 97)
        return _mended(text, bytes(out)), running


def _mended(text: bytes, letters: bytes) -> bytes:
    """Put back what must not become better than it was."""
    out: bytearray | None = None
    if b"\\" in text:
        for found in _BROKEN_ESCAPE.finditer(text):
            if found[0] == b"\\":
                out = bytearray(letters) if out is None else out
                out[found.start() : found.start() + 2] = b"\\x"
    for found in _CONTROL.finditer(text):
        out = bytearray(letters) if out is None else out
        out[found.start()] = text[found.start()]
    if not text.isascii():
        try:
            text.decode("utf-8")
        except UnicodeDecodeError:
            out = bytearray(letters) if out is None else out
            at = 0
            for char in text.decode("utf-8", "surrogateescape"):
                if "\udc80" <= char <= "\udcff":
                    out[at] = 0xFF
                    at += 1
                else:
                    at += len(char.encode("utf-8", "surrogateescape"))
    return letters if out is None else bytes(out)
