"""One of the two attempts that are compared: its meaning, frame by frame, and its figures."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator

import msgspec

from unbroken.core.attempt import Attempt, Step
from unbroken.core.checks.completeness import BodyEnd
from unbroken.core.dialects import DIALECTS
from unbroken.core.events import Ping, Reasoning, Refusal, Text, ToolCall, is_content
from unbroken.core.faults import Fault
from unbroken.core.masking import ContentMask, Letters
from unbroken.core.received import Received
from unbroken.core.verdict import judge
from unbroken.debugger.comparing.meaning import Part, label_of, parts_of
from unbroken.debugger.index import AttemptEntry, RecordingIndex
from unbroken.telemetry.health.histogram import Histogram, Spread
from unbroken.transports._decoding import inflater_for

__all__ = ["Figures", "Side", "Unit"]

_RECEIVED_BYTES = 1024 * 1024
_MOST_FAULTS = 20
_BINARY = ("application/vnd.amazon.eventstream", "application/octet-stream")


class Figures(msgspec.Struct, kw_only=True):
    """What one attempt was like.

    Attributes:
        stream: Its stream.
        attempt: Its number.
        dialect: What it is read as, or ``""``.
        status: HTTP status; None where no response came.
        content_type: Of the response.
        encoding: Its content coding, or ``""``.
        ended: How the body ended; see `unbroken.core.recording.BodyEndHow`; ``""`` where the
            recording stopped before.
        verdict: What `unbroken.check` says of it, or ``""`` where it cannot be read.
        faults: Kinds of faults, in order, at most 20.
        head_s: From the request to the response's head.
        first_byte_s: From the request to the first byte of the body.
        first_content_s: From the request to the first content.
        lasted_s: From the request to the end.
        gaps: Between reads with content, seconds.
        reads: How many reads there were.
        size_bytes: How long the body was.
        frames: How many frames.
        content_frames: How many of them had content.
        frames_a_read: Of reads with content, how many frames with content each had on average.
        pings: Signs of life without content.
        characters: Of text, reasoning, refusal and arguments.
        unread: Why the body could not be read, or ``""``.
    """

    stream: int
    attempt: int
    dialect: str = ""
    status: int | None = None
    content_type: str = ""
    encoding: str = ""
    ended: str = ""
    verdict: str = ""
    faults: list[str] = []
    head_s: float | None = None
    first_byte_s: float | None = None
    first_content_s: float | None = None
    lasted_s: float = 0.0
    gaps: Spread = msgspec.field(default_factory=Spread)
    reads: int = 0
    size_bytes: int = 0
    frames: int = 0
    content_frames: int = 0
    frames_a_read: float = 0.0
    pings: int = 0
    characters: dict[str, int] = {}
    unread: str = ""


class Unit(msgspec.Struct):
    """A frame with content or another meaning: it, and its parts."""

    step: Step
    parts: list[Part]


class Side:
    """Read one attempt.

    Args:
        index: Its recording.
        entry: It.
        bare: Read it as if its contents were removed: what the two have in common is then what a
            recording without contents can tell.

    Attributes:
        labels: How many events of which kind there were.
        figures: Complete once `units` is at its end.
    """

    def __init__(self, index: RecordingIndex, entry: AttemptEntry, *, bare: bool = False) -> None:
        self._index = index
        self._entry = entry
        self._bare = bare
        self._dialect = index.dialect_of(entry) or DIALECTS["openai-chat"]
        self._gaps = Histogram()
        self._last_content: float | None = None
        self._reads_with_content = 0
        self.labels: Counter[str] = Counter()
        self.figures = self._head()

    def _head(self) -> Figures:
        entry = self._entry
        figures = Figures(
            stream=entry.stream,
            attempt=entry.number,
            dialect=self._dialect.name,
            ended=entry.end.how if entry.end is not None else "",
            lasted_s=max(0.0, entry.last_s - entry.asked_s),
            reads=entry.reads,
            size_bytes=entry.size_bytes,
            characters={},
        )
        if entry.head is not None:
            figures.status = entry.head.status
            figures.head_s = entry.head.at_s - entry.asked_s
            figures.content_type = self._header("content-type")
            figures.encoding = self._header("content-encoding")
        return figures

    def _header(self, name: str) -> str:
        head = self._entry.head
        pairs = head.headers if head is not None else []
        return next((value for known, value in pairs if known.lower() == name), "")

    def raw(self) -> Iterator[bytes]:
        """Yield the body's bytes as they were on the wire, as far as they were kept."""
        for read in self._index.reads_of(self._entry):
            yield read.data or b""

    def units(self) -> Iterator[Unit]:
        """Yield what the frames mean; the figures are filled in by the way."""
        figures, entry = self.figures, self._entry
        attempt = Attempt(self._dialect, lenient=True, content_type=figures.content_type)
        received = Received(limit_bytes=_RECEIVED_BYTES)
        inflater = inflater_for(figures.encoding) if figures.encoding else None
        binary = figures.content_type.partition(";")[0].strip().lower() in _BINARY
        mask = ContentMask(Letters(), streamed=True) if self._bare and not binary else None
        if figures.encoding.lower() not in ("", "identity") and inflater is None:
            figures.unread = f"the body is compressed ({figures.encoding}), which is not read here"
        if entry.lost:
            figures.unread = "a part of the body was not kept"
        for read in self._index.reads_of(entry):
            if figures.first_byte_s is None:
                figures.first_byte_s = read.at_s - entry.asked_s
            data = read.data
            if data is None:
                figures.unread = figures.unread or "only the sizes of its reads were kept"
            if figures.unread:
                continue
            assert data is not None
            try:
                parts = [data] if inflater is None else [inflater.decode(data)]
                while parts[-1] and inflater is not None:
                    parts.append(inflater.more())
            except zlib.error:
                figures.unread = "the compressed body cannot be unpacked"
                continue
            content = figures.content_frames
            for part in parts:
                taken = part if mask is None else mask.feed(part)
                for step in attempt.receive(taken, read.at_s):
                    yield from self._unit(step, received)
            if figures.content_frames > content:
                self._content_at(read.at_s)
        if not figures.unread:
            if mask is not None and (rest := mask.end()):
                for step in attempt.receive(rest, entry.last_s):
                    yield from self._unit(step, received)
            for step in attempt.close(_END.get(figures.ended, "reset")):
                yield from self._unit(step, received)
            self._judge(attempt, received)
        figures.gaps = self._gaps.spread()
        if self._reads_with_content:
            figures.frames_a_read = figures.content_frames / self._reads_with_content

    def _unit(self, step: Step, received: Received) -> Iterator[Unit]:
        """Count a step, and yield it unless it is only a sign of life."""
        figures, frame, events = self.figures, step.frame, step.events
        received.add(None, events)
        figures.frames += frame.dispatched
        if any(is_content(event) for event in events):
            figures.content_frames += 1
        for event in events:
            self.labels[label_of(event)] += 1
            match event:
                case Text(text=text) | Refusal(text=text) | Reasoning(text=text):
                    self._count(type(event).__name__.lower(), len(text))
                case ToolCall(arguments=arguments):
                    self._count("arguments", len(arguments))
                case _:
                    pass
        alive = all(isinstance(event, Ping) for event in events)
        if alive and (events or not frame.dispatched):
            figures.pings += 1
            return
        yield Unit(step, parts_of(events, max(0, figures.frames - 1), frame.offset))

    def _count(self, kind: str, characters: int) -> None:
        if characters:
            known = self.figures.characters
            known[kind] = known.get(kind, 0) + characters

    def _content_at(self, at_s: float) -> None:
        figures = self.figures
        self._reads_with_content += 1
        if figures.first_content_s is None:
            figures.first_content_s = at_s - self._entry.asked_s
        elif self._last_content is not None:
            self._gaps.add(at_s - self._last_content)
        self._last_content = at_s

    def _judge(self, attempt: Attempt, received: Received) -> None:
        outcome = judge(attempt, received)
        self.figures.verdict = outcome.status
        found: list[Fault] = outcome.faults
        self.figures.faults = [fault.kind.value for fault in found[:_MOST_FAULTS]]


_END: dict[str, BodyEnd] = {"eof": "eof", "left": "closed", "given-up": "closed"}
