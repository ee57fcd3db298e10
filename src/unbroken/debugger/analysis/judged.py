"""What was judged while the stream ran, and what is judged of it now: faults and one word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from unbroken.core.faults import Fault, FaultKind
from unbroken.core.recording import FaultSeen, OutcomeSeen
from unbroken.core.verdict import status_of
from unbroken.debugger.analysis.attempt import AttemptPass
from unbroken.debugger.facts import AttemptReport, FaultMark

__all__ = ["PROVEN", "recover", "seen_live", "status_word"]

PROVEN: Final = ("complete", "limited", "filtered", "paused")


def seen_live(
    outcome: OutcomeSeen | None,
    faults: list[FaultMark],
    attempts: list[AttemptReport],
    *,
    lost_at: float | None,
    now: float,
) -> Iterator[FaultMark]:
    """Yield the faults of an outcome that the bytes alone do not show.

    Args:
        outcome: What was judged while the stream ran, or None.
        faults: What was found. Where a part of the stream was not kept, they are told anew by
            whoever saw all of it.
        attempts: The attempts that are known.
        lost_at: When a part was lost, or None.
        now: The stream's end.
    """
    for seen in () if outcome is None else outcome.faults:
        mark = next(
            (m for m in faults if m.kind == seen.kind and seen.attempt in (0, m.attempt)), None
        )
        if mark is None:
            at = now if lost_at is None else lost_at
            yield _mark(seen, attempts, at, lost=lost_at is not None)
        elif lost_at is not None:
            mark.detail, mark.at_byte, mark.frame = seen.detail, seen.at_byte, seen.frame


def _mark(seen: FaultSeen, attempts: list[AttemptReport], at_s: float, *, lost: bool) -> FaultMark:
    facts = next((a for a in attempts if a.number == seen.attempt), None)
    if facts is None and not seen.attempt and attempts:
        facts = attempts[-1]
    exact = facts is not None and facts.ended_s is not None
    if facts is not None and facts.ended_s is not None:
        at_s = facts.ended_s
    return FaultMark(
        kind=seen.kind,
        severity=seen.severity,
        detail=seen.detail,
        at_s=at_s,
        at_byte=seen.at_byte,
        frame=seen.frame,
        attempt=seen.attempt or (1 if facts is None else facts.number),
        exact=exact or not lost,
    )


def status_word(
    outcome: OutcomeSeen | None,
    last: AttemptPass | None,
    faults: list[FaultMark],
    unended: bool,
) -> str:
    """Return the word for how a stream ended; see `StreamReport.status`."""
    if outcome is not None and outcome.status:
        return outcome.status
    if unended or last is None:
        return "unended"
    mine = [fault for fault in faults if fault.attempt == last.facts.number]
    if any(fault.severity == "fatal" for fault in mine):
        return "failed"
    if not last.facts.streamed:
        return "plain"
    if not last.facts.decoded:
        return "unread"
    kinds = {fault.kind for fault in mine}
    if FaultKind.MISSING_FINISH.value in kinds:
        return "unconfirmed"
    known = [Fault.of(kind, "") for kind in FaultKind if kind.value in kinds]
    return status_of([fault for fault in known if not fault.fatal], last.finishes)


def recover(faults: list[FaultMark], attempts: list[AttemptReport], status: str) -> None:
    """Say of each fault whether a later attempt made it good."""
    last = max((attempt.number for attempt in attempts), default=1)
    for fault in faults:
        fault.recovered = fault.attempt < last and status in PROVEN
