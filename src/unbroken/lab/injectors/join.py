"""Two frames in one, as relays make them that lose a line end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

from unbroken.core.faults import FaultKind
from unbroken.lab.framing import is_array, payload_of, wire_of, with_payload
from unbroken.lab.injectors.at_place import OnFrames
from unbroken.lab.injectors.base import Scene, Spec
from unbroken.lab.parts import Part, Piece, Stop

__all__ = ["Join"]


class Join(OnFrames):
    """Puts the payloads of two content frames into one frame.

    ``objects``: one behind the other. ``lines``: as two ``data`` lines of one event.
    """

    name = "join"
    summary = "two content frames become one: objects side by side, or two data lines of an event"
    kind = FaultKind.MALFORMED_JSON
    hows: ClassVar[tuple[str, ...]] = ("objects", "lines")

    def __init__(self, spec: Spec, scene: Scene) -> None:
        super().__init__(spec, scene)
        self._held: Piece | None = None
        content = [piece for piece in self.behind() if piece.role == "content"]
        if scene.healthy is not None and len(content) < 2:
            self.refuse("there are no two content frames behind that place")

    @classmethod
    def hows_in(cls, dialect: str) -> tuple[str, ...]:
        """Leave out lines where frames have none."""
        return cls.hows if wire_of(dialect) == "sse" else cls.hows[:1]

    @classmethod
    def kind_for(cls, how: str, dialect: str) -> str:
        """Elements of an array are told apart without the comma too."""
        return "" if is_array(dialect) else cls.kind

    def strike_frame(self, piece: Piece) -> Iterable[Part]:
        """Hold the frame until the other comes."""
        if self._held is None:
            self._held = piece
            return
        yield from self._joined(piece)

    def pass_frame(self, piece: Piece) -> Iterable[Part]:
        """Join the frame if it is the other; a frame that is none gives the held one free."""
        if self._held is not None and piece.role == "content":
            yield from self._joined(piece)
            return
        yield from self._free()
        yield piece

    def _joined(self, piece: Piece) -> Iterable[Part]:
        held, self._held = self._held, None
        assert held is not None  # both callers looked
        dialect = self.scene.dialect
        between = b"\n" if self.how == "lines" else b""
        both = between.join(payload_of(dialect, one.data) for one in (held, piece))
        self.struck()
        yield replace(piece, data=with_payload(dialect, held.data, both))

    def feed(self, part: Part) -> Iterable[Part]:
        """Let go of what is held before the body stops."""
        if isinstance(part, Stop):
            yield from self._free()
        yield from super().feed(part)

    def close(self) -> Iterable[Part]:
        """Let go of what is held at the end."""
        yield from self._free()

    def _free(self) -> Iterable[Part]:
        held, self._held = self._held, None
        if held is not None:
            yield held
