"""The answer stands still while its connection stays open."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from unbroken.core.faults import FaultKind
from unbroken.lab import shapes
from unbroken.lab.injectors.at_place import AtPlace
from unbroken.lab.injectors.base import Scene, Spec
from unbroken.lab.parts import Part, Pause, Piece

__all__ = ["Stall"]

_EVERY_S = 0.5


class Stall(AtPlace):
    """Sends nothing that moves the answer: for a while, or until the client leaves.

    ``dead`` is silence. The others keep the connection busy, as servers do behind which a
    model has died: with pings, with comments (blanks, on wires without comments), with deltas
    that are empty.
    """

    name = "stall"
    summary = "no progress: silence, or pings, comments or empty deltas only; @3s, or for ever"
    kind = FaultKind.STALLED
    hows: ClassVar[tuple[str, ...]] = ("dead", "ping", "comment", "empty")
    takes: ClassVar[frozenset[str]] = frozenset({"place", "seconds"})

    def __init__(self, spec: Spec, scene: Scene) -> None:
        super().__init__(spec, scene)
        self.between_frames = self.how != "dead"

    @classmethod
    def hows_in(cls, dialect: str) -> tuple[str, ...]:
        """Leave out what the dialect has no bytes for."""
        lacks = {"ping": shapes.ping(dialect) is None, "comment": shapes.comment(dialect) is None}
        return tuple(how for how in super().hows_in(dialect) if not lacks.get(how))

    def strike(self, rest: Piece | None) -> Iterable[Part]:
        """Stand still."""
        seconds = self.spec.seconds
        self.struck("for ever" if seconds is None else "")
        if self.how == "dead":
            yield Pause(seconds)
        else:
            left_s = float("inf") if seconds is None else seconds
            while left_s > 0:
                yield Pause(min(_EVERY_S, left_s))
                yield self._sign_of_life()
                left_s -= _EVERY_S
        yield from self.rest_of(rest)

    def _sign_of_life(self) -> Piece:
        dialect = self.scene.dialect
        if self.how == "empty":
            return self.insert(shapes.empty_delta(dialect, self.like))
        if self.how == "ping":
            return self.insert(shapes.ping(dialect) or b"", "ping")
        return self.insert(shapes.comment(dialect) or b"", "ping", event=False)
