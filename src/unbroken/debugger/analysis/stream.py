"""One stream: its attempts, its consumer, and its story."""

from __future__ import annotations

from unbroken.core.faults import FaultKind
from unbroken.core.recording import (
    Connected,
    Delivered,
    End,
    Line,
    Lost,
    NoticeSeen,
    OutcomeSeen,
    Read,
    RequestSent,
    ResponseHead,
    Sent,
    Wanted,
)
from unbroken.debugger.analysis.asking import head_said, how_said
from unbroken.debugger.analysis.attempt import AttemptPass, Given
from unbroken.debugger.analysis.consumer import ConsumerPass
from unbroken.debugger.analysis.decoding import Meaning
from unbroken.debugger.analysis.judged import PROVEN, recover, seen_live, status_word
from unbroken.debugger.analysis.pace import Pace
from unbroken.debugger.analysis.rows import Rates, Row, Rows
from unbroken.debugger.analysis.story import Story
from unbroken.debugger.analysis.timeline import Timeline
from unbroken.debugger.facts import StreamReport, Tone
from unbroken.debugger.words import amount, clip, labelled, seconds, size

__all__ = ["StreamPass"]

_MOST_ATTEMPTS = 64
_PREVIEW_BYTES = 400


class StreamPass:
    """Take in the lines of one stream.

    Args:
        number: The stream's.
        at_s: Its first line's time.
        given: How to read.
        pause_s: See `Timeline`.
        every_read: See `Timeline`.
    """

    def __init__(
        self,
        number: int,
        at_s: float,
        given: Given,
        *,
        pause_s: float | None,
        every_read: bool,
    ) -> None:
        self.number = number
        self._began_s = at_s
        self._given = given
        self._now = 0.0
        self._attempts: list[AttemptPass] = []
        self._current: AttemptPass | None = None
        self._story = Story(Timeline(pause_s=pause_s, every_read=every_read))
        self._timeline = self._story.timeline
        self._mark, self._band = self._story.mark, self._story.band
        self._rows = Rows()
        self._rates = Rates()
        self._consumer = ConsumerPass()
        self._pace = Pace()
        self._outcome: OutcomeSeen | None = None
        self._last_read_s: float | None = None
        self._seam_due = 0
        self._more_attempts = 0
        self._lost_at: float | None = None
        self._lost_bytes = 0
        self._command = ""
        self.over = False

    @property
    def ended(self) -> bool:
        """Whether every attempt so far is over: nothing more need come."""
        return self._outcome is not None or all(a.over for a in self._attempts)

    # Lines --------------------------------------------------------------------------------

    def take(self, line: Line) -> None:
        """Take in a line of this stream."""
        at = max(0.0, getattr(line, "at_s", 0.0) - self._began_s)
        self._now = max(self._now, at)
        match line:
            case Read():
                self._read(line, at)
            case Delivered():
                self._delivered(line, at)
            case Wanted():
                self._wanted(at)
            case RequestSent():
                self._request(line, at)
            case Sent():
                self._of(line.attempt, at).sent(
                    line.data if line.size is None else None, line.size_bytes, at
                )
            case Connected():
                self._connected(line, at)
            case ResponseHead():
                self._head(line, at)
            case End():
                self._end(line, at)
            case NoticeSeen():
                self._mark(at, "notice", labelled(line.kind, line.detail), line.attempt, "warn")
            case OutcomeSeen():
                self._outcome = line
            case Lost():
                self._lost(line, at)
            case _:
                pass

    def commanded(self, at_s: float, detail: str) -> None:
        """The recorded command ended; it matters where the stream had not come to its end."""
        at = at_s - self._began_s
        current = self._current
        if at < 0 or current is None or current.facts.finish or self._command:
            return
        if current.over and (current.facts.how != "left" or at - self._now > _SOON_S):
            return
        self._command = detail
        said = f"the command ended: {detail}"
        tone: Tone = "dim" if detail in _WELL else "warn"
        self._mark(min(at, self._now), "notice", said, current.facts.number, tone)

    def _of(self, number: int, at: float) -> AttemptPass:
        """Return the attempt that a line speaks of; it may have no request in the recording."""
        current = self._current
        if current is not None and current.facts.number == number:
            return current
        for attempt in reversed(self._attempts):
            if attempt.facts.number == number:
                return attempt
        attempt = AttemptPass(None, number, at, self._given)
        if current is not None:
            attempt.is_like(current)
            attempt.facts.lost_bytes, self._lost_bytes = self._lost_bytes, 0
            if not current.over:
                self._close(current, None, "", self._lost_at or at)
        return self._begin(attempt)

    def _lost(self, line: Lost, at: float) -> None:
        current = self._current
        if current is None:
            current = self._of(line.attempt, at)
        if not current.over:
            current.lost(line.size)
        else:  # of an attempt whose beginning is among what was lost
            self._lost_bytes += line.size
        said = f"{amount(line.lines, 'line')} with {size(line.size)} were not kept here"
        self._mark(at, "lost", said, current.facts.number, "dim")
        self._last_read_s = None
        self._pace.unseen()
        self._timeline.unseen()
        self._lost_at = at

    def _begin(self, attempt: AttemptPass) -> AttemptPass:
        if len(self._attempts) >= _MOST_ATTEMPTS:
            self._attempts.pop(1)
            self._more_attempts += 1
        self._attempts.append(attempt)
        self._current = attempt
        self._last_read_s = None
        self._band(attempt.phase, attempt.facts.began_s, attempt.facts.number)
        return attempt

    def _request(self, line: RequestSent, at: float) -> None:
        before = self._current
        if before is not None and not before.over:
            self._close(before, None, "", at)
        attempt = AttemptPass(line, line.attempt, at, self._given)
        if before is not None and line.rung == "cursor":
            attempt.goes_on_from(before)
        self._begin(attempt)
        said = f"{line.method} {line.url.partition('?')[0]}"
        if before is not None:
            said = f"attempt {line.attempt}, by {line.rung}: {said}"
            self._seam_due = line.attempt
        self._mark(at, "request", said, line.attempt)

    def _connected(self, line: Connected, at: float) -> None:
        attempt = self._of(line.attempt, at)
        attempt.connected(at, address=line.address, tls=line.tls, reused=line.reused)
        how = "connection reused" if line.reused else "connected"
        said = f"{how} to {line.address}" if line.address else how
        self._mark(at, "connected", f"{said}, encrypted" if line.tls else said, line.attempt, "dim")
        self._band("waiting", at, line.attempt)

    def _head(self, line: ResponseHead, at: float) -> None:
        attempt = self._of(line.attempt, at)
        attempt.head(line, at)
        tone: Tone = "" if 200 <= line.status < 300 else "bad"
        self._mark(at, "response", head_said(line, attempt.facts), line.attempt, tone)
        self._band("waiting", at, line.attempt)

    # Reads --------------------------------------------------------------------------------

    def _read(self, line: Read, at: float) -> None:
        attempt = self._of(line.attempt, at)
        facts = attempt.facts
        data = line.data
        size_bytes = len(data) if data is not None else line.size or 0
        first = facts.first_byte_s is None
        gap = None if self._last_read_s is None else max(0.0, at - self._last_read_s)
        meaning = attempt.read(data, size_bytes, at, line.waited_s)
        own = self._consumer.read(
            at,
            gap_s=gap,
            waited_s=line.waited_s,
            much=meaning.frames >= _MUCH_FRAMES or size_bytes >= _MUCH_BYTES,
        )
        self._pace.busy(own)
        if first and facts.first_byte_s is not None:
            self._mark(at, "first-byte", "first byte of the body", facts.number, quiet=True)
        self._meant(attempt, meaning, at)
        preview = ""
        if self._given.previews and data is not None:
            preview = clip(data[:_PREVIEW_BYTES].decode("utf-8", "replace"))
        self._rows.add(
            Row(
                at, at, 1, size_bytes, line.waited_s, gap or 0.0, meaning.frames, meaning.content,
                meaning.pings, facts.number, attempt.phase, ",".join(meaning.finishes),
                meaning.errors, preview,
            )
        )  # fmt: skip
        self._rates.add(at, size_bytes, meaning.content)
        self._timeline.read(
            at,
            gap_s=gap,
            size_bytes=size_bytes,
            frames=meaning.frames,
            content=meaning.content,
            pings=meaning.pings,
            phase=attempt.phase,
            preview=preview,
        )
        self._last_read_s = at
        if meaning.finishes:
            said = f"the model finished: {', '.join(meaning.finishes)}"
            self._mark(at, "finish", said, facts.number, "good")
        for fault in meaning.faults:
            self._story.fault(fault, at, attempt=facts.number, phase=attempt.phase)

    def _meant(self, attempt: AttemptPass, meaning: Meaning, at: float) -> None:
        facts = attempt.facts
        self._band(attempt.phase, at, facts.number)
        self._pace.pinged(meaning.pings)
        blind = attempt.phase == "body"
        content = meaning.content or (1 if blind else 0)
        if not content:
            return
        if self._pace.came(facts, content, at, phase=attempt.phase) and not blind:
            said = f"first content after {seconds(at - facts.began_s)}"
            self._mark(at, "first-content", said, facts.number, quiet=True)
        if self._seam_due == facts.number and facts.content:
            self._seam_due = 0
            self._mark(at, "seam", f"attempt {facts.number} goes on from here", facts.number)

    def _delivered(self, line: Delivered, at: float) -> None:
        self._consumer.delivered(at)

    def _wanted(self, at: float) -> None:
        own = self._consumer.wanted(at)
        if self._current is not None and own:
            self._current.away(at)
            if own >= _TOLD_S:
                said = f"the reader took {seconds(own)} before it came back for more"
                self._timeline.tell(at - own, "consumer", said, "warn")

    # Ends ---------------------------------------------------------------------------------

    def _end(self, line: End, at: float) -> None:
        attempt = self._of(line.attempt, at)
        if not attempt.over:
            self._close(attempt, line, line.detail, at)

    def _close(self, attempt: AttemptPass, line: End | None, detail: str, at: float) -> None:
        facts = attempt.facts
        last = self._last_read_s
        if line is not None and last is not None and at - last >= _TOLD_S:
            said = f"{seconds(at - last)} without a byte, until the end"
            self._timeline.tell(last, "pause", said, "warn")
        meaning = attempt.end(
            None if line is None else line.how,
            detail,
            at,
            away_s=self._consumer.away_s(at),
            usual_s=self._pace.gaps.usual_s,
        )
        self._pace.ended(facts, at, phase=attempt.phase)
        self._pace.pinged(meaning.pings)
        if line is not None:
            said = how_said(line.how)
            whole = line.how == "eof" or (line.how == "left" and bool(facts.finish))
            if line.how == "left" and facts.finish:
                said, detail = "the reader left, after the finish", ""
            clean = whole and not any(fault.fatal for fault in meaning.faults)
            tone: Tone = "dim" if clean else "warn"
            self._mark(at, "end", f"{said}: {detail}" if detail else said, facts.number, tone)
        for fault in meaning.faults:
            where = at
            if fault.kind is FaultKind.HTTP_ERROR and facts.head_s is not None:
                where = facts.head_s
            self._story.fault(fault, where, attempt=facts.number, phase=attempt.phase)
        for note in attempt.notes:
            self._story.note(note)
        self._story.until(at)

    # The result ---------------------------------------------------------------------------

    def report(self) -> StreamReport:
        """Return what is known; no line may come after."""
        self.over = True
        unended = False
        for attempt in self._attempts:
            if not attempt.over:
                unended = self._outcome is None
                self._close(attempt, None, "", self._now)
        attempts = [attempt.facts for attempt in self._attempts]
        faults = self._story.faults
        for mark in seen_live(
            self._outcome, faults, attempts, lost_at=self._lost_at, now=self._now
        ):
            self._story.add_fault(mark)
        self._story.name_faults()
        status = status_word(
            self._outcome,
            self._attempts[-1] if self._attempts else None,
            self._story.faults,
            unended,
        )
        recover(faults, attempts, status)
        content = [a.first_content_s for a in attempts if a.first_content_s is not None]
        first_byte = next((a.first_byte_s for a in attempts if a.first_byte_s is not None), None)
        report = StreamReport(
            number=self.number,
            status=status,
            healed=len(attempts) > 1
            and status in PROVEN
            and any(fault.severity == "fatal" for fault in faults),
            # A name that was hidden says nothing.
            model=next((a.model for a in self._attempts if a.model), "")
            if self._given.contents == "kept"
            else "",
            began_s=self._began_s,
            duration_s=self._now,
            faults=sorted(faults, key=lambda fault: fault.at_s),
            attempts=attempts,
            first_content_s=min(content) if content else None,
            longest_gap_s=self._pace.gaps.longest_s,
            gaps=self._pace.gaps.told(),
            stalls=[stall for attempt in self._attempts for stall in attempt.stalls],
            bands=[band for band in self._story.bands if band.to_s > band.from_s],
            marks=self._story.marks,
            reads=self._rows.columns(previews=self._given.previews),
            histogram=self._pace.gaps.histogram(),
            throughput=self._rates.result(),
            consumer=self._consumer.result(self._now - first_byte if first_byte is not None else 0),
            parcels=self._pace.parcels,
            command=self._command,
            notes=self._story.notes,
        )
        report.timeline = self._timeline.lines()
        report.omitted = self._timeline.omitted
        if self._more_attempts:
            self._story.note(f"{self._more_attempts} attempts after the first are left out")
        return report


_MUCH_FRAMES = 3
_MUCH_BYTES = 4096
_TOLD_S = 1.0
_SOON_S = 2.0
_WELL = ("exit 0", "")
