"""Frames that are whole on the wire, and whose payload is no JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

from unbroken.core.faults import FaultKind
from unbroken.lab.framing import is_array, payload_of, with_payload
from unbroken.lab.injectors.at_place import OnFrames
from unbroken.lab.parts import Part, Piece

__all__ = ["CorruptJSON"]


class CorruptJSON(OnFrames):
    """Breaks the payload of content frames, and leaves the framing as it is."""

    name = "corrupt-json"
    summary = "a content frame is no JSON: a bracket lost, garbage, NUL, half of it, a half twice"
    kind = FaultKind.MALFORMED_JSON
    hows: ClassVar[tuple[str, ...]] = ("bracket", "garbage", "nul", "half", "doubled")

    @classmethod
    def hows_in(cls, dialect: str) -> tuple[str, ...]:
        """Leave out what would also break the framing: an array is framed by its brackets."""
        return ("garbage", "nul") if is_array(dialect) else cls.hows

    def strike_frame(self, piece: Piece) -> Iterable[Part]:
        """Send the frame with a broken payload."""
        dialect = self.scene.dialect
        payload = payload_of(dialect, piece.data)
        half = len(payload) // 2
        match self.how:
            case "bracket":
                broken = payload[:-1]
            case "garbage":
                broken = b"#lab#garbage#"
            case "nul":
                broken = payload[:1] + b"\0" + payload[1:]
            case "half":
                broken = payload[:half]
            case _:
                broken = payload + payload[half:]
        self.struck()
        yield replace(piece, data=with_payload(dialect, piece.data, broken))
