"""Line ends of another kind than the provider writes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

from unbroken.lab.framing import wire_of
from unbroken.lab.injectors.base import AtStart, Stage
from unbroken.lab.parts import Part, Piece

__all__ = ["LineEnds"]

_ENDS = {"crlf": b"\r\n", "cr": b"\r", "lf": b"\n"}


class LineEnds(AtStart):
    """Ends all lines with CRLF, CR or LF. Event streams may have any of them."""

    name = "crlf"
    summary = "lines end in CRLF, or in CR alone (crlf.cr), or in LF (crlf.lf, for Gemini)"
    hows: ClassVar[tuple[str, ...]] = tuple(_ENDS)
    stage: ClassVar[Stage] = "bytes"

    @classmethod
    def hows_in(cls, dialect: str) -> tuple[str, ...]:
        """Leave out what the provider writes anyway, and what its wire cannot have."""
        match wire_of(dialect):
            case "sse":
                return ("lf", "cr") if dialect == "gemini" else ("crlf", "cr")
            case "ndjson":
                return ("crlf",)
            case _:
                return ()

    def each(self, part: Part) -> Iterable[Part]:
        """Send a piece with other line ends: JSON has none in its strings."""
        if isinstance(part, Piece):
            data = part.data.replace(b"\r\n", b"\n").replace(b"\n", _ENDS[self.how])
            part = replace(part, data=data)
        yield part
