"""A status line that comes late, or never."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from unbroken.core.faults import FaultKind
from unbroken.lab.injectors.base import AtStart, Scene, Spec, Stage, put
from unbroken.lab.injectors.raw import END, RawAnswer
from unbroken.lab.parts import Head, Part, Pause

__all__ = ["SlowHead"]


class SlowHead(AtStart):
    """Takes the request, and sends the head of its answer much later. The answer is whole."""

    name = "slow-head"
    summary = "status and headers come late (slow-head@3s), or never (slow-head.never)"
    kinds = {"never": FaultKind.STALLED}  # noqa: RUF012
    hows: ClassVar[tuple[str, ...]] = ("late", "never")
    takes: ClassVar[frozenset[str]] = frozenset({"seconds"})
    seconds = 2.0
    stage: ClassVar[Stage] = "framing"

    def __init__(self, spec: Spec, scene: Scene) -> None:
        super().__init__(spec, scene)
        self._raw = RawAnswer()

    def head(self, head: Head) -> Head:
        """Let the server send none."""
        return self._raw.take(head)

    def begin(self) -> Iterable[Part]:
        """Wait, and send it."""
        self.struck()
        yield Pause(None if self.how == "never" else self.for_s)
        yield put(self._raw.opening(), event=False)

    def each(self, part: Part) -> Iterable[Part]:
        """Send a part."""
        return self._raw.written(part)

    def last(self) -> Iterable[Part]:
        """End the body."""
        yield put(END, event=False)
