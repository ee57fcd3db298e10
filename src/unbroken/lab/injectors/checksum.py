"""A byte of a binary message that changed on its way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from unbroken.core.dialects import DIALECTS
from unbroken.core.faults import FaultKind
from unbroken.lab.injectors.at_place import OnFrames
from unbroken.lab.parts import Part, Piece

__all__ = ["Checksum"]


class Checksum(OnFrames):
    """Changes a byte inside an AWS message, so that its checksum is wrong."""

    name = "checksum"
    summary = "a byte of an AWS message is changed, and its checksum does not fit"
    kind = FaultKind.PROTOCOL_VIOLATION
    dialects = frozenset(name for name, d in DIALECTS.items() if d.wire == "aws-event-stream")

    def strike_frame(self, piece: Piece) -> Iterable[Part]:
        """Change a byte of the payload."""
        at = len(piece.data) - 8
        changed = bytes([piece.data[at] ^ 0x01])
        self.struck()
        yield replace(piece, data=piece.data[:at] + changed + piece.data[at + 1 :])
