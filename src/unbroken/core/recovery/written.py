"""What goes out: pieces, and those among them that we wrote.

Frames of ours are cut and read once more by a reader of the consumer's dialect, so that what is
recorded of them is what the consumer makes of them, and not what we meant.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from unbroken.core.dialects.base import Dialect, MalformedPayloadError, Reader
from unbroken.core.events import Event
from unbroken.core.frames import Frame
from unbroken.core.wire import decoder_for

__all__ = ["OwnFrames", "Piece", "Rewriter"]

_NO_LIMIT = 1 << 40  # a frame of ours is as large as what it was made from, which was limited


class Piece(NamedTuple):
    """Bytes ready to be delivered, whole frames, and what they mean."""

    raw: bytes
    frame: Frame | None
    events: list[Event]


class Rewriter(Protocol):
    """What stands between a later attempt and the consumer: a `Splice` or a `Translation`.

    Attributes:
        diverged: Why the attempt does not continue the answer, or None.
        blocked: Whether that was the provider's decision.
    """

    diverged: str | None
    blocked: bool

    @property
    def proven(self) -> bool:
        """Whether the consumer may get what is written from here on."""

    def accept(self, frame: Frame, events: list[Event]) -> list[Piece]:
        """Take one step of the attempt; return what may be delivered."""

    def finish(self) -> list[Piece]:
        """The attempt's end is proven; return what waited for that."""


class OwnFrames:
    """Make pieces of the bytes that we write.

    Args:
        dialect: What the consumer speaks.
        reader: One of that dialect that knows what was delivered already; None: nothing was.
    """

    def __init__(self, dialect: Dialect, reader: Reader | None = None) -> None:
        self._reader = reader or dialect.reader()
        self._decoder = decoder_for(dialect.wire, max_frame_bytes=_NO_LIMIT)

    def pieces(self, written: Iterable[bytes]) -> list[Piece]:
        """Return a piece for each frame, in order."""
        pieces: list[Piece] = []
        for raw in written:
            for frame in self._decoder.blocks(raw):
                try:
                    events = self._reader.read(frame) if frame.dispatched else []
                except MalformedPayloadError:  # our own frame: cannot be, but never raise here
                    events = []
                pieces.append(Piece(frame.raw, frame, events))
        return pieces
