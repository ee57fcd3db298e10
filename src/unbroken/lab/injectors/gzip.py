"""A compressed stream: healthy, cut in its middle, or not compressed at all."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import ClassVar

from unbroken.core.faults import FaultKind
from unbroken.lab.injectors.at_place import AtPlace
from unbroken.lab.injectors.base import Scene, Spec, Stage, put
from unbroken.lab.parts import Head, Part, Piece, Stop

__all__ = ["Gzip"]

_GZIP = 31  # zlib's window bits for gzip with its header


class Gzip(AtPlace):
    """Compresses the body, each frame so that it can be read as soon as it came.

    ``cut`` ends it cleanly inside the compressed bytes of a frame; ``plain`` only says that it
    is compressed.
    """

    name = "gzip"
    summary = "the body is compressed; or cut in mid-compression; or gzip is said and not done"
    kinds: ClassVar[Mapping[str, str]] = {
        "cut": FaultKind.TRUNCATED_MID_EVENT,
        "plain": FaultKind.NOT_A_STREAM,
    }
    hows: ClassVar[tuple[str, ...]] = ("healthy", "cut", "plain")
    stage: ClassVar[Stage] = "coding"
    between_frames = True

    def __init__(self, spec: Spec, scene: Scene) -> None:
        super().__init__(spec, scene)
        self._zip = zlib.compressobj(wbits=_GZIP)
        self._coding = self._armed = False

    def head(self, head: Head) -> Head:
        """Say that it is compressed."""
        head.headers["content-encoding"] = "gzip"
        return head

    def feed(self, part: Part) -> Iterable[Part]:
        """Compress a piece."""
        if not self._coding:
            self._coding = True
            if self.how != "cut":
                self.struck()
        if self.how == "cut":
            for passed in super().feed(part):
                yield from self._packed(passed)
        elif self.how == "healthy":
            yield from self._packed(part)
        else:
            yield part

    def close(self) -> Iterable[Part]:
        """End the compressed bytes as they should."""
        if self.how != "plain":
            yield put(self._zip.flush(), event=False)

    def strike(self, rest: Piece | None) -> Iterable[Part]:
        """Cut the next piece."""
        self._armed = True
        yield from self.rest_of(rest)

    def _packed(self, part: Part) -> Iterable[Part]:
        if isinstance(part, Piece):
            data = self._zip.compress(part.data) + self._zip.flush(zlib.Z_SYNC_FLUSH)
            if self._armed:
                self.struck()
                yield put(data[: len(data) // 2], event=False)
                yield Stop("clean")
                return
            yield replace(part, data=data)
            return
        if isinstance(part, Stop) and part.how == "clean":
            yield put(self._zip.flush(), event=False)
        yield part
