"""The faults in how an attempt ended, where the events of its body do not tell them."""

from __future__ import annotations

import msgspec

from unbroken.core.dialects import DIALECTS
from unbroken.core.dialects.base import Dialect
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.recording import BodyEndHow
from unbroken.core.recovery.refusal import read_refusal
from unbroken.debugger.facts import AttemptReport
from unbroken.debugger.words import amount, seconds

__all__ = [
    "failed", "given_up", "in_words", "left", "refused", "stood_still", "unanswered",
    "without_events",
]  # fmt: skip

_QUIET_S, _QUIET_TIMES = 0.95, 5.0
"""A stream stands still when it has been quiet so long, and so many times its usual gap."""
_WAITED_S = 1.9
"""Before the first content a model may well be quiet for a second or two."""
_SLOW_GAP_S = 0.5


def stood_still(facts: AttemptReport, usual_s: float) -> bool:
    """Whether nothing had moved for a while when an attempt ended."""
    quiet = facts.quiet_s
    if quiet is None:
        return False
    if facts.last_content_s is None and facts.unseen_s is None:
        return quiet >= _WAITED_S
    return quiet >= max(_QUIET_S, _QUIET_TIMES * usual_s)


def left(facts: AttemptReport, at_s: float, *, phase: str, usual_s: float) -> list[Fault]:
    """Return the faults of an attempt whose reader left before its finish.

    A reader that leaves a stream that stands still was let down by it: the stall is told first.
    """
    said = f"the reader left after {amount(facts.frames, 'frame')}, before the finish"
    if facts.status is None and not facts.reads:
        said = "the reader left before an answer"
    elif not facts.decoded:
        said = f"the reader left after {facts.size_bytes:,} bytes"
    if not stood_still(facts, usual_s):
        return [Fault.of(FaultKind.CANCELLED, said, at_byte=facts.size_bytes)]
    quiet = facts.quiet_s or 0.0
    said = f"the reader gave up after {seconds(quiet)} in which nothing moved"
    return [
        Fault.of(
            FaultKind.STALLED,
            f"{_nothing(facts, at_s, phase)}: then the reader left",
            severity="warning",
            at_byte=facts.size_bytes,
        ),
        Fault.of(FaultKind.CANCELLED, said, at_byte=facts.size_bytes),
    ]


def given_up(
    facts: AttemptReport, how: str, detail: str, at_s: float, *, phase: str, usual_s: float
) -> Fault:
    """Return the fault of an attempt that a time limit ended."""
    who = "a time limit of the reader" if how == "silent" else "a deadline"
    if how == "silent" or stood_still(facts, usual_s) or facts.last_content_s is None:
        said = f"{_nothing(facts, at_s, phase)}: {who} ended it"
        return Fault.of(FaultKind.STALLED, _with(said, detail), at_byte=facts.size_bytes)
    lasted = facts.last_content_s - (facts.first_content_s or facts.began_s)
    said = f"{amount(facts.content, 'event')} in {seconds(lasted)}, up to the end: {who} ended it"
    kind = FaultKind.SLOW_DRIP if usual_s >= _SLOW_GAP_S else FaultKind.CANCELLED
    said = f"slow, {said}" if kind is FaultKind.SLOW_DRIP else f"content was flowing, {said}"
    return Fault.of(kind, _with(said, detail), at_byte=facts.size_bytes)


def _nothing(facts: AttemptReport, at_s: float, phase: str) -> str:
    """Say for how long nothing came, and after what."""
    quiet, pings = facts.quiet_s, facts.quiet_pings
    since = facts.last_byte_s if facts.last_byte_s is not None else facts.began_s
    what = f"no byte for {at_s - since:.1f} s"
    if pings and quiet is not None:
        what = f"no content for {quiet:.1f} s behind {amount(pings, 'ping')}"
    return (
        f"{what} in phase {phase}, after {amount(facts.frames, 'frame')}"
        f" ({facts.size_bytes:,} bytes)"
    )


def without_events(
    facts: AttemptReport,
    how: BodyEndHow | None,
    detail: str,
    at_s: float,
    *,
    phase: str,
    usual_s: float,
) -> list[Fault]:
    """Return what the end alone tells, of a body whose events are not known."""
    if how in ("reset", "incomplete"):
        return [failed(facts, detail)]
    if how in ("silent", "deadline"):
        return [given_up(facts, how, detail, at_s, phase=phase, usual_s=usual_s)]
    if how == "left":
        return left(facts, at_s, phase=phase, usual_s=usual_s)
    return []


def unanswered(
    facts: AttemptReport, how: BodyEndHow | None, detail: str, at_s: float
) -> list[Fault]:
    """Return the fault of a request that got no answer."""
    if how is None:
        return []
    if how == "left":
        return left(facts, at_s, phase="waiting", usual_s=0.0)
    kind = FaultKind.STALLED if how in ("silent", "deadline") else FaultKind.CONNECT_FAILED
    said = f"no answer came in {seconds(at_s - facts.began_s)}"
    return [Fault.of(kind, _with(said, detail))]


def refused(facts: AttemptReport, problem: bytes, dialect: Dialect | None) -> Fault:
    """Return the fault of an answer whose status is no success."""
    assert facts.status is not None
    headers = {name.lower(): value for name, value in facts.response_headers}
    return read_refusal(
        facts.status,
        headers,
        problem,
        dialect=dialect or DIALECTS["openai-chat"],
        plan=None,
        wall_time=None,
    ).fault


def failed(facts: AttemptReport, detail: str) -> Fault:
    """Return the fault of a transport that failed."""
    said = f"the connection failed after {facts.size_bytes} bytes"
    return Fault.of(FaultKind.CONNECTION_RESET, _with(said, detail), at_byte=facts.size_bytes)


def in_words(fault: Fault, detail: str) -> Fault:
    """Add what the transport said, to a fault of the transport."""
    if fault.kind is not FaultKind.CONNECTION_RESET:
        return fault
    return msgspec.structs.replace(fault, detail=_with(fault.detail, detail))


def _with(said: str, detail: str) -> str:
    return f"{said}: {detail}" if detail else said
