"""Rules for a stream that broke after its answer had begun."""

from __future__ import annotations

from unbroken.debugger.facts import (
    AttemptReport,
    FaultMark,
    Possibility,
    StreamReport,
    Verdict,
    Where,
)
from unbroken.debugger.verdict.named import (
    age_of,
    alive,
    ended_words,
    idle_of,
    listed,
    named,
    suspect,
)
from unbroken.debugger.words import labelled, seconds

__all__ = [
    "cut", "empty", "grammar", "of_the_model", "oversized", "provider_error", "reset",
]  # fmt: skip

_QUIET_TIMES = 10.0
"""A stream has gone quiet after so many times its usual gap."""


def provider_error(report: StreamReport, attempt: AttemptReport, fault: FaultMark) -> Verdict:
    """Judge an error that came as an event of the stream."""
    return Verdict(
        where="provider",
        confidence=0.97,
        headline="the provider itself said in the stream that it failed",
        evidence=[
            (
                labelled(
                    f"an error came as an event of the stream, {seconds(fault.at_s)} after the"
                    " request",
                    fault.detail,
                )
            ),
            *alive(attempt),
        ],
        next="read the provider's error; overload and server errors may be tried again",
    )


def grammar(report: StreamReport, attempt: AttemptReport, fault: FaultMark) -> Verdict:
    """Judge frames that break the format."""
    proxies = named(attempt)
    where: Where = "provider"
    verdict = Verdict(
        where=where,
        confidence=0.7,
        headline="what came is not what the provider's own format allows",
        evidence=[labelled(fault.kind, fault.detail)],
        next="keep the recording and show it to whoever runs the provider or the gateway",
    )
    if proxies:
        verdict.confidence = 0.55
        verdict.evidence.append(f"the response names {listed(proxies)}")
        verdict.others.append(
            Possibility(
                where="middlebox",
                confidence=0.4,
                why=f"{listed(proxies)} stood in between and may have rewritten events",
            )
        )
    else:
        verdict.others.append(
            Possibility(
                where="middlebox",
                confidence=0.25,
                why="a gateway that rewrites events would look the same",
            )
        )
    return verdict


def cut(report: StreamReport, attempt: AttemptReport, fault: FaultMark) -> Verdict:
    """The body ended before the answer did, and nothing said that it failed."""
    proxies = named(attempt)
    evidence = [ended_words(attempt, fault)]
    if attempt.framing == "close":
        evidence.append(
            "the body was delimited by the connection's close alone, so a crash upstream looks"
            " like an end"
        )
        where, confidence = "middlebox", 0.75 if proxies else 0.65
    elif attempt.framing == "length":
        evidence.append("the response announced this length: somebody had the whole body first")
        where, confidence = "middlebox", 0.7
    elif attempt.framing == "chunked":
        evidence.append(
            "HTTP's framing ended in order: a server that dies cannot write that end, so"
            " something between took the cut for an end"
        )
        where, confidence = "middlebox", 0.75 if proxies else 0.6
    else:
        evidence.append("how HTTP framed the body was not recorded")
        where, confidence = "middlebox", 0.55
    if proxies:
        evidence.append(f"the response names {listed(proxies)}")
    verdict = Verdict(
        where=where,  # type: ignore[arg-type]
        confidence=confidence,
        headline="the body ended in order although the answer had not: a cut was hidden",
        evidence=evidence,
        others=[
            Possibility(
                where="provider",
                confidence=0.35,
                why="a provider that stops writing without an error looks the same",
            )
        ],
        next="look into the error log of every proxy on the way at this moment; record on both"
        " sides of it",
    )
    suspect(verdict, attempt, idle=idle_of(attempt), head=None)
    return verdict


def reset(report: StreamReport, attempt: AttemptReport, fault: FaultMark) -> Verdict:
    """Judge a connection that failed in mid-body."""
    idle = idle_of(attempt)
    reset = attempt.how == "reset" or "reset" in fault.detail.lower()
    proxies = named(attempt)
    verdict = Verdict(
        where="network",
        confidence=0.6 if reset else 0.45,
        headline="the connection was reset" if reset else "the connection closed inside the body",
        evidence=[ended_words(attempt, fault)],
        others=[
            Possibility(
                where="provider",
                confidence=0.35 if not reset else 0.25,
                why="a server that crashed or was restarted closes its connections so",
            )
        ],
        next="if it comes again at the same age, look for a limit; if not, it is weather: heal it",
    )
    if not reset:
        verdict.evidence.append(
            "it was an orderly close where HTTP's framing still expected bytes: the peer's"
            " process ended, or a proxy gave up on its upstream"
        )
    if proxies:
        verdict.evidence.append(f"the response names {listed(proxies)}")
        verdict.others.append(
            Possibility(
                where="middlebox", confidence=0.35, why=f"{listed(proxies)} stood in between"
            )
        )
    usual = report.histogram.spread.p50
    if not reset and proxies and idle is not None and idle >= max(1.0, _QUIET_TIMES * usual):
        verdict.where, verdict.confidence = "middlebox", 0.65
        verdict.headline = "a proxy closed a stream that had gone quiet, as its read timeout does"
        verdict.evidence.append(f"it had been quiet for {seconds(idle)} when it was closed")
        verdict.others = [other for other in verdict.others if other.where != "middlebox"]
        verdict.next = (
            f"raise the read timeout of {listed(proxies)} (nginx: proxy_read_timeout), or let the"
            " upstream send heartbeats"
        )
    suspect(verdict, attempt, idle=idle, head=None if attempt.reads else age_of(attempt))
    if idle is not None and idle < 0.5 and not verdict.suspects:
        verdict.evidence.append(
            f"the last byte had come {seconds(idle)} before: bytes were flowing when it broke"
        )
    return verdict


def of_the_model(report: StreamReport, attempt: AttemptReport, fault: FaultMark) -> Verdict:
    """Judge what the model wrote."""
    return Verdict(
        where="model",
        confidence=0.9,
        headline="the stream is whole; what the model wrote is not valid",
        evidence=[fault.detail or fault.kind, "every choice got its finish"],
        next="do not run the call; ask the model again, or use a strict schema",
    )


def empty(report: StreamReport, attempt: AttemptReport, fault: FaultMark) -> Verdict:
    """Judge an answer without anything in it."""
    if attempt.finish:
        return Verdict(
            where="model",
            confidence=0.7,
            headline="the model finished without a word",
            evidence=[fault.detail, f"it gave a finish reason: {', '.join(attempt.finish)}"],
            next="ask again; look at the prompt, stop words and token limit",
        )
    verdict = cut(report, attempt, fault)
    verdict.headline = "an answer began and ended without anything in it"
    return verdict


def oversized(report: StreamReport, attempt: AttemptReport, fault: FaultMark) -> Verdict:
    """Judge an event beyond the limit."""
    return Verdict(
        where="provider",
        confidence=0.6,
        headline="one event is larger than the limit",
        evidence=[fault.detail],
        others=[
            Possibility(where="consumer", confidence=0.3, why="max_frame_bytes may be set too low")
        ],
        next="see whether it is a stream at all; else raise max_frame_bytes",
    )
