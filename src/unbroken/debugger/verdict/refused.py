"""Rules for a request that got no stream: no answer, an error status, a page."""

from __future__ import annotations

from typing import Final

from unbroken.debugger.facts import (
    AttemptReport,
    FaultMark,
    Possibility,
    StreamReport,
    Verdict,
)
from unbroken.debugger.verdict.named import listed, named, suspect
from unbroken.debugger.words import seconds

__all__ = ["connect", "http_error", "not_a_stream"]

_REQUEST_IDS: Final = ("x-request-id", "request-id", "x-amzn-requestid", "apim-request-id")


def not_a_stream(report: StreamReport, attempt: AttemptReport, fault: FaultMark) -> Verdict:
    """Judge a body that came in place of a stream."""
    page = "HTML" in fault.detail or "html" in attempt.header("content-type")
    proxies = named(attempt)
    if page:
        return Verdict(
            where="middlebox",
            confidence=0.92 if proxies else 0.85,
            headline="a page for people came in place of the stream",
            evidence=[
                (
                    f"HTTP {attempt.status} with {attempt.header('content-type') or 'a page'}:"
                    f" {fault.detail}"
                ),
                *([f"the response names {listed(proxies)}"] if proxies else []),
                "providers answer with events or JSON, never with pages",
            ],
            next="open the address in a browser: a login, block or error page of a proxy,"
            " or a wrong base URL",
        )
    return Verdict(
        where="provider",
        confidence=0.6,
        headline="an answer came, but not as a stream",
        evidence=[fault.detail],
        others=[
            Possibility(
                where="consumer",
                confidence=0.35,
                why='the address may be wrong, or the request may lack "stream": true',
            )
        ],
        next="look at the body; check address and request",
    )


def http_error(report: StreamReport, attempt: AttemptReport, fault: FaultMark) -> Verdict:
    """Judge a status that is no success."""
    status = attempt.status or 0
    kind = attempt.header("content-type").partition(";")[0]
    proxies = named(attempt)
    waited = None if attempt.head_s is None else attempt.head_s - attempt.began_s
    said = f"HTTP {status}{f' {attempt.reason}' if attempt.reason else ''}"
    evidence = [f"{said} came {seconds(waited or 0.0)} after the request: {fault.detail}"]
    if "html" in kind:
        verdict = Verdict(
            where="middlebox",
            confidence=0.92 if proxies else 0.8,
            headline=f"a proxy answered {status} in the provider's place",
            evidence=[
                *evidence,
                "its body is a page for people; providers answer in JSON",
                *([f"the response names {listed(proxies)}"] if proxies else []),
            ],
            next="look into that proxy's error log at this moment",
        )
        suspect(verdict, attempt, idle=None, head=waited)
        return verdict
    if status == 504 or status == 524 or (status in (502, 503) and proxies and kind == ""):
        verdict = Verdict(
            where="middlebox",
            confidence=0.75,
            headline="a gateway gave up waiting for the provider",
            evidence=evidence,
            others=[Possibility(where="provider", confidence=0.25, why="it was slow to answer")],
            next="raise the gateway's limit, or let the provider send a byte sooner",
        )
        suspect(verdict, attempt, idle=None, head=waited)
        return verdict
    if status == 429 or status >= 500:
        ids = [name for name in _REQUEST_IDS if attempt.header(name)]
        return Verdict(
            where="provider",
            confidence=0.93 if ids or "json" in kind else 0.7,
            headline="the provider refused: too many requests"
            if status == 429
            else f"the provider failed with {status}",
            evidence=[
                *evidence,
                *(["its body is JSON, as the provider's errors are"] if "json" in kind else []),
                *([f"it carries the provider's {ids[0]}"] if ids else []),
            ],
            next="wait as long as Retry-After says, then try again"
            if status == 429
            else "try again; it is not your request",
        )
    return Verdict(
        where="consumer",
        confidence=0.85,
        headline=f"the request itself was refused ({status})",
        evidence=evidence,
        next={
            401: "check the key", 403: "check what the key may do",
            404: "check address and model name", 413: "send less",
        }.get(status, "read the error's words and mend the request"),
    )  # fmt: skip


def connect(report: StreamReport, attempt: AttemptReport, fault: FaultMark) -> Verdict:
    """Judge a request that nobody answered."""
    verdict = Verdict(
        where="network",
        confidence=0.75,
        headline="no answer came at all",
        evidence=[fault.detail],
        others=[
            Possibility(where="provider", confidence=0.2, why="nobody may listen there"),
        ],
        next="check the address, DNS, proxy variables and certificates: unbroken doctor",
    )
    if attempt.connected_s is not None:
        verdict.evidence.append("the connection itself stood")
        verdict.confidence = 0.5
    if attempt.ended_s is not None:
        suspect(verdict, attempt, idle=None, head=attempt.ended_s - attempt.began_s)
    return verdict
