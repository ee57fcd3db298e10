"""The body in as many pieces as can be: what reads may do to any stream."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import ClassVar

from unbroken.lab.injectors.at_place import divided
from unbroken.lab.injectors.base import AtStart, Stage
from unbroken.lab.parts import Part, Piece

__all__ = ["Split"]

_LINE_ENDS = re.compile(rb"[\r\n]")


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
        rest: Piece | None = part
        while rest is not None:
            at = 1
            if self.how == "lines":
                found = _LINE_ENDS.search(rest.data, 1)
                at = found.start() if found else len(rest.data)
            front, rest = divided(rest, at)
            if front is not None:
                yield front
