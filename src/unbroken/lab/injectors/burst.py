"""A buffering proxy: what came frame by frame goes on in clumps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

from unbroken.lab.injectors.base import AtStart, Scene, Spec, Stage
from unbroken.lab.parts import Part, Piece

__all__ = ["Burst"]

_BUFFER_BYTES = 1024 * 1024
_MOST_HELD = 100_000  # pieces: single bytes take far more room than they say


class Burst(AtStart):
    """Holds frames and sends them at once: so many, those of so many seconds, or all.

    The time is that of the model's pace; a pause or a stop sends what is held, and so does a
    full buffer of 1 MiB or 100,000 pieces: an endless answer is held for ever by no proxy.
    """

    name = "burst"
    summary = "frames come in clumps: so many at once (burst@x20), every @3s, or all at the end"
    hows: ClassVar[tuple[str, ...]] = ("clump", "all")
    takes: ClassVar[frozenset[str]] = frozenset({"seconds", "count"})
    count = 20
    stage: ClassVar[Stage] = "pace"

    def __init__(self, spec: Spec, scene: Scene) -> None:
        super().__init__(spec, scene)
        self._held: list[Piece] = []
        self._held_bytes = 0
        self._held_s = 0.0

    def each(self, part: Part) -> Iterable[Part]:
        """Hold a piece, or give out all that is held."""
        if not isinstance(part, Piece):
            yield from self.last()
            yield part
            return
        self._held.append(part)
        self._held_bytes += len(part.data)
        self._held_s += part.pace_s
        if self._full():
            yield from self.last()

    def _full(self) -> bool:
        if self._held_bytes >= _BUFFER_BYTES or len(self._held) >= _MOST_HELD:
            return True
        if self.how == "all":
            return False
        if self.spec.seconds is not None:
            return self._held_s >= self.spec.seconds
        return len(self._held) >= self.times

    def last(self) -> Iterable[Part]:
        """Give out what is held: the first when the last was ready, and all others with it."""
        held, pace_s = self._held, self._held_s
        self._held, self._held_bytes, self._held_s = [], 0, 0.0
        for piece in held:
            yield replace(piece, pace_s=pace_s)
            pace_s = 0.0
