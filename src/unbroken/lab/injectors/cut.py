"""The answer stops: the commonest fault of all, in every way in which a connection can end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from unbroken.core.faults import FaultKind
from unbroken.lab.framing import frame_in
from unbroken.lab.injectors.at_place import AtPlace, divided
from unbroken.lab.injectors.base import Scene, Spec
from unbroken.lab.parts import Ending, Head, Part, Piece, Stop

__all__ = ["Cut"]

_ENDINGS: dict[str, Ending] = {"fin": "fin", "rst": "rst", "close": "fin"}


class Cut(AtPlace):
    """Ends the body at a place.

    ``clean`` is what proxies make of a crash: a proper end of the body. ``close`` is the same
    without any framing, so that nobody below the dialect could know. ``half-line`` and
    ``half-utf8`` end it cleanly inside the next frame, and inside the next letter of several
    bytes.
    """

    name = "cut"
    summary = "the body ends: cleanly, by FIN or RST in mid-body, or inside a frame or letter"
    kind = FaultKind.TRUNCATED_BETWEEN_EVENTS
    kinds: ClassVar[Mapping[str, str]] = {
        "fin": FaultKind.CONNECTION_RESET,
        "rst": FaultKind.CONNECTION_RESET,
        "half-line": FaultKind.TRUNCATED_MID_EVENT,
        "half-utf8": FaultKind.TRUNCATED_MID_EVENT,
    }
    hows: ClassVar[tuple[str, ...]] = ("clean", "fin", "rst", "close", "half-line", "half-utf8")

    def __init__(self, spec: Spec, scene: Scene) -> None:
        super().__init__(spec, scene)
        self.between_frames = self.how.startswith("half")
        self._armed = False
        halves = self.between_frames and scene.healthy is not None
        if halves and not any(map(self._half_way, self.behind())):
            what = "letter of several bytes" if self.how == "half-utf8" else "frame"
            self.refuse(f"there is no {what} behind that place")

    @classmethod
    def hows_in(cls, dialect: str) -> tuple[str, ...]:
        """Leave out letters where all is base64."""
        known = super().hows_in(dialect)
        return known if dialect != "bedrock-invoke" else known[:-1]

    def head(self, head: Head) -> Head:
        """Take all framing away, if nobody is to know that more was to come."""
        if self.how == "close" and head.framing != "raw":
            head.framing = "close"
        return head

    def strike(self, rest: Piece | None) -> Iterable[Part]:
        """Stop, or wait for what can be cut in half."""
        if not self.between_frames:
            self.struck()
            yield Stop(_ENDINGS.get(self.how, "clean"))
            return
        self._armed = True
        if rest is not None:
            yield from self.after(rest)

    def after(self, piece: Piece) -> Iterable[Part]:
        """Cut the first piece that can be."""
        piece = self.passed(piece)
        at = self._half_way(piece) if self._armed else 0
        if not at:
            yield piece
            return
        front, _ = divided(piece, at)
        assert front is not None  # at is above 0
        yield front
        self.struck(f"after {at} of the frame's {len(piece.data)} bytes")
        yield Stop("clean")

    def _half_way(self, piece: Piece) -> int:
        """Return where to cut a piece, or 0 if it cannot be."""
        if not piece.event or piece.role not in ("content", "finish", "terminal", "start"):
            return 0
        data = piece.data
        frame = frame_in(self.scene.dialect, data)
        begin = data.find(frame.payload) if frame is not None and frame.payload in data else 0
        if self.how == "half-utf8":  # an AWS message has such bytes around its payload too
            end = begin + len(frame.payload) if frame is not None else 0
            return next((at + 1 for at in range(begin, end) if data[at] >= 0xC2), 0)
        at = begin + max(len(frame.payload) // 2, 1) if frame is not None else len(data) // 2
        while at > 1 and 0x80 <= data[at] < 0xC0:
            at -= 1
        return at
