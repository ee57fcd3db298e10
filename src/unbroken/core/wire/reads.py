"""A large read, cut so that most of it is a run of frames that are alike."""

from __future__ import annotations

__all__ = ["ends_apart"]

_LARGE_BYTES = 4096
_BLOCKS = 4
"""More than what stands before the first piece of text, or behind the last, in any dialect."""


def ends_apart(data: bytes) -> list[bytes]:
    """Return a read in one part; a large one of many SSE blocks in three.

    What begins an answer and what ends it is not like the text between, which is all that can be
    read as a run. An upstream that is faster than its reader sends all of it in one read. How bytes
    are cut changes nothing but the speed.
    """
    if len(data) < _LARGE_BYTES:
        return [data]
    begin, end = 0, len(data)
    for _ in range(_BLOCKS):
        begin = data.find(b"\n\n", begin) + 2
        if begin == 1:
            return [data]
    for _ in range(_BLOCKS):
        end = data.rfind(b"\n\n", begin, end)
        if end < 0:
            return [data]
    return [data[:begin], data[begin : end + 2], data[end + 2 :]]
