"""What the knowledge base says of the faults that a report found."""

from __future__ import annotations

from urllib.parse import urlsplit

from unbroken.core.faults import Fault, FaultKind
from unbroken.debugger.facts import AttemptReport, FaultMark, Help, Report

__all__ = ["add_help"]

_MOST_DO_NOTS, _MOST_REMEDIES = 3, 4
_PROVIDERS = {
    "api.openai.com": "openai", "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "google", "openrouter.ai": "openrouter",
    "api.cohere.com": "cohere",
}  # fmt: skip


def add_help(report: Report) -> None:
    """Put cause, dead ends and remedies beside each fault; nothing where none are known."""
    try:
        from unbroken.knowledge.explain import explain_fault
    except ImportError:  # a part of the package that may be left out
        return
    known: dict[tuple[str, str, str, str], Help | None] = {}
    for stream in report.streams:
        attempts = {attempt.number: attempt for attempt in stream.attempts}
        stood = {mark.attempt for mark in stream.faults if mark.kind == FaultKind.STALLED.value}
        for mark in stream.faults:
            if mark.kind == FaultKind.CANCELLED.value and mark.attempt in stood:
                continue  # the reader left for the silence: that is what help is needed for
            provider = _provider(attempts.get(mark.attempt))
            key = (mark.kind, mark.phase, provider, mark.detail)
            if key not in known:
                fault = _fault(mark)
                record = fault and explain_fault(fault, provider=provider, phase=mark.phase)
                known[key] = None if record is None else _help(record)
            mark.help = known[key]


def _fault(mark: FaultMark) -> Fault | None:
    """Return the fault; None for a kind of a later version."""
    if mark.kind not in _KINDS:
        return None
    return Fault.of(FaultKind(mark.kind), mark.detail, at_byte=mark.at_byte, frame=mark.frame)


_KINDS = frozenset(FaultKind)


def _provider(attempt: AttemptReport | None) -> str:
    if attempt is None:
        return ""
    host = urlsplit(attempt.url).hostname or ""
    if host.endswith(".openai.azure.com"):
        return "azure"
    return "aws" if host.endswith(".amazonaws.com") else _PROVIDERS.get(host, "")


def _help(record: object) -> Help:
    from unbroken.knowledge.record import Record

    assert isinstance(record, Record)
    best = sorted(record.workarounds, key=lambda known: -known.success_rate)
    return Help(
        record=record.id,
        cause=record.root_cause,
        do_not=[
            f"do not {dead.action}, because {dead.why_fails}".rstrip(".")
            for dead in record.dead_ends[:_MOST_DO_NOTS]
            if dead.action
        ],
        remedies=[known.action for known in best[:_MOST_REMEDIES]],
    )
