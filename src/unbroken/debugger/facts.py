"""What a report says, as data: the object that ``unbroken report --json`` prints.

All times are seconds. Those of a stream count from its first request (`StreamReport.began_s` says
when that was, in the recording's own time); fields that are None were not seen. The object has
`Report.version`; later versions add fields, and raise it where one changes its meaning.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from unbroken.debugger.moments import Band, Entry, FaultMark, Gap, Help, Mark, Stall, Tone
from unbroken.debugger.series import Consumer, Histogram, Numbers, Reads, Throughput

__all__ = [
    "FORMAT",
    "VERSION",
    "AttemptReport",
    "Band",
    "Consumer",
    "Entry",
    "FaultMark",
    "Gap",
    "Help",
    "Histogram",
    "Listed",
    "Mark",
    "Numbers",
    "Possibility",
    "Reads",
    "Report",
    "Stall",
    "StreamReport",
    "Throughput",
    "Tone",
    "Verdict",
    "Where",
]

FORMAT = "unbroken-report"
VERSION = 1

Where = Literal["provider", "middlebox", "consumer", "network", "model", "none", "unknown"]
"""Where a fault lies: with who answers; with a proxy, load balancer or scanner between; with the
reader itself (its code, its request); with the connection; in what the model wrote; nowhere."""


class Possibility(msgspec.Struct, kw_only=True):
    """Where else the fault may lie.

    Attributes:
        where: There.
        confidence: How likely, 0 to 1.
        why: What speaks for it.
    """

    where: Where
    confidence: float
    why: str


class Verdict(msgspec.Struct, kw_only=True):
    """Where the fault lies, with what shows it.

    Attributes:
        where: The likeliest place.
        confidence: How sure that is, 0 to 1.
        headline: In one sentence.
        evidence: What was seen that says so, a sentence each.
        suspects: Time limits of common software that fit the time of a cut, the likeliest first.
        others: Places that cannot be ruled out.
        next: What to do first, or ``""``.
    """

    where: Where = "unknown"
    confidence: float = 0.0
    headline: str = ""
    evidence: list[str] = []
    suspects: list[str] = []
    others: list[Possibility] = []
    next: str = ""


class AttemptReport(msgspec.Struct, kw_only=True):
    """One request upstream.

    Attributes:
        number: From 1.
        rung: How it came about: ``first``, ``retry``, ``cursor``, ``prefill`` ...
        dialect: What it was read as.
        recognised_by: ``option``, ``recording``, ``path``, ``body``; ``""``: not at all.
        method: HTTP method.
        url: Whom it asked.
        request_headers: Without keys.
        request_bytes: Size of its body.
        request_preview: The first characters of that, where asked for.
        address: Host and port that were reached.
        tls: The connection was encrypted.
        reused: The connection stood before.
        status: HTTP status.
        reason: Its words.
        framing: ``chunked``, ``length``, ``close`` ...
        response_headers: As they came.
        began_s: The request.
        connected_s: The connection stood.
        sent_s: The request was out.
        head_s: The response's head came.
        first_byte_s: The first byte of its body.
        first_event_s: The first whole event.
        first_content_s: The first content.
        last_content_s: The last content.
        finished_s: The model's finish.
        last_byte_s: The last byte of the body.
        ended_s: The end.
        how: How the body ended; see `unbroken.core.recording.BodyEndHow`; ``""``: not in the
            recording.
        detail: What was said of the end.
        finish: The provider's reasons, a choice each.
        marked: The dialect's last marker came.
        streamed: An answer that is a stream was expected.
        reads: Reads of the body.
        size_bytes: Its bytes.
        frames: Whole frames.
        content: Events with content.
        characters: Characters of text, thinking and tool input.
        pings: Signs of life without content.
        parse_errors: Frames that could not be read.
        read_bytes: Sizes of the reads.
        read_wait_s: How long the reads were waited for, where that was measured.
        lost_bytes: Bytes that the flight recorder did not keep.
        asked: Its request is in the recording; else it began before the first line that was kept.
        unseen_s: Until then nothing of its body was kept, so its first times are not known.
        quiet_s: How long before its end nothing with content came, the reader's own time not
            counted; None where it came to its finish, or that is not known.
        quiet_pings: Signs of life in that time.
        decoded: Its events could be read; False where only sizes and times are known.
    """

    number: int = 1
    rung: str = "first"
    dialect: str = ""
    recognised_by: str = ""
    method: str = ""
    url: str = ""
    request_headers: list[tuple[str, str]] = []
    request_bytes: int = 0
    request_preview: str = ""
    address: str = ""
    tls: bool = False
    reused: bool = False
    status: int | None = None
    reason: str = ""
    framing: str = ""
    response_headers: list[tuple[str, str]] = []
    began_s: float = 0.0
    connected_s: float | None = None
    sent_s: float | None = None
    head_s: float | None = None
    first_byte_s: float | None = None
    first_event_s: float | None = None
    first_content_s: float | None = None
    last_content_s: float | None = None
    finished_s: float | None = None
    last_byte_s: float | None = None
    ended_s: float | None = None
    how: str = ""
    detail: str = ""
    finish: list[str] = []
    marked: bool = False
    streamed: bool = True
    reads: int = 0
    size_bytes: int = 0
    frames: int = 0
    content: int = 0
    characters: int = 0
    pings: int = 0
    parse_errors: int = 0
    read_bytes: Numbers = msgspec.field(default_factory=Numbers)
    read_wait_s: Numbers = msgspec.field(default_factory=Numbers)
    lost_bytes: int = 0
    asked: bool = True
    unseen_s: float | None = None
    quiet_s: float | None = None
    quiet_pings: int = 0
    decoded: bool = True

    def header(self, name: str) -> str:
        """Return a header of the response, or ``""``."""
        wanted = name.lower()
        return next((value for key, value in self.response_headers if key.lower() == wanted), "")


class StreamReport(msgspec.Struct, kw_only=True):
    """One stream: what the consumer saw, over all its attempts.

    Attributes:
        number: From 1.
        status: As of `unbroken.Outcome`; ``plain`` for an answer that is no stream; ``unended``
            where the recording stops before the stream does.
        healed: It broke, and a later attempt brought it to a proven end.
        model: The model's name, where known.
        began_s: The first request, in the recording's time.
        duration_s: From there to the end.
        verdict: Where the fault lies.
        faults: All, in order of time.
        attempts: All requests.
        first_content_s: Until the first content.
        longest_gap_s: The longest time without content, between two events or up to the end of an
            attempt that did not come to its finish.
        gaps: The longest such times, in order of time.
        stalls: Waits that the clocks tell of.
        bands: Phases.
        marks: Moments.
        timeline: The story, in lines.
        omitted: Lines of the timeline that were left out, in its middle.
        reads: Every read.
        histogram: Times between events.
        throughput: Bytes and events by time.
        consumer: The reader's own time.
        parcels: The events came in parcels: something collects them.
        command: How the recorded command ended while the stream still ran, such as ``exit 1``.
        paced: The times of single reads are known; False for browsers' exports, in which a body
            stands as one.
        notes: What a reader of the report should know.
    """

    number: int = 1
    status: str = ""
    healed: bool = False
    model: str = ""
    began_s: float = 0.0
    duration_s: float = 0.0
    verdict: Verdict = msgspec.field(default_factory=Verdict)
    faults: list[FaultMark] = []
    attempts: list[AttemptReport] = []
    first_content_s: float | None = None
    longest_gap_s: float = 0.0
    gaps: list[Gap] = []
    stalls: list[Stall] = []
    bands: list[Band] = []
    marks: list[Mark] = []
    timeline: list[Entry] = []
    omitted: int = 0
    reads: Reads = msgspec.field(default_factory=Reads)
    histogram: Histogram = msgspec.field(default_factory=Histogram)
    throughput: Throughput = msgspec.field(default_factory=Throughput)
    consumer: Consumer = msgspec.field(default_factory=Consumer)
    parcels: bool = False
    command: str = ""
    paced: bool = True
    notes: list[str] = []

    @property
    def fault(self) -> FaultMark | None:
        """The first fatal fault that nothing made good, or the first fatal one."""
        fatal = [fault for fault in self.faults if fault.severity == "fatal"]
        return next((fault for fault in fatal if not fault.recovered), next(iter(fatal), None))

    @property
    def worst_gap(self) -> Gap | None:
        """The longest time without content, where it stands out."""
        worst = max(self.gaps, key=lambda gap: gap.lasted_s, default=None)
        return worst if worst is not None and worst.lasted_s >= self.longest_gap_s else None

    @property
    def last(self) -> AttemptReport:
        """The last attempt."""
        return self.attempts[-1] if self.attempts else AttemptReport()


class Listed(msgspec.Struct, kw_only=True):
    """One line on a stream, where a recording has many."""

    number: int
    status: str
    where: Where
    began_s: float
    duration_s: float
    faults: list[str] = []
    attempts: int = 1
    reads: int = 0
    size_bytes: int = 0
    dialect: str = ""
    healed: bool = False


class Report(msgspec.Struct, kw_only=True):
    """What a recording shows.

    Attributes:
        format: Always ``unbroken-report``.
        version: Of this object.
        name: The recording's name.
        size_bytes: Its size, 0 where it is no file.
        lines: How many lines it has.
        made_by: Who wrote it.
        side: Who recorded: ``library``, ``gateway``, ``proxy``, ``command``, ``har`` ...
        contents: ``kept``, ``hashed`` or ``removed``.
        started_at: Seconds since the epoch when it began, or 0.
        note: What its writer noted.
        notes: What a reader of the report should know.
        total: How many streams it has.
        listed: A line on each, up to some thousands.
        streams: Those that are told in full: a few dozen, the broken ones first in choice.
    """

    format: str = FORMAT
    version: int = VERSION
    name: str = ""
    size_bytes: int = 0
    lines: int = 0
    made_by: str = ""
    side: str = ""
    contents: str = "kept"
    started_at: float = 0.0
    note: str = ""
    notes: list[str] = []
    total: int = 0
    listed: list[Listed] = []
    streams: list[StreamReport] = []
