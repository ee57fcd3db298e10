"""What the page says beside a fault: the knowledge base in short."""

from __future__ import annotations

from typing import Final

from unbroken.core.faults import Fault, FaultKind
from unbroken.knowledge.notes import Advice, advice_for

__all__ = ["advice_on", "title_of"]

_UNKNOWN: Final = Advice(
    record="",
    cause="An error that has no name in Unbroken's list.",
    remedy="Look into the log of the application.",
)
_KINDS = frozenset(FaultKind)


def _given_up(kind: str, detail: str) -> bool:
    # The core has no kind of its own for it, but begins the detail with these words.
    return kind == FaultKind.PROTOCOL_VIOLATION and detail.startswith("the attempt was given up: ")


def title_of(kind: str, detail: str = "") -> str:
    """Return what faults are shown under: the kind, or what tells one cause of it apart."""
    return f"{kind} (continuation thrown away)" if _given_up(kind, detail) else kind


def advice_on(kind: str, detail: str = "", provider: str = "") -> Advice:
    """Return cause and remedy of a fault, also of a kind that somebody else made up.

    Args:
        kind: Its kind.
        detail: What it says; two causes of one kind are told apart by it.
        provider: Whose stream it was, or ``""``.
    """
    if kind not in _KINDS:
        return _UNKNOWN
    return advice_for(Fault.of(FaultKind(kind), detail), provider=provider) or _UNKNOWN
