"""What many streams of a process share, with locks."""

from __future__ import annotations

from unbroken.governor.budget import HealBudget, shared_budget

__all__ = ["HealBudget", "shared_budget"]
