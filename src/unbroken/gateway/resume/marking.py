r"""Event ids, put on an SSE body for one reader.

Every block that has data gets the line ``id: POSITION``, where the position is the place after
the block. Nothing else changes: without these lines the body is the log again, byte for byte.

The line goes before the block's first line, so that a block never waits for it. Some providers
number their events by ``id:`` themselves; theirs stays, and ours goes behind it, right before the
blank line, since the last one counts.

What must not happen is that an id comes into force before its block did: a client that is cut off
there would skip the block. So a line is never put where a blank line follows at once.
"""

from __future__ import annotations

import re

from unbroken.core.wire import SSEDecoder

__all__ = ["PROBE_BYTES", "Marker", "ends_block"]

_BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BLOCK_END = re.compile(rb"(?:\n|\r)(?:\n|\r\n?)\Z")

PROBE_BYTES = 4
"""Bytes before a place that `ends_block` looks at: a blank line and the line end before it."""

# A frame was held whole by the core before it was delivered: its limit is not ours to set again.
_NO_LIMIT = 1 << 62


def ends_block(before: bytes) -> bool:
    """Whether a place is the end of an SSE block, by the `PROBE_BYTES` before it.

    With fewer bytes than that they are the body's first ones; its beginning is such a place too.
    """
    if not before:
        return True
    if len(before) < PROBE_BYTES:
        before = b"\n" + before  # the body begins with a line
    # The LF of a CRLF ends no line of its own: "data: x\r" and "\n" are one line end.
    return _BLOCK_END.search(before.replace(b"\r\n", b"\n")) is not None


class Marker:
    """Puts ids on what one reader is given.

    On other wires than SSE everything passes unchanged.

    Args:
        wire: The body's wire, as `unbroken.core.wire.Wire` names them.
        epoch: Of the log.
        offset: Where in the log the reader begins: the end of a block.

    Attributes:
        offset: Place in the log after the last whole block that was given out.
    """

    __slots__ = ("_decoder", "_prefix", "_sse", "offset")

    def __init__(self, wire: str, epoch: int, offset: int) -> None:
        self._sse = wire == "sse"
        self._prefix = b"id: %d-" % epoch
        self._decoder: SSEDecoder | None = None  # set while the slow path has a part of a block
        self.offset = offset

    @property
    def between_blocks(self) -> bool:
        """Whether all that was put in has come out, so that a heartbeat may follow."""
        return self._decoder is None

    def mark(self, data: bytes) -> bytes:
        """Return the next bytes of the log with ids; part of a block waits for its rest."""
        if not self._sse:
            self.offset += len(data)
            return data
        if (
            self._decoder is not None
            or data[-2:] != b"\n\n"
            or b"\r" in data
            or b"\n\n\n" in data
            or b"\nid" in data
            or data[:2] in (b"id", b"\xef\xbb")
            or data[:1] == b"\n"
        ):
            return self._mark_slowly(data)
        offset, prefix = self.offset, self._prefix
        if data.find(b"\n\n") == len(data) - 2:  # one block a read: a server that flushes each
            self.offset = offset + len(data)
            if _has_data(data):
                return b"%b%d\n%b" % (prefix, self.offset, data)
            return data
        blocks = data.split(b"\n\n")
        blocks.pop()
        for at, block in enumerate(blocks):
            offset += len(block) + 2
            if _has_data(block):
                blocks[at] = b"%b%d\n%b" % (prefix, offset, block)
        self.offset = offset
        blocks.append(b"")
        return b"\n\n".join(blocks)

    def close(self) -> bytes:
        """Return what is left of a body that ended within a block; it gets no id."""
        decoder, self._decoder = self._decoder, None
        if decoder is None:
            return b""
        rest = [self._mark_block(frame.raw) for frame in decoder.close()]
        rest.append(decoder.pending)
        self.offset += len(rest[-1])
        return b"".join(rest)

    def _mark_slowly(self, data: bytes) -> bytes:
        decoder = self._decoder
        if decoder is None:
            decoder = self._decoder = SSEDecoder(max_frame_bytes=_NO_LIMIT)
        marked = b"".join([self._mark_block(frame.raw) for frame in decoder.blocks(data)])
        if not decoder.pending:
            self._decoder = None
        decoder.take_faults()
        return marked

    def _mark_block(self, raw: bytes) -> bytes:
        begin = len(_BOM) if self.offset == 0 and raw.startswith(_BOM) else 0
        self.offset += len(raw)
        # Line ends in front: behind a byte order mark, or an LF that came when a block of lone
        # CRs had ended already.
        while raw[begin : begin + 1] in (b"\n", b"\r"):
            begin += 1
        lines = _LINE_END.split(raw[begin:])
        if not any(line == b"data" or line.startswith(b"data:") for line in lines):
            return raw
        if any(line == b"id" or line.startswith(b"id:") for line in lines):
            begin = len(raw) - (2 if raw.endswith(b"\r\n") else 1)
        return b"%b%b%d\n%b" % (raw[:begin], self._prefix, self.offset, raw[begin:])


def _has_data(block: bytes) -> bool:
    if block.startswith(b"data:") or b"\ndata:" in block:
        return True
    # A field name without a colon is a field with an empty value.
    return (block.startswith(b"data") or b"\ndata" in block) and b"data" in block.split(b"\n")
