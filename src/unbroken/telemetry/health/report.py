"""The report: what the figures say, as plain values."""

from __future__ import annotations

import msgspec

from unbroken.telemetry.health.figures import Figures, Group, UsageTotals
from unbroken.telemetry.health.histogram import Spread

__all__ = ["Count", "HealthReport", "PartReport", "RecoveryCount", "report_of"]

_SUCCEEDED = ("complete", "limited", "filtered", "paused")
_COMMONEST = 10


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """How often something happened."""

    name: str
    count: int


class RecoveryCount(msgspec.Struct, frozen=True, kw_only=True):
    """Further attempts of one kind.

    Attributes:
        rung: How they came about.
        guarantee: What was proven of them; ``none``: nothing of them was delivered.
        count: How many.
    """

    rung: str
    guarantee: str
    count: int


class PartReport(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one provider, or of one model of it."""

    provider: str
    model: str
    active: int
    total: int
    succeeded: int
    failed: int
    success_rate: float | None
    tokens: int
    retries: int
    faults: dict[str, int]
    ttft_s: Spread
    gap_s: Spread
    duration_s: Spread


class HealthReport(msgspec.Struct, frozen=True, kw_only=True):
    """How all streams are doing, since the process began; `msgspec.json.encode` takes it.

    Attributes:
        at: When the report was made, in seconds since the epoch.
        active: Streams that run now.
        total: Streams that began.
        ended: Streams that ended, by status.
        succeeded: Those with a proven end: complete, limited, filtered or paused.
        failed: Those that failed.
        success_rate: Share (0 to 1) of the ended streams that succeeded, cancelled ones left
            out; None before any ended.
        retries: Upstream requests after the first ...
        average_retries: ... and how many of them a stream had.
        bytes: Bytes that were delivered.
        frames: Frames that were delivered.
        tokens: Tokens of output that were delivered.
        tokens_counted: How many streams' tokens were counted by ``usage``, how many by
            ``deltas`` (one for each piece of content), since the provider told none.
        duration_s: Of ended streams.
        size_bytes: Of ended streams.
        ttft_s: Time to the first content.
        gap_s: Waits between pieces of content.
        errors_by_type: Fatal faults and exceptions, the commonest first.
        common_errors: What errors say, the commonest first, at most ten; numbers left out.
        faults: All faults by kind, the commonest first.
        recoveries: Further attempts by rung and guarantee.
        wasted_tokens: Output that was bought and not delivered, as far as it is known.
        saved_tokens: Output delivered before a break that was not bought again.
        usage: Tokens as billed.
        cost: What they cost, by the price list that was given.
        stalls: Stall notices.
        buffered: Streams whose events something in the path held back.
        internal_errors: Bugs of Unbroken's.
        providers: The same by provider ...
        models: ... and by provider and model.
    """

    at: float
    active: int
    total: int
    ended: dict[str, int]
    succeeded: int
    failed: int
    success_rate: float | None
    retries: int
    average_retries: float
    bytes: int
    frames: int
    tokens: int
    tokens_counted: dict[str, int]
    duration_s: Spread
    size_bytes: Spread
    ttft_s: Spread
    gap_s: Spread
    errors_by_type: list[Count]
    common_errors: list[Count]
    faults: list[Count]
    recoveries: list[RecoveryCount]
    wasted_tokens: int
    saved_tokens: int
    usage: UsageTotals
    cost: float
    stalls: int
    buffered: int
    internal_errors: int
    providers: list[PartReport]
    models: list[PartReport]


def report_of(figures: Figures, *, at: float) -> HealthReport:
    """Return the report of figures, which may be those of several workers together."""
    whole = figures.total()
    return HealthReport(
        at=at,
        active=whole.active,
        total=whole.started,
        ended=dict(whole.ended),
        succeeded=_succeeded(whole),
        failed=whole.ended.get("failed", 0),
        success_rate=_success_rate(whole),
        retries=whole.retries,
        average_retries=whole.retries / max(1, whole.started),
        bytes=whole.bytes,
        frames=whole.frames,
        tokens=whole.tokens + whole.active_tokens,
        tokens_counted=dict(whole.counted),
        duration_s=whole.duration_s.spread(),
        size_bytes=whole.size_bytes.spread(),
        ttft_s=whole.ttft_s.spread(),
        gap_s=whole.gap_s.spread(),
        errors_by_type=_commonest(whole.errors),
        common_errors=_commonest(whole.texts)[:_COMMONEST],
        faults=_commonest(whole.faults),
        recoveries=_recoveries(whole),
        wasted_tokens=whole.wasted_tokens,
        saved_tokens=whole.saved_tokens,
        usage=whole.usage,
        cost=whole.cost,
        stalls=whole.stalls,
        buffered=whole.buffered,
        internal_errors=whole.internal_errors,
        providers=_parts(figures, "provider"),
        models=_parts(figures, "provider", "model"),
    )


def _succeeded(group: Group) -> int:
    return sum(group.ended.get(status, 0) for status in _SUCCEEDED)


def _success_rate(group: Group) -> float | None:
    judged = sum(group.ended.values()) - group.ended.get("cancelled", 0)
    return _succeeded(group) / judged if judged else None


def _commonest(counts: dict[str, int]) -> list[Count]:
    ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    return [Count(name=name, count=count) for name, count in ordered]


def _recoveries(group: Group) -> list[RecoveryCount]:
    found = []
    for each in _commonest(group.recoveries):
        rung, _, guarantee = each.name.partition(" ")
        found.append(RecoveryCount(rung=rung, guarantee=guarantee or "none", count=each.count))
    return found


def _parts(figures: Figures, *names: str) -> list[PartReport]:
    groups = sorted(figures.by(*names), key=lambda group: (-group.started, group.labels))
    return [
        PartReport(
            provider=group.labels.provider,
            model=group.labels.model,
            active=group.active,
            total=group.started,
            succeeded=_succeeded(group),
            failed=group.ended.get("failed", 0),
            success_rate=_success_rate(group),
            tokens=group.tokens + group.active_tokens,
            retries=group.retries,
            faults=dict(group.faults),
            ttft_s=group.ttft_s.spread(),
            gap_s=group.gap_s.spread(),
            duration_s=group.duration_s.spread(),
        )
        for group in groups
    ]
