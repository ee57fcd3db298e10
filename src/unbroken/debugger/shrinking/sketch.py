"""A recording in memory, as it is made smaller: frames that can go, reads that can be joined.

A body is a row of frames, and each frame of the parts in which its bytes came: so a frame can be
left out, or its text be shortened, while the rest stays cut into reads as it was. Times are kept as
gaps, so that what is left out takes no time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from unbroken.core.recording import (
    Connected,
    End,
    Line,
    Opening,
    Read,
    RequestSent,
    ResponseHead,
    Sent,
    bytes_fields,
    encode_line,
)
from unbroken.core.wire import Wire, decoder_for
from unbroken.debugger.index import AttemptEntry, RecordingIndex

__all__ = ["Frame", "Part", "Play", "Sketch", "TooLargeError", "sketch_of"]

MOST_BYTES = 64 * 1024 * 1024
_MOST_FRAME_BYTES = 1 << 30


class TooLargeError(ValueError):
    """A stream that does not fit into memory."""


class Part(msgspec.Struct, frozen=True):
    """Bytes of a frame that came in one read; `read` numbers the reads of an attempt."""

    read: int
    data: bytes


class Frame(msgspec.Struct, frozen=True, eq=False):
    """A frame, or what else stands in a body between two ends of frames."""

    parts: tuple[Part, ...]

    @property
    def raw(self) -> bytes:
        """Its bytes."""
        return b"".join(part.data for part in self.parts)

    def with_raw(self, raw: bytes) -> Frame:
        """Return the frame with other bytes, cut into reads at the same places of what stayed."""
        old = self.raw
        start = _alike(old, raw)
        tail = _alike(old[start:][::-1], raw[start:][::-1])
        parts: list[Part] = []
        before = at = 0
        for part in self.parts[:-1]:
            at += len(part.data)
            if at <= start:
                cut = at
            elif at >= len(old) - tail:
                cut = len(raw) - (len(old) - at)
            else:
                cut = min(at, len(raw) - tail)
            parts.append(Part(part.read, raw[before:cut]))
            before = cut
        parts.append(Part(self.parts[-1].read, raw[before:]))
        return Frame(tuple(part for part in parts if part.data))


class Play(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt.

    Attributes:
        stream: Its stream.
        attempt: Its number.
        request: What was asked.
        beside: Lines that a replay does not need.
        head: The response's head.
        end: How it ended.
        frames: Its body.
        joined: Reads that are joined to the one before them.
        head_gap_s: Until the head.
        gaps_s: Before each read.
        end_gap_s: Before the end.
        wire: How its body is framed.
    """

    stream: int
    attempt: int
    request: RequestSent
    beside: tuple[Connected | Sent, ...] = ()
    head: ResponseHead | None = None
    end: End | None = None
    frames: tuple[Frame, ...] = ()
    joined: frozenset[int] = frozenset()
    head_gap_s: float = 0.0
    gaps_s: dict[int, float] = {}
    end_gap_s: float = 0.0
    wire: Wire = "sse"

    @property
    def reads(self) -> Iterator[tuple[int, float, bytes]]:
        """Each read that is left: its number, the gap before it, and its bytes."""
        number: int | None = None
        first, gap, data = 0, 0.0, bytearray()
        for frame in self.frames:
            for part in frame.parts:
                if number is not None and part.read != number and part.read not in self.joined:
                    yield first, gap, bytes(data)
                    data.clear()
                    number = None
                if number is None:
                    first, gap = part.read, self.gaps_s.get(part.read, 0.0)
                elif part.read != number:
                    gap += self.gaps_s.get(part.read, 0.0)
                number = part.read
                data += part.data
        if number is not None:
            yield first, gap, bytes(data)

    def moved(self, by_s: float) -> Play:
        """Return the attempt at another time."""
        return msgspec.structs.replace(
            self,
            request=_moved(self.request, by_s),
            beside=tuple(_moved(line, by_s) for line in self.beside),
        )

    @property
    def body(self) -> bytes:
        """The whole body."""
        return b"".join(frame.raw for frame in self.frames)


class Sketch(msgspec.Struct, frozen=True, kw_only=True):
    """A recording: its first line, and its attempts in order."""

    opening: Opening
    plays: tuple[Play, ...]

    @property
    def from_zero(self) -> Sketch:
        """The same with its first request at 0 s."""
        first_s = min((play.request.at_s for play in self.plays), default=0.0)
        plays = tuple(play.moved(-first_s) for play in self.plays)
        return msgspec.structs.replace(self, plays=plays)

    def encode(self) -> bytes:
        """Return the recording's file."""
        return b"".join(encode_line(line) for line in self.lines())

    def lines(self) -> Iterator[Line]:
        """Yield the recording's lines."""
        yield self.opening
        for play in self.plays:
            yield from _lines(play)


