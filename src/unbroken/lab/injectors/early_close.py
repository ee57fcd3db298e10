"""A connection that breaks when the answer was whole, and its body had not ended."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from unbroken.lab.injectors.base import Injector
from unbroken.lab.parts import Ending, Part, Pause, Piece, Stop

__all__ = ["EarlyClose"]

_ENDINGS: dict[str, Ending] = {"rst": "rst", "fin": "fin"}


class EarlyClose(Injector):
    """Resets or closes the connection behind the last marker, in place of the body's end.

    It waits a moment before, since a reset throws away what the client has not read yet.
    """

    name = "early-close"
    summary = "the connection is reset, or closed, behind the last marker"
    hows: ClassVar[tuple[str, ...]] = tuple(_ENDINGS)
    takes: ClassVar[frozenset[str]] = frozenset({"seconds"})
    seconds = 0.2

    def feed(self, part: Part) -> Iterable[Part]:
        """Close behind the last marker."""
        yield part
        last = "finish" if self.scene.dialect == "gemini" else "terminal"
        if isinstance(part, Piece) and part.role == last:
            yield Pause(self.for_s)
            self.struck()
            yield Stop(_ENDINGS[self.how])
