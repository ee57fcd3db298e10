"""Bytes behind the end: of the answer, or of the whole HTTP message."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from unbroken.lab.injectors.base import AtStart, Scene, Spec, Stage, put
from unbroken.lab.injectors.raw import END, RawAnswer
from unbroken.lab.parts import Head, Part, Stop

__all__ = ["Trailing"]

_GARBAGE = b"\nlab: bytes that belong to nothing\n"


class Trailing(AtStart):
    """Sends bytes that belong to nothing, when all is said. The answer is whole."""

    name = "trailing"
    summary = "garbage behind the answer, inside the body or behind the HTTP message"
    hows: ClassVar[tuple[str, ...]] = ("body", "http")
    stage: ClassVar[Stage] = "framing"

    def __init__(self, spec: Spec, scene: Scene) -> None:
        super().__init__(spec, scene)
        self._raw = RawAnswer() if self.how == "http" else None

    def head(self, head: Head) -> Head:
        """Write it here, if there is to be something behind the message."""
        return head if self._raw is None else self._raw.take(head)

    def begin(self) -> Iterable[Part]:
        """Send the head, where it is not the server's."""
        if self._raw is not None:
            yield put(self._raw.opening(), event=False)

    def each(self, part: Part) -> Iterable[Part]:
        """Send a part."""
        if self._raw is not None:
            yield from self._raw.written(part)
        else:
            yield part

    def last(self) -> Iterable[Part]:
        """Send the garbage."""
        self.struck()
        if self._raw is None:
            yield put(_GARBAGE, event=False)
        else:
            yield put(END + _GARBAGE, event=False)
            yield Stop("fin")
