"""What the attempts of a stream cost, and what of it was for nothing.

All here is a careful estimate: where a provider did not say what a cut attempt used, nothing is
counted as wasted beyond what is certain.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from unbroken.core.outcome import AttemptRecord, Outcome, Provenance
from unbroken.telemetry.health.figures import UsageTotals

__all__ = ["Bill", "bill_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What a stream's attempts came to.

    Attributes:
        recoveries: ``rung guarantee`` of each further attempt.
        wasted_tokens: Output that was bought and not delivered.
        saved_tokens: Output that was delivered before a break and not bought again.
        usage: Tokens of all attempts.
    """

    recoveries: list[str] = field(default_factory=list)
    wasted_tokens: int = 0
    saved_tokens: int = 0
    usage: UsageTotals = field(default_factory=UsageTotals)


def bill_of(outcome: Outcome, *, tokens: int) -> Bill:
    """Return what a stream came to.

    Args:
        outcome: The stream's.
        tokens: Of output that was delivered.
    """
    wrote = {each.attempt: each for each in outcome.provenance}
    usage = UsageTotals()
    recoveries = []
    wasted = 0
    kept = 0  # characters that no later attempt wrote again
    for record in outcome.attempts:
        _add(usage, record)
        part = wrote.get(record.number)
        wasted += _wasted(record, part, last=record is outcome.attempts[-1], outcome=outcome)
        if record.number == 1:
            continue
        recoveries.append(f"{record.rung} {'none' if part is None else part.guarantee}")
        if part is not None:
            kept = part.start if _goes_on(part) else 0
    characters = outcome.characters
    return Bill(
        recoveries=recoveries,
        wasted_tokens=wasted,
        saved_tokens=round(tokens * kept / characters) if characters else 0,
        usage=usage,
    )


def _add(usage: UsageTotals, record: AttemptRecord) -> None:
    spent = record.usage
    usage.input += spent.input or 0
    usage.output += spent.output or 0
    usage.cached_input += spent.cached_input or 0
    usage.reasoning += spent.reasoning or 0
    if spent.estimated:
        usage.estimated_output += spent.output or 0


def _goes_on(part: Provenance) -> bool:
    """Whether an attempt wrote only what was missing: not from the beginning again."""
    return part.rung == "cursor" or part.guarantee in ("seam-verified", "unverified")


def _wasted(record: AttemptRecord, part: Provenance | None, *, last: bool, outcome: Outcome) -> int:
    """Return how much of an attempt's output was not delivered."""
    output = record.usage.output or 0
    if not output or record.usage.estimated:
        return 0  # an estimate counts what was delivered
    if part is None:
        # Of the last attempt, tool calls or thinking may have been delivered.
        return 0 if last and outcome.status != "failed" else output
    if _goes_on(part) or part.end <= 0:
        return 0
    return round(output * part.start / part.end)  # it wrote all again, up to its end
