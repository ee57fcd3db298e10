"""One stream's health, kept while it runs.

`delivered` is called for every delivery, so it only adds to plain fields of the stream's own:
no lock, no shared counter. Whoever wants figures adds up the fields of all streams.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from unbroken.core.actions import Notice, StallNotice
from unbroken.core.events import Event, Finish, Reasoning, Refusal, Text, TextRun, ToolCall
from unbroken.core.faults import Fault
from unbroken.core.outcome import Outcome
from unbroken.telemetry.health.bill import bill_of
from unbroken.telemetry.health.buffering import BufferingDetector
from unbroken.telemetry.health.figures import Group, Labels, count_in
from unbroken.telemetry.health.histogram import bucket_of
from unbroken.telemetry.health.rows import FaultRow, StreamError, StreamRow

if TYPE_CHECKING:
    from unbroken.telemetry.health.monitor import HealthMonitor

__all__ = ["StreamHealth"]

_MOST_ERRORS = 16
_MOST_RECOVERIES = 16
_MOST_TEXT = 200
_NUMBERS = re.compile(r"\d+(?:\.\d+)?")


class StreamHealth:
    """The health of one stream; `HealthMonitor.start` makes it.

    A driver calls it as an observer, and `delivered` and `resumed` besides. All methods are
    cheap, and none of them raises on what a peer sent.

    Attributes:
        id: The stream's id.
        labels: What its figures are counted under.
        team: Whose it is, or ``""``.
        status: See `StreamRow`.
        phase: See `StreamRow`.
    """

    __slots__ = (
        "__weakref__", "_attempts", "_began", "_began_wall", "_buffered", "_buffering", "_bytes",
        "_cost", "_delivered_at", "_deltas", "_ended", "_errors", "_frames", "_gap_s", "_gaps",
        "_gaps_s", "_heard", "_last", "_left", "_longest_gap_s", "_monitor", "_progress",
        "_recoveries", "_seams", "_stalled", "_together", "_tokens", "_told", "_ttft_s", "group",
        "id", "labels", "phase", "status", "team",
    )  # fmt: skip

    def __init__(
        self, monitor: HealthMonitor, stream_id: str, labels: Labels, *, team: str, began: float
    ) -> None:
        self.id = stream_id
        self.labels = labels
        self.team = team
        self.status = "active"
        self.phase = "connecting"
        self.group: Group | None = None  # where it is counted, once that was decided
        self._monitor = monitor
        self._began = began
        self._began_wall = monitor.wall(began)
        self._heard = began
        self._delivered_at = began
        self._last = began  # the last content, later by the consumer's own time since
        self._progress = began
        self._ended: float | None = None
        self._bytes = 0
        self._frames = 0
        self._deltas = 0
        self._tokens: int | None = None  # as the provider told
        self._ttft_s: float | None = None
        self._gap_s = 0.0
        self._longest_gap_s = 0.0
        self._gaps: dict[int, int] = {}
        self._together = 0  # pieces of content that came with another
        self._gaps_s = 0.0
        self._attempts = 1
        self._recoveries: list[str] = []
        self._seams: list[tuple[int, str]] = []
        self._cost: float | None = None
        self._errors: list[StreamError] = []
        self._told: dict[tuple[str, str, int | None], int] = {}
        self._stalled = False
        self._left = False
        self._buffering = BufferingDetector()
        self._buffered = False

    # What a driver tells ----------------------------------------------------------------------

    def delivered(self, data: bytes, events: Sequence[Event], now: float) -> None:
        """Whole frames went to the consumer."""
        self._bytes += len(data)
        self._delivered_at = now
        if type(events) is TextRun:
            count = pieces = len(events.texts)
            self._frames += count
            self.phase = "text"
        else:
            count, pieces = self._look(data, events)
            if not count:
                return
        # Content came.
        self._deltas += count
        gap = now - self._last
        self._last = self._progress = now
        self._stalled = False
        self._together += count - 1
        if self._ttft_s is None:
            self._ttft_s = now - self._began
        else:
            self._gap_s = gap
            self._gaps_s += gap
            if gap > self._longest_gap_s:
                self._longest_gap_s = gap
            bucket = bucket_of(gap)
            gaps = self._gaps
            gaps[bucket] = gaps.get(bucket, 0) + 1
        if pieces:
            self._buffering.came(pieces, gap)

    def _look(self, data: bytes, events: Sequence[Event]) -> tuple[int, int]:
        """Return how many events are content, and how many of them text or thinking."""
        # Frames end with a blank line, or in NDJSON with the line; of the binary and array
        # wires a delivery counts as one.
        frames = data.count(b"\n\n") or data.count(b"\r\n\r\n")
        if not frames and data:
            frames = max(1, data.count(b"\n")) if data.startswith(b"{") else 1
        self._frames += frames
        count = pieces = 0
        for event in events:
            kind = type(event)
            if kind is Text or kind is Refusal:
                if event.text:  # type: ignore[union-attr]
                    self.phase = "text"
                    pieces += 1
            elif kind is Reasoning:
                if event.text:  # type: ignore[union-attr]
                    self.phase = "thinking"
                    pieces += 1
            elif kind is ToolCall:
                if event.arguments or event.name:  # type: ignore[union-attr]
                    self.phase = "tool"
                    count += 1
            elif kind is Finish:
                self.phase = "ending"
        if self.phase == "connecting":
            self.phase = "waiting"
        return count + pieces, pieces

    def resumed(self, now: float) -> None:
        """The consumer wants more: the time that it took is no wait of the stream's."""
        self._last += now - self._delivered_at
        self._delivered_at = now

    def answered(self, now: float) -> None:
        """The response head of an attempt came."""
        self._delivered_at = now  # from here on the consumer may read, or not
        if self.phase == "connecting":
            self.phase = "waiting"
        elif self.phase == "recovering":
            self.phase = "text" if self._deltas else "waiting"

    def left(self, now: float) -> None:
        """The client is gone; the stream may go on without it."""
        self._left = True
        self._heard = now
        self._monitor.changed(self)

    def notice(self, notice: Notice) -> None:
        """A stall, or a further attempt. See `telemetry.Observer`."""
        if isinstance(notice, StallNotice):
            self._stalled = True
            self._monitor.count(self, "stalls")
        else:
            self.phase = "recovering"
            self._attempts = max(self._attempts, notice.attempt)
            if len(self._recoveries) < _MOST_RECOVERIES:
                self._recoveries.append(notice.rung)
            self._fault(notice.fault, rung=notice.rung)
            self._monitor.count(self, "retries")
        self._monitor.changed(self)

    def outcome(self, outcome: Outcome) -> None:
        """The stream is over. See `telemetry.Observer`."""
        if self._ended is not None:
            return
        for fault in outcome.faults:
            self._fault(fault)
        missed = len(outcome.attempts) - self._attempts  # that no notice told of
        self._attempts = max(1, len(outcome.attempts))
        if outcome.usage.output is not None and not outcome.usage.estimated:
            self._tokens = outcome.usage.output
        later = outcome.provenance[1 : _MOST_RECOVERIES + 1]
        self._seams = [(part.start, part.rung) for part in later]
        bill = bill_of(outcome, tokens=self.tokens)
        self._cost = self._monitor.prices.cost(self.labels, bill.usage)
        with self._monitor.locked:
            group = self._monitor.group_of(self)
            group.retries += max(0, missed)  # a counter does not fall
            for recovery in bill.recoveries:
                count_in(group.recoveries, recovery)
            group.wasted_tokens += bill.wasted_tokens
            group.saved_tokens += bill.saved_tokens
            group.cost += self._cost or 0.0
            group.usage.add(bill.usage)
        self.end(outcome.status)

    def internal_error(self, error: Exception) -> None:
        """Unbroken itself failed. See `telemetry.Observer`."""
        self._monitor.count(self, "internal_errors")

    # What anybody may tell --------------------------------------------------------------------

    def frame(self, size_bytes: int, tokens: int, now: float) -> None:
        """A frame of a stream that Unbroken does not drive."""
        if self._ended is not None:
            return
        self._bytes += size_bytes
        self._frames += 1
        self._heard = self._delivered_at = now
        if tokens <= 0:
            if self.phase == "connecting":
                self.phase = "waiting"
            return
        self._deltas += tokens
        gap = now - self._last
        self._last = self._progress = now
        self.phase = "text"
        if self._ttft_s is None:
            self._ttft_s = now - self._began
        else:
            self._gap_s = gap
            self._gaps_s += gap
            self._longest_gap_s = max(self._longest_gap_s, gap)
            bucket = bucket_of(gap)
            self._gaps[bucket] = self._gaps.get(bucket, 0) + 1
        self._buffering.came(1, gap)

    def error(self, kind: str, detail: str) -> None:
        """An error of a stream that Unbroken does not drive, or one beside its faults."""
        if self._ended is not None:
            return
        self._heard = self._monitor.clock()
        self._error(kind[:_MOST_TEXT], detail[:_MOST_TEXT])
        self._monitor.changed(self)

    def retried(self, rung: str) -> None:
        """A stream that Unbroken does not drive is asked for once more."""
        if self._ended is not None:
            return
        self._attempts += 1
        self.phase = "recovering"
        if len(self._recoveries) < _MOST_RECOVERIES:
            self._recoveries.append(rung)
        self._monitor.count(self, "retries")
        self._monitor.changed(self)

    def end(self, status: str) -> None:
        """The stream is over; a second end changes nothing."""
        monitor = self._monitor
        with monitor.locked:
            if self._ended is not None:
                return
            now = monitor.clock()
            self._ended = max(now, self._began)
            self.status, self.phase = status, "over"
            self._stalled = False
            self._buffered = self._buffering.end()
            group = monitor.group_of(self)
            self._add_to(group)
            group.tokens += self.tokens
            count_in(group.ended, status)
            count_in(group.counted, "deltas" if self._tokens is None else "usage")
            group.duration_s.add(self._ended - self._began)
            group.size_bytes.add(self._bytes)
            group.buffered += self._buffered
            monitor.forget(self)
        self._told.clear()
        monitor.changed(self)

    def stepped_aside(self) -> None:
        """Unbroken failed and passes the rest on unread: nothing more is known of it."""
        self.end("unread")

    # What is known ----------------------------------------------------------------------------

    @property
    def tokens(self) -> int:
        """Tokens so far: as the provider told, else pieces of content."""
        return self._deltas if self._tokens is None else self._tokens

    @property
    def heard_at(self) -> float:
        """When something was last heard of it, on the monitor's clock."""
        return max(self._heard, self._delivered_at)

    def row(self, now: float) -> StreamRow:
        """Return all that is known of it."""
        ended = self._ended
        return StreamRow(
            id=self.id,
            status=self.status,
            phase=self.phase,
            provider=self.labels.provider,
            model=self.labels.model,
            dialect=self.labels.dialect,
            route=self.labels.route,
            team=self.team,
            started_at=self._began_wall,
            ended_at=None if ended is None else self._began_wall + ended - self._began,
            duration_s=max(0.0, (now if ended is None else ended) - self._began),
            bytes=self._bytes,
            frames=self._frames,
            tokens=self.tokens,
            tokens_counted="deltas" if self._tokens is None else "usage",
            ttft_s=self._ttft_s,
            last_gap_s=self._gap_s,
            longest_gap_s=self._longest_gap_s,
            since_progress_s=max(0.0, now - self._progress) if ended is None else 0.0,
            stalled=self._stalled,
            attempts=self._attempts,
            reconnects=self._attempts - 1,
            recoveries=list(self._recoveries),
            seams=self._seams,
            cost=self._cost,
            errors=list(self._errors),
            buffered=self._buffered or self._buffering.found,
            left=self._left,
        )

    def add_running(self, group: Group) -> None:
        """Add to a copy of its group what it has done so far. The caller holds the lock."""
        group.active += 1
        group.active_tokens += self._deltas
        self._add_to(group)

    def _add_to(self, group: Group) -> None:
        group.bytes += self._bytes
        group.frames += self._frames
        if self._ttft_s is not None:
            group.ttft_s.add(self._ttft_s)
        gaps = dict(self._gaps)
        gaps[0] = gaps.get(0, 0) + self._together
        group.gap_s.add_counts(gaps, self._gaps_s, self._longest_gap_s)

    # Faults -----------------------------------------------------------------------------------

    def _fault(self, fault: Fault, *, rung: str = "") -> None:
        """Count a fault once: a further attempt tells of it early, the outcome of all again."""
        key = (fault.kind.value, fault.detail, fault.at_byte)
        told = self._told.get(key, 0)
        if rung:
            self._told[key] = told + 1
        elif told:
            self._told[key] = told - 1
            return
        kind = fault.kind.value
        self._monitor.fault(
            self,
            FaultRow(
                stream=self.id,
                at=self._monitor.wall(self._monitor.clock()),
                kind=kind,
                severity=fault.severity,
                detail=fault.detail,
                attempt=fault.attempt or (self._attempts - 1 if rung else self._attempts),
                rung=rung,
                provider=self.labels.provider,
                model=self.labels.model,
                route=self.labels.route,
            ),
        )
        if fault.fatal:
            self._error(kind, fault.detail)

    def _error(self, kind: str, detail: str) -> None:
        monitor = self._monitor
        if len(self._errors) >= _MOST_ERRORS:
            del self._errors[0]
        at = monitor.wall(monitor.clock())
        self._errors.append(StreamError(at=at, kind=kind, detail=detail))
        text = f"{kind}: {detail}" if detail else kind
        with monitor.locked:
            group = monitor.group_of(self)
            count_in(group.errors, kind)
            count_in(group.texts, _NUMBERS.sub("N", text)[:_MOST_TEXT])
