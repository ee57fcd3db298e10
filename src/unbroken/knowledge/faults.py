"""Records for a live fault: an index by fault kind, for what has no time to search."""

from __future__ import annotations

import re
from collections.abc import Iterable

from unbroken.core.faults import Fault
from unbroken.knowledge.record import Record, Structure

_STATUS = re.compile(r"\b[45]\d\d\b")

__all__ = ["PROVIDERS", "FaultIndex", "fit", "provider_of"]

PROVIDERS = {
    "anthropic-messages": "anthropic",
    "anthropic": "anthropic",
    "gemini": "google",
    "google": "google",
    "bedrock": "aws",
    "bedrock-converse": "aws",
    "ollama": "ollama",
    "ollama-chat": "ollama",
    "cohere": "cohere",
    "cohere-chat": "cohere",
}
"""The provider of a dialect, for dialects that only one provider speaks."""


def provider_of(dialect: str) -> str:
    """Return whose dialect it is, or ``""`` where many providers speak it."""
    return PROVIDERS.get(dialect, "")


class FaultIndex:
    """Finds the records for a fault, the most specific first.

    Args:
        records: All records; only those that name a fault kind are kept.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self._by_kind: dict[str, list[tuple[Record, tuple[str, ...]]]] = {}
        for record in records:
            words = tuple(word.lower() for word in record.structure.details)
            for kind in record.structure.fault_kinds:
                self._by_kind.setdefault(kind, []).append((record, words))

    def find(
        self,
        fault: Fault,
        *,
        provider: str = "",
        phase: str = "",
        status: int | None = None,
    ) -> list[Record]:
        """Return the records that fit, the best first.

        Args:
            fault: What happened.
            provider: Whose stream it was, or ``""``.
            phase: Where in the answer, or ``""``.
            status: The HTTP status, if it is known.
        """
        detail = fault.detail.lower()
        found: list[tuple[float, float, str, Record]] = []
        for record, words in self._by_kind.get(fault.kind.value, ()):
            score = fit(record.structure, words, detail, provider, phase, status)
            if score is not None:
                found.append((-score, -record.confidence, record.id, record))
        found.sort(key=lambda one: one[:3])
        return [one[3] for one in found]


def fit(
    structure: Structure,
    words: tuple[str, ...],
    detail: str,
    provider: str,
    phase: str,
    status: int | None,
) -> float | None:
    """Return how well a structure fits what is known of a fault of its kind, or None.

    A list that contradicts what is known rules the record out; one that asks for what nobody
    knows (an exception's class, say) takes a little away, so that the general record wins.
    """
    score = 0.0
    if words:
        if not any(word in detail for word in words):
            return None
        score += 3.0
    if structure.providers:
        if provider and provider not in structure.providers:
            return None
        score += 2.0 if provider else -0.5
    if structure.statuses:
        if status is None:
            said = {int(code) for code in _STATUS.findall(detail)}
            if said and not said.intersection(structure.statuses):
                return None
            score += 2.0 if said else -0.5
        elif status not in structure.statuses:
            return None
        else:
            score += 2.0
    if structure.phases:
        if phase and phase not in structure.phases:
            return None
        score += 1.0 if phase else -0.5
    if structure.classes:
        score -= 1.0
    return score
