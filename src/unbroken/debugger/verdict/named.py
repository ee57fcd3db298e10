"""What a recording says of who stood in between, in sentences."""

from __future__ import annotations

from typing import Final

from unbroken.debugger.facts import (
    AttemptReport,
    FaultMark,
    Possibility,
    StreamReport,
    Verdict,
)
from unbroken.debugger.verdict.suspects import fitting, is_round
from unbroken.debugger.words import amount, percent, seconds, size

__all__ = ["alive", "ended_words", "listed", "named", "reader_words", "suspect"]

_PROXIES: Final = (
    ("nginx", "nginx"), ("openresty", "OpenResty (nginx)"), ("cloudflare", "Cloudflare"),
    ("awselb", "an AWS load balancer"), ("cloudfront", "CloudFront"), ("envoy", "Envoy"),
    ("istio", "Istio (Envoy)"), ("haproxy", "HAProxy"), ("varnish", "Varnish"),
    ("traefik", "Traefik"), ("squid", "Squid"), ("akamai", "Akamai"), ("vercel", "Vercel"),
    ("caddy", "Caddy"), ("apache", "Apache"), ("kong", "Kong"), ("litellm", "LiteLLM"),
    ("zscaler", "Zscaler"), ("fortinet", "Fortinet"), ("bluecoat", "Blue Coat"),
)  # fmt: skip
_NAMING: Final = ("via", "x-served-by", "x-cache", "x-powered-by")
_NAMING_BEGINS: Final = ("cf-ray", "x-amz-cf-", "x-envoy-")


def alive(attempt: AttemptReport) -> list[str]:
    """Say what had come before it broke."""
    if not attempt.content:
        return []
    return [f"until then {amount(attempt.content, 'event')} with content had come in order"]


def ended_words(attempt: AttemptReport, fault: FaultMark) -> str:
    """Say when it ended, and after how much."""
    last = attempt.last_byte_s
    after = "" if last is None else f", {seconds(max(0.0, fault.at_s - last))} after the last byte"
    return (
        f"it ended {seconds(fault.at_s - attempt.began_s)} after the request{after}, with"
        f" {amount(attempt.frames, 'frame')} ({size(attempt.size_bytes)}) and no finish"
    )


def named(attempt: AttemptReport) -> list[str]:
    """Return the proxies that the response's headers name."""
    said = " ".join(
        value if name.lower() == "server" else f"{name} {value}"
        for name, value in attempt.response_headers
        if name.lower() in ("server", *_NAMING) or name.lower().startswith(_NAMING_BEGINS)
    ).lower()
    found = [words for mark, words in _PROXIES if mark in said]
    if "cf-ray" in said and "Cloudflare" not in found:
        found.append("Cloudflare")
    via = attempt.header("via")
    if via and not found:
        found.append(f"a proxy (via: {via[:40]})")
    return list(dict.fromkeys(found))


def listed(names: list[str]) -> str:
    """Return names as words."""
    return " and ".join(names[:3])


def reader_words(report: StreamReport) -> list[str]:
    """Say how long the reader itself took."""
    reader = report.consumer
    words = [
        (
            f"the reader itself took {seconds(reader.busy_s)}, {percent(reader.share)} of the time"
            " from the first byte on"
        ),
        f"at {seconds(reader.longest_at_s)} it stayed away for {seconds(reader.longest_s)}",
    ]
    if reader.late_reads:
        words.append(
            f"{amount(reader.late_reads, 'read')} returned at once and with much: the bytes had"
            " been waiting"
        )
    return words


def suspect(
    verdict: Verdict, attempt: AttemptReport, *, idle: float | None, head: float | None
) -> None:
    """Name the limits that fit the moment of a cut, and let them weigh."""
    ended = attempt.ended_s if head is None or attempt.head_s is None else attempt.head_s
    whole = None if ended is None else ended - attempt.began_s
    headers = " ".join(f"{name}: {value}" for name, value in attempt.response_headers).lower()
    quiet = idle if idle is not None and idle >= 5.0 else None
    found = fitting(idle_s=quiet, whole_s=whole, head_s=head, headers=headers)
    for limit, words in found[:4]:
        verdict.suspects.append(
            f"{limit.who}: {limit.limit_s:g} s; it ended {words}. To change: {limit.setting}"
        )
    round_idle = idle is not None and is_round(idle)
    if found or round_idle:
        if verdict.where != "middlebox":
            verdict.others.append(
                Possibility(
                    where=verdict.where, confidence=verdict.confidence, why=verdict.headline
                )
            )
            verdict.others = [o for o in verdict.others if o.where != "middlebox"]
            verdict.where = "middlebox"
            verdict.confidence = 0.7 if found else 0.55
            verdict.headline = "it was cut at a round age, as time limits cut"
        verdict.confidence = min(0.95, verdict.confidence + (0.12 if found else 0.06))
        if round_idle and idle is not None:
            verdict.evidence.append(
                f"{seconds(idle)} had passed without a byte: a round time, as limits are"
            )
        elif whole is not None:
            verdict.evidence.append(f"its age, {seconds(whole)}, is one at which limits cut")
