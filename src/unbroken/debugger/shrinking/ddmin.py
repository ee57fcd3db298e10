"""Delta debugging: the fewest items with which something is still so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

__all__ = ["fewest"]

T = TypeVar("T")


def fewest(items: Sequence[T], still: Callable[[list[T]], bool]) -> list[T]:
    """Return items of which none can be left out alone.

    Stretches are left out first, large ones before small ones, so that what is not needed goes in
    few tries: about ``k × log2(n)`` where k of n items are needed and stand apart.

    Args:
        items: All of them, with which it is so.
        still: Whether it is so with some of them, in their order.
    """
    kept = list(items)
    if kept and still([]):
        return []
    size = len(kept) // 2
    while size:
        at, fewer = 0, False
        while at < len(kept):
            rest = kept[:at] + kept[at + size :]
            # Nothing at all was tried already.
            if rest and still(rest):
                kept, fewer = rest, True
            else:
                at += size
        if size == 1 and not fewer:
            break
        size = size // 2 if size > 1 else 1
        size = min(size, max(1, len(kept) // 2)) if len(kept) > 1 else 0
    return kept
