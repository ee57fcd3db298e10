"""What the splicers of dialects with explicit blocks have in common.

A block of the later attempt is opened on the wire by the first thing in it that the consumer
does not have, and only such a block is closed again. The first text that is new goes on in the
text block that the cut left open. Whatever else the cut left open is closed before a block is
opened or the end is written; an open call never, since it would look like a whole one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from unbroken.core.events import BlockKind
from unbroken.core.received import Received

__all__ = ["BlockSplicer"]

_LOOSE = -1


class BlockSplicer(ABC):
    """Keep account of the blocks on the wire, and write openings, text and closings.

    Args:
        delivered: What the consumer has. Its open blocks are those with a plain number.
        next_index: The index of the next block on the wire.
    """

    def __init__(self, delivered: Received, *, next_index: int) -> None:
        self._next = next_index
        self._left_open: dict[int, BlockKind] = {
            block: kind
            for block, kind in delivered.open_blocks.items()
            if isinstance(block, int) and kind != "tool"
        }
        self.wire: dict[int, int] = {}
        """Blocks of the later attempt that are on the wire, and where."""
        self._waiting: dict[int, dict[str, Any]] = {}  # opened by it, with nothing new so far

    @abstractmethod
    def write_open(self, at: int, opening: dict[str, Any]) -> bytes:
        """Write the opening of a block; an empty ``opening`` asks for a text block's."""

    @abstractmethod
    def write_text(self, at: int, text: str) -> bytes:
        """Write a piece of text."""

    @abstractmethod
    def write_close(self, at: int) -> bytes:
        """Write the end of a block."""

    def wait(self, index: int, opening: dict[str, Any]) -> None:
        """The later attempt opens a block; whether it brings news is not known yet."""
        self._waiting[index] = opening

    def open(self, index: int) -> list[bytes]:
        """Put a block of the later attempt on the wire, if it is not there."""
        if index in self.wire:
            return []
        out = self.close_left_open()
        self.wire[index] = at = self._next
        self._next += 1
        return [*out, self.write_open(at, self._waiting.pop(index, {}))]

    def enter_text(self, index: int) -> list[bytes]:
        """Make sure that a text block of the later attempt is on the wire."""
        if index in self.wire:
            return []
        for block, kind in self._left_open.items():
            if kind == "text":
                del self._left_open[block]
                self.wire[index] = block
                self._waiting.pop(index, None)
                return self.close_left_open()
        return self.open(index)

    def text(self, index: int, text: str) -> list[bytes]:
        """Write text of a block, which is opened if it must be."""
        if not text:
            return []
        out = self.enter_text(index)
        return [*out, self.write_text(self.wire[index], text)]

    def loose_text(self, text: str) -> list[bytes]:
        """Write text that is known to be new only now that its block was closed."""
        if not text:
            return []
        out = self.text(_LOOSE, text)
        return [*out, self.write_close(self.wire.pop(_LOOSE))]

    def stop(self, index: int) -> list[bytes]:
        """The later attempt closes a block."""
        self._waiting.pop(index, None)
        at = self.wire.get(index)
        return [] if at is None else [self.write_close(at)]

    def close_left_open(self) -> list[bytes]:
        """Close what the cut left open."""
        left = [self.write_close(at) for at in self._left_open]
        self._left_open = {}
        return left
