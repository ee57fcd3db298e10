"""An upstream's reads, cut into the pieces that faults are counted in.

By the path's dialect, else by the content type and the first frame. What is no stream, or none
that we know, is a piece for each read: then faults at bytes strike, and those at frames do not.
"""

from __future__ import annotations

from collections.abc import Iterator

from unbroken.core.dialects import DIALECTS, framed, recognise_frame
from unbroken.core.dialects.base import Dialect
from unbroken.core.frames import Frame
from unbroken.core.wire import Decoder, Wire, decoder_for
from unbroken.lab.parts import Piece, Role
from unbroken.lab.roles import role_of

__all__ = ["Cutter", "wire_of_type"]

_MOST_FRAME_BYTES = 64 * 1024 * 1024
_WIRES: dict[str, Wire] = {
    "text/event-stream": "sse",
    "application/x-ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "application/vnd.amazon.eventstream": "aws-event-stream",
}


def wire_of_type(content_type: str) -> Wire | None:
    """Return the wire that a content type stands for, or None if it is none of streams."""
    return _WIRES.get(content_type.partition(";")[0].strip().lower())


class Cutter:
    """Cuts one body. Joined, its pieces are the body, whatever the body is.

    Args:
        dialect: That of the request's path, or None.
        content_type: Of the answer.

    Attributes:
        dialect: Name of the dialect, as far as it is known by now; ``""`` if it is not.
    """

    def __init__(self, dialect: Dialect | None, content_type: str) -> None:
        self._known = dialect
        self._type = content_type
        self._decoder: Decoder | None = None
        self._begun = False
        self._held = b""  # what came and is in no piece yet
        self._number = 0
        self._at = 0
        self.dialect = "" if dialect is None else dialect.name

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Yield the pieces that a read completes."""
        if not self._begun:
            self._begun = True
            self._begin(data)
        if self._decoder is None:
            yield self._piece(data, "other", event=False)
            return
        self._held += data
        yield from self._framed(self._decoder.blocks(data))
        if self._decoder.stopped:  # beyond any frame: what is left passes as it comes
            self._decoder = None
            yield from self.rest()

    def close(self) -> Iterator[Piece]:
        """Yield what the proper end of the body completes, and what is left."""
        if self._decoder is not None:
            yield from self._framed(self._decoder.close())
        yield from self.rest()

    def rest(self) -> Iterator[Piece]:
        """Yield what is no whole frame: a body that breaks has it too."""
        data, self._held = self._held, b""
        if data:
            yield self._piece(data, "other", event=False)

    def _begin(self, data: bytes) -> None:
        wire = wire_of_type(self._type)
        if self._known is not None:
            found = framed(self._known, data)
            # Gemini streams arrays as application/json; any other JSON is one whole answer.
            if wire == found.wire or (wire is None and found.wire == "json-array"):
                self._known, self.dialect, wire = found, found.name, found.wire
        if wire is not None:
            self._decoder = decoder_for(wire, max_frame_bytes=_MOST_FRAME_BYTES)

    def _framed(self, frames: list[Frame]) -> Iterator[Piece]:
        for frame in frames:
            self._held = self._held[len(frame.raw) :]
            yield self._piece(frame.raw, self._role(frame), event=frame.dispatched)

    def _role(self, frame: Frame) -> Role:
        if not self.dialect and frame.dispatched:
            found = recognise_frame(frame)
            self.dialect = "" if found is None else found.name
        return role_of(self.dialect, frame) if self.dialect in DIALECTS else "other"

    def _piece(self, data: bytes, role: Role, *, event: bool) -> Piece:
        piece = Piece(data, role, frame=self._number, at_byte=self._at, event=event)
        self._number += 1
        self._at += len(data)
        return piece
