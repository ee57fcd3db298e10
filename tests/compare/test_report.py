"""The comparison's rows and its page: nothing on it is by hand."""

from __future__ import annotations

import re
import tomllib

import pytest

from compare import report
from compare.rows import gateways, rows
from tests.docs.markdown import ROOT

RESULTS = ROOT / "compare" / "results"
ROWS = rows()


def test_every_row_says_where_its_settings_come_from() -> None:
    for row in ROWS:
        assert row.notes.strip(), row.name
        assert row.variant in ("plain", "configured", "unbroken", "gateway")
        assert set(row.gateways) <= gateways().keys()


def test_settings_hold_no_address_of_a_registry() -> None:
    for path in (ROOT / "compare").rglob("*.txt"):
        if "node_modules" not in path.parts:
            assert not re.search(r"https?://|--index", path.read_text("utf-8")), path


def test_clients_parse() -> None:
    for path in (ROOT / "compare" / "clients").glob("*.toml"):
        assert tomllib.loads(path.read_text("utf-8"))["row"]


OURS = {
    row.name for row in ROWS if row.variant in ("unbroken", "gateway") or row.package == "unbroken"
}
OUTLAST = {
    "unbroken-gateway.plain": (
        "cut-then-stall",
        "stall-dead",
        "stall-behind-comments",
        "stall-behind-empty-events",
    )
}
"""With production's clocks, of minutes, a stall outlasts the patience of the suite."""


@pytest.mark.parametrize("name", sorted(OURS))
def test_what_is_published_of_ours_is_healed_or_honest(name: str) -> None:
    """The goal, held against the raw results: nothing lost, repeated, laundered or hung."""
    card = report.card_of(RESULTS / f"{name}.json")
    assert card is not None, f"{name} was not run; run `make compare`"
    for result in card.results:
        if result.scenario in OUTLAST.get(name, ()):
            assert result.verdict == "hung", "then it needs no exception"
        elif result.undetectable is None:
            assert result.verdict in ("healed", "honest error"), result.scenario
            assert not result.facts.laundered, result.scenario


def test_page_is_what_the_results_say() -> None:
    assert report.PAGE.read_text("utf-8") == report.text(RESULTS), "run `make compare`"
