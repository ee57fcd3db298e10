"""A Content-Length that is not the body's length."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from unbroken.core.faults import FaultKind
from unbroken.lab.injectors.base import AtStart, Scene, Spec
from unbroken.lab.parts import Head, Part, Stop

__all__ = ["Length"]

_TOO_LONG_BYTES = 100


class Length(AtStart):
    """Announces more bytes than come, or half of them: then clients stop reading there."""

    name = "length"
    summary = "Content-Length says more bytes than come (length.long), or fewer (length.short)"
    hows: ClassVar[tuple[str, ...]] = ("long", "short")
    kinds: ClassVar[Mapping[str, str]] = {
        "long": FaultKind.CONNECTION_RESET,
        "short": FaultKind.TRUNCATED_MID_EVENT,
    }

    def __init__(self, spec: Spec, scene: Scene) -> None:
        super().__init__(spec, scene)
        if scene.healthy is None:
            self.refuse("the length of an answer that is not known yet")
        self._bytes = sum(len(piece.data) for piece in scene.healthy)

    def head(self, head: Head) -> Head:
        """Announce it."""
        said = self._bytes + _TOO_LONG_BYTES if self.how == "long" else self._bytes // 2
        head.headers["content-length"] = str(said)
        if head.framing != "raw":
            head.framing = "length"
        return head

    def last(self) -> Iterable[Part]:
        """Close: nothing more can be sent on this connection."""
        yield Stop("fin")
