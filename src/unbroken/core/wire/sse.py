r"""Server-sent events, as WHATWG interprets an event stream (HTML Living Standard 9.2.6).

Theory of operation. A *block* is what lies between blank lines. The decoder looks for the
end of a block only; the fields of a block are read once, when it is whole. So the state
between two reads is the bytes of one unfinished block, and nothing is ever scanned twice.

The three line ends make the end of a block ambiguous: a CR may be followed by an LF that
belongs to it. The rule, which depends on the bytes before and never on the cuts:

- The blank line is LF or CRLF: the block ends with it, and is given out at once.
- The blank line begins with CR, and the line before it ended in LF or CRLF (Gemini's
  ``\r\n\r\n``): the decoder waits for one byte more. An LF belongs to this block and ends
  it; before any other byte the block ends. The end of the body (`close`) ends it too.
- The blank line begins with CR, and the line before it ended in a lone CR: this is a
  stream of lone CRs, and nobody should wait for an LF that never comes. The block ends at
  once; should an LF follow after all, it becomes the first byte of the next block's `raw`,
  where it means nothing.

Two readings that surprise: ``data:`` and ``data`` append the empty string and a LF to the
data buffer, which therefore is not empty, so that the block *is* dispatched, with empty
data (9.2.6: "if the data buffer is an empty string ... return" comes before the last LF is
removed). And an `id` counts from its block's blank line on, also if it dispatches nothing.
"""

from __future__ import annotations

import re

from unbroken.core.frames import Frame
from unbroken.core.wire._sse_uniform import uniform_frames, uniform_payloads
from unbroken.core.wire._state import BOM, DEFAULT_MAX_FRAME_BYTES, DecoderState, Run, repair

__all__ = ["SSEDecoder", "encode_sse"]

_LF, _COLON, _SPACE = b"\n: "

# A line end and the blank line after it, by the rule above. An LF always ends a line,
# alone or as the second half of a CRLF, so that CRLF needs no branch in front.
_BLANK = re.compile(rb"\n\n|\n\r\n?|\r\r")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_FIELDS = frozenset({b"data", b"event", b"id", b"retry"})

# Above this, a frame's copies cost more than its lines.
_LARGE_FRAME_BYTES = 64 * 1024

# More digits than any clock counts; int() itself refuses more than some thousands.
_MAX_RETRY_DIGITS = 18


