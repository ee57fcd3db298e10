"""Spills in memory, small ones: what is too long for memory here is a few words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from unbroken.core import spill

__all__ = ["small_spills", "spill_for"]

_FULL_BYTES = 200


class _MemorySpill:
    """Bytes in memory; `way` says what goes wrong with them."""

    def __init__(self, way: str) -> None:
        self._data = bytearray()
        self._way = way

    @property
    def size(self) -> int:
        return len(self._data)

    def append(self, data: bytes) -> bool:
        if self._way == "full" and len(self._data) + len(data) > _FULL_BYTES:
            self._way = "never"
        if self._way == "never":
            return False
        self._data += data
        return True

    def read(self, start: int, size: int) -> bytes:
        return b"" if self._way == "unreadable" else bytes(self._data[start : start + size])

    def close(self) -> None:
        self._data.clear()


def spill_for(way: str | None) -> Callable[[], spill.Spill | None] | None:
    """Return what makes the spills of a stream, or None where there are none."""
    return None if way is None else lambda: _MemorySpill(way)


@contextmanager
def small_spills() -> Iterator[None]:
    """Let a spill be written after a few characters, and read in a few bytes."""
    before = spill._WRITE_AT, spill._READ_BYTES
    spill._WRITE_AT, spill._READ_BYTES = 24, 13
    try:
        yield
    finally:
        spill._WRITE_AT, spill._READ_BYTES = before
