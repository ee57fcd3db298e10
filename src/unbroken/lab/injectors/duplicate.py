"""Frames that come twice, as after a retry that somebody below did not hide."""

from __future__ import annotations

from collections.abc import Iterable

from unbroken.core.faults import FaultKind
from unbroken.lab.framing import is_array
from unbroken.lab.injectors.at_place import OnFrames
from unbroken.lab.injectors.base import put
from unbroken.lab.parts import Part, Piece

__all__ = ["Duplicate"]


class Duplicate(OnFrames):
    """Sends content frames twice, byte for byte. Only numbers in frames could tell."""

    name = "duplicate"
    summary = "a content frame comes twice, byte for byte; the next x3 of them"
    hidden = True

    @classmethod
    def kind_for(cls, how: str, dialect: str) -> str:
        """Only a dialect that counts its frames knows."""
        return FaultKind.DUPLICATE_EVENT if dialect == "openai-responses" else ""

    def strike_frame(self, piece: Piece) -> Iterable[Part]:
        """Send the frame, and send it again."""
        yield piece
        again = piece.data
        if is_array(self.scene.dialect) and again.startswith(b"["):
            again = b"\n,\r\n" + again[1:]
        self.struck()
        yield put(again)
