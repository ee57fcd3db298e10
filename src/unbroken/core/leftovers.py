"""What a client of the wire would drop: blocks without data, and a last frame left open.

Providers have put errors in the first, and some servers leave out the line ends that close the
last frame of a good answer.
"""

from __future__ import annotations

import msgspec

from unbroken.core.dialects.base import MalformedPayloadError, Reader
from unbroken.core.events import Event
from unbroken.core.frames import Frame
from unbroken.core.problems import error_in
from unbroken.core.wire import Decoder

__all__ = ["closed", "is_whole", "said_beside"]


def said_beside(frame: Frame, reader: Reader) -> list[Event]:
    """Return what a block without data says: an error in its unknown fields, or nothing."""
    if not frame.unknown:
        return []
    try:
        events = reader.read(frame)
    except MalformedPayloadError:
        events = []
    if not events and (found := error_in(frame.raw)):
        events = [found]
    return events


def closed(decoder: Decoder, pending: bytes) -> Frame | None:
    """Return the frame that a body of SSE ended in, closed; None if there is none.

    Args:
        decoder: A decoder in the middle of the frame; it is used up.
        pending: The bytes of the frame.
    """
    frames = decoder.blocks(b"\n\n")
    if not frames:
        return None
    # The line ends that it lacks are put behind it: an SDK drops a frame without them.
    missing = b"\n" if pending.endswith(b"\n") else b"\n\n"
    return msgspec.structs.replace(frames[0], raw=pending + missing)


def is_whole(frame: Frame, reader: Reader) -> bool:
    """Whether a frame that was left open lacks only its closing line ends."""
    if not frame.payload.strip().endswith((b"}", b"]")):  # ``[DONE]`` ends so too
        return False
    try:
        reader.fork().read(frame)
    except MalformedPayloadError:
        return False
    return True
