"""What holds for every test."""

from __future__ import annotations

import pytest

from unbroken.governor import breaker, budget


@pytest.fixture(autouse=True)
def _no_memory_of_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaker and budget are the process's, and most tests break streams on purpose."""
    monkeypatch.setattr(breaker, "_shared", breaker.Breaker())
    monkeypatch.setattr(budget, "_shared", budget.HealBudget())
