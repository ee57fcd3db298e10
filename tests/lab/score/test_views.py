"""The same cards as table, JSON, JUnit and page."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from tests.lab.score.made_up import card, result
from unbroken.lab.score.results import Card, CardError, Skipped
from unbroken.lab.score.verdict import VERDICTS
from unbroken.lab.score.view_html import page
from unbroken.lab.score.view_junit import junit
from unbroken.lab.score.view_table import HOW_TO_READ, summary, table


def shown(one: Card, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(table(one, width))
    return console.file.getvalue()  # type: ignore[attr-defined]


class TestTable:
    def test_each_scenario_has_a_row_with_its_verdict(self) -> None:
        lines = shown(card()).splitlines()
        for verdict in VERDICTS:
            assert any(line.startswith(verdict.replace(" ", "-")) and verdict in line
                       for line in lines)  # fmt: skip

    def test_the_summary_counts(self) -> None:
        said = summary(card(result("a"), result("b"), result("c", "honest error"))).plain
        assert said.startswith("2 healed, 1 honest error, 1 not run")
        assert "0 lost" in said
        said = summary(card(result("c", "honest error"), result("d", "honest error"))).plain
        assert said.startswith("2 honest errors")

    def test_what_no_client_can_know_is_shown_and_not_counted(self) -> None:
        one = card(result("a"), result("b", "corrupted", undetectable="no numbers", ok=True))
        assert "(corrupted)" in shown(one)
        assert "no client can know: no numbers" in shown(one, 200)
        assert summary(one).plain.startswith("1 healed, 1 not run; tokens 0 lost")

    def test_names_are_not_markup(self) -> None:
        assert "[red]" in shown(card(result("a"), label="[red]client[/red]"))

    def test_a_narrow_terminal_has_words_on_lines_of_their_own(self) -> None:
        text = shown(card(result("a-long-name-of-a-scenario", "honest error")), 60)
        lines = text.splitlines()
        assert max(map(len, lines)) <= 60
        assert lines[1].split() == ["scenario", "verdict", "tokens", "requests"]
        assert lines[2].split() == ["a-long-name-of-a-scenario", "honest", "error", "60/200", "2"]
        assert lines[3] == "    60 tokens; APIError: stream ended <early> & so on"

    def test_a_wide_one_has_them_beside_and_wraps_at_words(self) -> None:
        lines = shown(card(result("a", "honest error", undetectable="x " * 20)), 110).splitlines()
        at = lines[1].index("what")
        assert lines[2][at:].startswith("60 tokens; APIError")
        assert lines[3].startswith(" " * at)
        assert max(map(len, lines)) <= 110

    def test_the_last_two_lines_are_the_summary_and_its_words(self) -> None:
        *_, total, words = shown(card(), 400).splitlines()
        assert total.startswith("1 healed, 1 honest error")
        assert words == HOW_TO_READ

    def test_a_stopped_run_says_so(self) -> None:
        one = card(result("a"), complete=False)
        assert not one.ok
        assert "not complete: the run was stopped; 1 of 2 scenarios ended" in shown(one)


class TestOk:
    def test_a_card_on_which_nothing_ran_is_not(self) -> None:
        assert card(result("a")).ok
        empty = Card(label="x", suite="s", dialect="", command=(), results=[])
        assert not empty.ok

    def test_nor_is_one_whose_file_has_a_mistake(self) -> None:
        mistake = Skipped(scenario="b", why="cut@9t: too far", mistake=True)
        one = card(result("a"), skipped=[mistake])
        assert not one.ok
        suite = ET.fromstring(junit([one]))[0]
        assert (suite.get("errors"), suite.get("skipped")) == ("1", "0")


class TestJson:
    def test_it_can_be_read_back(self) -> None:
        one = card()
        assert Card.from_json(one.to_json()) == one

    def test_it_says_what_it_is_and_sums_up(self) -> None:
        said = json.loads(card().to_json())
        assert (said["format"], said["version"], said["ok"]) == ("unbroken-scorecard", 1, False)
        assert said["summary"]["healed"] == 1
        assert said["summary"]["lost"] == 3
        assert said["summary"]["skipped"] == 1
        assert said["results"][0]["facts"]["time_to_heal_s"] == 1.25

    @pytest.mark.parametrize(
        ("raw", "said"),
        [
            (b"no json", "not a scorecard"),
            (b"[]", "not a scorecard"),
            (b'{"format": "unbroken-scorecard", "version": 9}', "version 9"),
            (b'{"format": "unbroken-scorecard", "version": 1}', "damaged"),
        ],
    )
    def test_anything_else_is_refused_in_one_line(self, raw: bytes, said: str) -> None:
        with pytest.raises(CardError, match=said) as caught:
            Card.from_json(raw, "x.json")
        assert str(caught.value).startswith("x.json: ")
        assert "\n" not in str(caught.value)

    def test_a_missing_file_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(CardError, match="no such file"):
            Card.read([tmp_path / "none.json"])


class TestJUnit:
    def test_worse_than_honest_is_a_failure(self) -> None:
        root = ET.fromstring(junit([card()]))
        suite = root[0]
        assert suite.get("tests") == "7"
        assert suite.get("failures") == "4"
        assert suite.get("skipped") == "1"
        failed = {case.get("name") for case in suite if case.find("failure") is not None}
        assert failed == {"truncated-silently", "corrupted", "hung", "crashed"}
        assert float(suite[0].get("time") or 0) == 2.5

    def test_what_failed_by_itself_is_an_error(self) -> None:
        broken = result("a", "honest error", ok=False)
        broken = type(broken)(**{
            **{name: getattr(broken, name) for name in broken.__dataclass_fields__},
            "facts": type(broken.facts)(unprovoked=True),
        })  # fmt: skip
        assert ET.fromstring(junit([card(broken)]))[0].get("errors") == "1"

    def test_bytes_that_xml_cannot_hold_are_replaced(self) -> None:
        one = result("a", "hung", stderr_end="\x00\x1b[31mred\udc80", ok=False)
        case = ET.fromstring(junit([card(one)]))[0][0]
        assert "\ufffd" in (case.findtext("system-err") or "")


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.cells: list[dict[str, str | None]] = []
        self.open: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        if tag == "td" and known.get("role") == "gridcell":
            self.cells.append(known)
        if tag not in ("meta", "br"):
            self.open.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(*cards: Card) -> _Page:
    reader = _Page()
    reader.feed(page(list(cards)).decode())
    assert not reader.open
    return reader


class TestPage:
    def test_a_cell_for_each_client_and_scenario(self) -> None:
        other = card(result("healed"), result("new"), label="other")
        cells = parsed(card(), other).cells
        assert len(cells) == 2 * 7
        words = {(cell["data-row"], cell["data-scenario"]): cell["data-verdict"] for cell in cells}
        assert words["client.py", "hung"] == "hung"
        assert words["other", "healed"] == "healed"
        assert words["other", "hung"] == "not run"
        assert words["client.py", "new"] == "not run"

    def test_one_cell_can_be_reached_by_tab_and_the_others_from_it(self) -> None:
        assert [cell["tabindex"] for cell in parsed(card(), card()).cells].count("0") == 1

    def test_it_needs_nothing_from_elsewhere(self) -> None:
        reader = parsed(card())
        assert reader.links == []
        assert not re.search(rb"https?://|@import|url\(", page([card()]))

    def test_it_says_what_lost_means(self) -> None:
        assert HOW_TO_READ[1:] in page([card()]).decode()

    def test_what_clients_say_is_only_text(self) -> None:
        evil = "</script><img src=x onerror=alert(1)>\"'"
        one = card(result("a", life=evil, stderr_end=evil), label=evil)
        reader = parsed(one)
        assert reader.links == []
        assert reader.cells[0]["data-life"] == evil

    def test_each_verdict_has_a_sign_without_colour(self) -> None:
        signs = re.findall(
            r'<span class="mark \w+" aria-hidden="true">(.)</span>', page([card()]).decode()
        )
        assert len(set(signs)) == 7
