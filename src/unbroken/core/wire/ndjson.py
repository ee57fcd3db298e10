"""Newline-delimited JSON: one frame a line.

A line ends with LF; a CR before it, a BOM at the start of the body and blanks around the
value belong to `raw`, not to the payload. Blank lines are tolerated and dispatch nothing.
Whether a line *is* JSON is for the dialect to say; only the last one is looked at here,
because without its LF nothing else proves it whole.
"""

from __future__ import annotations

import json
from typing import NoReturn

from unbroken.core.frames import Frame
from unbroken.core.wire._state import BOM, DecoderState, repair

__all__ = ["NDJSONDecoder", "encode_ndjson"]

_BLANKS = b" \t\r"


class NDJSONDecoder(DecoderState):
    """Turn newline-delimited JSON into frames; each `Frame.payload` is one line's value.

    Bytes that are not UTF-8 become U+FFFD and an ``invalid-utf8`` fault. A line larger
    than ``max_frame_bytes`` is an ``oversized-event`` fault and ends the decoding: later
    data is ignored. Nothing is raised for what the bytes hold.

    Args:
        max_frame_bytes: Largest line in bytes, its line end included. Memory stays below
            about six times this, plus one read.

    Raises:
        ValueError: If ``max_frame_bytes`` is less than 1.
    """

    __slots__ = ()

    @property
    def mid_event(self) -> bool:
        """Whether `pending` holds part of a value, rather than blanks only."""
        return self._overrun or bool(self._value_of(bytes(self._pending)))

    def blocks(self, data: bytes) -> list[Frame]:
        """Return every line that this read completes; blank ones have ``dispatched=False``.

        Raises:
            ValueError: If the decoder is closed.
        """
        self._quiet = False
        if self._closed or self._overrun or not data:
            self._refuse_if_closed()
            return []
        if b"\n" not in data:
            self._keep(data)
            return []
        lines = data.split(b"\n")
        rest = lines.pop()
        frames: list[Frame] = []
        for line in lines:
            raw = self._take(line + b"\n")
            if raw is None:
                return frames
            frames.append(self._line(raw))
        if rest:
            self._keep(rest)
        return frames

    def close(self) -> list[Frame]:
        """Say that the body ended.

        Returns:
            The unterminated last line, if it is a whole JSON value (Ollama ends without an
            LF). A bare number is not taken for whole, since digits may be missing. What is
            not handed out stays in `pending`.
        """
        frames: list[Frame] = []
        if not self._closed and not self._overrun and self._pending:
            raw = bytes(self._pending)
            if _is_whole(self._value_of(raw)):
                self._pending.clear()
                frames.append(self._line(raw))
        self._closed = True
        return frames

    def _line(self, raw: bytes) -> Frame:
        bad_at = self._check_utf8(raw)
        offset = self._offset
        payload = self._value_of(raw)
        self._offset += len(raw)
        if payload:
            self._dispatched += 1
        else:
            self._quiet = True
        return Frame(
            "message",
            payload if bad_at is None else repair(payload),
            "",
            None,
            raw,
            offset,
            bool(payload),
            undecodable_at=bad_at,
        )

    def _value_of(self, raw: bytes) -> bytes:
        """The line that starts at `_offset`, without line end, blanks and BOM."""
        if self._offset == 0:
            raw = raw.removeprefix(BOM)
        return raw.removesuffix(b"\n").strip(_BLANKS)


def _is_whole(value: bytes) -> bool:
    if not value or value[:1] in b"-0123456789":
        return False
    try:
        # Numbers stay text: int() refuses very long ones, which are JSON all the same.
        json.loads(
            value.decode("utf-8", "replace"),
            parse_int=str,
            parse_float=str,
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError):
        return False
    return True


def _refuse_constant(name: str) -> NoReturn:
    msg = f"{name} is not JSON"
    raise ValueError(msg)


def encode_ndjson(payload: bytes) -> bytes:
    """Write one value as a line.

    Args:
        payload: One JSON value in UTF-8, on one line. Blanks around it are not kept by
            who decodes it.

    Raises:
        ValueError: If `payload` holds an LF, or nothing but blanks.
    """
    if b"\n" in payload:
        msg = "payload must not hold a line end: write the value on one line"
        raise ValueError(msg)
    if not payload.strip(_BLANKS):
        msg = "payload must hold a value: a blank line dispatches nothing"
        raise ValueError(msg)
    return payload + b"\n"
