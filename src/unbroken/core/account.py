"""The account of a stream: its attempts, its faults, who wrote what, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from unbroken.core.attempt import Attempt
from unbroken.core.checks.tools import judge_calls
from unbroken.core.events import ProviderError
from unbroken.core.faults import Fault
from unbroken.core.outcome import AttemptRecord, Outcome, Provenance, Skipped
from unbroken.core.received import Received, Usage
from unbroken.core.recovery.situation import Plan
from unbroken.core.verdict import is_recoverable, status_of

__all__ = ["Account"]

_CHARACTERS_PER_TOKEN = 4
_REQUEST_IDS = (
    "x-request-id",
    "request-id",
    "apim-request-id",
    "x-generation-id",
    "x-amzn-requestid",
)


class Account:
    """Write down what happens while a stream runs; sum it up as its outcome.

    Args:
        dialect: The dialect's name.
        received: What the consumer has; filled by the stream.
        now: When the stream began.
    """

    def __init__(self, dialect: str, received: Received, *, now: float) -> None:
        self.outcome = Outcome(dialect=dialect)
        self.records = [AttemptRecord(number=1, started_at=now)]
        self._received = received
        self._started_at = now
        self._faults: list[Fault] = []
        self._segments: list[tuple[int, Plan | None, int, int]] = []
        self._bodies = {1: 1}  # by attempt: where the body began that it is a part of
        self.settled = False
        """Whether further text of the running attempt changes nothing here."""

    @property
    def number(self) -> int:
        """The attempt that runs, from 1."""
        return self.records[-1].number

    def begin_attempt(self, plan: Plan, now: float) -> int:
        """A further request is sent; return its number."""
        number = len(self.records) + 1
        target = "" if plan.target is None else plan.target.label
        self.records.append(
            AttemptRecord(number=number, rung=plan.rung, target=target, started_at=now)
        )
        self._bodies[number] = number
        self.settled = False
        return number

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        """The response head came; header names are in lower case."""
        record = self.records[-1]
        record.status = status
        record.request_id = next((headers[name] for name in _REQUEST_IDS if name in headers), "")

    def refused(self, error: ProviderError | None, raw: list[str]) -> None:
        """The answer is no stream: what the provider said, and what may be shown of it."""
        self.records[-1].error = error
        self.records[-1].raw = raw

    def goes_on(self) -> None:
        """The last attempt is the one before it, over another connection: there is one bill."""
        before, last = self.records[-2:]
        while before.rung == "cursor" and before.usage == Usage() and before.number > 1:
            before = self.records[before.number - 2]
        before.usage = Usage()
        last.target = before.target
        self._bodies[last.number] = self._bodies[before.number]

    def fail_attempt(self, attempt: Attempt | None, fault: Fault, now: float) -> None:
        """The running attempt failed; None: it got no stream."""
        told = attempt is not None and fault in attempt.faults
        if attempt is not None:
            self.take_faults(attempt)
        if not told:
            self.add(fault)
        self.end_attempt(attempt, fault, now)

    def end_attempt(self, attempt: Attempt | None, fault: Fault | None, now: float) -> None:
        """The running attempt is over; a fault says why if it failed."""
        record = self.records[-1]
        if record.ended_at is not None:
            return
        record.fault = None if fault is None else self._numbered(fault)
        record.ended_at = now
        if attempt is None:
            return
        record.bytes = attempt.bytes
        # A copy: the same attempt may go on over another connection, and tell more.
        record.usage = msgspec.structs.replace(attempt.usage)
        self.outcome.frames += attempt.frames
        if attempt.completeness.content_seen and not _is_told(attempt):
            written = self._received.content_size - self._written_before(record.number)
            record.usage.output = max(attempt.usage.output or 0, _tokens(written))
            record.usage.estimated = True
        if attempt.error_step is not None:
            errors = (e for e in attempt.error_step.events if type(e) is ProviderError)
            record.error = next(errors, None)

    def _written_before(self, number: int) -> int:
        body = self._bodies[number]
        starts = [start for each, _, start, _ in self._segments if self._bodies[each] == body]
        return starts[0] if starts else self._received.content_size

    # Faults -------------------------------------------------------------------------------

    def add(self, fault: Fault) -> None:
        """A fault of the running attempt, or of the stream."""
        self._faults.append(self._numbered(fault))

    def take_faults(self, attempt: Attempt) -> None:
        """The attempt's own faults, in the order of its bytes."""
        self._faults += [self._numbered(fault) for fault in attempt.faults]
        attempt.faults.clear()

    def _numbered(self, fault: Fault) -> Fault:
        if fault.attempt:
            return fault
        return msgspec.structs.replace(fault, attempt=self.number)

    # Who wrote what -----------------------------------------------------------------------

    def delivering(self, plan: Plan | None) -> None:
        """What is delivered from here on was written by the attempt that runs."""
        number = self.records[-1].number
        if not self._segments or self._segments[-1][0] != number:
            received = self._received
            self._segments.append((number, plan, received.content_size, received.first_characters))

    def delivered(self, now: float) -> None:
        """Something was delivered."""
        if self.outcome.first_content_s is None and self._received.has_content:
            self.outcome.first_content_s = now - self._started_at
        self.settled = self.outcome.first_content_s is not None

    def _provenance(self) -> list[Provenance]:
        ends = [start for *_, start in self._segments[1:]] + [self._received.first_characters]
        return [
            Provenance(
                attempt=number,
                start=start,
                end=end,
                rung="first" if plan is None else plan.rung,
                guarantee="byte-exact" if plan is None else plan.guarantee,
                anchor=0 if plan is None else plan.anchor,
                target=self.records[number - 1].target,
            )
            for (number, plan, _, start), end in zip(self._segments, ends, strict=False)
            if end > start
        ]

    # The end ------------------------------------------------------------------------------

    def so_far(self, now: float) -> Outcome:
        """Return what is known while the stream runs; its status is ``unconfirmed``."""
        outcome = msgspec.structs.replace(
            self.outcome,
            status="unconfirmed",
            faults=list(self._faults),
            attempts=list(self.records),
            provenance=self._provenance(),
            duration_s=now - self._started_at,
        )
        outcome.take(self._received)
        return outcome

    def _usage_of_cut(self) -> Usage:
        """Return what a stream without its end used: its last word on that may be its first."""
        received = self._received
        usage = received.usage
        if usage.output is None or received.told_at or not received.content_size:
            return usage
        output = max(usage.output, _tokens(received.content_size))
        return msgspec.structs.replace(usage, output=output, estimated=True)

    def skip(self, skipped: list[Skipped]) -> None:
        """Rungs that were not taken at the last failure."""
        self.outcome.skipped = skipped

    def close(self, attempt: Attempt | None, fault: Fault | None, now: float) -> Outcome:
        """Return the outcome of a stream that is over; a fault means that it failed."""
        outcome = self.outcome
        self.end_attempt(attempt, fault, now)
        self._faults += judge_calls(self._received)
        outcome.faults = self._faults
        outcome.take(self._received)
        if attempt is None or not attempt.completeness.finished:
            outcome.usage = self._usage_of_cut()
        outcome.provenance = self._provenance()
        if fault is None:
            # The faults of attempts that were recovered from do not fail the stream.
            last = [f for f in self._faults if f.attempt in (0, self.number)]
            finishes = attempt.completeness.finishes if attempt is not None else {}
            outcome.status = status_of(last, finishes)
            finished = attempt is not None and attempt.completeness.finished
            outcome.complete = finished and outcome.status not in ("cancelled", "unconfirmed")
        else:
            outcome.status = "failed"
            outcome.recoverable = is_recoverable([fault])
        outcome.attempts = self.records
        outcome.bytes = sum(record.bytes for record in self.records)
        outcome.duration_s = now - self._started_at
        return outcome


def _is_told(attempt: Attempt) -> bool:
    """Whether the provider said how many tokens it wrote, rather than how it began."""
    if attempt.usage.output is None:
        return False
    return attempt.output_told or attempt.completeness.finished


def _tokens(characters: int) -> int:
    return -(-characters // _CHARACTERS_PER_TOKEN)
