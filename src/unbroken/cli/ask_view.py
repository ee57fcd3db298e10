"""The lines that ``unbroken ask`` writes beside the answer."""

from __future__ import annotations

from rich.text import Text

from unbroken.cli.screen import amount, line
from unbroken.core.actions import Reconnecting, StallNotice
from unbroken.core.outcome import Outcome

__all__ = ["account_line", "notice_again", "notice_stall"]

_STYLES = {"failed": "bold red", "cancelled": "bold yellow", "unconfirmed": "bold yellow"}


def notice_stall(stall: StallNotice) -> Text:
    """Say that nothing moves."""
    limit = f", given up at {stall.limit_s:g} s" if stall.limit_s is not None else ""
    return line(
        ("… ", "yellow"), f"nothing for {stall.waited_s:.0f} s ({stall.clock}{limit}); waiting"
    )


def notice_again(again: Reconnecting) -> Text:
    """Say that one more request is made, and why."""
    wait = f" in {again.wait_s:.1f} s" if again.wait_s >= 0.05 else ""
    return line(
        ("⚡ ", "yellow"),
        f"{again.fault.kind.value}: attempt {again.attempt}{wait}, by {again.rung}",
    )


def account_line(outcome: Outcome, *, written_to: str = "") -> Text:
    """Say in one line how the answer ended, what it took, and what that is worth."""
    bad = outcome.status in _STYLES
    mark = "✗" if outcome.status == "failed" else "?" if bad else "✓"
    parts = [_tokens(outcome)]
    if outcome.first_content_s is not None:
        parts.append(f"first token {outcome.first_content_s:.2f} s")
    parts.append(f"{outcome.duration_s:.1f} s")
    parts.append(_heals(outcome))
    if written_to:
        parts.append(f"in {written_to}")
    text = line((f"{mark} {outcome.status}", _STYLES.get(outcome.status, "bold green")))
    if outcome.status == "failed" and outcome.fault is not None:
        text.append_text(line(f" ({outcome.fault.kind.value}: {outcome.fault.detail})"))
    for part in parts:
        text.append_text(line((" · ", "dim"), part))
    return text


def _tokens(outcome: Outcome) -> str:
    used = outcome.usage
    if used.output is None:
        got = amount(outcome.characters, "character") if outcome.characters else "no text"
        return f"{got} (tokens not told)"
    counted = "our estimate" if used.estimated else "counted by the provider"
    given = f"{used.input:,} in, " if used.input is not None else ""
    return f"tokens {given}{used.output:,} out ({counted})"


def _heals(outcome: Outcome) -> str:
    if outcome.recoveries:
        later = [part for part in outcome.provenance if part.attempt > 1]
        proofs = dict.fromkeys(f"{part.rung}: {part.guarantee}" for part in later)
        verb = "healed" if outcome.healed else "tried again"
        times = "once" if outcome.recoveries == 1 else f"{outcome.recoveries} times"
        return f"{verb} {times} ({', '.join(proofs)})" if proofs else f"{verb} {times}"
    if outcome.status == "failed" and outcome.skipped:
        last = outcome.skipped[-1]
        return f"not healed ({last.rung}: {last.why})"
    return "not interrupted" if outcome.status != "failed" else "not healed"
