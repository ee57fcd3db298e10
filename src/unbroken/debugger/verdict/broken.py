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
from unbroken.debugger.verdict.named import alive, ended_words, listed, named, suspect
from unbroken.debugger.verdict.suspects import is_round
from unbroken.debugger.words import amount, seconds

__all__ = [
    "cancelled", "cut", "empty", "grammar", "of_the_model", "oversized", "provider_error", "reset",
    "stalled",
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
                f"an error came as an event of the stream, {seconds(fault.at_s)} after the request:"
                f" {fault.detail}"
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
        evidence=[f"{fault.kind}: {fault.detail}"],
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
    ended = attempt.ended_s if attempt.ended_s is not None else report.duration_s
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
    idle = None if attempt.last_byte_s is None else ended - attempt.last_byte_s
    suspect(verdict, attempt, idle=idle, head=None)
    return verdict


def reset(report: StreamReport, attempt: AttemptReport, fault: FaultMark) -> Verdict:
    """Judge a connection that failed in mid-body."""
    ended = attempt.ended_s if attempt.ended_s is not None else report.duration_s
    idle = None if attempt.last_byte_s is None else ended - attempt.last_byte_s
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
    suspect(verdict, attempt, idle=idle, head=None if attempt.reads else ended - attempt.began_s)
    if idle is not None and idle < 0.5 and not verdict.suspects:
        verdict.evidence.append(
            f"the last byte had come {seconds(idle)} before: bytes were flowing when it broke"
        )
    return verdict


def stalled(report: StreamReport, attempt: AttemptReport, fault: FaultMark) -> Verdict:
    """Judge a stream that stood still until somebody gave up."""
    last = attempt.last_content_s if attempt.last_content_s is not None else attempt.began_s
    since = attempt.last_byte_s if attempt.last_byte_s is not None else attempt.began_s
    quiet = fault.at_s - last
    pings = sum(stall.pings for stall in report.stalls if stall.attempt == attempt.number)
    alive = pings and fault.at_s - since < quiet * 0.6
    if alive:
        return Verdict(
            where="provider",
            confidence=0.85,
            headline="the provider kept the connection warm, but the model stood still",
            evidence=[
                f"{seconds(quiet)} without content, in phase {fault.phase or 'text'}",
                (
                    f"{amount(pings, 'ping')} came meanwhile, the last one"
                    f" {seconds(fault.at_s - since)} before the end: the way was open"
                ),
                "a read timeout never fires on such a stream, since pings are bytes",
            ],
            others=[
                Possibility(
                    where="model", confidence=0.1, why="a long thought without a word of it"
                )
            ],
            next="give the attempt up on missing progress, not on missing bytes, and ask again",
        )
    verdict = Verdict(
        where="provider" if attempt.first_byte_s is None else "unknown",
        confidence=0.5,
        headline="nothing came any more, and nobody closed the connection",
        evidence=[
            f"{seconds(fault.at_s - since)} without a byte, in phase {fault.phase or 'waiting'}",
            (
                "no ping came either, so a hung provider and a connection that a firewall forgot"
                " look alike"
            ),
        ],
        others=[
            Possibility(where="provider", confidence=0.45, why="it hangs, or thinks silently"),
            Possibility(
                where="network", confidence=0.35, why="NAT and firewalls forget idle connections"
            ),
        ],
        next="turn TCP keep-alive on; with it a dead connection shows itself",
    )
    verdict.others = [other for other in verdict.others if other.where != verdict.where]
    return verdict


def of_the_model(report: StreamReport, attempt: AttemptReport, fault: FaultMark) -> Verdict:
    """Judge what the model wrote."""
    return Verdict(
        where="model",
        confidence=0.9,
        headline="the stream is whole; what the model wrote is not valid",
        evidence=[fault.detail, "every choice got its finish"],
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


def cancelled(report: StreamReport, attempt: AttemptReport, fault: FaultMark) -> Verdict:
    """Judge a reader that left."""
    verdict = Verdict(
        where="consumer",
        confidence=0.95,
        headline="the reader left before the answer was finished",
        evidence=[fault.detail],
        next="nothing, if you meant to; else look for a timeout or a closed tab on your side",
    )
    if attempt.ended_s is not None:
        age = attempt.ended_s - attempt.began_s
        if is_round(age):
            verdict.evidence.append(
                f"it left {seconds(age)} after the request: a round time, as timeouts are"
            )
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
