"""AWS event-stream: binary messages with lengths, headers and two checksums.

::

    total length u32 | headers length u32 | CRC32 of these 8 bytes     the prelude
    headers: (name length u8, name, type u8, value)*
    payload
    CRC32 of all before it

All numbers are big-endian. A checksum that is wrong, or a length that no message can have,
means that bytes were lost or changed on the way: nothing after it can be trusted, no byte of
that message is delivered, and the decoding ends.
"""

from __future__ import annotations

import json
import struct
import zlib
from functools import lru_cache
from typing import NamedTuple

from unbroken.core.faults import Fault, FaultKind
from unbroken.core.frames import Frame
from unbroken.core.wire._state import DEFAULT_MAX_FRAME_BYTES, DecoderState, repair

__all__ = ["AWSEventStreamDecoder", "HeaderValue", "encode_aws_event_stream", "headers_of"]

HeaderValue = bool | int | str | bytes

_PRELUDE = struct.Struct(">III")
_CRC = struct.Struct(">I")
_OVERHEAD = _PRELUDE.size + _CRC.size
_MAX_HEADERS_BYTES = 128 * 1024
_MAX_PAYLOAD_BYTES = 24 * 1024 * 1024

_REPEATED_BYTES = 512
"""Headers up to here are worth remembering: what is remembered must be bounded."""

_FAILURES = ("exception", "error")


