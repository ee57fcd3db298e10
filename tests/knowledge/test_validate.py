"""Bad records are refused, each with file and remedy; the package's own are good."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.knowledge.make import GOOD, record
from unbroken.knowledge import KnowledgeError
from unbroken.knowledge.load import DATA
from unbroken.knowledge.schema import schema
from unbroken.knowledge.validate import check_files, check_record, check_together


def test_the_packages_own_records_are_good() -> None:
    problems, count = check_files([DATA])
    assert count > 80
    assert [str(problem) for problem in problems if not problem.advice] == []


def test_a_good_record_is_good() -> None:
    assert check_record(record()) == []


# a change to a good record, and what must be said of it
BAD: list[tuple[dict[str, Any], str]] = [
    ({"id": "No Good"}, "not area/words"),
    ({"id": "a/../../b"}, "not area/words"),
    ({"signature": " "}, "signature is empty"),
    ({"root_cause": ""}, "root_cause is empty"),
    ({"regex": "("}, "no pattern"),
    ({"regex": "(gadget+)+ lost"}, "very long"),
    ({"regex": "gadget.*lost.*its.*thread"}, "very long"),
    ({"regex": "gadget lost its thread|EOF"}, "without a literal word"),
    ({"regex": "gadget lost its thread|.*"}, "without a literal word"),
    ({"regex": "gadget lost its needle"}, "does not find 'the gadget lost its thread'"),
    ({"aliases": ["a needle went missing"]}, "does not find 'a needle went missing'"),
    ({"regex": "", "structure": {}}, "never found"),
    ({"confidence": 1.5}, "confidence is 1.5"),
    ({"fix_success_rate": -0.1}, "fix_success_rate is -0.1"),
    ({"evidence_count": -1}, "evidence_count"),
    ({"last_confirmed": "yesterday"}, "last_confirmed is 'yesterday'"),
    ({"last_confirmed": "2026-02-30"}, "last_confirmed"),
    ({"first_seen": "2026-12-01", "last_confirmed": "2026-11-01"}, "after it was last confirmed"),
    ({"dead_ends": []}, "no dead ends"),
    ({"workarounds": [], "workarounds_zh": []}, "no workarounds"),
    ({"workarounds_zh": ["打一个结。"]}, "workarounds_zh has 1 entries, workarounds 2"),
    ({"workarounds_zh": ["打一个结。", "Take another."]}, "workarounds_zh[1] is not in Chinese"),
    ({"signature_zh": ""}, "signature_zh is missing"),
    ({"root_cause_zh": "Somebody cut it."}, "root_cause_zh is not in Chinese"),
    ({"category": "weather"}, "category has 'weather'"),
    ({"root_cause_type": "moon"}, "root_cause_type has 'moon'"),
    ({"structure": {"fault_kinds": ["stalled", "broken"]}}, "has 'broken'"),
    ({"structure": {"phases": ["nap"]}}, "has 'nap'"),
    ({"structure": {"statuses": [42]}}, "has 42"),
    ({"structure": {"classes": ["httpx.ReadError"]}}, "bare name"),
    ({"os_specific": {"beos": {"notes": "x", "notes_zh": "不同"}}}, "has 'beos'"),
    ({"os_specific": {"linux": {}}}, "says nothing"),
    ({"sources": []}, "names no sources"),
    ({"official_doc_url": "see the docs"}, "no address"),
    (
        {"dead_ends": [{**GOOD["dead_ends"][0], "action": ""}]},
        "dead_ends[0].action is empty",
    ),
    (
        {"dead_ends": [{**GOOD["dead_ends"][0], "fail_rate": 7}]},
        "dead_ends[0].fail_rate is 7.0",
    ),
    (
        {"dead_ends": [{**GOOD["dead_ends"][0],
                        "measured": {"tries": 3, "worked": 4, "date": "2026-11-21"}}]},
        "says 4 of 3",
    ),
    (
        {"transition_graph": {"leads_to": [{"error_id": "a/b", "probability": 2}]}},
        "leads_to[0].probability is 2",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("change", "told"), BAD, ids=[told for _, told in BAD])
def test_what_is_wrong_is_told_with_a_remedy(change: dict[str, Any], told: str) -> None:
    problems = check_record(record(**change), file="a.json")
    found = [problem for problem in problems if told in problem.what or told in problem.remedy]
    assert found, [problem.what for problem in problems]
    assert found[0].file == "a.json"
    assert found[0].remedy
    assert not found[0].advice


def test_advice_is_no_refusal() -> None:
    ends = [{**GOOD["dead_ends"][0], "action": "Pull harder.", "condition": "it is thick"}]
    problems = check_record(record(dead_ends=ends))
    assert len(problems) == 2
    assert all(problem.advice for problem in problems)


# the text of a file, and what must be said of it
FILES = [
    ("{", "no JSON"),
    (json.dumps(GOOD).replace("{", '{"id": "a/b", ', 1), "twice"),
    (json.dumps({**GOOD, "colour": "red"}), "colour"),
    (json.dumps({**GOOD, "confidence": "high"}), "confidence: expected"),
    (json.dumps({"id": "a/b/c", "error": {"signature": "x"}}), "knowledge import"),
]


@pytest.mark.parametrize(("text", "told"), FILES, ids=[told for _, told in FILES])
def test_bad_files(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    (problem,), count = check_files([path])
    assert count == 0
    assert problem.file == str(path)
    assert told in str(problem)


def test_the_seeds_are_refused_for_their_dead_ends() -> None:
    problems, count = check_files([Path(__file__).with_name("seeds") / "000_72be87bf5920adc6.txt"])
    assert count == 1
    assert any("dead_ends[0].action is empty" in problem.what for problem in problems)


def test_no_such_place(tmp_path: Path) -> None:
    with pytest.raises(KnowledgeError):
        check_files([tmp_path / "none"])


def test_one_id_twice() -> None:
    told = check_together([("a.json", record("a/b")), ("b.json", record("a/b"))])
    assert [problem.what for problem in told] == ["the id is there twice; the other is in a.json"]


def test_edges_lead_somewhere() -> None:
    edges = [{"error_id": "a/thread"}, {"error_id": "a/one"}]
    one = record("a/one", transition_graph={"leads_to": edges})
    other = record("a/threads", signature="a needle broke", regex="needle broke")
    told = [str(problem) for problem in check_together([("1", one), ("2", other)])]
    assert len(told) == 2
    assert "take a/threads" in told[0]
    assert "leads to itself" in told[1]


def test_a_record_must_be_found_by_its_own_messages() -> None:
    one = record("a/one")
    greedy = record("a/two", regex="gadget|the gadget lost its thread", confidence=1.0)
    told = [str(problem) for problem in check_together([("1", one), ("2", greedy)])]
    assert any("a/one: 'the gadget lost its thread' finds a/two rather" in text for text in told)


def test_every_record_meets_the_published_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    made = schema()
    jsonschema.Draft202012Validator.check_schema(made)
    validator = jsonschema.Draft202012Validator(made)
    for path in DATA.rglob("*.json"):
        assert list(validator.iter_errors(json.loads(path.read_text("utf-8")))) == [], path
    for change in ({"confidence": 2}, {"id": "A b"}, {"colour": 1}, {"first_seen": "now"}):
        assert list(validator.iter_errors({**GOOD, **change})), change


def test_a_users_record_needs_no_chinese_dead_ends_and_sources() -> None:
    bare = record(
        dead_ends=[], sources=[], signature_zh="", root_cause_zh="", workarounds_zh=[],
        verification_tier="sourced",
    )  # fmt: skip
    assert [problem for problem in check_record(bare) if not problem.advice]
    advised = check_record(bare, own=False)
    assert len(advised) > 3
    assert all(problem.advice for problem in advised)
    assert [p for p in check_record(record(regex="("), own=False) if not p.advice]


def test_all_that_is_wrong_with_a_file_is_told_at_once(tmp_path: Path) -> None:
    bad = {
        **GOOD,
        "colour": "red",
        "confidence": "high",
        "regex": "(gadget+)+ lost its thread",
        "dead_ends": [{"action": "x", "why_fail": "y", "fail_rate": 3}, {"why_fails": 5}],
        "last_confirmed": "yesterday",
        "verification_tier": "sure",
    }
    bad.pop("root_cause_zh")
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(bad), "utf-8")
    problems, count = check_files([path])
    assert count == 0
    told = [problem.what for problem in problems if not problem.advice]
    for what in (
        "colour: there is no such field",
        "confidence: expected `float`, got `str`",
        "dead_ends[0].why_fail: there is no such field (is why_fails meant?)",
        "dead_ends[0].why_fails: it is missing",
        "dead_ends[1].action: it is missing",
        "dead_ends[1].why_fails: expected `str`, got `int`",
        "verification_tier: invalid enum value 'sure'",
        "last_confirmed is 'yesterday'",
        "very long",
    ):
        assert any(what in one for one in told), (what, told)
    assert all(problem.id == GOOD["id"] for problem in problems)
    assert not any("dead ends" in one for one in told), "they were only not read"


def test_what_cannot_be_a_record_at_all_is_told(tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text('[{"id": "a/b", "x": 1, "x": 2}, {"y": 3}, 7]')
    told = [problem.what for problem in check_files([path])[0]]
    assert any("x is there twice" in one for one in told)
    assert "y: there is no such field" in told
    assert told.count("signature: it is missing") == 2
    assert "the record: expected `object`, got `int`" in told
