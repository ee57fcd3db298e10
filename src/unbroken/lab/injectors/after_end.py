"""Content behind the end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from unbroken.core.faults import FaultKind
from unbroken.lab.injectors.at_place import OnFrames
from unbroken.lab.injectors.base import Place
from unbroken.lab.parts import Part, Piece

__all__ = ["AfterEnd"]


class AfterEnd(OnFrames):
    """Sends the last content frame again, behind the last marker or, without one, the finish."""

    name = "after-end"
    summary = "a content frame comes behind the end; x3 of them"
    kind = FaultKind.PROTOCOL_VIOLATION
    hidden = True
    takes: ClassVar[frozenset[str]] = frozenset({"count"})
    place = Place(unit="frames", amount=0)
    wanted = "end"

    @classmethod
    def kind_for(cls, how: str, dialect: str) -> str:
        """Gemini's answers may legally go on behind a finish, when a tool of its own ran."""
        return "" if dialect == "gemini" else cls.kind

    def suits(self, piece: Piece) -> bool:
        """It is the end."""
        return piece.role == ("finish" if self.scene.dialect == "gemini" else "terminal")

    def strike_frame(self, piece: Piece) -> Iterable[Part]:
        """Send content behind it."""
        self._left = 0
        yield piece
        self.struck()
        for _ in range(self.times):
            yield self.insert(self.like)
