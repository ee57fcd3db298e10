"""``unbroken knowledge``: records seen, checked, imported and counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.knowledge.make import GOOD
from tests.knowledge.test_evidence import CUT, Evidence, outcome
from tests.knowledge.test_importing import CANON
from unbroken.knowledge.load import DATA


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.json").write_text(json.dumps(GOOD, ensure_ascii=False), "utf-8")
    return tmp_path


def test_the_packages_records_pass(unbroken: Command) -> None:
    ran = unbroken("knowledge", "check")
    assert ran.code == 0, ran.text
    assert "all are good" in ran.text


def test_bad_records_are_refused_with_file_and_remedy(unbroken: Command, folder: Path) -> None:
    bad = {**GOOD, "id": "sdk/bad", "regex": "(gadget+)+ lost its thread"}
    path = folder / "bad.json"
    path.write_text(json.dumps(bad, ensure_ascii=False), "utf-8")
    ran = unbroken("knowledge", "check", folder)
    assert ran.code == 1
    assert ran.error == ""
    first = ran.text.splitlines()[0]
    assert first.startswith("refused")
    assert str(path) in first
    assert "very long" in first
    assert ".{0,80}" in first
    told = json.loads(unbroken("knowledge", "check", "--json", folder).out)
    assert told["records"] == 2
    assert told["problems"][0]["file"] == str(path)


def test_a_good_file_of_ones_own_passes(unbroken: Command, folder: Path) -> None:
    assert unbroken("knowledge", "check", folder / "good.json").code == 0


def test_list_and_show(unbroken: Command, folder: Path) -> None:
    env = {"UNBROKEN_KNOWLEDGE": str(folder)}
    listed = unbroken("knowledge", "list", "--area", "sdk", env=env).text.splitlines()
    assert any(line.startswith("sdk/made-up ") for line in listed)
    assert all(line.startswith("sdk/") for line in listed)
    shown = unbroken("knowledge", "show", "sdk/made-up", env=env)
    assert shown.code == 0
    assert "Somebody cut it." in shown.text
    assert "小工具" in unbroken("knowledge", "show", "sdk/made-up", "--lang", "zh", env=env).text
    raw = json.loads(unbroken("knowledge", "show", "sdk/made-up", "--json", env=env).out)
    assert {name: raw[name] for name in ("regex", "signature_zh")} == {
        "regex": GOOD["regex"],
        "signature_zh": GOOD["signature_zh"],
    }
    heads = json.loads(unbroken("knowledge", "list", "--json", env=env).out)["records"]
    assert {"id", "signature", "tags"} <= set(heads[0])


def test_the_areas_are_named(unbroken: Command, folder: Path) -> None:
    env = {"UNBROKEN_KNOWLEDGE": str(folder)}
    (folder / "own.json").write_text(json.dumps({**GOOD, "id": "ours/x"}), "utf-8")
    ran = unbroken("knowledge", "list", "--area", "nope", env=env)
    assert ran.code == 2
    areas = sorted({*(path.name for path in DATA.iterdir() if path.is_dir()), "ours"})
    assert f"there is no area nope; the areas are {', '.join(areas)}" in ran.error_line
    shown = " ".join(unbroken("knowledge", "list", "--help").text.split())
    for area in areas:
        assert area == "ours" or area in shown.partition("--area")[2]
    assert unbroken("knowledge", "list", "--area", "ours", env=env).code == 0


def test_what_was_left_out_is_told(unbroken: Command, folder: Path) -> None:
    (folder / "bad.json").write_text("{")
    ran = unbroken("knowledge", "list", env={"UNBROKEN_KNOWLEDGE": str(folder)})
    assert ran.code == 0
    assert "left out" in ran.error
    assert "bad.json" in ran.error


def test_a_record_that_is_not_there_has_neighbours(unbroken: Command) -> None:
    ran = unbroken("knowledge", "show", "llm/stream-stalld")
    assert ran.code == 2
    assert "near: llm/stream-stalled" in ran.error_line


def test_schema_is_json(unbroken: Command) -> None:
    made = json.loads(unbroken("knowledge", "schema").out)
    assert made["additionalProperties"] is False
    assert "dead_ends" in made["properties"]


def test_import_says_what_it_drops(unbroken: Command, tmp_path: Path) -> None:
    source = tmp_path / "canon.json"
    source.write_text(json.dumps(CANON))
    out = tmp_path / "out"
    ran = unbroken("knowledge", "import", source, "--into", out)
    assert ran.code == 0
    assert "metadata.page_views (12)" in ran.error
    (path,) = out.rglob("*.json")
    assert str(path) in ran.text
    assert json.loads(path.read_text("utf-8"))["root_cause"] == "Two clocks are mixed up."
    again = unbroken("knowledge", "import", source, "--into", out)
    assert again.code == 2
    assert "there already" in again.error_line
    env = {"UNBROKEN_KNOWLEDGE": str(out)}
    found = unbroken("explain", "GadgetTimeout: the gadget did not answer", env=env)
    assert "api/gadget-timeout-gadget-api-2.x" in found.text


def test_stats_and_export(unbroken: Command, tmp_path: Path) -> None:
    path = tmp_path / "evidence.db"
    Evidence(path).outcome(outcome(("first", CUT), ("prefill", None)))
    env = {"UNBROKEN_EVIDENCE": str(path)}
    ran = unbroken("knowledge", "stats", env=env)
    assert ran.code == 0
    assert "1 of 1 healed" in ran.text
    assert "by prefill" in ran.text
    to = tmp_path / "export.json"
    assert unbroken("knowledge", "export", to, env=env).code == 0
    exported = json.loads(to.read_text())
    assert exported["version"] == 1
    assert exported["counts"][0]["healed"] == 1
    assert json.loads(unbroken("knowledge", "export", "-", "--store", path).out) == exported
    assert json.loads(unbroken("knowledge", "stats", "--json", env=env).out) == exported


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["check", "/no/such/file"], "no such file"),
        (["import", "/no/such/file"], "/no/such/file"),
        (["stats"], "UNBROKEN_EVIDENCE"),
        (["stats", "--store", "/no/such/file"], "no such file"),
        (["stats", "--store", __file__], "no store of evidence"),
        (["export", "/no/such/folder/x", "--store", "STORE"], "cannot write"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_one_line_and_2(
    arguments: list[str], told: str, unbroken: Command, tmp_path: Path
) -> None:
    store = tmp_path / "evidence.db"
    Evidence(store).outcome(outcome(("first", CUT)))
    ran = unbroken("knowledge", *(str(store) if a == "STORE" else a for a in arguments))
    assert ran.code == 2
    assert told in ran.error_line
