"""A recorded body, cut into other reads than it came in.

What a piece holds is there when its last byte had come, so a piece never goes out before its time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

from unbroken.core.recording import Read
from unbroken.core.wire import Decoder, Wire, decoder_for

__all__ = ["Cut", "Piece", "pieces_of", "read_cut"]

Cut: TypeAlias = Literal["reads", "frames", "bytes"] | int
"""As it was recorded; a frame at a time; a byte at a time; or every so many bytes."""

Piece: TypeAlias = tuple[float, bytes]
"""When it came, in the recording's seconds, and what."""

_WORDS: dict[str, Cut] = {"reads": "reads", "frames": "frames", "bytes": "bytes"}
_MOST_FRAME_BYTES = 1 << 30


def read_cut(text: str) -> Cut:
    """Return what a word or a number says.

    Raises:
        ValueError: If it is none.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text.isdecimal() and int(text) > 0:
        return int(text)
    msg = f"a cut is reads, frames, bytes, or a number of bytes above 0, not {text!r}"
    raise ValueError(msg)


def pieces_of(reads: Iterable[Read], cut: Cut, wire: Wire = "sse") -> Iterator[Piece]:
    """Yield a body's bytes piece by piece; joined they are the body.

    Args:
        reads: They, in order; those of which only the size was kept have no bytes to give.
        cut: How to cut.
        wire: How the body is framed, for frames.
    """
    whole = ((read.at_s, data) for read in reads if (data := read.data))
    if cut == "reads":
        return whole
    if cut == "bytes":
        return _by_size(whole, 1)
    if cut == "frames":
        return _by_frames(whole, decoder_for(wire, max_frame_bytes=_MOST_FRAME_BYTES))
    return _by_size(whole, cut)


def _by_size(pieces: Iterable[Piece], size: int) -> Iterator[Piece]:
    kept = bytearray()
    at_s = 0.0
    for at_s, data in pieces:
        kept += data
        whole = len(kept) - len(kept) % size
        for start in range(0, whole, size):
            yield at_s, bytes(kept[start : start + size])
        del kept[:whole]
    if kept:
        yield at_s, bytes(kept)


def _by_frames(pieces: Iterable[Piece], decoder: Decoder) -> Iterator[Piece]:
    """Cut behind each frame and comment; other blocks that say nothing go with the next one."""
    kept = bytearray()  # ours, since a decoder that has given up keeps nothing
    given = 0
    at_s = 0.0
    for at_s, data in pieces:
        kept += data
        for frame in decoder.blocks(data):
            if frame.dispatched or frame.raw.lstrip()[:1] == b":":
                size = frame.offset + len(frame.raw) - given
                yield at_s, bytes(kept[:size])
                del kept[:size]
                given += size
        if decoder.stopped and kept:
            yield at_s, bytes(kept)
            given += len(kept)
            kept.clear()
    if kept:
        yield at_s, bytes(kept)