class SSEDecoder(DecoderState):
    """Turn the bytes of an event stream into frames, exactly as WHATWG says.

    Bytes that are not UTF-8 become U+FFFD and an ``invalid-utf8`` fault. A block larger
    than ``max_frame_bytes`` is an ``oversized-event`` fault and ends the decoding: later
    data is ignored. Nothing is raised for what the bytes hold.

    Args:
        max_frame_bytes: Largest block in bytes, line ends and comments included. Memory
            stays below about six times this, plus one read.

    Raises:
        ValueError: If ``max_frame_bytes`` is less than 1.
    """

    __slots__ = ("_hold", "_last_id", "_previous", "_retry_ms")
    never_begins = b"<{["

    def __init__(self, *, max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES) -> None:
        super().__init__(max_frame_bytes=max_frame_bytes)
        # The last byte before pending: a line end, for a block and the body start with a line.
        self._previous = b"\n"
        self._hold = False  # pending is a whole block, unless an LF follows
        self._last_id = ""
        self._retry_ms: int | None = None

    @property
    def last_event_id(self) -> str:
        """The last event id in force, also if set by a block that dispatched nothing."""
        return self._last_id

    @property
    def retry_ms(self) -> int | None:
        """The reconnection time last set, in milliseconds; None if none was."""
        return self._retry_ms

    @property
    def mid_event(self) -> bool:
        """Whether `pending` holds a field or half a line, rather than whole comments only."""
        if self._overrun:
            return True
        *whole, rest = self._pending_lines()
        return bool(rest) or any(line and line[0] != _COLON for line in whole)

    @property
    def leftover_unknown(self) -> tuple[str, ...]:
        """Lines with undefined field names in `pending`, also half a line that has a colon.

        Evidence only: llama.cpp has ended bodies in a field ``error:``.
        """
        *whole, rest = self._pending_lines()
        if b":" in rest:  # without one it may be the beginning of any field
            whole.append(rest)
        return tuple(
            line.decode("utf-8", "replace")
            for line in whole
            if line and line[0] != _COLON and line.partition(b":")[0] not in _FIELDS
        )

    def blocks(self, data: bytes) -> list[Frame]:
        """Return every block that this read completes, dispatched or not.

        What WHATWG does not dispatch (comments, events without data, unknown fields, blank
        lines) has ``dispatched=False``: a relay passes the `raw` of all of them on.

        Raises:
            ValueError: If the decoder is closed.
        """
        pending = self._pending
        if b"\n" not in data and b"\r" not in data:
            if self._hold or self._closed or self._overrun:
                return self._scan(data)
            pending += data  # within a line: nothing can end here
            if len(pending) > self._max_frame_bytes:
                self._breach()
            return []
        if self._hold or self._closed or self._overrun:
            return self._scan(data)

        # The fast path: all whole blocks of the read at once, if they look alike. Its first
        # case, one event a read, is what a server sends that flushes each event.
        if (
            not pending
            and data[-2:] == b"\n\n"
            and data[:6] == b"data: "
            and data.find(b"\n") == len(data) - 2
            and b"\r" not in data
            and data.isascii()
            and len(data) <= self._max_frame_bytes
        ):
            frame = Frame("message", data[6:-2], self._last_id, None, data, self._offset)
            self._offset += len(data)
            self._dispatched += 1
            self._previous = b"\n"
            self._quiet = False
            return [frame]
        end = data.rfind(b"\n\n") + 2
        if end == 1:
            end = data.rfind(b"\r\n\r\n") + 4
            if end == 3:
                # Perhaps only the blank line is in this read, the rest of its block before.
                if data[0] != _LF or pending[-1:] != b"\n":
                    return self._scan(data)
                end = 1
        body = data if end == len(data) else data[:end]
        if pending:
            if len(pending) > _LARGE_FRAME_BYTES:  # one frame is no run: spare it the copies
                return self._scan(data)
            body = b"".join((pending, body))
        if len(body) > self._max_frame_bytes:  # some block may be too large: look at each
            return self._scan(data)
        frames = uniform_frames(body, self._offset, self._last_id)
        if frames is None:
            return self._scan(data)
        pending.clear()
        self._offset += len(body)
        self._dispatched += len(frames)
        self._previous = b"\n"
        self._quiet = False
        if end != len(data):
            rest = data[end:]
            if b"\r" in rest:
                frames += self._scan(rest)
            else:  # no blank line in it, or `end` would lie behind that
                pending += rest
                if len(pending) > self._max_frame_bytes:
                    self._breach()
        return frames

    def run(self, data: bytes) -> Run | None:
        """Return the read as a run of blocks of one shape, or None; see `DecoderState.run`."""
        end = data.rfind(b"\n\n") + 2
        if end == 1 or self._hold or self._closed or self._overrun or b"\r" in data:
            return None
        body = data if end == len(data) else data[:end]
        if self._pending:
            if len(self._pending) > _LARGE_FRAME_BYTES or b"\r" in self._pending:
                return None
            body = b"".join((self._pending, body))
        rest = data[end:]
        if len(body) > self._max_frame_bytes or len(rest) > self._max_frame_bytes:
            return None
        payloads = uniform_payloads(body)
        return None if payloads is None else Run(body, payloads, rest)

    def take(self, run: Run) -> None:
        """Take a read that `run` gave back."""
        self._offset += len(run.body)
        self._dispatched += len(run.payloads)
        self._pending[:] = run.rest
        self._previous = b"\n"
        self._quiet = False

    def close(self) -> list[Frame]:
        """Say that the body ended.

        Returns:
            Nothing, as a rule: an unterminated block is dropped (WHATWG) and stays in
            `pending`. One frame if the body ended in the CR of a blank line.
        """
        frames: list[Frame] = []
        if self._hold and not self._closed and not self._overrun:
            self._hold = False
            raw = bytes(self._pending)
            frame = self._block(raw)
            if frame.dispatched:
                frames.append(frame)
                self._pending.clear()
            else:
                self._offset -= len(raw)  # nothing to hand out: its bytes stay pending
        self._closed = True
        return frames

    def _scan(self, data: bytes) -> list[Frame]:
        """Find the blocks one by one, by the rule in the module's docstring."""
        frames: list[Frame] = []
        self._quiet = False
        if self._closed or self._overrun or not data:
            self._refuse_if_closed()
            return frames
        # A blank line shows only beside the line end before it.
        window = (bytes(self._pending[-1:]) or self._previous) + data
        start = 1  # of the current block's bytes in this read
        if self._hold:
            self._hold = False
            start = 2 if window[1] == _LF else 1
            if not self._end_block(window[1:start], frames):
                return frames
        has_cr = b"\r" in window
        at = start - 1
        while True:
            if has_cr:
                blank = _BLANK.search(window, at)
                if blank is None:
                    break
                end = blank.end()
                if end == len(window) and blank[0] == b"\n\r":
                    self._hold = True
                    break
            else:
                end = window.find(b"\n\n", at) + 2
                if end == 1:
                    break
            if not self._end_block(window[start:end], frames):
                return frames
            start, at = end, end - 1
        self._previous = window[-1:]
        if start < len(window):
            self._keep(window[start:])
        return frames

    def _end_block(self, tail: bytes, frames: list[Frame]) -> bool:
        raw = self._take(tail)
        if raw is None:
            return False
        frames.append(self._block(raw))
        return True

    def _block(self, raw: bytes) -> Frame:
        """Read the fields of a whole block and move past it."""
        bad_at = self._check_utf8(raw)
        offset = self._offset
        self._offset += len(raw)
        if offset == 0 and raw.startswith(BOM):
            lines = _split_lines(raw[len(BOM) :])
        else:
            lines = _split_lines(raw)
        event = ""
        data: list[bytes] = []
        retry: int | None = None
        unknown: list[str] = []
        for line in lines:
            if not line or line[0] == _COLON:
                continue
            if line.startswith(b"data: "):  # one copy less than by partition, where it is large
                data.append(line[6:])
                continue
            name, _, value = line.partition(b":")
            if value and value[0] == _SPACE:
                value = value[1:]
            if name == b"data":
                data.append(value)
            elif name == b"event":
                event = value.decode("utf-8", "replace")
            elif name == b"id":
                if b"\0" not in value:
                    self._last_id = value.decode("utf-8", "replace")
            elif name == b"retry":
                # bytes.isdigit is ASCII only, as the standard asks
                if value.isdigit() and len(value) <= _MAX_RETRY_DIGITS:
                    self._retry_ms = retry = int(value)
            else:
                unknown.append(line.decode("utf-8", "replace"))
        payload = b"\n".join(data)
        if data:
            self._dispatched += 1
        else:
            self._quiet = True
        return Frame(
            event or "message",
            payload if bad_at is None else repair(payload),
            self._last_id,
            retry,
            raw,
            offset,
            bool(data),
            tuple(unknown),
            undecodable_at=bad_at,
        )

    def _pending_lines(self) -> list[bytes]:
        raw = bytes(self._pending)
        return _split_lines(raw[len(BOM) :] if not self._offset and raw.startswith(BOM) else raw)


