"""An event larger than readers have room for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

from unbroken.core.faults import FaultKind
from unbroken.lab.framing import payload_of, wire_of, with_payload
from unbroken.lab.injectors.at_place import OnFrames
from unbroken.lab.injectors.base import Scene, Spec
from unbroken.lab.parts import Part, Piece

__all__ = ["Oversized"]

_MOST_BYTES = 256_000_000
_MOST_AWS_BYTES = 17_000_000  # what the format can carry, in base64


class Oversized(OnFrames):
    """Pads a content frame with a field that nobody knows. The answer is whole all the same.

    It is a fault for whoever has a smaller limit; Unbroken's own is 32 MiB unless told.
    """

    name = "oversized"
    summary = "a content frame of so many bytes (oversized@x40M), in a field that nobody knows"
    kind = FaultKind.OVERSIZED_EVENT
    takes: ClassVar[frozenset[str]] = frozenset({"place", "count"})
    count = 2_000_000

    def __init__(self, spec: Spec, scene: Scene) -> None:
        super().__init__(spec, scene)
        self._left = 1
        aws = bool(scene.dialect) and wire_of(scene.dialect) == "aws-event-stream"
        most = _MOST_AWS_BYTES if aws else _MOST_BYTES
        if self.times > most:
            self.refuse(f"a frame can have {most:,} bytes here")

    def strike_frame(self, piece: Piece) -> Iterable[Part]:
        """Send the frame with its padding."""
        dialect = self.scene.dialect
        payload = payload_of(dialect, piece.data)
        padding = max(self.times - len(piece.data), 1)
        padded = payload[:-1] + b',"lab_padding":"' + b"x" * padding + b'"}'
        self.struck()
        yield replace(piece, data=with_payload(dialect, piece.data, padded))
