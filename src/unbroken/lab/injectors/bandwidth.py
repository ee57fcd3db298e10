"""A thin line: so many bytes a second, and no more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from unbroken.lab.injectors.at_place import divided
from unbroken.lab.injectors.base import AtStart, Stage
from unbroken.lab.parts import Part, Pause, Piece

__all__ = ["Bandwidth"]

_SLICES_A_SECOND = 10


class Bandwidth(AtStart):
    """Limits the bytes a second. The answer is whole, and late."""

    name = "bandwidth"
    summary = "at most so many bytes a second (bandwidth@x2k)"
    takes: ClassVar[frozenset[str]] = frozenset({"count"})
    count = 1000
    stage: ClassVar[Stage] = "pace"

    def each(self, part: Part) -> Iterable[Part]:
        """Send a piece in slices, each as long after the one before it as its bytes take."""
        if not isinstance(part, Piece):
            yield part
            return
        most = max(self.times // _SLICES_A_SECOND, 1)
        rest: Piece | None = part
        while rest is not None:
            front, rest = divided(rest, most)
            if front is not None:
                yield Pause(len(front.data) / self.times, drip=True)
                yield front
