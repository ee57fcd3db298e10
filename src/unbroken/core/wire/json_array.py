"""A streamed JSON array: one frame an element, as soon as its last byte came.

``[`` , blanks and commas belong to `raw` of the element behind them, not to its payload. The
closing ``]`` is a frame of its own, named ``end``: it proves that the array ended, as
``[DONE]`` does elsewhere.

Elements are told apart by counting brackets outside of strings; whether one *is* JSON is for
the dialect to say. Nothing is asked of the places between elements, so that a decoder can also
begin behind one. What the scan has passed is never looked at again: the state is the depth,
and whether the last byte lies in a string or behind a backslash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from unbroken.core.frames import Frame
from unbroken.core.wire._state import DEFAULT_MAX_FRAME_BYTES, DecoderState, repair

__all__ = ["END", "JSONArrayDecoder", "encode_json_array", "in_place"]

END = b"]"
"""The payload of the frame that ends the array."""

# Behind the end each blank is a block of its own, since nothing comes that it could belong to.
_BLANK = b" \t\r\n"
# A byte order mark may stand at the start of a body; its bytes begin no value anywhere.
_BETWEEN = re.compile(rb"[ \t\r\n,\xef\xbb\xbf]*+")
_LEAD = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n,]*+\[?[ \t\r\n]*+")
_LEVEL = re.compile(rb'(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)  # to the next bracket
_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)  # to its end, or to half an escape
_BARE = re.compile(rb'[^ \t\r\n,"{\[\]]*+')  # the rest of a number or word, or of no JSON at all


class JSONArrayDecoder(DecoderState):
    """Turn a JSON array into frames; each `Frame.payload` is one element, the last one ``]``.

    Bytes that are not UTF-8 become U+FFFD and an ``invalid-utf8`` fault. An element larger
    than ``max_frame_bytes`` is an ``oversized-event`` fault and ends the decoding: later
    data is ignored. Nothing is raised for what the bytes hold.

    Args:
        max_frame_bytes: Largest element in bytes, with what stands before it. Memory stays
            below about four times this, plus one read.

    Raises:
        ValueError: If ``max_frame_bytes`` is less than 1.
    """

    __slots__ = ("_begun", "_depth", "_escaped", "_in_array", "_kind", "_lead", "_over")
    never_begins = b"<{"

    def __init__(self, *, max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES) -> None:
        super().__init__(max_frame_bytes=max_frame_bytes)
        self._in_array = False  # its opening bracket has been passed
        self._over = False  # its closing one has been
        self._begun = False  # an element has begun
        self._lead = 0  # bytes of the unfinished frame before its element
        self._kind = b""  # what the scan is in: b"{" a container, b'"' a string, b"0" a bare word
        self._depth = 0
        self._escaped = False

    @property
    def mid_event(self) -> bool:
        """Whether `pending` holds part of an element, rather than what stands between two."""
        return self._overrun or self._begun

    def blocks(self, data: bytes) -> list[Frame]:
        """Return every element that this read completes, and the end of the array.

        Raises:
            ValueError: If the decoder is closed.
        """
        if self._closed or self._overrun or not data:
            self._refuse_if_closed()
            return []
        self._quiet = False
        frames: list[Frame] = []
        start = 0
        for end in self._ends(data):
            raw = self._take(data[start:end])
            if raw is None:
                return frames
            frames.append(self._frame(raw))
            start = end
        if start < len(data):
            self._keep(data[start:])
        return frames

    def close(self) -> list[Frame]:
        """Say that the body ended; an element without its last byte stays in `pending`."""
        self._closed = True
        return []

    def _ends(self, data: bytes) -> Iterator[int]:
        """Yield the positions behind which a frame ends. `_lead` is kept up by the way."""
        at = frame_start = 0
        before = len(self._pending)  # bytes of this frame in earlier reads
        while True:
            if self._over and not before and at == frame_start and data[at : at + 1] in _BLANK:
                if at == len(data):
                    return
                self._kind = b" "
                at = frame_start = at + 1
                yield at
                continue
            if not self._begun:
                at = _BETWEEN.match(data, at).end()  # type: ignore[union-attr]
                if at == len(data):
                    return
                if data[at] == 0x5B and not self._in_array:  # [
                    self._in_array = True
                    at += 1
                    continue
                self._lead = before + at - frame_start
                self._begin(data[at])
                at += 1
            done, at = self._scan(data, at)
            if not done:
                return
            yield at
            before, frame_start = 0, at
            self._begun = False

    def _begin(self, first: int) -> None:
        self._begun, self._over = True, first == 0x5D
        self._depth, self._escaped = 0, False
        if first in b"{[":
            self._kind, self._depth = b"{", 1
        elif first == 0x22:
            self._kind = b'"'
        elif first == 0x5D:
            self._kind = END
            self._in_array = False
        else:
            self._kind = b"0"

    def _scan(self, data: bytes, at: int) -> tuple[bool, int]:
        """Go on through the element; return whether it ended, and where the scan came to."""
        if self._kind == END:
            return True, at
        if self._kind == b"0":
            at = _BARE.match(data, at).end()  # type: ignore[union-attr]
            return at < len(data), at
        while at < len(data):
            if self._kind == b'"':
                if self._escaped:
                    self._escaped = False
                    at += 1
                    continue
                at = _STRING.match(data, at).end()  # type: ignore[union-attr]
                if at == len(data):
                    break
                if data[at] == 0x5C:  # the escape is cut in two
                    self._escaped = True
                    at += 1
                    continue
                at += 1
                if not self._depth:
                    return True, at
                self._kind = b"{"
                continue
            at = _LEVEL.match(data, at).end()  # type: ignore[union-attr]
            if at == len(data):
                break
            if data[at] == 0x22:  # a string that this read does not end
                self._kind = b'"'
            else:
                self._depth += 1 if data[at] in b"{[" else -1
            at += 1
            if not self._depth:
                return True, at
        return False, at

    def _frame(self, raw: bytes) -> Frame:
        if self._kind == b" ":
            self._quiet = True
            self._offset += 1
            return Frame("message", b"", "", None, raw, self._offset - 1, dispatched=False)
        bad_at = self._check_utf8(raw)
        payload = raw[self._lead :]
        offset = self._offset
        self._offset += len(raw)
        self._dispatched += 1
        return Frame(
            "end" if self._kind == END else "message",
            payload if bad_at is None else repair(payload),
            "",
            None,
            raw,
            offset,
            undecodable_at=bad_at,
        )


def encode_json_array(payloads: Iterable[bytes], *, begun: bool = False) -> list[bytes]:
    """Write values as the frames of an array, as Google's servers do.

    Args:
        payloads: JSON values in UTF-8, in order; `END` closes the array.
        begun: Whether elements came before them, so that the first needs a comma and no
            opening bracket.

    Returns:
        One item a frame: joined, with `END` as the last, they are a JSON array.

    Raises:
        ValueError: If a payload is empty or blank.
    """
    frames = []
    for payload in payloads:
        if not payload.strip():
            msg = "payload must hold a value: nothing stands between two commas"
            raise ValueError(msg)
        if payload == END:
            frames.append(b"\n]" if begun else b"[]")
        else:
            frames.append((b"\n,\r\n" if begun else b"[") + payload)
        begun = True
    return frames


def in_place(raw: bytes, *, begun: bool) -> bytes:
    """Return a frame as it must stand where other frames than its own came before it.

    Args:
        raw: The frame, with what stands before its element.
        begun: Whether elements came before it, so that it needs no opening bracket.
    """
    lead = _LEAD.match(raw)
    assert lead is not None
    element = raw[lead.end() :]
    if (b"[" in lead[0]) is not begun or not element:
        return raw
    return encode_json_array([element], begun=begun)[0]
