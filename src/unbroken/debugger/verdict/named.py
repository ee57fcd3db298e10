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
from unbroken.debugger.words import amount, labelled, percent, seconds, size

__all__ = [
    "age_of",
    "alive",
    "ended_words",
    "idle_of",
    "listed",
    "named",
    "reader_words",
    "suspect",
]

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
    least = "at least " if attempt.lost_bytes or not attempt.asked else ""
    return [f"until then {least}{amount(attempt.content, 'event')} with content had come in order"]


def ended_words(attempt: AttemptReport, fault: FaultMark) -> str:
    """Say when it ended, and after how much."""
    if attempt.ended_s is None or not attempt.asked or attempt.lost_bytes:
        return _ended_unseen(attempt, fault)
    last = attempt.last_byte_s
    after = "" if last is None else f", {seconds(max(0.0, fault.at_s - last))} after the last byte"
    return (
        f"it ended {seconds(fault.at_s - attempt.began_s)} after the request{after}, with"
        f" {amount(attempt.frames, 'frame')} ({size(attempt.size_bytes)}) and no finish"
    )


def _ended_unseen(attempt: AttemptReport, fault: FaultMark) -> str:
    """The same where a part was not kept; what was told at the time is worth more than a count."""
    when = f"{seconds(fault.at_s)} after the stream's beginning"
    if not fault.exact:
        when = f"before {seconds(fault.at_s)}; when is not kept"
    elif attempt.asked and attempt.ended_s is not None:
        when = f"{seconds(fault.at_s - attempt.began_s)} after the request"
    said = labelled(f"it ended {when}", fault.detail)
    whole = attempt.size_bytes + attempt.lost_bytes
    if fault.detail or not whole:
        return said
    frames = f"at least {amount(attempt.frames, 'frame')} in {size(whole)}"
    return f"{said}; {frames}, of which {size(attempt.lost_bytes)} were not kept"


def age_of(attempt: AttemptReport) -> float | None:
    """Return how long after its request an attempt ended; None where either was not kept."""
    if attempt.ended_s is None or not attempt.asked:
        return None
    return attempt.ended_s - attempt.began_s


def idle_of(attempt: AttemptReport) -> float | None:
    """Return how long before its end the last byte came; None where that was not kept."""
    if attempt.ended_s is None or attempt.last_byte_s is None:
        return None
    return attempt.ended_s - attempt.last_byte_s


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
    if not attempt.asked:
        head = None
    whole = age_of(attempt) if head is None or attempt.head_s is None else head
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
