"""Chunked coding that is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

from unbroken.core.faults import FaultKind
from unbroken.lab.injectors.at_place import AtPlace
from unbroken.lab.injectors.base import Scene, Spec, Stage, put
from unbroken.lab.injectors.raw import RawAnswer, coded
from unbroken.lab.parts import Head, Part, Piece, Stop

__all__ = ["BadFraming"]


class BadFraming(AtPlace):
    """Writes one size of the chunked coding wrong, sends what belongs to it, and closes."""

    name = "bad-framing"
    summary = "a size in the chunked coding is no number, too large, or too small"
    kind = FaultKind.CONNECTION_RESET
    hows: ClassVar[tuple[str, ...]] = ("garbage", "large", "small")
    stage: ClassVar[Stage] = "framing"
    between_frames = True

    def __init__(self, spec: Spec, scene: Scene) -> None:
        super().__init__(spec, scene)
        self._raw = RawAnswer()
        self._headed = self._armed = False

    def head(self, head: Head) -> Head:
        """Write it here, not in the server."""
        return self._raw.take(head)

    def feed(self, part: Part) -> Iterable[Part]:
        """Write a part."""
        yield from self._open()
        for passed in super().feed(part):
            if self._armed and isinstance(passed, Piece):
                self.struck()
                yield replace(passed, data=self._wrong(passed.data))
                yield Stop("fin")
                return
            yield from self._raw.written(passed)

    def close(self) -> Iterable[Part]:
        """Break the end, if nothing else was left to break."""
        yield from self._open()
        self.struck()
        yield put(b"xyz\r\n\r\n", event=False)
        yield Stop("fin")

    def strike(self, rest: Piece | None) -> Iterable[Part]:
        """Break the next piece."""
        self._armed = True
        yield from self.rest_of(rest)

    def _open(self) -> Iterable[Part]:
        if not self._headed:
            self._headed = True
            yield put(self._raw.opening(), event=False)

    def _wrong(self, data: bytes) -> bytes:
        size, _, rest = coded(data).partition(b"\r\n")
        number = int(size, 16)
        wrong = {"garbage": b"xyz", "large": b"%x" % (number + 999), "small": b"%x" % (number // 2)}
        return wrong[self.how] + b"\r\n" + rest
