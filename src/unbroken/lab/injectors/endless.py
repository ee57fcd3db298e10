"""A stream that never ends, and is never silent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from unbroken.core.faults import FaultKind
from unbroken.lab import shapes
from unbroken.lab.framing import wire_of
from unbroken.lab.injectors.at_place import AtPlace
from unbroken.lab.injectors.base import put
from unbroken.lab.parts import Part, Piece

__all__ = ["Endless"]

_PACE_S = 0.01
_LINE_BEGINS = {"sse": b'data: {"lab":"', "ndjson": b'{"lab":"', "json-array": b'\n,{"lab":"'}


class Endless(AtPlace):
    """Goes on for ever from a place on, a hundred pieces a second.

    ``content`` repeats the last content frame: a model that cannot stop. ``comments`` and
    ``pings`` say nothing; ``line`` is one line that grows.
    """

    name = "endless"
    summary = "content, comments, pings or one line, for ever"
    kinds: ClassVar[Mapping[str, str]] = {
        "comments": FaultKind.STALLED,
        "pings": FaultKind.STALLED,
        "line": FaultKind.OVERSIZED_EVENT,
    }
    hows: ClassVar[tuple[str, ...]] = ("content", "comments", "pings", "line")
    between_frames = True

    @classmethod
    def hows_in(cls, dialect: str) -> tuple[str, ...]:
        """Leave out what the dialect has no bytes for."""
        lacks = {
            "comments": shapes.comment(dialect) is None,
            "pings": shapes.ping(dialect) is None,
            "line": wire_of(dialect) not in _LINE_BEGINS,
        }
        return tuple(how for how in cls.hows if not lacks.get(how))

    def strike(self, rest: Piece | None) -> Iterable[Part]:
        """Never end."""
        self.struck()
        if self.how == "line":
            yield put(_LINE_BEGINS[wire_of(self.scene.dialect)], event=False)
        while True:
            piece = self._more()
            piece.pace_s = _PACE_S
            yield piece

    def _more(self) -> Piece:
        dialect = self.scene.dialect
        match self.how:
            case "content":
                return self.insert(self.like)
            case "comments":
                return self.insert(shapes.comment(dialect) or b" ", "ping", event=False)
            case "pings":
                return self.insert(shapes.ping(dialect) or b" ", "ping")
            case _:
                return put(b"x" * 1024, event=False)
