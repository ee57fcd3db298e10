"""A recording by streams and attempts: what each was, and where its lines stand in the file.

One pass makes the index, whose size depends on how many attempts there are and how often the lines
of one stream give way to those of another, never on how much was said. An attempt's lines are then
read from their places, as often as they are asked for and by several readers at once.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from array import array
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import msgspec

from unbroken.core.dialects import DIALECTS, framed, recognise_request
from unbroken.core.dialects.base import Dialect
from unbroken.core.recording import (
    Connected,
    End,
    Line,
    Lost,
    Opening,
    OutcomeSeen,
    Read,
    RecordingError,
    RequestSent,
    ResponseHead,
    Sent,
    decode_line,
    encode_line,
)
from unbroken.core.request import Request
from unbroken.core.verdict import recognise
from unbroken.debugger.har import looks_like_har
from unbroken.debugger.reading import read_lines

__all__ = ["AttemptEntry", "RecordingIndex", "StreamEntry", "digest_of"]

_READ_BYTES = 256 * 1024
_MOST_LINE_BYTES = 256 * 1024 * 1024
_HEAD_BYTES = 16 * 1024


class AttemptEntry:
    """One attempt of a recording.

    Attributes:
        stream: The stream, as the file numbers it.
        number: The attempt, as the file numbers it.
        request: How it was asked; None where the recording begins later.
        asked_s: When the request was out: what the server took from then on was its own time.
        sent: Digest of the request's body; None where its bytes were not kept.
        head: The response's head; None where none came.
        reads: How many reads of the body there are.
        size_bytes: How long the body is.
        kept_bytes: How much of it is in the file.
        last_s: When the last thing happened.
        end: How it ended; None where the recording stopped before.
        lost: A flight recorder left lines out.
    """

    __slots__ = (
        "_hash", "_spans", "asked_s", "end", "head", "kept_bytes", "last_s", "lost", "number",
        "reads", "request", "sent", "size_bytes", "stream",
    )  # fmt: skip

    def __init__(self, stream: int, number: int, at_s: float) -> None:
        self.stream = stream
        self.number = number
        self.request: RequestSent | None = None
        self.asked_s = at_s
        self.sent: bytes | None = None
        self.head: ResponseHead | None = None
        self.reads = self.size_bytes = self.kept_bytes = 0
        self.last_s = at_s
        self.end: End | None = None
        self.lost = False
        self._hash = hashlib.blake2b(digest_size=16)
        self._spans = array("Q")  # where its lines begin and end, by turns

    @property
    def path(self) -> str:
        """The path of the request, without its query."""
        return Request(method="", url=self.request.url).path if self.request is not None else ""

    @property
    def method(self) -> str:
        """The request's method."""
        return self.request.method.upper() if self.request is not None else ""

    @property
    def dialect(self) -> Dialect | None:
        """What the request speaks, where it tells."""
        if self.request is None:
            return None
        if self.request.dialect in DIALECTS:
            return DIALECTS[self.request.dialect]
        try:
            return recognise_request(Request(method=self.method, url=self.request.url))
        except ValueError:  # an address that is none
            return None

    def add(self, line: Line, start: int, end: int) -> None:
        """Take a line of this attempt, and its place."""
        if self._spans and self._spans[-1] == start:
            self._spans[-1] = end
        else:
            self._spans.extend((start, end))
        match line:
            case RequestSent():
                self.request, self.asked_s = line, line.at_s
            case Connected():
                self.asked_s = max(self.asked_s, line.at_s)
            case Sent():
                self.asked_s = max(self.asked_s, line.at_s)
                self._hear(line)
            case ResponseHead():
                self.head = line
            case Read():
                self.reads += 1
                data = line.data
                self.size_bytes += line.size_bytes if data is None else len(data)
                self.kept_bytes += 0 if data is None else len(data)
            case End():
                self.end = line
            case Lost():
                self.lost = True
            case _:
                pass
        if not isinstance(line, Opening | OutcomeSeen):
            self.last_s = max(self.last_s, line.at_s)

    def _hear(self, line: Sent) -> None:
        data = line.data
        if data is not None:
            self._hash.update(data)
            self.sent = self._hash.digest()

    @property
    def spans(self) -> Iterator[tuple[int, int]]:
        """Where its lines stand in the file."""
        places = iter(self._spans)
        return zip(places, places, strict=True)


class StreamEntry(msgspec.Struct, kw_only=True):
    """One stream of a recording."""

    number: int
    attempts: list[AttemptEntry] = []
    outcome: OutcomeSeen | None = None