class AWSEventStreamDecoder(DecoderState):
    """Turn AWS event-stream messages into frames.

    `Frame.event` is the message's ``:event-type``; of an exception or error its name, and then
    `Frame.failure` is True. `Frame.payload` is the payload; of an error without one, its words
    as ``{"message": ...}``.

    A wrong checksum or an impossible length is a ``protocol-violation``, a message larger than
    ``max_frame_bytes`` an ``oversized-event``; both are told as soon as the bytes that show
    them came, and end the decoding: later data is ignored. Nothing is raised for what the
    bytes hold.

    Args:
        max_frame_bytes: Largest message in bytes, all told. Memory stays below about four
            times this, plus one read.

    Raises:
        ValueError: If ``max_frame_bytes`` is less than 1.
    """

    __slots__ = ("_need",)
    # The first byte of a length is 0 or 1. All else is broken; these say what came instead.
    never_begins = b"<{["

    def __init__(self, *, max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES) -> None:
        super().__init__(max_frame_bytes=max_frame_bytes)
        self._need = _PRELUDE.size  # bytes of the unfinished message before the next look at it

    @property
    def pending(self) -> bytes:
        """The bytes of the message that is not whole; still there after `close`.

        Of a message for which the decoding ended: its prelude, or all of it if its last
        checksum or its headers were wrong.
        """
        return bytes(self._pending)

    @property
    def mid_event(self) -> bool:
        """Whether `pending` holds part of a message: all bytes are part of one."""
        return bool(self._pending)

    def blocks(self, data: bytes) -> list[Frame]:
        """Return every message that this read completes.

        Raises:
            ValueError: If the decoder is closed.
        """
        if self._closed or self._overrun or not data:
            self._refuse_if_closed()
            return []
        if self._pending:
            self._pending += data
            if len(self._pending) < self._need:
                return []
            data = bytes(self._pending)
            self._pending.clear()
        frames: list[Frame] = []
        at = 0
        while True:
            self._need = _PRELUDE.size
            if len(data) - at < _PRELUDE.size:
                break
            total, headers_bytes, crc = _PRELUDE.unpack_from(data, at)
            wrong = self._wrong_prelude(data[at : at + 8], total, headers_bytes, crc)
            if wrong is not None:
                self._stop(data[at : at + _PRELUDE.size], wrong)
                return frames
            if len(data) - at < total:
                self._need = total
                break
            raw = data[at : at + total]
            frame = self._message(raw, headers_bytes)
            if isinstance(frame, str):
                self._stop(raw, self._violation(frame))
                return frames
            frames.append(frame)
            at += total
        self._pending += data[at:]
        return frames

    def close(self) -> list[Frame]:
        """Say that the body ended; a message without its last byte stays in `pending`."""
        self._closed = True
        return []

    def _wrong_prelude(
        self, lengths: bytes, total: int, headers_bytes: int, crc: int
    ) -> Fault | None:
        if zlib.crc32(lengths) != crc:
            return self._violation("its lengths do not match their checksum")
        payload_bytes = total - headers_bytes - _OVERHEAD
        if headers_bytes > _MAX_HEADERS_BYTES or not 0 <= payload_bytes <= _MAX_PAYLOAD_BYTES:
            return self._violation(
                f"no message has {total} bytes with {headers_bytes} bytes of headers"
            )
        if total > self._max_frame_bytes:
            return Fault.of(
                FaultKind.OVERSIZED_EVENT,
                f"frame {self._dispatched} ({total} bytes) is larger than max_frame_bytes"
                f" ({self._max_frame_bytes}); decoding stopped at byte {self._offset}",
                at_byte=self._offset,
                frame=self._dispatched,
            )
        return None

    def _message(self, raw: bytes, headers_bytes: int) -> Frame | str:
        """Return the frame in a whole message, or what is wrong with it."""
        (crc,) = _CRC.unpack_from(raw, len(raw) - _CRC.size)
        if zlib.crc32(memoryview(raw)[: -_CRC.size]) != crc:
            return "its bytes do not match their checksum"
        payload_at = _PRELUDE.size + headers_bytes
        head = raw[_PRELUDE.size : payload_at]
        title = _title(head) if len(head) > _REPEATED_BYTES else _title_of_many(head)
        if title is None:
            return "its headers cannot be read"
        payload = raw[payload_at : -_CRC.size]
        bad_at = self._check_utf8(payload, skipped=payload_at)
        if bad_at is not None:
            payload = repair(payload)
        if not payload and title.words is not None:
            payload = json.dumps({"message": title.words}).encode()
        offset = self._offset
        self._offset += len(raw)
        self._dispatched += 1
        return Frame(
            title.event,
            payload,
            "",
            None,
            raw,
            offset,
            failure=title.failure,
            undecodable_at=bad_at,
        )

    def _violation(self, what: str) -> Fault:
        return Fault.of(
            FaultKind.PROTOCOL_VIOLATION,
            f"frame {self._dispatched} is corrupt: {what}; decoding stopped at byte {self._offset}",
            at_byte=self._offset,
            frame=self._dispatched,
        )

    def _stop(self, evidence: bytes, fault: Fault) -> None:
        self._pending += evidence
        self._overrun = True
        self._report(fault)


class _Title(NamedTuple):
    """What the headers of a message say."""

    event: str
    failure: bool
    words: str | None  # of an error


def _title(head: bytes) -> _Title | None:
    """Return what headers say, or None if they cannot be read."""
    headers = _headers(head)
    if headers is None:
        return None
    kind = headers.get(":message-type")
    words: str | None = None
    if kind == "exception":
        event = headers.get(":exception-type")
    elif kind == "error":
        event = headers.get(":error-code")
        words = str(headers.get(":error-message", ""))
    else:
        event = headers.get(":event-type")
    failure = kind in _FAILURES
    unnamed = str(kind) if failure else "message"
    return _Title(event if isinstance(event, str) and event else unnamed, failure, words)


# All deltas of an answer have the same headers.
_title_of_many = lru_cache(maxsize=256)(_title)


_NUMBERS: dict[int, tuple[str, int]] = {2: (">b", 1), 3: (">h", 2), 4: (">i", 4), 5: (">q", 8),
                                        8: (">q", 8)}  # fmt: skip
_UUID = 9


