"""The knowledge base in few words, for where people meet it: tracebacks, the live page, logs."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from unbroken.core.faults import Fault
from unbroken.knowledge.explain import explain_fault
from unbroken.knowledge.load import base
from unbroken.knowledge.told import told

__all__ = ["Advice", "advice_for", "note_for"]


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """A record in three sentences.

    Attributes:
        record: Its id.
        cause: What happened, and why.
        avoid: What not to do, or ``""``; begins with "do not".
        remedy: What to do, or ``""``.
    """

    record: str
    cause: str
    avoid: str = ""
    remedy: str = ""


def advice_for(fault: Fault, *, provider: str = "", phase: str = "") -> Advice | None:
    """Return what is known of a fault, in short; None where no record fits.

    Fast, and never raises.

    Args:
        fault: What happened.
        provider: Whose stream it was (a dialect's name will do), or ``""``.
        phase: Where in the answer; by default what the fault's detail says.
    """
    record = explain_fault(fault, provider=provider, phase=phase)
    return None if record is None else _advice(record.id)


def note_for(fault: Fault, *, provider: str = "", phase: str = "") -> str | None:
    """Return the note that an exception for a fault carries, or None. See `advice_for`."""
    advice = advice_for(fault, provider=provider, phase=phase)
    if advice is None:
        return None
    lines = [f"why: {advice.cause}", advice.avoid]
    lines += [f"do: {advice.remedy}"] if advice.remedy else []
    return "\n".join([line for line in lines if line] + [f"more: unbroken explain {advice.record}"])


@lru_cache(maxsize=256)
def _advice(record_id: str) -> Advice:
    known = told(base().by_id[record_id])
    dead_end = next(iter(known.dead_ends), None)
    # Who reads this has Unbroken already; that it heals is the record's other remedy.
    ways = [way for way in known.workarounds if way.trial != "unbroken"] or known.workarounds
    return Advice(
        record=record_id,
        cause=known.cause,
        avoid="" if dead_end is None else f"do not {dead_end.action}, because {dead_end.why_fails}",
        remedy=ways[0].action if ways else "",
    )
