"""The faults in how an attempt ended, where the events of its body do not tell them."""

from __future__ import annotations

import msgspec

from unbroken.core.dialects import DIALECTS
from unbroken.core.dialects.base import Dialect
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.recording import BodyEndHow
from unbroken.core.recovery.refusal import read_refusal
from unbroken.debugger.facts import AttemptReport
from unbroken.debugger.words import seconds

__all__ = ["failed", "in_words", "refused", "silence", "unanswered", "without_events"]


def silence(facts: AttemptReport, how: str, detail: str, at_s: float, *, phase: str) -> Fault:
    """Return the fault of a wait that somebody gave up."""
    since = facts.last_byte_s if facts.last_byte_s is not None else facts.began_s
    who = "a time limit of the reader" if how == "silent" else "a deadline"
    said = (
        f"no byte for {at_s - since:.1f} s in phase {phase}, after {facts.frames} frames"
        f" ({facts.size_bytes} bytes): {who} ended it"
    )
    return Fault.of(FaultKind.STALLED, _with(said, detail), at_byte=facts.size_bytes)


def without_events(
    facts: AttemptReport, how: BodyEndHow | None, detail: str, at_s: float, *, phase: str
) -> list[Fault]:
    """Return what the end alone tells, of a body whose events are not known."""
    if how in ("reset", "incomplete"):
        return [failed(facts, detail)]
    if how in ("silent", "deadline"):
        return [silence(facts, how, detail, at_s, phase=phase)]
    if how == "left":
        said = f"the reader left after {facts.size_bytes} bytes"
        return [Fault.of(FaultKind.CANCELLED, said, at_byte=facts.size_bytes)]
    return []


def unanswered(
    facts: AttemptReport, how: BodyEndHow | None, detail: str, at_s: float
) -> list[Fault]:
    """Return the fault of a request that got no answer."""
    if how is None:
        return []
    if how == "left":
        return [Fault.of(FaultKind.CANCELLED, "the reader left before an answer")]
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