def _split_lines(raw: bytes) -> list[bytes]:
    # Not splitlines(): LF, CR and CRLF only, and what follows the last one is kept apart.
    return _LINE_END.split(raw) if b"\r" in raw else raw.split(b"\n")


def encode_sse(
    data: bytes | str,
    *,
    event: str | None = None,
    id: str | None = None,
    retry: int | None = None,
    comment: str | None = None,
) -> bytes:
    """Write one event as SDKs read it best: one space after the colon, LF line ends.

    Args:
        data: UTF-8; each line of it (LF) becomes one ``data:`` line.
        event: Its name; None writes no ``event:`` line.
        id: The event id; ``""`` resets it, None writes no ``id:`` line.
        retry: Reconnection time in milliseconds.
        comment: Written before the event, one line per line.

    Returns:
        The block with its blank line. Decoded, it gives the same values back.

    Raises:
        ValueError: If `event` or `id` holds LF, CR or NUL, if `data` or `comment` holds a
            CR (no event stream can carry one), or if `retry` is negative.
    """
    payload = data.encode() if isinstance(data, str) else data
    lines: list[bytes] = []
    if comment is not None:
        lines += [b": " + line for line in _lines_of(comment.encode(), "comment")]
    for name, value in (("event", event), ("id", id)):
        if value is None:
            continue
        if "\n" in value or "\r" in value or "\0" in value:
            msg = f"{name} must not hold a line end or NUL"
            raise ValueError(msg)
        lines.append(f"{name}: {value}".encode())
    if retry is not None:
        if retry < 0:
            msg = f"retry must be at least 0 ms, not {retry}"
            raise ValueError(msg)
        lines.append(b"retry: %d" % retry)
    lines += [b"data: " + line for line in _lines_of(payload, "data")]
    return b"\n".join(lines) + b"\n\n"


def _lines_of(value: bytes, name: str) -> list[bytes]:
    if b"\r" in value:
        msg = f"{name} must not hold a CR: an event stream would turn it into a line end"
        raise ValueError(msg)
    return value.split(b"\n")
