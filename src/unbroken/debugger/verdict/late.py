"""Rules for a stream that is whole, and came late or in lumps all the same."""

from __future__ import annotations

from unbroken.core.faults import FaultKind
from unbroken.debugger.facts import (
    AttemptReport,
    FaultMark,
    Possibility,
    StreamReport,
    Verdict,
)
from unbroken.debugger.verdict.left import gone
from unbroken.debugger.verdict.named import listed, named, reader_words
from unbroken.debugger.words import amount, labelled, seconds

__all__ = ["CONSUMER_SHARE", "without_fault"]

CONSUMER_SHARE, _CONSUMER_S = 0.5, 1.0
_MOST_NOTES = 3
_AT_ONCE_EVENTS, _AT_ONCE_RATE, _AT_ONCE_WAIT_S = 24, 3000.0, 0.8


def without_fault(report: StreamReport) -> Verdict:
    """Judge a stream in which nothing broke."""
    left = gone(report)
    if left is not None:
        return left
    late = _slow_reader(report)
    if late is not None:
        return late
    lumps = _collected(report)
    if lumps is not None:
        return lumps
    masked = [stall for stall in report.stalls if stall.pings and stall.clock == "progress"]
    if masked:
        worst = max(masked, key=lambda stall: stall.lasted_s)
        return Verdict(
            where="provider",
            confidence=0.8,
            headline="whole, but the model stood still behind pings",
            evidence=[
                (
                    f"{seconds(worst.lasted_s)} without content from {seconds(worst.at_s)} on, in"
                    f" phase {worst.phase}, with {amount(worst.pings, 'ping')} meanwhile"
                ),
            ],
            next="nothing, if you can wait; else a shorter progress clock",
        )
    if report.status == "unended":
        return Verdict(
            where="unknown",
            confidence=0.3,
            headline="the recording stops before the stream does",
            evidence=["no end of the body was recorded: its writer stopped, or it still runs"],
        )
    if report.status == "unconfirmed":
        return Verdict(
            where="unknown",
            confidence=0.4,
            headline="probably whole, but this provider gives no proof of it",
            evidence=[fault.detail or fault.kind for fault in report.faults][:2],
        )
    notes = [f for f in report.faults if f.severity != "fatal"]
    limited = next((f for f in notes if f.kind == FaultKind.LENGTH_LIMIT.value), None)
    if limited is not None:
        return Verdict(
            where="none",
            confidence=0.95,
            headline="no fault: the answer was cut by its token limit",
            evidence=[limited.detail or limited.kind],
            next="raise the token limit, or ask for the rest",
        )
    words = {
        "plain": "no fault: a plain answer, not a stream",
        "unread": "nothing broke as far as sizes and times tell",
    }
    warnings = len({f.kind for f in notes if f.severity == "warning"})
    warned = f", with {amount(warnings, 'warning')}" if warnings else ""
    return Verdict(
        where="none",
        confidence=0.95 if report.status != "unread" else 0.4,
        headline=words.get(report.status, "no fault: the answer is whole") + warned,
        evidence=_told(notes),
    )


def _told(notes: list[FaultMark]) -> list[str]:
    said = list(dict.fromkeys(labelled(fault.kind, fault.detail) for fault in notes))
    return (
        said
        if len(said) <= _MOST_NOTES
        else [*said[:_MOST_NOTES], f"and {len(said) - _MOST_NOTES} more"]
    )


def _slow_reader(report: StreamReport) -> Verdict | None:
    reader = report.consumer
    if not reader.measured or reader.busy_s < _CONSUMER_S or reader.share < CONSUMER_SHARE:
        return None
    return Verdict(
        where="consumer",
        confidence=min(0.95, 0.6 + reader.share * 0.35),
        headline="whole, but its reader was slow to read",
        evidence=reader_words(report),
        next="read on while you work: move what is slow (tools, rendering, writes) off the loop"
        " that reads",
    )


def _collected(report: StreamReport) -> Verdict | None:
    attempt = report.last
    evidence: list[str] = []
    confidence = 0.0
    if report.parcels:
        confidence = 0.85
        evidence.append(
            "events came in parcels: again and again a long wait, then many within milliseconds"
        )
    elif report.paced and _at_once(attempt):
        first = (attempt.first_content_s or 0.0) - attempt.began_s
        spread = (attempt.last_content_s or 0.0) - (attempt.first_content_s or 0.0)
        confidence = 0.75 if attempt.content >= 100 else 0.6
        evidence.append(
            f"{amount(attempt.content, 'event')} came within {seconds(spread)}, after"
            f" {seconds(first)} of nothing: no model writes as fast as that"
        )
    if not confidence:
        return None
    together = report.histogram.together
    evidence.append(
        f"{amount(attempt.reads, 'read')} brought {amount(attempt.content, 'event')}, {together:,}"
        " of them in one read with another"
    )
    proxies = named(attempt)
    if proxies:
        confidence += 0.08
        evidence.append(f"the response names {listed(proxies)}")
    if attempt.framing == "length" or attempt.header("content-length"):
        confidence += 0.05
        evidence.append("the response announces its length: somebody had the whole body first")
    encoding = attempt.header("content-encoding")
    if encoding and encoding != "identity":
        confidence += 0.03
        evidence.append(f"the body is compressed ({encoding}), and compressing collects")
    return Verdict(
        where="middlebox",
        confidence=min(confidence, 0.97),
        headline="whole, but something on the way collects events and hands them over late",
        evidence=evidence,
        others=[
            Possibility(
                where="provider",
                confidence=0.15,
                why="a provider that writes its answer only when it is done looks the same",
            )
        ],
        next="turn buffering and compression off for this path (nginx: proxy_buffering off, or"
        " the header X-Accel-Buffering: no)",
    )


def _at_once(attempt: AttemptReport) -> bool:
    if attempt.first_content_s is None or attempt.content < _AT_ONCE_EVENTS:
        return False
    wait = attempt.first_content_s - attempt.began_s
    spread = (attempt.last_content_s or 0.0) - attempt.first_content_s
    rate = attempt.content / spread if spread > 0 else float("inf")
    return wait >= _AT_ONCE_WAIT_S and rate >= _AT_ONCE_RATE and spread < wait * 0.1
