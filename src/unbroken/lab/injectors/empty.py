"""A success without an answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from unbroken.core.faults import FaultKind
from unbroken.lab import shapes
from unbroken.lab.injectors.base import AtStart, put
from unbroken.lab.parts import Part, Piece, Stop

__all__ = ["Empty"]

_NO_START = frozenset({"gemini", "gemini-array", "ollama", "openai-completions"})


class Empty(AtStart):
    """Answers 200 and ends cleanly: with nothing, with comments, or with the beginning only."""

    name = "empty"
    summary = "200 and no answer: no byte, only comments, or only what comes before content"
    kind = FaultKind.EMPTY_STREAM
    hows: ClassVar[tuple[str, ...]] = ("nothing", "comments", "start")

    @classmethod
    def hows_in(cls, dialect: str) -> tuple[str, ...]:
        """Leave out what the dialect does not have."""
        lacks = {"comments": shapes.comment(dialect) is None, "start": dialect in _NO_START}
        return tuple(how for how in cls.hows if not lacks.get(how))

    def begin(self) -> Iterable[Part]:
        """End at once."""
        if self.how == "start":
            return
        self.struck()
        if self.how == "comments":
            for _ in range(3):
                yield put(shapes.comment(self.scene.dialect) or b"", "ping", event=False)
        yield Stop("clean")

    def each(self, part: Part) -> Iterable[Part]:
        """End before the first content."""
        if isinstance(part, Piece) and part.role not in ("start", "ping"):
            self.struck()
            yield Stop("clean")
        else:
            yield part
