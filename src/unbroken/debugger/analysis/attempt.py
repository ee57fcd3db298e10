"""One request upstream: its head, its body read by read, and its end."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

import msgspec

from unbroken.core.checks.completeness import BodyEnd
from unbroken.core.dialects import DIALECTS, by_name, recognise_request
from unbroken.core.dialects.base import Dialect
from unbroken.core.events import Finish
from unbroken.core.faults import FaultKind
from unbroken.core.options import Clocks
from unbroken.core.recording import BodyEndHow, Contents, RequestSent, ResponseHead
from unbroken.core.request import Request
from unbroken.debugger.analysis import ends
from unbroken.debugger.analysis.asking import choices_of, framing_of, is_stream, model_of
from unbroken.debugger.analysis.counts import Least
from unbroken.debugger.analysis.decoding import Decoding, Meaning
from unbroken.debugger.analysis.waits import Waits
from unbroken.debugger.facts import AttemptReport, Stall
from unbroken.debugger.words import clip

__all__ = ["AttemptPass", "Given"]

_MOST_REQUEST_BYTES = 4 * 1024 * 1024
_MOST_PROBLEM_BYTES = 64 * 1024
_MOST_HEADERS = 200

_ENDS: Final[dict[str, BodyEnd]] = {
    "eof": "eof",
    "incomplete": "reset",
    "reset": "reset",
    "silent": "reset",
    "deadline": "closed",
    "given-up": "closed",
    "left": "closed",
}


class Given(msgspec.Struct, frozen=True):
    """How to read.

    Attributes:
        clocks: Whose limits stalls are told by.
        contents: What became of texts in the recording.
        dialect: A dialect's name; ``auto``: as the recording says, or as the body shows.
        previews: Keep the first characters of what passed.
    """

    clocks: Clocks
    contents: Contents
    dialect: str
    previews: bool


class AttemptPass:
    """Take in the lines of one attempt. All times count from the stream's begin.

    Attributes:
        facts: What is known of it.
        phase: What it is doing.
        notes: What a reader of the report should know.
        model: The model's name, where known.
        over: Its end was told.
        finishes: The last finish of each choice, once it is over.
    """

    def __init__(self, line: RequestSent | None, number: int, at_s: float, given: Given) -> None:
        request = line or RequestSent(at_s=at_s)
        self.facts = AttemptReport(
            number=number,
            rung=request.rung,
            method=request.method if line is not None else "",
            url=request.url,
            request_headers=list(request.headers[:_MOST_HEADERS]),
            began_s=at_s,
            asked=line is not None,
        )
        self.phase = "connecting"
        self.notes: list[str] = []
        self.model = ""
        self._line = request
        self._given = given
        self._sent = bytearray()
        self._waits = Waits(given.clocks, at_s, attempt=number)
        self._decoding: Decoding | None = None
        self._before: Decoding | None = None  # whose body goes on here (a cursor)
        self._problem = bytearray()
        self._sizes, self._read_waits = Least(), Least()
        self._usual_s = 0.0
        self._unseen = False  # of its body nothing is known so far
        self._hole = False  # nothing came behind what was lost
        self.over = False
        self.finishes: dict[int, Finish] = {}

    @property
    def stalls(self) -> list[Stall]:
        """Waits that the clocks tell of."""
        return self._waits.stalls

    # The head -----------------------------------------------------------------------------

    def goes_on_from(self, earlier: AttemptPass) -> None:
        """The body of an earlier attempt goes on here."""
        self._before = earlier._decoding

    def is_like(self, earlier: AttemptPass) -> None:
        """Its beginning was not kept; it speaks what an earlier attempt of the stream spoke."""
        before = earlier.facts
        self._line.dialect = before.dialect or earlier._line.dialect
        self._line.url = before.url
        self._decoding = self._begin()
        self._decoding.hole()
        self._unseen = True

    def sent(self, data: bytes | None, size_bytes: int, at_s: float) -> None:
        """A part of the request's body went out."""
        facts = self.facts
        facts.request_bytes += size_bytes
        facts.sent_s = at_s
        if data is not None and len(self._sent) + len(data) <= _MOST_REQUEST_BYTES:
            self._sent += data
        if self._given.previews and data is not None and not facts.request_preview:
            facts.request_preview = clip(data[:2048].decode("utf-8", "replace"), 400)

    def connected(self, at_s: float, *, address: str, tls: bool, reused: bool) -> None:
        """The connection stands."""
        facts = self.facts
        facts.connected_s, facts.address, facts.tls, facts.reused = at_s, address, tls, reused
        self.phase = "waiting"

    def head(self, line: ResponseHead, at_s: float) -> None:
        """The response's head came."""
        facts = self.facts
        facts.head_s = at_s
        facts.status, facts.reason = line.status, line.reason
        facts.response_headers = list(line.headers[:_MOST_HEADERS])
        facts.framing = line.framing or framing_of(facts)
        self.phase = "waiting"
        self._waits.touched(at_s)

    def _begin(self, head: bytes = b"") -> Decoding:
        """Decide what the body is, when its first bytes or its end come."""
        facts, line = self.facts, self._line
        request = Request(
            method=line.method,
            url=line.url,
            headers=tuple(line.headers),
            body=bytes(self._sent),
        )
        self._sent = bytearray()
        dialect, by = self._dialect(request)
        facts.recognised_by = by
        choices = 1
        if dialect is not None and request.body:
            choices = choices_of(dialect, request)
        facts.streamed = is_stream(request, dialect, facts, head)
        self.model = self.model or model_of(request)
        decoding = Decoding(
            dialect=dialect,
            host=urlsplit(line.url).hostname or "",
            choices=choices,
            content_type=facts.header("content-type"),
            encoding=facts.header("content-encoding"),
            contents=self._given.contents,
            liveness=self._waits.liveness,
        )
        if self._before is not None and self._before.goes_on(line.url, self._waits.liveness):
            decoding = self._before
        return decoding

    def _dialect(self, request: Request) -> tuple[Dialect | None, str]:
        if self._given.dialect != "auto":
            return by_name(self._given.dialect), "option"
        if self._line.dialect in DIALECTS:
            return DIALECTS[self._line.dialect], "recording"
        if request.url:
            found = recognise_request(request)
            if found is not None:
                return found, "path"
        return None, ""

    # The body -----------------------------------------------------------------------------

    def read(
        self, data: bytes | None, size_bytes: int, at_s: float, waited_s: float | None
    ) -> Meaning:
        """Take bytes of the body."""
        facts = self.facts
        self._hole = False
        if self._unseen:
            facts.unseen_s = at_s if facts.unseen_s is None else facts.unseen_s
        elif facts.first_byte_s is None:
            facts.first_byte_s = at_s
        if self._decoding is None:
            self._decoding = self._begin(data or b"")
        self._waits.advance(at_s, waited_s)
        facts.last_byte_s = at_s
        facts.reads += 1
        facts.size_bytes += size_bytes
        self._sizes.add(size_bytes)
        if waited_s is not None:
            self._read_waits.add(waited_s)
        if not self._streams:
            if data is not None and len(self._problem) < _MOST_PROBLEM_BYTES:
                self._problem += data[:_MOST_PROBLEM_BYTES]
            self.phase = "body"
            return Meaning(finishes=[], faults=[])
        if data is None:
            self._decoding.unseen()
            self.phase = "body"
            self._waits.liveness.receive(at_s)
            self._waits.moved(at_s, content=True, pings=0)
            return Meaning(finishes=[], faults=[])
        meaning = self._decoding.read(data, at_s)
        self._count(meaning, at_s)
        if self._decoding.blind:
            self._waits.liveness.receive(at_s)
            self.phase = "body"
        return meaning

    @property
    def _streams(self) -> bool:
        return self.facts.streamed and 200 <= (self.facts.status or 200) < 300

    def lost(self, size_bytes: int) -> None:
        """Bytes were not kept here."""
        facts = self.facts
        facts.lost_bytes += size_bytes
        self._hole = True
        self._unseen = self._unseen or not facts.reads
        self._waits.unseen()
        if self._decoding is None:
            self._decoding = self._begin()
        if size_bytes:
            self._decoding.hole()

    def _count(self, meaning: Meaning, at_s: float) -> None:
        facts = self.facts
        facts.frames += meaning.frames
        facts.content += meaning.content
        facts.characters += meaning.characters
        facts.pings += meaning.pings
        facts.parse_errors += meaning.errors
        if meaning.frames and facts.first_event_s is None and not self._unseen:
            facts.first_event_s = at_s
        facts.quiet_pings = 0 if meaning.content else facts.quiet_pings + meaning.pings
        if meaning.content:
            # What came behind a hole is not the first of its kind.
            if facts.first_content_s is None and not facts.lost_bytes and not self._unseen:
                facts.first_content_s = at_s
            facts.last_content_s = at_s
        if meaning.finishes:
            facts.finished_s = at_s
            facts.finish = [*facts.finish, *meaning.finishes][:8]
        facts.marked = facts.marked or meaning.marked
        self.model = self.model or meaning.model
        self.phase = self._waits.phase
        self._waits.moved(
            at_s, content=bool(meaning.content or meaning.finishes), pings=meaning.pings
        )

    # Clocks -------------------------------------------------------------------------------

    def away(self, until_s: float) -> None:
        """The reader was busy until now: that time is not the upstream's."""
        self._waits.liveness.resume(until_s)

    # The end ------------------------------------------------------------------------------

    def end(
        self,
        how: BodyEndHow | None,
        detail: str,
        at_s: float,
        *,
        away_s: float = 0.0,
        usual_s: float = 0.0,
    ) -> Meaning:
        """The attempt is over.

        Args:
            how: In which way; None: the recording does not say.
            detail: What was said of it.
            at_s: When.
            away_s: How long the reader had been away then.
            usual_s: The stream's usual time between events with content.
        """
        facts = self.facts
        self.over = True
        facts.ended_s = None if how is None and self._hole else at_s
        facts.how, facts.detail = how or "", detail
        if self._decoding is None:
            self._decoding = self._begin()
        decoding = self._decoding
        self._usual_s = usual_s
        self._waits.end(at_s)
        facts.quiet_s = self._quiet(how, at_s, away_s)
        facts.decoded = facts.streamed and not decoding.blind
        meaning = Meaning(finishes=[], faults=[])
        if facts.status is None and not facts.reads:
            meaning.faults += [] if not facts.method else ends.unanswered(facts, how, detail, at_s)
        elif not 200 <= (facts.status or 200) < 300:
            meaning.faults.append(ends.refused(facts, bytes(self._problem), decoding.dialect))
        elif not facts.streamed:
            if how in ("reset", "incomplete"):
                meaning.faults.append(ends.failed(facts, detail))
        elif decoding.blind or not facts.reads:
            meaning.faults += ends.without_events(
                facts, how, detail, at_s, phase=self.phase, usual_s=usual_s
            )
            if not facts.reads and not decoding.blind and how == "eof":
                closing = decoding.close("eof", at_s)
                meaning.faults += closing.faults
        else:
            meaning = self._judged(decoding, how, detail, at_s)
        facts.dialect = decoding.framing_name
        if decoding.by_body:
            facts.recognised_by = "body"
        facts.decoded = facts.streamed and not decoding.blind
        if decoding.blind and decoding.why_blind:
            self.notes.append(f"{decoding.why_blind}: its events are not known")
        if facts.lost_bytes:
            where = "before the first read" if self._unseen else "in the middle"
            self.notes.append(
                f"{facts.lost_bytes:,} bytes {where} were not kept, so faults in them are not known"
            )
        elif decoding.holed:
            self.notes.append(f"how attempt {facts.number} began was not kept")
        facts.read_bytes, facts.read_wait_s = self._sizes.numbers(), self._read_waits.numbers()
        self._problem = bytearray()
        self.finishes = dict(decoding.finishes)
        self._decoding = decoding if how not in (None, "eof", "left") else None
        return meaning

    def _judged(
        self, decoding: Decoding, how: BodyEndHow | None, detail: str, at_s: float
    ) -> Meaning:
        facts = self.facts
        whole = decoding.whole
        if how is None:
            return Meaning(finishes=[], faults=[])
        if how == "left" and not whole:
            found = ends.left(facts, at_s, phase=self.phase, usual_s=self._usual_s)
            return Meaning(finishes=[], faults=found)
        if how in ("left", "deadline", "given-up") and not decoding.marked:
            judged = Meaning(finishes=[], faults=[])
        else:
            judged = decoding.close(_ENDS.get(how, "eof"), at_s)
            self._count_late(judged)
        if how in ("deadline", "silent") and not whole:
            # In the place of what the end of the body looked like.
            judged.faults = [f for f in judged.faults if f.kind is not FaultKind.CONNECTION_RESET]
            judged.faults.append(
                ends.given_up(facts, how, detail, at_s, phase=self.phase, usual_s=self._usual_s)
            )
        elif detail:
            judged.faults = [ends.in_words(fault, detail) for fault in judged.faults]
        return judged

    def _quiet(self, how: BodyEndHow | None, at_s: float, away_s: float) -> float | None:
        """Return how long nothing with content had come at its end; see `AttemptReport.quiet_s`."""
        facts, decoding = self.facts, self._decoding
        assert decoding is not None
        if how is None or how == "unanswered" or not self._streams:
            return None
        if decoding.whole or decoding.marked or facts.finish:
            return None
        since = facts.last_byte_s if decoding.blind else facts.last_content_s
        if since is None:
            # Of content that was not kept nobody knows when it came.
            since = facts.began_s if not self._unseen else facts.unseen_s
        return None if since is None else max(0.0, at_s - since - away_s)

    def _count_late(self, found: Meaning) -> None:
        facts = self.facts
        facts.frames += found.frames
        facts.content += found.content
        facts.characters += found.characters
        facts.finish = [*facts.finish, *found.finishes][:8]
        facts.marked = facts.marked or found.marked
