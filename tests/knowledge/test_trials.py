"""The trials measure what they say: a cure cures, a dead end fails, a lie is found out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai", reason="needs the openai SDK")
pytest.importorskip("anthropic", reason="needs the anthropic SDK")

from trials import records
from trials.__main__ import main
from trials.dialects import dialect_of
from trials.play import Bench, Played, scene_of, short_waits
from trials.ways import WAYS, counts
from unbroken.knowledge.load import DATA
from unbroken.knowledge.record import DeadEnd, Workaround


@pytest.fixture(scope="module")
def bench() -> Any:
    with short_waits(), Bench(times=1, deadline_s=3.0) as bench:
        yield bench


def record_of(scenario: str, *ways: str, **more: Any) -> dict[str, Any]:
    cures = [{"action": "do", "success_rate": 1.0, "trial": way} for way in ways]
    return {"id": "llm/x", "scenario": scenario, "dead_ends": [], "workarounds": cures, **more}


def play(bench: Bench, scenario: str, way: str, **more: Any) -> Played:
    scene = scene_of(record_of(scenario, way, **more))
    assert scene is not None
    return bench.play(scene, way)


ANTHROPIC = {"structure": {"providers": ["anthropic"]}}
NUMBERED = "buffer-by-number"  # is asked of Responses, whose events have numbers


@pytest.mark.parametrize(
    ("scenario", "way", "ended"),
    [
        ("lab/cut@0.5", "raise-timeout", "silent"),
        ("lab/cut@0.5", "check-finish-noticed", "told"),
        ("lab/cut@0.5", "retry-whole", "right"),
        ("lab/cut@0.5", "retry-whole-blind", "silent"),
        ("lab/cut@0.5", "unbroken", "right"),
        ("lab/cut@0.5", "unbroken-raise-noticed", "told"),
        ("lab/cut@0.5", "unbroken-observe", "silent"),
        ("lab/cut.rst@0.5", "catch-and-go-on", "silent"),
        ("lab/cut.rst@0.5", "retry-print", "silent"),
        ("lab/cut.rst@0.5", "retry-sdk", "told"),
        ("lab/cut.rst@0.5", "other-model", "right"),
        ("lab/missing.terminal", "check-done-noticed", "told"),
        ("lab/missing.terminal", "check-finish-noticed", "right"),
        ("lab/corrupt-json@0.5", "skip-bad-event", "silent"),
        ("lab/ok", "skip-bad-event", "right"),
        ("lab/ok", "check-done-noticed", "right"),
        ("lab/ok", "guard-content", "told"),
        ("lab/ok", "guard-choices", "right"),
        ("lab/ok", "iter-text", "right"),
        ("lab/ok", "no-streaming", "right"),
        ("lab/ok", "http-keepalive-client", "right"),
        ("lab/stall@12t", "idle-timeout-noticed", "told"),
        ("lab/stall.comment@12t", "progress-timeout-noticed", "told"),
        ("lab/reorder@30t", NUMBERED, "right"),
        ("lab/tool-cut@12t;say=tool", "parse-at-end-noticed", "told"),
        ("lab/tool-cut@12t;say=tool", "repair-json", "silent"),
        ("lab/ok;tokens=200", "more-tokens", "right"),
    ],
)
def test_a_way_ends_as_it_must(bench: Bench, scenario: str, way: str, ended: str) -> None:
    assert play(bench, scenario, way).ended == [ended]


@pytest.mark.parametrize(
    ("scenario", "way", "ended"),
    [
        ("lab/http.503*3", "retry-at-once", "told"),
        ("lab/http.503*3", "backoff", "right"),
        ("lab/http.503*3", "retry-sdk", "right"),
        ("lab/http.504*", "backoff", "told"),
    ],
)
def test_trouble_passes_with_time_or_not_at_all(
    bench: Bench, scenario: str, way: str, ended: str
) -> None:
    assert play(bench, scenario, way).ended == [ended]


def test_what_hangs_is_ended_and_counted() -> None:
    with Bench(times=2, deadline_s=1.5) as bench:
        played = play(bench, "lab/stall.comment@12t", "raise-timeout")
        assert played.ended == ["hung", "hung"]
        assert (played.tries, played.worked) == (2, 0)
        assert play(bench, "lab/ok", "retry-whole").ended == ["right", "right"]


def test_anthropic_is_asked_in_its_own_words(bench: Bench) -> None:
    record = record_of("lab/error.overloaded@8t", "retry-whole", **ANTHROPIC)
    assert dialect_of(record).name == "anthropic-messages"
    assert play(bench, "lab/error.overloaded@8t", "retry-whole", **ANTHROPIC).ended == ["right"]
    assert play(bench, "lab/error.overloaded@8t", "retry-sdk", **ANTHROPIC).ended == ["told"]


def test_to_notice_counts_where_the_name_says_so() -> None:
    assert counts("check-finish-noticed", "told")
    assert not counts("retry-whole", "told")
    assert not counts("check-finish-noticed", "silent")


RECORD = "llm/truncated-response-in-streaming-mode"


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A folder with one record, whose claims are those of an optimist."""
    record = json.loads((DATA / f"{RECORD}.json").read_text("utf-8"))
    record["verification_tier"], record["last_confirmed"] = "ai_generated", "2024-06-01"
    wait = {"action": "wait", "why_fails": "it ends", "fail_rate": 0.0, "trial": "raise-timeout"}
    again = {"action": "ask again", "success_rate": 0.9, "tradeoff": "è", "trial": "retry-whole"}
    record["dead_ends"], record["workarounds"] = [wait], [again]
    path = tmp_path / f"{RECORD}.json"
    path.parent.mkdir()
    records.write(path, record)
    return tmp_path


