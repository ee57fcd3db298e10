"""What a fault says, and the outcome of a stream."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from unbroken.core.faults import Fault
from unbroken.core.outcome import Outcome
from unbroken.knowledge.facts import Line, Query
from unbroken.knowledge.faults import provider_of
from unbroken.knowledge.texts import CODE, middle_of

__all__ = ["fault_query", "outcome_query", "phase_of"]

_PHASE = re.compile(r"\bphase ([a-z-]+)")
_PHASES = {
    "first-event": "waiting",
    "before-content": "waiting",
    "tool-input": "tool",
    "text": "text",
    "thinking": "thinking",
    "ending": "ending",
}


def phase_of(detail: str) -> str:
    """Return the phase that a fault's detail names, in a record's words, or ``""``."""
    found = _PHASE.search(detail)
    if found is None:
        return "connecting" if detail.startswith("no response head") else ""
    return _PHASES.get(found[1], "")


def fault_query(faults: Iterable[Fault]) -> Query:
    """Return what faults say by themselves."""
    faults = list(faults)
    details = "\n".join(fault.detail for fault in faults).lower()
    phases = {phase for fault in faults if (phase := phase_of(fault.detail))}
    statuses = {int(found) for found in re.findall(r"\banswered ([1-5]\d\d)\b", details)}
    return Query(
        text=details,
        lines=tuple(Line(text=line) for line in details.split("\n") if line),
        statuses=frozenset(statuses),
        codes=frozenset(code.lower() for code in CODE.findall(details)),
        kinds=tuple(dict.fromkeys(fault.kind.value for fault in faults)),
        phases=frozenset(phases),
        details=details,
        live=True,
    )


def outcome_query(outcome: Outcome) -> Query:
    """Return what the end of a stream says: the fault that ended it, and the provider's words."""
    # The fault that ended it is what is asked about; notes only where there is nothing else.
    last = next((a.fault for a in reversed(outcome.attempts) if a.fault is not None), None)
    fatal = [fault for fault in outcome.faults if fault.fatal]
    chosen = fatal[:1] or ([last] if last is not None else outcome.faults[:1])
    query = fault_query(chosen)
    provider = provider_of(outcome.dialect)
    error = outcome.provider_error
    lines = query.lines
    codes = set(query.codes)
    statuses = set(query.statuses)
    if error is not None:
        codes.update(word.lower() for word in (error.type, error.code) if word)
        lines += tuple(
            Line(text=middle_of(line).lower()) for line in error.message.split("\n") if line.strip()
        )
    if not statuses and outcome.attempts:
        status = outcome.attempts[-1].status
        if status is not None and status >= 400:
            statuses.add(status)
    return replace(
        query,
        text="\n".join(line.text for line in lines),
        weights=tuple(line.weight for line in lines),
        lines=lines,
        codes=frozenset(codes),
        statuses=frozenset(statuses),
        providers=frozenset((provider,)) if provider else frozenset(),
        sure_provider=bool(provider),
    )
