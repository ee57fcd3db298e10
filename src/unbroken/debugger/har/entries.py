"""The entries of a HAR file, one after the other.

A HAR is one JSON value, and may be larger than memory. What stands before ``log.entries`` is
small and read as a whole; the array itself is cut into its elements as they are read, by the
decoder that Gemini's JSON arrays have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from unbroken.core.recording import RecordingError
from unbroken.core.wire.json_array import END, JSONArrayDecoder

__all__ = [
    "Content",
    "Entry",
    "Maker",
    "Message",
    "Pair",
    "Posted",
    "Request",
    "Response",
    "Timings",
    "entries_of",
    "looks_like_har",
]

_READ_BYTES = 256 * 1024
_MOST_HEAD_BYTES = 16 * 1024 * 1024
_MOST_ENTRY_BYTES = 512 * 1024 * 1024
# Inside a string its quotes would be escaped, so this is a name and no text.
_ENTRIES = re.compile(rb'"entries"\s*:\s*(?=\[)')
_LOG = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*"log"\s*:\s*(?:\{|\Z)')


class Pair(msgspec.Struct):
    """A header."""

    name: str = ""
    value: str = ""


class Posted(msgspec.Struct):
    """A request's body."""

    text: str | None = None
    encoding: str | None = None


class Request(msgspec.Struct):
    """What was asked."""

    method: str = "GET"
    url: str = ""
    headers: list[Pair] = []
    postData: Posted | None = None  # noqa: N815 - HAR's names, here and below


class Content(msgspec.Struct):
    """A response's body, after its coding was taken off.

    Attributes:
        size: In bytes; -1 where the body was not seen.
        text: It, or base64 of it, as `encoding` says.
        file: The name of a file beside the HAR that holds it (Playwright's ``attach``).
    """

    size: float | None = None
    mimeType: str | None = None  # noqa: N815
    text: str | None = None
    encoding: str | None = None
    file: str | None = msgspec.field(name="_file", default=None)


class Response(msgspec.Struct):
    """What was answered; a status of 0 or -1 says that nothing was.

    Attributes:
        error: What Chromium says of a failed request.
        failure: The same, where Playwright wrote it.
    """

    status: float | None = None
    statusText: str | None = None  # noqa: N815
    httpVersion: str | None = None  # noqa: N815
    headers: list[Pair] = []
    content: Content = msgspec.field(default_factory=Content)
    error: str | None = msgspec.field(name="_error", default=None)
    failure: str | None = msgspec.field(name="_failureText", default=None)


class Timings(msgspec.Struct):
    """Milliseconds; -1 or none where a phase did not happen or was not seen.

    `connect` has `ssl` in it, by the specification.
    """

    blocked: float | None = None
    dns: float | None = None
    connect: float | None = None
    ssl: float | None = None
    send: float | None = None
    wait: float | None = None
    receive: float | None = None


class Message(msgspec.Struct):
    """An event of a stream, as a page's EventSource would see it, with its time."""

    time: float | str | None = None
    eventName: str | None = None  # noqa: N815
    eventId: str | None = None  # noqa: N815
    data: str | None = None


class Entry(msgspec.Struct):
    """One request and its answer."""

    startedDateTime: str = ""  # noqa: N815
    request: Request = msgspec.field(default_factory=Request)
    response: Response = msgspec.field(default_factory=Response)
    timings: Timings = msgspec.field(default_factory=Timings)
    serverIPAddress: str | None = None  # noqa: N815
    connection: str | float | None = None
    port: float | None = msgspec.field(name="_serverPort", default=None)
    messages: list[Message] | None = msgspec.field(name="_eventSourceMessages", default=None)


class Maker(msgspec.Struct):
    """Who wrote the file."""

    name: str = ""
    version: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip()


class _Log(msgspec.Struct):
    creator: Maker = msgspec.field(default_factory=Maker)
    browser: Maker = msgspec.field(default_factory=Maker)


class _Head(msgspec.Struct):
    log: _Log


_head = msgspec.json.Decoder(_Head, strict=False)
_entry = msgspec.json.Decoder(Entry, strict=False)


def looks_like_har(head: bytes) -> bool:
    """Whether a file with these first bytes is a HAR, and not a recording of ours."""
    return _LOG.match(head) is not None


def entries_of(path: str | Path) -> tuple[Maker, Iterator[Entry]]:
    """Return who wrote a HAR, and its entries as they are read.

    Args:
        path: The file. It is closed with the iterator, or when that is at its end.

    Raises:
        OSError: If it cannot be read.
        RecordingError: If it is no HAR; of what stands further behind, while iterating.
    """
    file = Path(path).open("rb")  # noqa: SIM115 - it lives as long as the iterator
    try:
        maker, rest = _opening(file)
    except BaseException:
        file.close()
        raise
    return maker, _elements(file, rest)


def _opening(file: BinaryIO) -> tuple[Maker, bytes]:
    """Read up to the entries; return who wrote the file, and what was read of them."""
    head = b""
    while (found := _ENTRIES.search(head)) is None:
        data = file.read(_READ_BYTES)
        if not data or len(head) > _MOST_HEAD_BYTES:
            msg = "it is no HAR: it has no log with entries"
            raise RecordingError(msg)
        head += data
    before, rest = head[: found.start()], head[found.end() :]
    try:
        log = _head.decode(before.removeprefix(b"\xef\xbb\xbf") + b'"entries":[]}}').log
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        msg = "it is no HAR: what stands before its entries is no JSON, or not HAR's"
        raise RecordingError(msg) from None
    return log.browser if log.browser.name else log.creator, rest


def _elements(file: BinaryIO, data: bytes) -> Iterator[Entry]:
    decoder = JSONArrayDecoder(max_frame_bytes=_MOST_ENTRY_BYTES)
    number = 0
    with file:
        while data:
            for frame in decoder.feed(data):
                if frame.payload == END:
                    return
                number += 1
                yield _read(frame.payload, number)
            if decoder.stopped:
                msg = f"entry {number + 1} is larger than {_MOST_ENTRY_BYTES:,} bytes"
                raise RecordingError(msg)
            data = file.read(_READ_BYTES)
    msg = f"the HAR breaks off after entry {number}"
    raise RecordingError(msg)


def _read(raw: bytes, number: int) -> Entry:
    try:
        return _entry.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        why = str(error)[:60] if isinstance(error, msgspec.ValidationError) else "it is no JSON"
        msg = f"entry {number} of the HAR is not as it should be ({why})"
        raise RecordingError(msg) from None