_Moved = TypeVar("_Moved", bound=RequestSent | Connected | Sent)


def _moved(line: _Moved, by_s: float) -> _Moved:
    return replace(line, at_s=max(0.0, round(line.at_s + by_s, 6)))


def _lines(play: Play) -> Iterator[Line]:
    at_s = play.request.at_s

    def at() -> float:
        return round(at_s, 6)

    yield play.request
    for line in play.beside:
        at_s = max(at_s, getattr(line, "at_s", at_s))
        yield line
    if play.head is not None:
        at_s += play.head_gap_s
        yield msgspec.structs.replace(play.head, at_s=at())
    for _, gap_s, data in play.reads:
        at_s += gap_s
        fields = bytes_fields(data)
        yield Read(
            at_s=at(),
            stream=play.stream,
            attempt=play.attempt,
            text=fields.get("text"),
            base64=fields.get("base64"),
        )
    if play.end is not None:
        at_s += play.end_gap_s
        yield msgspec.structs.replace(play.end, at_s=at())


def sketch_of(index: RecordingIndex, entries: Iterable[AttemptEntry]) -> Sketch:
    """Read attempts of a recording into memory.

    Raises:
        TooLargeError: If they have more than 64 MiB of body.
    """
    entries = list(entries)
    size = sum(entry.kept_bytes for entry in entries)
    if size > MOST_BYTES:
        msg = (
            f"the attempts that are needed have {size:,} bytes of body, and at most {MOST_BYTES:,}"
            " fit: choose a stream (--stream), or cut the recording first"
        )
        raise TooLargeError(msg)
    plays = [_play(index, entry) for entry in entries if entry.request is not None]
    return Sketch(opening=index.opening, plays=tuple(plays))


def _play(index: RecordingIndex, entry: AttemptEntry) -> Play:
    assert entry.request is not None
    beside: list[Connected | Sent] = []
    gaps: dict[int, float] = {}
    pieces: list[tuple[int, bytes]] = []
    last_s = entry.asked_s
    head_gap_s = end_gap_s = 0.0
    for line in index.lines_of(entry):
        match line:
            case ResponseHead():
                head_gap_s, last_s = max(0.0, line.at_s - last_s), max(last_s, line.at_s)
            case Read():
                data = line.data
                if data:
                    number = len(gaps)
                    gaps[number] = max(0.0, line.at_s - last_s)
                    last_s = max(last_s, line.at_s)
                    pieces.append((number, data))
            case End():
                end_gap_s = max(0.0, line.at_s - last_s)
            case Connected() | Sent():
                beside.append(line)
            case _:
                pass
    dialect = index.dialect_of(entry)
    wire: Wire = dialect.wire if dialect is not None else "sse"
    return Play(
        stream=entry.stream,
        attempt=entry.number,
        request=entry.request,
        beside=tuple(beside),
        head=entry.head,
        end=entry.end,
        frames=_frames(pieces, wire),
        head_gap_s=head_gap_s,
        gaps_s=gaps,
        end_gap_s=end_gap_s,
        wire=wire,
    )


def _frames(pieces: list[tuple[int, bytes]], wire: Wire) -> tuple[Frame, ...]:
    decoder = decoder_for(wire, max_frame_bytes=_MOST_FRAME_BYTES)
    body = b"".join(data for _, data in pieces)
    ends = [frame.offset + len(frame.raw) for _, data in pieces for frame in decoder.blocks(data)]
    if not ends:  # no stream at all: a page, an error's JSON
        ends, at = [], 0
        for row in body.splitlines(keepends=True):
            at += len(row)
            ends.append(at)
    if ends[-1:] != [len(body)]:
        ends.append(len(body))
    frames: list[Frame] = []
    parts: list[Part] = []
    rest = iter(ends)
    end, at = next(rest), 0
    for number, data in pieces:
        while data:
            taken, data = data[: end - at], data[end - at :]
            parts.append(Part(number, taken))
            at += len(taken)
            if at == end:
                frames.append(Frame(tuple(parts)))
                parts = []
                end = next(rest, len(body))
    if parts:
        frames.append(Frame(tuple(parts)))
    return tuple(frames)


def _alike(a: bytes, b: bytes) -> int:
    """Return how many bytes two begin with alike."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[:middle] == b[:middle]:
            low = middle
        else:
            high = middle - 1
    return low
