"""Frames that never come, while all after them do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import ClassVar

from unbroken.core.faults import FaultKind
from unbroken.lab.framing import is_array, number_of, renumbered
from unbroken.lab.injectors.at_place import OnFrames
from unbroken.lab.injectors.base import Scene, Spec
from unbroken.lab.parts import Part, Piece

__all__ = ["Drop"]


class Drop(OnFrames):
    """Loses content frames.

    A dialect that counts its frames shows a gap. ``before-numbering`` loses them where it does
    not: only what the provider repeats at the end can tell then.
    """

    name = "drop"
    summary = "a content frame is lost; the next x3 of them"
    hidden = True
    hows: ClassVar[tuple[str, ...]] = ("gap", "before-numbering")
    kinds: ClassVar[Mapping[str, str]] = {
        "gap": FaultKind.MISSING_EVENT,
        "before-numbering": FaultKind.MISSING_EVENT,
    }

    def __init__(self, spec: Spec, scene: Scene) -> None:
        super().__init__(spec, scene)
        self._lost = 0
        self._bracket = False

    @classmethod
    def hows_in(cls, dialect: str) -> tuple[str, ...]:
        """Leave out numbers where there are none."""
        return cls.hows if dialect == "openai-responses" else cls.hows[:1]

    @classmethod
    def kind_for(cls, how: str, dialect: str) -> str:
        """Only a dialect that counts its frames, or repeats its texts, knows."""
        return super().kind_for(how, dialect) if dialect == "openai-responses" else ""

    def strike_frame(self, piece: Piece) -> Iterable[Part]:
        """Lose the frame."""
        self.struck()
        self._lost += 1
        self._bracket |= is_array(self.scene.dialect) and piece.data.startswith(b"[")
        return ()

    def pass_frame(self, piece: Piece) -> Iterable[Part]:
        """Let the frame pass, numbered as if nothing were lost if nobody is to know."""
        if self._bracket:  # that of an array stays, at what is the first element now
            self._bracket = False
            piece = replace(piece, data=b"[" + piece.data.lstrip(b" \r\n,"))
        number = number_of(self.scene.dialect, piece.data)
        if self.how == "before-numbering" and number is not None and self._lost:
            data = renumbered(self.scene.dialect, piece.data, number - self._lost)
            piece = replace(piece, data=data)
        yield piece
