"""Text beyond what may be kept in memory: written to a spill, read again piece by piece.

A spill is what the driver brings: bytes that can be appended and read back, in practice a
temporary file. Text goes there in blocks, as UTF-8, each with whole characters only. Where each
choice's blocks lie is kept here; neighbours are one range, so an answer of one choice has one.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import Protocol

from unbroken.core.pieces import add_piece, ends_in_half, join_pieces

__all__ = ["Spill", "SpillLostError", "SpilledTexts"]

_WRITE_AT = 256 * 1024
"""Characters that wait, over all choices, before they are written."""
_READ_BYTES = 256 * 1024
_MOST_RANGES = 1 << 16
"""Places remembered: many choices that take turns need one for each turn."""


class Spill(Protocol):
    """Bytes that are appended, and read back. Nothing here raises."""

    @property
    def size(self) -> int:
        """Bytes appended so far."""
        ...

    def append(self, data: bytes) -> bool:
        """Keep more bytes; False if they cannot be kept, and then never again."""
        ...

    def read(self, start: int, size: int) -> bytes:
        """Return up to ``size`` bytes from ``start``; nothing if they cannot be read."""
        ...

    def close(self) -> None:
        """Forget everything."""
        ...


class SpillLostError(Exception):
    """What was spilled cannot be read back."""


class SpilledTexts:
    """The later part of each choice's text.

    Args:
        spill: Takes the bytes; closed with `close`.
    """

    def __init__(self, spill: Spill) -> None:
        self._spill = spill
        self._waiting: dict[int, list[str]] = {}
        self._waiting_size = 0
        self._ranges: dict[int, list[tuple[int, int]]] = {}
        self._count = 0

    @property
    def size(self) -> int:
        """About how many bytes of UTF-8 this text has, over all choices."""
        return self._spill.size + self._waiting_size

    def add(self, text: str, choice: int) -> bool:
        """Keep more text; False if it cannot be kept."""
        add_piece(self._waiting.setdefault(choice, []), text)
        self._waiting_size += len(text)
        return self._waiting_size < _WRITE_AT or self._write()

    def last(self, choice: int) -> str:
        """Return what came last of a choice, as far as it may be half a character."""
        pieces = self._waiting.get(choice)
        return pieces[-1] if pieces else ""

    def _write(self) -> bool:
        self._waiting_size = 0
        for choice, pieces in self._waiting.items():
            half = pieces[-1][-1] if pieces and ends_in_half(pieces[-1]) else ""
            data = join_pieces(pieces).encode()
            pieces[:] = [half] if half else []  # it waits for its other half
            self._waiting_size += len(half)
            if not data:
                continue
            ranges = self._ranges.setdefault(choice, [])
            start = self._spill.size
            if not self._spill.append(data):
                return False
            if ranges and ranges[-1][1] == start:
                ranges[-1] = (ranges[-1][0], start + len(data))
            elif self._count < _MOST_RANGES:
                self._count += 1
                ranges.append((start, start + len(data)))
            else:
                return False
        return True

    def pieces(self, choice: int) -> Iterator[str]:
        """Yield the text of a choice, never much of it at once.

        Raises:
            SpillLostError: If it cannot be read back.
        """
        for start, end in self._ranges.get(choice, ()):
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            while start < end:
                data = self._spill.read(start, min(_READ_BYTES, end - start))
                if not data:
                    raise SpillLostError
                start += len(data)
                yield decoder.decode(data, start >= end)
        yield join_pieces(list(self._waiting.get(choice, ())))

    def close(self) -> None:
        """Forget everything."""
        self._waiting.clear()
        self._ranges.clear()
        self._spill.close()
