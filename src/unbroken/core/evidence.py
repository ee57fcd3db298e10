"""Evidence: the last frames of an attempt, for who must see at what it failed.

Kept only where the user asked for it, as references to bytes that are there anyway; they are
cut up and redacted when the attempt fails.
"""

from __future__ import annotations

from collections import deque

from unbroken.core.frames import Frame
from unbroken.core.redact import MAX_SHOWN_BYTES, Redactor
from unbroken.core.wire import Wire, decoder_for

__all__ = ["Evidence"]

_FRAMES = 3
"""The frame at which it failed, and two before it."""


class Evidence:
    """Remember the last frames of one attempt.

    Args:
        wire: How they are framed.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._last: deque[tuple[bytes, int]] = deque(maxlen=_FRAMES)
        """Beginning and size of a frame; of a read of several frames all, and 0."""

    def fork(self) -> Evidence:
        """Return an independent copy."""
        copy = Evidence(self._wire)
        copy._last = self._last.copy()
        return copy

    def add(self, frame: Frame) -> None:
        """A frame came."""
        raw = frame.payload if self._wire == "aws-event-stream" else frame.raw
        self._last.append((raw[:MAX_SHOWN_BYTES], len(raw)))

    def add_run(self, body: bytes) -> None:
        """A read of nothing but text came: cut into frames only if it proves to be among the last.

        Args:
            body: Whole frames.
        """
        self._last.append((body, 0))

    def show(self, redactor: Redactor, *, pending: bytes = b"") -> list[str]:
        """Return what may be shown of the last frames, in order.

        Args:
            redactor: Removes what may not.
            pending: A last frame that is not whole.
        """
        last: list[tuple[bytes, int]] = []
        for raw, size in self._last:
            if size:
                last.append((raw, size))
            else:
                frames = decoder_for(self._wire).feed(raw)[-_FRAMES:]
                last += [(frame.raw, len(frame.raw)) for frame in frames]
        if pending:
            last.append((pending, len(pending)))
        return [redactor.frame(raw, self._wire, size=size) for raw, size in last[-_FRAMES:]]
