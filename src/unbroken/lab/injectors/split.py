"""The body in as many pieces as can be: what reads may do to any stream."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from typing import ClassVar

from unbroken.lab.injectors.base import AtStart, Stage
from unbroken.lab.parts import Part, Piece

__all__ = ["Split"]

_LINE_ENDS = re.compile(rb"[\r\n]")
_MOST_CUTS = 100_000  # of one piece; what is left of it goes whole


class Split(AtStart):
    """Sends every byte by itself, or cuts before and inside of all line ends."""

    name = "split"
    summary = "every byte is sent by itself (split.bytes), or cut at line ends (split.lines)"
    hows: ClassVar[tuple[str, ...]] = ("bytes", "lines")
    stage: ClassVar[Stage] = "pace"

    def each(self, part: Part) -> Iterable[Part]:
        """Send a piece in many."""
        if not isinstance(part, Piece):
            yield part
            return
        data, begin, pace_s = part.data, 0, part.pace_s
        for end in islice(self._cuts(data), _MOST_CUTS):
            # A frame has come when its last byte has: role and event are the last piece's.
            at_byte = part.at_byte + begin
            yield Piece(data[begin:end], "other", part.frame, at_byte, pace_s, event=False)
            begin, pace_s = end, 0.0
        at_byte = part.at_byte + begin
        yield Piece(data[begin:], part.role, part.frame, at_byte, pace_s, part.event)

    def _cuts(self, data: bytes) -> Iterable[int]:
        """Return where to cut: places inside of the data, rising."""
        if self.how == "bytes":
            return range(1, len(data))
        return (found.start() for found in _LINE_ENDS.finditer(data, 1))
