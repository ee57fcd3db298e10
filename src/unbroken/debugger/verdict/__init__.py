"""Where a fault lies: with the provider, something in between, the reader, or the connection.

Every rule looks at what the recording shows and adds a sentence for each thing it saw, so that
its reader can judge the judgement. The rules for a fault that broke the stream come first; where
nothing broke, the rules for a stream that came late or in lumps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from unbroken.core.faults import FaultKind
from unbroken.debugger.facts import (
    AttemptReport,
    FaultMark,
    Possibility,
    StreamReport,
    Verdict,
)
from unbroken.debugger.verdict import broken, left, refused
from unbroken.debugger.verdict.late import CONSUMER_SHARE, without_fault
from unbroken.debugger.verdict.named import reader_words
from unbroken.debugger.words import labelled

__all__ = ["judge"]

_K = FaultKind
_AWAY_S = 10.0
_PARCELS_WORDS = "events came in parcels: something on the way collects them"


def judge(report: StreamReport) -> Verdict:
    """Return where the fault of a stream lies.

    Args:
        report: All else that is known of the stream.
    """
    fault = report.fault
    if fault is not None and not fault.recovered:
        verdict = _of_fault(report, fault)
    elif fault is not None:
        verdict = _of_fault(report, fault)
        verdict.headline = f"it broke and was healed: {verdict.headline}"
    else:
        verdict = without_fault(report)
    # What a peer said may be removed with the contents, and leaves no colon behind.
    sentences = (sentence.strip().rstrip(":").rstrip() for sentence in verdict.evidence)
    verdict.evidence = [sentence for sentence in sentences if sentence]
    verdict.confidence = round(verdict.confidence, 2)
    verdict.others.sort(key=lambda other: -other.confidence)
    return verdict


def _of_fault(report: StreamReport, fault: FaultMark) -> Verdict:
    # Of an attempt that was not kept at all nothing is known: another's figures are not its.
    attempt = next(
        (a for a in report.attempts if a.number == fault.attempt),
        AttemptReport(number=fault.attempt, asked=False),
    )
    kind = next((known for known in FaultKind if known.value == fault.kind), None)
    rule = _RULES.get(kind, _unknown) if kind is not None else _unknown
    verdict = rule(report, attempt, fault)
    _late_reader(report, fault, verdict)
    if report.parcels and verdict.where not in ("middlebox", "consumer"):
        verdict.others.append(Possibility(where="middlebox", confidence=0.3, why=_PARCELS_WORDS))
    return verdict


def _late_reader(report: StreamReport, fault: FaultMark, verdict: Verdict) -> None:
    """A reader that stays away long is cut off by its peer, which looks like the network."""
    reader = report.consumer
    if verdict.where not in ("network", "unknown") or not reader.measured:
        return
    if reader.longest_s >= _AWAY_S and reader.share >= CONSUMER_SHARE:
        verdict.others.append(
            Possibility(where=verdict.where, confidence=verdict.confidence, why=verdict.headline)
        )
        verdict.where, verdict.confidence = "consumer", 0.7
        verdict.headline = "the peer gave up on a reader that did not read"
        verdict.evidence += reader_words(report)
        verdict.next = "read on while you work, or buffer on your side"


def _unknown(report: StreamReport, attempt: AttemptReport, fault: FaultMark) -> Verdict:
    return Verdict(
        where="unknown",
        confidence=0.3,
        headline=labelled(fault.kind, fault.detail),
        evidence=[fault.detail] if fault.detail else [],
    )


_Rule = Callable[[StreamReport, AttemptReport, FaultMark], Verdict]
_RULES: Final[dict[FaultKind, _Rule]] = {
    _K.PROVIDER_ERROR: broken.provider_error,
    _K.MALFORMED_JSON: broken.grammar,
    _K.INVALID_UTF8: broken.grammar,
    _K.PROTOCOL_VIOLATION: broken.grammar,
    _K.MISSING_EVENT: broken.grammar,
    _K.MISSING_FINISH: broken.grammar,
    _K.NOT_A_STREAM: refused.not_a_stream,
    _K.HTTP_ERROR: refused.http_error,
    _K.CONNECT_FAILED: refused.connect,
    _K.TRUNCATED_BETWEEN_EVENTS: broken.cut,
    _K.TRUNCATED_MID_EVENT: broken.cut,
    _K.EMPTY_STREAM: broken.empty,
    _K.CONNECTION_RESET: broken.reset,
    _K.STALLED: left.stalled,
    _K.SLOW_DRIP: left.slow,
    _K.INVALID_TOOL_ARGUMENTS: broken.of_the_model,
    _K.CANCELLED: left.cancelled,
    _K.OVERSIZED_EVENT: broken.oversized,
}
