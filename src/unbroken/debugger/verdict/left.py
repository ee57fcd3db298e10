"""Rules for a stream that somebody gave up: it stood still, it was slow, or the reader left it."""

from __future__ import annotations

from unbroken.core.faults import FaultKind
from unbroken.debugger.facts import AttemptReport, FaultMark, Possibility, StreamReport, Verdict
from unbroken.debugger.verdict.named import age_of, idle_of
from unbroken.debugger.verdict.suspects import is_round
from unbroken.debugger.words import amount, labelled, seconds

__all__ = ["cancelled", "gone", "slow", "stalled"]

_SHORT_S = 10.0
"""So long a model may think without a word: a reader that waits less may be too hasty."""
_SILENT_SHARE = 0.6


def gone(report: StreamReport) -> Verdict | None:
    """Judge a stream that its reader left, or return None if it did not."""
    left = _first(report, FaultKind.CANCELLED)
    still = _first(report, FaultKind.STALLED)
    if still is not None:
        return stalled(report, _attempt(report, still), still)
    return None if left is None else cancelled(report, _attempt(report, left), left)


def _first(report: StreamReport, kind: FaultKind) -> FaultMark | None:
    return next((f for f in report.faults if f.kind == kind.value and not f.recovered), None)


def _attempt(report: StreamReport, fault: FaultMark) -> AttemptReport:
    return next((a for a in report.attempts if a.number == fault.attempt), report.last)


def stalled(report: StreamReport, attempt: AttemptReport, fault: FaultMark) -> Verdict:
    """Judge a stream that stood still until somebody gave up."""
    last = attempt.last_content_s if attempt.last_content_s is not None else attempt.began_s
    since = attempt.last_byte_s if attempt.last_byte_s is not None else attempt.began_s
    quiet = attempt.quiet_s if attempt.quiet_s is not None else fault.at_s - last
    silent = fault.at_s - since
    pings = attempt.quiet_pings
    phase = fault.phase or ("waiting" if attempt.first_byte_s is None else "text")
    left = _left_words(report, attempt, quiet)
    if pings and silent < quiet * _SILENT_SHARE:
        verdict = Verdict(
            where="provider",
            confidence=0.85,
            headline="the provider kept the connection warm, but the model stood still",
            evidence=[
                f"{seconds(quiet)} without content, in phase {phase}",
                (
                    f"{amount(pings, 'ping')} came meanwhile, the last one {seconds(silent)} before"
                    " the end: the way was open"
                ),
                "a read timeout never fires on such a stream, since pings are bytes",
                *left,
            ],
            others=[
                Possibility(
                    where="model", confidence=0.1, why="a long thought without a word of it"
                )
            ],
            next="give the attempt up on missing progress, not on missing bytes, and ask again",
        )
        return _hasty(verdict, attempt, quiet)
    verdict = Verdict(
        where="provider" if attempt.first_byte_s is None and attempt.asked else "unknown",
        confidence=0.5,
        headline="nothing came any more, and nobody closed the connection",
        evidence=[
            f"{seconds(min(silent, quiet))} without a byte, in phase {phase}",
            (
                "no ping came either, so a hung provider and a connection that a firewall forgot"
                " look alike"
            ),
            *left,
        ],
        others=[
            Possibility(where="provider", confidence=0.55, why="it hangs, or thinks silently"),
            Possibility(
                where="network", confidence=0.3, why="NAT and firewalls forget idle connections"
            ),
        ],
        next="turn TCP keep-alive on; with it a dead connection shows itself",
    )
    if left:
        verdict.headline = (
            f"nothing came any more for {seconds(quiet)}, and then the reader gave up"
        )
        verdict.next = (
            "ask again; it is the silence that is to be mended, not the reader's time limit:"
            " Unbroken's clocks give such an attempt up and heal it"
        )
    if attempt.status is None and not attempt.reads:
        verdict.headline = f"no answer began within {seconds(quiet)}"
        verdict.evidence[0] = f"{seconds(quiet)} without an answer"
        if attempt.connected_s is not None:
            verdict.evidence[0] += ", over a connection that stood"
    verdict.others = [other for other in verdict.others if other.where != verdict.where]
    return _hasty(verdict, attempt, quiet)


def _left_words(report: StreamReport, attempt: AttemptReport, quiet: float) -> list[str]:
    """Say that the reader left, and what shows why; nothing where it did not."""
    if attempt.how != "left":
        return []
    words = [f"the reader gave up after {seconds(quiet)} of that, and left"]
    times = [time for time in (quiet, idle_of(attempt), age_of(attempt)) if time is not None]
    if any(is_round(time) for time in times):
        words[0] += ": a round time, as time limits of clients are"
    if report.command:
        words.append(f"the command ended with {report.command} then")
    return words


def _hasty(verdict: Verdict, attempt: AttemptReport, quiet: float) -> Verdict:
    """A reader that waited only a few seconds may have been too hasty."""
    if attempt.how in ("left", "silent", "deadline") and quiet < _SHORT_S:
        verdict.others.append(
            Possibility(
                where="consumer",
                confidence=0.25,
                why=f"{seconds(quiet)} is little patience: models think so long without a word",
            )
        )
    return verdict


def slow(report: StreamReport, attempt: AttemptReport, fault: FaultMark) -> Verdict:
    """Judge a stream that moved to the end, but slowly."""
    first, last = attempt.first_content_s, attempt.last_content_s
    evidence = [fault.detail] if fault.detail else []
    if first is not None and last is not None and last > first and attempt.content > 1:
        rate = (attempt.content - 1) / (last - first)
        evidence = [
            (
                f"events with content came to the end: {attempt.content:,}, {rate:.1f} a second,"
                f" half of them within {seconds(report.histogram.spread.p50)} of the one before"
            )
        ]
    if attempt.how == "deadline":
        ended = "it did not break: a deadline on the reader's side ended it"
        evidence.append(labelled(ended, attempt.detail))
    return Verdict(
        where="provider",
        confidence=0.65,
        headline="it was slow, and was given up before it was done",
        evidence=evidence or ["it moved, but slowly"],
        others=[
            Possibility(
                where="consumer", confidence=0.3, why="the time limit is short for this pace"
            )
        ],
        next="allow more time, ask for less, or ask another model",
    )


def cancelled(report: StreamReport, attempt: AttemptReport, fault: FaultMark) -> Verdict:
    """Judge a reader that left a stream that was moving."""
    evidence = [fault.detail] if fault.detail else []
    verdict = Verdict(
        where="consumer",
        confidence=0.95,
        headline="the reader left before the answer was finished",
        evidence=evidence,
        next="nothing, if you meant to; else look for a timeout or a closed tab on your side",
    )
    if attempt.how == "deadline":
        verdict.headline = "a deadline on the reader's side ended it while content was flowing"
        verdict.next = "allow more time, if you want all of it"
    elif report.command:
        evidence.insert(0, f"the command ended with {report.command} here")
        verdict.headline = "the command that read it ended in mid-stream"
        verdict.next = "look at what the command itself said"
    if attempt.content and attempt.quiet_s is not None:
        evidence.append(
            f"the last content had come {seconds(attempt.quiet_s)} before: it was flowing"
        )
    age = age_of(attempt)
    if age is not None and is_round(age):
        evidence.append(f"it left {seconds(age)} after the request: a round time, as timeouts are")
    if not evidence:
        evidence.append("what was recorded ends there")
    return verdict
