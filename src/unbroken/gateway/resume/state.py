"""What a consumer must have been told before it can understand the log from some place on.

Deltas of Anthropic and Responses name a block by its index. A consumer that lost what it had
been told knows no blocks: it needs the frames that began the answer and those that opened them.
What is given are frames of the log itself, unchanged and in order:

- those that began the answer;
- those that opened a block, and closed it where it is closed already: SDKs count blocks, so that
  an open block finds its place only behind those before it;
- all frames of tool calls: a part of a call must never look like a call.

Answer text and reasoning from before the place are not said again.
"""

from __future__ import annotations

from unbroken.core.dialects import DIALECTS
from unbroken.core.events import Close, Event, Open, Start, ToolCall
from unbroken.core.frames import Frame
from unbroken.core.wire import decoder_for

__all__ = ["OpenState"]


class OpenState:
    """Reads a log from its beginning and keeps the frames that `prefix` gives back.

    Args:
        dialect: Its name; of an unknown one nothing is kept.
        max_bytes: Most bytes kept; beyond it `overflowed` is set, and `prefix` is empty.
    """

    def __init__(self, dialect: str, *, max_bytes: int = 4 * 1024 * 1024) -> None:
        known = DIALECTS.get(dialect)
        self._explicit = known is not None and known.explicit_blocks
        self._reader = None if known is None else known.reader()
        self._decoder = None if known is None else decoder_for(known.wire)
        self._kept: list[bytes] = []
        self._room = max_bytes
        self.overflowed = False

    def receive(self, data: bytes) -> None:
        """Take the next bytes of the log."""
        if self._decoder is None or self._reader is None or self.overflowed:
            return
        for frame in self._decoder.blocks(data):
            if frame.dispatched and self._wanted(frame, self._reader.read(frame)):
                self._room -= len(frame.raw)
                if self._room < 0:
                    self.overflowed = True
                    self._kept.clear()
                    return
                self._kept.append(frame.raw)

    @property
    def prefix(self) -> bytes:
        """The frames to send before what follows."""
        return b"".join(self._kept)

    def _wanted(self, frame: Frame, events: list[Event]) -> bool:
        if self._explicit:
            return any(isinstance(event, Start | Open | Close | ToolCall) for event in events)
        # Where blocks are not opened by frames of their own, the frame that begins a choice may
        # bring text with it, which would be said twice.
        return any(isinstance(event, ToolCall) for event in events) or (
            any(isinstance(event, Start | Open) for event in events)
            and not any(_says(event) for event in events)
        )


def _says(event: Event) -> bool:
    return bool(getattr(event, "text", ""))