def headers_of(raw: bytes) -> dict[str, HeaderValue]:
    """Return the headers of one whole message: its `Frame.raw`.

    Times are milliseconds since 1970, UUIDs their 16 bytes.

    Raises:
        ValueError: If they cannot be read.
    """
    _, headers_bytes, _ = _PRELUDE.unpack_from(raw)
    headers = _headers(raw[_PRELUDE.size : _PRELUDE.size + headers_bytes])
    if headers is None:
        msg = "the headers of this message cannot be read"
        raise ValueError(msg)
    return headers


def _headers(data: bytes) -> dict[str, HeaderValue] | None:
    """Return the headers by name, or None if they break their own grammar."""
    found: dict[str, HeaderValue] = {}
    at = 0
    try:
        while at < len(data):
            name, at = _cut(data, at + 1, data[at])
            kind = data[at]
            value: HeaderValue
            if kind in (0, 1):
                value, at = kind == 0, at + 1
            elif kind in _NUMBERS:
                form, size = _NUMBERS[kind]
                digits, at = _cut(data, at + 1, size)
                value = int(struct.unpack(form, digits)[0])
            elif kind in (6, 7):
                (size,) = struct.unpack_from(">H", data, at + 1)
                value, at = _cut(data, at + 3, size)
                if kind == 7:
                    value = value.decode()
            elif kind == _UUID:
                value, at = _cut(data, at + 1, 16)
            else:
                return None
            found[name.decode()] = value
    except (IndexError, struct.error, UnicodeDecodeError):
        return None
    return found


def _cut(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    """Return so many bytes, and the position behind them.

    Raises:
        IndexError: If there are fewer.
    """
    if at + size > len(data):
        raise IndexError(at)
    return data[at : at + size], at + size


def encode_aws_event_stream(
    payload: bytes,
    *,
    event: str | None = None,
    failure: bool = False,
    headers: dict[str, HeaderValue] | None = None,
) -> bytes:
    """Write one message.

    Args:
        payload: Its payload; JSON in all that the AWS model APIs send.
        event: Its ``:event-type``, or its ``:exception-type`` if it is a failure.
        failure: Whether it is an exception.
        headers: All its headers in order, in place of those.

    Raises:
        ValueError: If a name, a value, the headers or the payload are larger than the format
            allows.
    """
    if headers is None:
        name = ":exception-type" if failure else ":event-type"
        headers = {} if event is None else {name: event}
        headers[":content-type"] = "application/json"
        headers[":message-type"] = "exception" if failure else "event"
    head = b"".join(_header(name, value) for name, value in headers.items())
    if len(head) > _MAX_HEADERS_BYTES or len(payload) > _MAX_PAYLOAD_BYTES:
        msg = f"a message holds {_MAX_HEADERS_BYTES} bytes of headers and {_MAX_PAYLOAD_BYTES} more"
        raise ValueError(msg)
    lengths = struct.pack(">II", len(head) + len(payload) + _OVERHEAD, len(head))
    raw = b"".join((lengths, _CRC.pack(zlib.crc32(lengths)), head, payload))
    return raw + _CRC.pack(zlib.crc32(raw))


def _header(name: str, value: HeaderValue) -> bytes:
    named = name.encode()
    if not 0 < len(named) < 256:
        msg = f"a header's name has 1 to 255 bytes, not {len(named)}"
        raise ValueError(msg)
    if isinstance(value, bool):
        form: bytes = b"\x00" if value else b"\x01"
    elif isinstance(value, int):
        small = -(1 << 31) <= value < 1 << 31
        form = struct.pack(">Bi" if small else ">Bq", 4 if small else 5, value)
    else:
        written = value.encode() if isinstance(value, str) else value
        if len(written) >= 1 << 15:
            msg = f"a header's value has at most 32767 bytes, not {len(written)}"
            raise ValueError(msg)
        form = struct.pack(">BH", 7 if isinstance(value, str) else 6, len(written)) + written
    return bytes([len(named)]) + named + form
