"""The answer goes on, far too slowly."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

from unbroken.core.faults import FaultKind
from unbroken.lab.injectors.at_place import AtPlace
from unbroken.lab.injectors.base import Place, Scene, Spec, Stage
from unbroken.lab.parts import Part, Pause, Piece

__all__ = ["Drip"]

_BYTE_S = 0.02


class Drip(AtPlace):
    """Waits before every frame, or every byte, from a place on; 1 s or 20 ms unless told."""

    name = "drip"
    summary = "from a place on every frame, or every byte, comes so much later (drip@2s)"
    kind = FaultKind.SLOW_DRIP
    hows: ClassVar[tuple[str, ...]] = ("frame", "byte")
    takes: ClassVar[frozenset[str]] = frozenset({"place", "seconds"})
    place = Place(unit="frames", amount=0)
    stage: ClassVar[Stage] = "pace"

    def __init__(self, spec: Spec, scene: Scene) -> None:
        super().__init__(spec, scene)
        if self.how == "byte" and spec.seconds is None:
            self.for_s = _BYTE_S

    def strike(self, rest: Piece | None) -> Iterable[Part]:
        """Begin to be slow."""
        self.struck()
        if rest is not None:
            yield from self.after(rest)

    def after(self, piece: Piece) -> Iterable[Part]:
        """Send a piece slowly."""
        if self.how == "frame":
            yield Pause(self.for_s, drip=True)
            yield piece
            return
        last = len(piece.data) - 1
        for at in range(len(piece.data)):
            yield Pause(self.for_s, drip=True)
            byte = piece.data[at : at + 1]
            if at == last:
                yield replace(piece, data=byte, at_byte=piece.at_byte + at, pace_s=0.0)
            else:
                yield Piece(byte, "other", piece.frame, piece.at_byte + at, event=False)
