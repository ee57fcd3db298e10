"""The provider says inside the stream that it failed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from unbroken.core.faults import FaultKind
from unbroken.lab.injectors.at_place import AtPlace
from unbroken.lab.injectors.base import Scene, Spec
from unbroken.lab.parts import Part, Piece, Stop
from unbroken.lab.shapes import ERRORS, error_frames

__all__ = ["Error"]

_LATE = "after-done"


class Error(AtPlace):
    """Ends the answer with an error frame, in any shape that providers of the dialect send.

    ``after-done`` sends the commonest of them behind the whole answer.
    """

    name = "error"
    summary = "an error inside the stream, in the provider's shape; after-done: behind the end"
    kind = FaultKind.PROVIDER_ERROR
    hows: ClassVar[tuple[str, ...]] = (
        *dict.fromkeys(how for known in ERRORS.values() for how in known),
        _LATE,
    )
    between_frames = True

    def __init__(self, spec: Spec, scene: Scene) -> None:
        super().__init__(spec, scene)
        self._late = self.how == _LATE

    @classmethod
    def hows_in(cls, dialect: str) -> tuple[str, ...]:
        """Return the dialect's own errors."""
        return (*ERRORS.get(dialect, {}), _LATE)

    def feed(self, part: Part) -> Iterable[Part]:
        """Let all pass, if the error comes last."""
        if not self._late:
            return super().feed(part)
        return [self.passed(part) if isinstance(part, Piece) else part]

    def close(self) -> Iterable[Part]:
        """Send the error behind the end."""
        return self.strike(None) if self._late else super().close()

    def strike(self, rest: Piece | None) -> Iterable[Part]:
        """Send the error, and end the body as the provider does."""
        self.struck()
        how = "" if self._late else self.spec.how
        for frame in error_frames(self.scene.dialect, how, number=self.next_number):
            yield self.insert(frame, "error")
        yield Stop("clean")
