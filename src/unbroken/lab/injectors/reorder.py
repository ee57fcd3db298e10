"""Frames that change places, as between two workers of one relay."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from unbroken.core.faults import FaultKind
from unbroken.lab.framing import is_array, payload_of, with_payload
from unbroken.lab.injectors.at_place import OnFrames
from unbroken.lab.injectors.base import Scene, Spec
from unbroken.lab.parts import Part, Piece, Stop

__all__ = ["Reorder"]


class Reorder(OnFrames):
    """Holds a content frame until the next content frame, or the next ``x3``, went out."""

    name = "reorder"
    summary = "a content frame comes late, behind the next one, or behind the next x3"
    hidden = True

    def __init__(self, spec: Spec, scene: Scene) -> None:
        super().__init__(spec, scene)
        self._left = 1  # `count` says how far it moves
        self._held: Piece | None = None
        self._ahead = self.times
        if scene.healthy is not None:
            content = [piece for piece in self.behind() if piece.role == "content"]
            if len(content) <= self.times:
                self.refuse(f"there are no {self.times + 1} content frames behind that place")

    @classmethod
    def kind_for(cls, how: str, dialect: str) -> str:
        """Only a dialect that counts its frames knows."""
        return FaultKind.OUT_OF_ORDER if dialect == "openai-responses" else ""

    def strike_frame(self, piece: Piece) -> Iterable[Part]:
        """Hold the frame."""
        self._held = piece
        return ()

    def pass_frame(self, piece: Piece) -> Iterable[Part]:
        """Let others go ahead of it."""
        if self._held is None:
            yield piece
            return
        held, piece = self._in_place(self._held, piece)
        self._held = held
        yield piece
        self._ahead -= piece.role == "content"
        if self._ahead == 0:
            yield from self._late()

    def feed(self, part: Part) -> Iterable[Part]:
        """Send what is held before the body stops."""
        if isinstance(part, Stop):
            yield from self._late()
        yield from super().feed(part)

    def close(self) -> Iterable[Part]:
        """Send what is held at the end."""
        yield from self._late()

    def _late(self) -> Iterable[Part]:
        held, self._held = self._held, None
        if held is not None:
            self.struck()
            yield held

    def _in_place(self, held: Piece, piece: Piece) -> tuple[Piece, Piece]:
        """Let the bracket of an array stay with what comes first."""
        dialect = self.scene.dialect
        if not is_array(dialect) or not held.data.startswith(b"["):
            return held, piece
        first = with_payload(dialect, held.data, payload_of(dialect, piece.data))
        later = with_payload(dialect, piece.data, payload_of(dialect, held.data))
        return replace(held, data=later), replace(piece, data=first)
