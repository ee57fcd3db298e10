"""What many streams of a process share, with locks."""

from __future__ import annotations

from unbroken.governor.breaker import Breaker, shared_breaker, speaks_against, target_of
from unbroken.governor.budget import HealBudget, shared_budget

__all__ = [
    "Breaker",
    "HealBudget",
    "shared_breaker",
    "shared_budget",
    "speaks_against",
    "target_of",
]
