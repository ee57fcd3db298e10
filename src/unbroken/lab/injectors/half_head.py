"""A connection that breaks in the middle of the headers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from unbroken.core.faults import FaultKind
from unbroken.lab.injectors.base import AtStart, Scene, Spec, Stage, put
from unbroken.lab.injectors.raw import RawAnswer
from unbroken.lab.parts import Ending, Head, Part, Stop

__all__ = ["HalfHead"]

_ENDINGS: dict[str, Ending] = {"fin": "fin", "rst": "rst"}


class HalfHead(AtStart):
    """Sends half of the head, and closes the connection."""

    name = "half-head"
    summary = "the connection is closed in the middle of the headers, by FIN or RST"
    kind = FaultKind.CONNECT_FAILED
    hows: ClassVar[tuple[str, ...]] = tuple(_ENDINGS)
    stage: ClassVar[Stage] = "framing"

    def __init__(self, spec: Spec, scene: Scene) -> None:
        super().__init__(spec, scene)
        self._raw = RawAnswer()

    def head(self, head: Head) -> Head:
        """Write it here, not in the server."""
        return self._raw.take(head)

    def begin(self) -> Iterable[Part]:
        """Send half of it."""
        opening = self._raw.opening()
        yield put(opening[: len(opening) // 2], event=False)
        self.struck()
        yield Stop(_ENDINGS[self.how])
