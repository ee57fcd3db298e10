"""What stands in the place of a text, as many bytes as it had.

Two kinds of bytes stay, for what judges a stream is to judge it alike: those that are no UTF-8
(as one that is none), and those that make a JSON string broken.
"""

from __future__ import annotations

import re
from hashlib import blake2b, shake_256
from typing import Any, TypeAlias

__all__ = ["Chain", "Letters", "whole_characters", "whole_units"]

Chain: TypeAlias = Any
"""The state of a text that comes in pieces; None at its beginning."""

_BROKEN_ESCAPE = re.compile(rb'\\(?!["/bfnrt]|u[0-9a-fA-F]{4})(?=.)', re.DOTALL)
_CONTROL = re.compile(rb"[\x00-\x1f]")
_NO_UTF8 = re.compile("([\udc80-\udcff]+)")
_TO_XS = bytes(byte if byte < 0x20 else 0x78 for byte in range(256))
_TO_LETTERS = bytes(97 + byte % 26 for byte in range(256))
_SINGLE = tuple(bytes((byte,)) for byte in range(256))
_BLOCK_BYTES = 64


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
            return _xs(text)
        digest = shake_256(len(self._salt).to_bytes() + self._salt + text).digest(len(text))
        return _mended(text, digest.translate(_TO_LETTERS))

    def piece(self, text: bytes, chain: Chain) -> tuple[bytes, Chain]:
        """Return what stands for the next piece of a text, and the state after it.

        However a text is cut into pieces, theirs joined are the same. Texts that begin alike have
        letters that begin alike. Every byte is hashed: 2 MB/s or so.
        """
        if not self.hashed:
            return _xs(text), None
        running = blake2b(key=self._salt, digest_size=1) if chain is None else chain.copy()
        update, digest = running.update, running.digest
        out = bytearray()
        for byte in text:
            update(_SINGLE[byte])
            out += digest()
        return _mended(text, bytes(out.translate(_TO_LETTERS))), running

    def blocks(self, text: bytes, chain: Chain) -> tuple[bytes, Chain]:
        """Return what `piece` does for a text that is always cut at the same places.

        It is hashed by blocks of 64 bytes, which is some twenty times faster. Texts that begin
        alike have letters that begin alike, up to the block in which they differ.
        """
        if not self.hashed:
            return _xs(text), None
        state: bytes = chain or b""
        key, view, out = self._salt, memoryview(text), bytearray()
        for at in range(0, len(text), _BLOCK_BYTES):
            running = blake2b(state, key=key)
            running.update(view[at : at + _BLOCK_BYTES])
            state = running.digest()
            out += state
        return _mended(text, bytes(out[: len(text)].translate(_TO_LETTERS))), state


def _xs(text: bytes) -> bytes:
    letters = text.translate(_TO_XS)  # control characters stay as they are
    return letters if b"\\" not in text and text.isascii() else _mended(text, letters)


def _mended(text: bytes, letters: bytes) -> bytes:
    """Put back what must not become better than it was."""
    out: bytearray | None = None
    if b"\\" in text:
        single = text.replace(b"\\\\", b"xx")  # whose backslashes each begin an escape
        for found in _BROKEN_ESCAPE.finditer(single):
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
            for part in _NO_UTF8.split(text.decode("utf-8", "surrogateescape")):
                if "\udc80" <= part[:1] <= "\udcff":
                    out[at : at + len(part)] = b"\xff" * len(part)
                    at += len(part)
                else:
                    at += len(part.encode("utf-8"))
    return letters if out is None else bytes(out)


def whole_characters(raw: bytes) -> int:
    """Return how much of the bytes ends at a character's end; all where they end elsewhere."""
    for back in range(1, min(4, len(raw)) + 1):
        byte = raw[-back]
        if byte >= 0xC0:
            needs = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(raw) - back if needs > back and len(raw) > back else len(raw)
        if byte < 0x80:
            break
    return len(raw)


def whole_units(raw: bytes) -> int:
    """Return how much of a long string's inside ends at a character's or an escape's end."""
    length = whole_characters(raw)
    slash = raw.rfind(b"\\", max(length - 6, 0), length)
    if slash >= 0:
        before = len(raw[:slash]) - len(raw[:slash].rstrip(b"\\"))
        if before % 2 == 0:
            needs = 6 if raw[slash + 1 : slash + 2] == b"u" else 2
            if slash + 1 >= length or slash + needs > length:
                length = slash
    return length
