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
from unbroken.debugger.verdict.named import age_of, listed, named, suspect
from unbroken.debugger.words import labelled, seconds

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
                labelled(
                    f"HTTP {attempt.status} with {attempt.header('content-type') or 'a page'}",
                    fault.detail,
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
        evidence=[fault.detail or fault.kind],
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
    waited = (
        None if attempt.head_s is None or not attempt.asked else attempt.head_s - attempt.began_s
    )
    said = f"HTTP {status}{f' {attempt.reason}' if attempt.reason else ''}"
    came = f"{said} came {seconds(waited)} after the request" if waited is not None else said
    evidence = [labelled(came, fault.detail)]
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
    said = f"{attempt.detail} {fault.detail}".lower()
    evidence = [fault.detail or "no answer came"]
    if attempt.connected_s is not None:
        verdict = _closed(attempt, evidence)
    else:
        verdict = next(
            (rule(evidence) for words, rule in _BY_WORDS if any(word in said for word in words)),
            None,
        ) or _unreachable(evidence)
    age = age_of(attempt)
    if age is not None:
        suspect(verdict, attempt, idle=None, head=age)
    return verdict


def _closed(attempt: AttemptReport, evidence: list[str]) -> Verdict:
    waited = age_of(attempt)
    after = "" if waited is None else f", {seconds(waited)} after the request"
    return Verdict(
        where="provider",
        confidence=0.5,
        headline="the connection stood, and was closed before any answer",
        evidence=[
            *evidence,
            f"somebody took the connection and closed it without a byte{after}",
        ],
        others=[
            Possibility(
                where="middlebox",
                confidence=0.3,
                why="a proxy or load balancer without a living server behind it does so too",
            ),
            Possibility(
                where="consumer",
                confidence=0.15,
                why="the address may be that of another service, or http in place of https",
            ),
        ],
        next="try again; if it stays, look into the server's log at this moment",
    )


def _refused(evidence: list[str]) -> Verdict:
    return Verdict(
        where="network",
        confidence=0.5,
        headline="nobody listens at this address: the connection was refused",
        evidence=[*evidence, "a refusal is an answer of the machine itself: it was reached"],
        others=[
            Possibility(
                where="consumer",
                confidence=0.45,
                why="the address or port may be mistyped, or a server of yours is not started",
            ),
            Possibility(where="provider", confidence=0.15, why="its server may be down"),
        ],
        next="check address and port, and whether the server runs",
    )


def _unknown_name(evidence: list[str]) -> Verdict:
    return Verdict(
        where="network",
        confidence=0.5,
        headline="the name in the address could not be looked up",
        evidence=[*evidence, "no connection was tried: there was no address to connect to"],
        others=[
            Possibility(
                where="consumer", confidence=0.45, why="the name may be mistyped in the base URL"
            )
        ],
        next="check the name, then DNS and VPN: unbroken doctor",
    )


def _untrusted(evidence: list[str]) -> Verdict:
    return Verdict(
        where="network",
        confidence=0.6,
        headline="TLS failed before anything was asked",
        evidence=evidence,
        others=[
            Possibility(
                where="middlebox",
                confidence=0.4,
                why="a scanner that opens TLS shows a certificate of its own",
            ),
            Possibility(
                where="consumer",
                confidence=0.3,
                why="https may be asked of a port that speaks http, or authorities are missing",
            ),
        ],
        next="look at the certificate and who signed it; name its authority to the client",
    )


def _unreachable(evidence: list[str]) -> Verdict:
    return Verdict(
        where="network",
        confidence=0.6,
        headline="no answer came at all",
        evidence=[*evidence, "no connection came about"],
        others=[
            Possibility(
                where="consumer",
                confidence=0.3,
                why="the address may be mistyped, or a server of yours is not started",
            ),
            Possibility(where="provider", confidence=0.2, why="nobody may listen there"),
        ],
        next="check the address, DNS, proxy variables and certificates: unbroken doctor",
    )


_BY_WORDS: Final = (
    (("refused",), _refused),
    (
        (
            "getaddrinfo",
            "name or service",
            "nodename",
            "not known",
            "no host",
            "dns",
            "resol",
            "no address",
        ),
        _unknown_name,
    ),
    (("certificate", "tls", "ssl"), _untrusted),
)
