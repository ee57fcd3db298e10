"""Suites are data: those that come with us are sound, and a bad file is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from unbroken.core.dialects import DIALECTS
from unbroken.lab.injectors import INJECTORS
from unbroken.lab.plan import parse_plan
from unbroken.lab.score import BUILT_IN, Suite, SuiteError, choose, load_suite


def of(tmp_path: Path, text: str) -> Suite:
    file = tmp_path / "mine.toml"
    file.write_text(text, "utf-8")
    return load_suite(file)


class TestBuiltIn:
    @pytest.mark.parametrize("name", BUILT_IN)
    def test_it_loads_and_every_scenario_says_what_it_is_in_real_life(self, name: str) -> None:
        suite = load_suite(name)
        assert suite.title
        assert all(len(scenario.life) > 12 and scenario.tags for scenario in suite.scenarios)

    def test_sizes(self) -> None:
        sizes = {name: len(load_suite(name).scenarios) for name in BUILT_IN}
        assert 30 <= sizes["core"] <= 40
        assert sizes["full"] >= 100
        assert {scenario.name for scenario in load_suite("core").scenarios} <= {
            scenario.name for scenario in load_suite("full").scenarios
        }

    def test_full_has_every_fault_in_every_variant(self) -> None:
        played = {
            (spec.name, spec.how or (INJECTORS[spec.name].hows or ("",))[0])
            for scenario in load_suite("full").scenarios
            for attempt in parse_plan(scenario.plan).attempts
            for spec in attempt
        }
        there = {(name, how) for name, cls in INJECTORS.items() for how in cls.hows or ("",)}
        assert not there - played

    def test_seed_003_has_its_six_situations(self) -> None:
        tags = {tag for scenario in load_suite("seed-003").scenarios for tag in scenario.tags}
        assert tags == {"slow", "interrupted", "large", "concurrent", "error", "timeout"}

    def test_what_cannot_be_known_says_why(self) -> None:
        unseen = [s for s in load_suite("full").scenarios if s.undetectable]
        assert {s.name for s in unseen} >= {"lost-event-unseen", "text-for-ever"}

    @pytest.mark.parametrize("dialect", sorted(DIALECTS))
    def test_every_dialect_has_most_of_core(self, dialect: str) -> None:
        chosen, left = choose(load_suite("core"), dialect=dialect)
        assert len(chosen) >= 26, [scenario.name for scenario, _ in left]

    def test_soak_is_the_same_for_the_same_seed(self) -> None:
        def plans(seed: int) -> list[str]:
            return [scenario.full_plan() for scenario in load_suite("soak", seed=seed).scenarios]

        assert plans(1) == plans(1)
        assert plans(1) != plans(2)


class TestChoosing:
    SUITE = """
        [[scenario]]
        name = "a-one"
        plan = "ok"
        tags = ["x"]
        [[scenario]]
        name = "a-two"
        plan = "drop@0.5"
        [[scenario]]
        name = "b"
        plan = "stall.ping@0.5"
        dialects = ["anthropic-messages", "openai-chat"]
    """

    @pytest.mark.parametrize(
        ("only", "names"),
        [
            ((), ["a-one", "a-two", "b"]),
            (("b",), ["b"]),
            (("a-*",), ["a-one", "a-two"]),
            (("tag:x", "b"), ["a-one", "b"]),
        ],
    )
    def test_by_name_glob_and_tag(
        self, tmp_path: Path, only: tuple[str, ...], names: list[str]
    ) -> None:
        chosen, _ = choose(of(tmp_path, self.SUITE), only=only)
        assert [scenario.name for scenario in chosen] == names

    def test_an_unknown_name_is_told_with_a_near_one(self, tmp_path: Path) -> None:
        with pytest.raises(SuiteError, match="did you mean a-two"):
            choose(of(tmp_path, self.SUITE), only=["a-tow"])

    def test_what_a_dialect_does_not_have_is_left_out_with_the_reason(self, tmp_path: Path) -> None:
        suite = of(tmp_path, self.SUITE)
        _, left = choose(suite, dialect="ollama")
        assert [(s.name, why) for s, why in left] == [("b", "makes no sense in ollama")]
        _, left = choose(suite, dialect="openai-chat")
        assert [(s.name, why) for s, why in left] == [("b", "openai-chat has no stall.ping")]

    def test_what_a_dialect_cannot_show_is_marked(self, tmp_path: Path) -> None:
        suite = of(tmp_path, self.SUITE)
        chat = {s.name: s.undetectable for s in choose(suite, dialect="openai-chat")[0]}
        assert chat["a-one"] is None
        assert "no numbers" in (chat["a-two"] or "")
        numbered = {s.name: s.undetectable for s in choose(suite, dialect="openai-responses")[0]}
        assert numbered["a-two"] is None


def test_settings_go_into_the_plan_and_scenarios_win(tmp_path: Path) -> None:
    suite = of(
        tmp_path,
        """
        patience_s = 7
        [settings]
        tokens = 50
        tps = 20
        [[scenario]]
        name = "a"
        plan = "cut@0.5"
        settings = { tokens = 9, usage = false }
        """,
    )
    (one,) = suite.scenarios
    assert one.full_plan() == "cut@0.5;tokens=9;tps=20;usage=false"
    assert one.full_plan({"seed": "4", "tokens": "3"}).endswith(
        "tokens=3;tps=20;usage=false;seed=4"
    )
    assert one.patience_s == 7
    assert not one.faultless


GOOD = '[[scenario]]\nname = "one"\nplan = "ok"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = [", "not TOML"),
        ("", "no scenarios; add one with [[scenario]]"),
        ("[scenario]\nname = 'a'", "double brackets"),
        ("[scenarios]\na = 'cut'", "unbroken lab serve --scenarios"),
        ("[scenarios]\na = 'cut'", "[[scenario]] for each"),
        ("[[scenario]]\nplan = 'ok'", "scenario 1: give it a name"),
        ("[[scenario]]\nname = 'a'", "scenario 'a': give it a plan"),
        ("[[scenario]]\nname = 'a b'\nplan = 'ok'", "letters, digits and hyphens"),
        (GOOD + "plam = 'x'", "unknown key 'plam': did you mean plan?"),
        (GOOD.replace("ok", "cutt@3t"), "no fault is called 'cutt'"),
        (GOOD.replace("ok", "cut@3q"), "'3q' is no place"),
        (GOOD + "settings = { tokenz = 3 }", "no setting is called 'tokenz'"),
        (GOOD + "settings = { tokens = 0 }", "tokens is from 1"),
        (GOOD + "best = 'fine'", 'best is "whole" or "error", not \'fine\''),
        (GOOD + "dialects = ['chatt']", "no dialect is called 'chatt'"),
        (GOOD + "dialects = ['ollama']\nnot_dialects = ['gemini']", "not both"),
        (GOOD + "tags = 'x'", "a list of words"),
        (GOOD + "patience_s = 0", "a number of seconds above 0"),
        (GOOD + "copies = 1000", "a number from 1 to 64"),
        (GOOD + "undetectable = true", "go together"),
        (GOOD + GOOD, "there are two of this name"),
        ("[draw]\nfaults = []", "[draw]: name faults to draw from"),
        ("[draw]\nfaults = ['cutt']", "no fault is called 'cutt'"),
        ("[draw]\nfaults = ['cut']\nattempts = [3, 1]", "two numbers, least and most"),
        ("[draw]\nfaults = ['cut']\nscenarios = 0", "a number from 1 to 10,000"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SuiteError) as caught:
        of(tmp_path, text)
    line = str(caught.value)
    assert said in line
    assert line.startswith(str(tmp_path / "mine.toml"))
    assert "\n" not in line


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="no such suite; the suites are core, full"):
        load_suite("cores")
    with pytest.raises(SuiteError, match="no such file"):
        load_suite(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"# \xff")
    with pytest.raises(SuiteError, match="not UTF-8 at byte 2"):
        load_suite(tmp_path / "latin.toml")
