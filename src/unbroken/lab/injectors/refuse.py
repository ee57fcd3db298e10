"""A connection that is closed before a byte of an answer came."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from unbroken.core.faults import FaultKind
from unbroken.lab.injectors.base import AtStart
from unbroken.lab.parts import Ending, Head, Part, Pause, Stop

__all__ = ["Refuse"]

_ENDINGS: dict[str, Ending] = {"fin": "fin", "rst": "rst"}


class Refuse(AtStart):
    """Reads the request and closes the connection; after a while, if one is given."""

    name = "refuse"
    summary = "the connection is closed before any byte, by FIN or RST; after @3s"
    kind = FaultKind.CONNECT_FAILED
    hows: ClassVar[tuple[str, ...]] = tuple(_ENDINGS)
    takes: ClassVar[frozenset[str]] = frozenset({"seconds"})
    seconds = 0.0

    def head(self, head: Head) -> Head:
        """Send none."""
        head.status = None
        return head

    def begin(self) -> Iterable[Part]:
        """Close the connection."""
        if self.for_s:
            yield Pause(self.for_s)
        self.struck()
        yield Stop(_ENDINGS[self.how])