def test_what_was_measured_is_written_beside_what_is_claimed(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied / f"{RECORD}.json"
    command = ["--data", str(copied), "--times", "2", "--date", "2026-11-21"]
    assert main(command) == 0
    assert "claimed 1.00, measured 0.00" in capsys.readouterr().out
    before = path.read_text("utf-8")
    assert main([*command, "--write"]) == 0
    once = path.read_text("utf-8")
    record = json.loads(once)
    (dead_end,), (workaround,) = record["dead_ends"], record["workarounds"]
    assert dead_end["fail_rate"] == 0.0
    assert dead_end["measured"]["tries"] == 2
    assert dead_end["measured"]["worked"] == 0
    assert workaround["measured"]["worked"] == 2
    assert workaround["measured"]["date"] == "2026-11-21"
    assert [v.split()[0] for v in workaround["measured"]["with_versions"]] == ["openai"]
    assert record["verification_tier"] == "reproduced"
    assert record["last_confirmed"] == "2026-11-21"
    for entry, form in ((dead_end, DeadEnd), (workaround, Workaround)):
        assert list(entry) == [name for name in form.__struct_fields__ if name in entry]
    assert "è" in once
    assert once.endswith("}\n")
    for entry in (dead_end, workaround):
        del entry["measured"]
    record |= {"verification_tier": "ai_generated", "last_confirmed": "2024-06-01"}
    assert records.read(path) != record
    assert json.loads(before) == record, "something else was changed"
    main([*command, "--write"])
    assert path.read_text("utf-8") == once, "the same run writes the same"


def test_a_record_is_seen_only_where_it_happens(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied / f"{RECORD}.json"
    record = records.read(path)
    record["scenario"] = "lab/ok"
    records.write(path, record)
    main(["--data", str(copied), "--times", "1", "--write", "--json"])
    (told,) = json.loads(capsys.readouterr().out)["records"]
    assert told["seen_by"] == ""
    assert records.read(path)["verification_tier"] == "ai_generated"


def test_a_trial_that_is_not_there_is_told(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied / f"{RECORD}.json"
    record = records.read(path)
    record["dead_ends"][0]["trial"] = "pray"
    records.write(path, record)
    assert main(["--data", str(copied), "--times", "1"]) == 1
    assert "there is no trial pray" in capsys.readouterr().out


def test_every_trial_and_scenario_of_the_records_can_be_played() -> None:
    for path in records.files():
        record = records.read(path)
        ways = {x.get("trial") or "" for x in (*record["dead_ends"], *record["workarounds"])}
        assert ways - set(WAYS) <= {""}, path
        assert scene_of(record) or ways == {""}, f"{path} names trials and no scenario"


def test_the_records_are_written_as_they_stand() -> None:
    for path in records.files():
        text = path.read_text("utf-8")
        assert json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n" == text, path