class RecordingIndex:
    """A recording or a HAR, by streams and attempts.

    Use it as a context manager, or call `close`. Its readers may run in several threads.

    Args:
        path: The file; ``-`` copies standard input to a temporary file first, as a HAR is.

    Raises:
        OSError: If it cannot be read.
        RecordingError: If it is no recording, is broken, or holds no attempt.

    Attributes:
        name: What it is called in messages.
        opening: The file's first line.
        streams: By their numbers, in the order in which they began.
        notes: What a reader should know of it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.name = os.fspath(path)
        self.opening = Opening(version=1)
        self.streams: dict[int, StreamEntry] = {}
        self.notes: list[str] = []
        self._file = _opened(path)
        try:
            self._scan(path)
            if not self.streams:
                msg = f"{self.name} holds no stream"
                raise RecordingError(msg)
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def stream(self, number: int) -> StreamEntry:
        """Return a stream by its number.

        Raises:
            RecordingError: If there is none.
        """
        if number not in self.streams:
            known = ", ".join(map(str, list(self.streams)[:10]))
            more = " and so on" if len(self.streams) > 10 else ""
            msg = f"{self.name} has no stream {number}; it has {known}{more}"
            raise RecordingError(msg)
        return self.streams[number]

    def lines_of(self, attempt: AttemptEntry) -> Iterator[Line]:
        """Yield an attempt's lines as they stand in the file, from there."""
        for start, end in attempt.spans:
            for raw in self._raw(start, end):
                line = decode_line(raw) if raw.strip() else None
                if line is not None:
                    yield line

    def reads_of(self, attempt: AttemptEntry) -> Iterator[Read]:
        """Yield the reads of an attempt's body."""
        return (line for line in self.lines_of(attempt) if isinstance(line, Read))

    def dialect_of(self, attempt: AttemptEntry) -> Dialect | None:
        """Return what an attempt speaks, by its request or else by its first bytes."""
        head = b""
        for read in self.reads_of(attempt):
            head += read.data or b""
            if len(head) >= _HEAD_BYTES:
                break
        known = attempt.dialect
        return framed(known, head) if known is not None else recognise(head)

    def _scan(self, path: str | os.PathLike[str]) -> None:
        at = 0
        while raw := self._file.readline(_MOST_LINE_BYTES):
            try:
                line = decode_line(raw) if raw.strip() else None
            except RecordingError as error:
                self._broken(path, raw, at, error)
                return
            if isinstance(line, Opening) and not at:
                self.opening = line
            elif not at:
                self._broken(path, raw, at, RecordingError("its first line does not open it"))
                return
            elif line is not None and not isinstance(line, Opening):
                self._entry(line).add(line, at, at + len(raw))
                if isinstance(line, OutcomeSeen):
                    self.streams[line.stream].outcome = line
            at += len(raw)

    def _broken(
        self, path: str | os.PathLike[str], raw: bytes, at: int, error: RecordingError
    ) -> None:
        """Say what is wrong with a line in the words of those who read without an index."""
        if at and not raw.endswith(b"\n") and len(raw) < _MOST_LINE_BYTES:
            self.notes.append(
                f"the last line is torn off after {len(raw):,} bytes, and was left out"
            )
            return
        if Path(path).is_file():
            for _ in read_lines(path):
                pass
        msg = f"{self.name} is no recording: {error}"
        raise RecordingError(msg)

    def _entry(self, line: Line) -> AttemptEntry:
        assert not isinstance(line, Opening)
        stream = self.streams.get(line.stream)
        if stream is None:
            stream = self.streams[line.stream] = StreamEntry(number=line.stream)
        # Attempts of one stream come one after the other; only what is said late of one is not.
        for entry in reversed(stream.attempts):
            if entry.number == line.attempt:
                return entry
        if isinstance(line, OutcomeSeen) and stream.attempts:
            return stream.attempts[-1]
        stream.attempts.append(AttemptEntry(line.stream, line.attempt, line.at_s))
        return stream.attempts[-1]

    def _raw(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the lines between two places; nothing is shared with other readers."""
        number, rest = self._file.fileno(), b""
        while start < end:
            # As much again as is there, so that one long line is not copied over and over.
            data = os.pread(number, min(end - start, max(_READ_BYTES, len(rest))), start)
            if not data:
                msg = f"{self.name} became shorter while it was read"
                raise RecordingError(msg)
            start += len(data)
            *whole, rest = (rest + data).split(b"\n")
            yield from whole
        if rest:
            yield rest


def digest_of(body: bytes) -> bytes:
    """Return what `AttemptEntry.sent` is of a request's body."""
    return hashlib.blake2b(body, digest_size=16).digest()


def _opened(path: str | os.PathLike[str]) -> IO[bytes]:
    """Open a recording; what is none that can be read from any place is copied into one."""
    if os.fspath(path) != "-":
        file = open(path, "rb", buffering=1024 * 1024)  # noqa: SIM115 - the index closes it
        head = file.read(4096) if file.seekable() else b""
        if file.seekable() and not looks_like_har(head):
            file.seek(0)
            return file
        file.close()
    copy: IO[bytes] = tempfile.TemporaryFile(buffering=1024 * 1024)  # noqa: SIM115 - the same
    try:
        for line in read_lines(path):
            copy.write(encode_line(line))
        copy.seek(0)
    except BaseException:
        copy.close()
        raise
    return copy
