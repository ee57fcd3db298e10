"""The registry of what the seeds ask for is sound, and its page is up to date."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import seed_table

KINDS = {"symptom", "dead-end", "workaround", "handler feature", "do", "don't", "test list"}
ASKS = seed_table.load()
TESTS = seed_table.shown_by()


def test_asks_are_well_formed() -> None:
    ids = [ask["id"] for ask in ASKS["asks"]]
    assert len(set(ids)) == len(ids)
    for ask in ASKS["asks"]:
        assert set(ask) == {"id", "kind", "ask", "answer", "part"}
        assert ask["id"].split("-")[0] in ASKS["seeds"], ask
        assert ask["kind"] in KINDS, ask
        assert ask["part"] in range(1, 6), ask
        assert ask["ask"], ask
        assert ask["answer"], ask


def test_every_kind_of_ask_is_there() -> None:
    """The seeds' own counts: what they list must be listed here."""
    count = {
        (seed, kind): sum(
            ask["kind"] == kind and ask["id"].startswith(seed) for ask in ASKS["asks"]
        )
        for seed in ASKS["seeds"]
        for kind in KINDS
    }
    assert [count[s, "dead-end"] for s in ("000", "001", "002")] == [2, 2, 3]
    assert count["000", "workaround"] == 3
    assert count["002", "workaround"] == 4  # three, of which the last asks for two things
    assert (count["003", "do"], count["003", "don't"], count["003", "test list"]) == (7, 7, 6)
    assert sum(ask["id"].startswith("003-quick-") for ask in ASKS["asks"]) == 8


def test_marks_name_asks_that_exist() -> None:
    unknown = set(TESTS) - {ask["id"] for ask in ASKS["asks"]}
    assert not unknown, {ask: TESTS[ask] for ask in unknown}


def test_closed_parts_have_a_test_for_every_ask() -> None:
    bare = [
        ask["id"]
        for ask in ASKS["asks"]
        if ask["part"] in ASKS["closed_parts"] and ask["id"] not in TESTS
    ]
    assert not bare


def test_the_page_is_up_to_date() -> None:
    assert seed_table.PAGE.read_text("utf-8") == seed_table.page(ASKS, TESTS), "run `make docs`"


def test_marks_are_found(tmp_path: Path) -> None:
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "test_a.py").write_text(
        "import pytest\n"
        "@pytest.mark.seed('1-a', '1-b')\ndef test_x(): ...\n"
        "@pytest.mark.seed('1-c')\nclass TestY:\n"
        "    @pytest.mark.seed('1-a')\n    async def test_z(self): ...\n"
        "    def helper(self): ...\n"
    )
    assert seed_table.shown_by(tests) == {
        "1-a": ["tests/test_a.py::test_x", "tests/test_a.py::TestY::test_z"],
        "1-b": ["tests/test_a.py::test_x"],
        "1-c": ["tests/test_a.py::TestY::test_z"],
    }
    (tests / "test_a.py").write_text("import pytest\n@pytest.mark.seed(X)\ndef test_x(): ...\n")
    with pytest.raises(ValueError, match="plain string"):
        seed_table.shown_by(tests)
