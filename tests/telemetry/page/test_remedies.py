"""Cause and remedy beside every fault of the page: the knowledge base in short."""

from __future__ import annotations

import pytest

from unbroken.core.faults import FaultKind
from unbroken.knowledge import base
from unbroken.telemetry.page.remedies import advice_on, title_of


@pytest.mark.parametrize("kind", list(FaultKind))
def test_every_kind_has_cause_and_remedy(kind: FaultKind) -> None:
    advice = advice_on(kind.value)
    assert base().by_id[advice.record].structure.fault_kinds == [kind.value]
    assert advice.cause.endswith(".")
    assert advice.avoid.startswith("do not ")
    assert advice.remedy


def test_what_somebody_else_made_up_has_a_remedy_too() -> None:
    assert advice_on("ValueError").remedy
    assert not advice_on("ValueError").record


def test_a_continuation_that_was_thrown_away_is_not_blamed_on_the_provider() -> None:
    kind = "protocol-violation"
    detail = "the attempt was given up: its text is not the continuation"
    thrown = advice_on(kind, detail)
    assert thrown.record == "llm/continuation-thrown-away"
    assert title_of(kind, detail) == "protocol-violation (continuation thrown away)"
    assert advice_on(kind, "a finish came twice").record == "llm/stream-protocol-violation"
    assert title_of(kind, "a finish came twice") == kind
    assert "provider" not in thrown.cause.lower()
