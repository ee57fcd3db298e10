"""An outcome in a few lines that a person can read."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from unbroken.cli.screen import amount, line
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.outcome import Outcome
from unbroken.knowledge import records_for

__all__ = ["ADVICE", "verdict_lines"]

_AGAIN = "do not take the answer for whole; ask again, or let Unbroken heal it"
ADVICE: dict[FaultKind, str] = {
    FaultKind.TRUNCATED_BETWEEN_EVENTS: f"{_AGAIN}; look for a proxy that hides crashes",
    FaultKind.TRUNCATED_MID_EVENT: _AGAIN,
    FaultKind.CONNECTION_RESET: _AGAIN,
    FaultKind.MISSING_TERMINATOR: "nothing; the content is whole, token counts may be missing",
    FaultKind.MISSING_FINISH: _AGAIN,
    FaultKind.EMPTY_STREAM: "ask again",
    FaultKind.NOT_A_STREAM: "read the body: a proxy's page, a wrong address, or no stream asked",
    FaultKind.MALFORMED_JSON: f"a token was lost: {_AGAIN}",
    FaultKind.INVALID_UTF8: "tell the provider; U+FFFD stands in the text's place",
    FaultKind.OVERSIZED_EVENT: "see whether it is a stream at all; else raise max_frame_bytes",
    FaultKind.OUT_OF_ORDER: "nothing; it was put right",
    FaultKind.DUPLICATE_EVENT: "nothing; it was put right",
    FaultKind.MISSING_EVENT: _AGAIN,
    FaultKind.PROTOCOL_VIOLATION: "tell the provider; a gateway in between is often the cause",
    FaultKind.PROVIDER_ERROR: "read the provider's message in the body; overload may be retried",
    FaultKind.STALLED: "ask again, or wait longer",
    FaultKind.SLOW_DRIP: "take another target, or a lower floor",
    FaultKind.INVALID_TOOL_ARGUMENTS: "do not run the call; ask the model again",
    FaultKind.LENGTH_LIMIT: "raise the token limit, or ask for the rest",
    FaultKind.CONTENT_FILTERED: "nothing; it is the provider's decision",
    FaultKind.HTTP_ERROR: "check address, key and request",
    FaultKind.CONNECT_FAILED: "check address and network",
    FaultKind.CANCELLED: "nothing; you left",
}
"""What to do about each kind; the long form is in the knowledge base."""

_WORDS = {
    "complete": "whole: every part of it finished",
    "limited": "ended by the token limit: proven, but cut",
    "filtered": "ended by the provider's filter: proven, but cut",
    "paused": "paused by the provider: send it back to go on",
    "unconfirmed": "probably whole: this provider may end so, but nothing proves it",
    "failed": "not whole",
    "cancelled": "left before its end",
}
_STYLES = {"fatal": "red", "warning": "yellow", "note": "cyan"}


def verdict_lines(name: str, outcome: Outcome) -> Iterator[Text]:
    """Yield the verdict: one line on the whole, what was received, one line a fault."""
    bad = outcome.fault is not None
    sure = outcome.status in ("complete", "limited", "filtered", "paused")
    mark, style = (
        ("✗", "bold red") if bad else ("✓", "bold green") if sure else ("?", "bold yellow")
    )
    status = outcome.status if outcome.status != "failed" or not outcome.complete else "faulty"
    yield line((f"{mark} {status}", style), f"  {name}: {_WORDS[outcome.status]}")
    yield line(("  dialect   ", "dim"), outcome.dialect)
    yield line(("  received  ", "dim"), _received(outcome))
    if outcome.stop_reason is not None:
        yield line(("  ended by  ", "dim"), outcome.stop_reason)
    for fault in outcome.faults:
        yield _fault(fault)
    if outcome.fault is not None:
        can = "can" if outcome.recoverable else "will most likely not"
        yield line(("  retry     ", "dim"), f"the same request {can} give the whole answer")
        for record in records_for(outcome.fault, provider=outcome.dialect, limit=1):
            yield line(("  more      ", "dim"), f"unbroken explain {record}")


def _fault(fault: Fault) -> Text:
    where = []
    if fault.at_byte is not None:
        where.append(f"at byte {fault.at_byte:,}")
    if fault.frame is not None:
        where.append(f"in frame {fault.frame:,}")
    at = f" {', '.join(where)}" if where else ""
    return line(
        (f"  {fault.severity:<8}  ", _STYLES[fault.severity]),
        (fault.kind.value, "bold"),
        f"{at}: {fault.detail}",
        (f" → {ADVICE[fault.kind]}", "green"),
    )


def _received(outcome: Outcome) -> str:
    parts = [amount(outcome.frames, "frame"), amount(outcome.bytes, "byte")]
    texts = outcome.texts or ({0: outcome.text} if outcome.text else {})
    parts.append(amount(sum(map(len, texts.values())), "character") + " of text")
    if len(texts) > 1:
        parts[-1] += f" in {len(texts)} choices"
    if outcome.reasoning:
        parts.append(amount(len(outcome.reasoning), "character") + " of reasoning")
    if outcome.refusal:
        parts.append(amount(len(outcome.refusal), "character") + " of refusal")
    if outcome.tool_calls:
        whole = sum(call.complete for call in outcome.tool_calls)
        parts.append(f"{amount(len(outcome.tool_calls), 'tool call')} ({whole} whole)")
    used = outcome.usage
    if used.input is not None or used.output is not None:
        given = (("in", used.input), ("out", used.output))
        parts.append("tokens " + ", ".join(f"{n:,} {way}" for way, n in given if n is not None))
    return ", ".join(parts)
