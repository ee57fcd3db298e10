"""Length and checksum of a text that came piece by piece: enough to know it again.

Counted in UTF-16 units, since a pair that was cut over two pieces counts as it came.
"""

from __future__ import annotations

import zlib

__all__ = ["Checksum", "added", "from_units", "to_units"]

Checksum = tuple[int, int]
"""UTF-16 units, and the CRC-32 of their bytes."""


def added(before: Checksum | None, text: str) -> Checksum:
    """Return the checksum after more text."""
    length, checksum = before or (0, 0)
    raw = text.encode("utf-16-le", "surrogatepass")
    return length + len(raw) // 2, zlib.crc32(raw, checksum)


def to_units(text: str) -> str:
    """Return the text with one character for each UTF-16 unit: pairs taken apart."""
    if text.isascii() or max(text) <= "\uffff":
        return text
    return "".join([c if c <= "\uffff" else _halves(c) for c in text])


def _halves(character: str) -> str:
    code = ord(character) - 0x10000
    return chr(0xD800 + (code >> 10)) + chr(0xDC00 + (code & 0x3FF))


def from_units(units: str) -> str:
    """Return the text again, halves that belong together joined."""
    return units.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
