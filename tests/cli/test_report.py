"""`unbroken report`: text, JSON, the page, and input of every bad kind."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.debugger.recordings import attempt, delta, recording, whole

BROKEN = [*[delta("word ")] * 5]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return recording(
        tmp_path / "run.jsonl", attempt(whole("a", "b")), attempt(BROKEN, stream=2, at_s=1.0)
    )


def test_summary_and_timeline(unbroken: Command, file: Path) -> None:
    ran = unbroken("report", file)
    assert ran.code == 0
    assert ran.error == ""
    lines = ran.text.splitlines()
    assert lines[0].startswith("run.jsonl, 2 streams")
    assert "✓ complete" in lines[1]
    assert "✗ failed" in lines[2]
    assert "a middlebox on the way" in ran.text
    assert "truncated-between-events" in ran.text
    assert "--stream N shows one stream (1 more)" in ran.text
    assert max(map(len, lines)) <= 100


def test_a_healthy_stream_takes_few_lines(unbroken: Command, file: Path) -> None:
    ran = unbroken("report", file, "--stream", "1")
    assert ran.code == 0
    assert len(ran.text.splitlines()) < 25
    assert "no fault: the answer is whole" in ran.text


def test_json_is_one_line(unbroken: Command, file: Path) -> None:
    ran = unbroken("report", file, "--json")
    assert ran.code == 0
    assert ran.out.count(b"\n") == 1
    known = json.loads(ran.out)
    assert (known["format"], known["version"], known["total"]) == ("unbroken-report", 1, 2)
    assert [row["status"] for row in known["listed"]] == ["complete", "failed"]
    assert known["streams"][1]["verdict"]["where"] == "middlebox"


def test_the_page_is_one_file(unbroken: Command, file: Path, tmp_path: Path) -> None:
    pytest.importorskip("plotly", reason="plotly is not installed")
    page = tmp_path / "run.html"
    ran = unbroken("report", file, "--html", page)
    assert ran.code == 0
    assert ran.out == b""
    assert str(page) in ran.error_line
    assert page.read_text("utf-8").startswith("<!doctype html>")


def test_without_plotly_only_the_page_fails(unbroken: Command, file: Path, tmp_path: Path) -> None:
    hook = tmp_path / "sitecustomize.py"
    hook.write_text(
        "import importlib.util as u\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'plotly' else find(name, *a)\n"
    )
    env = {"PYTHONPATH": str(tmp_path)}
    ran = unbroken("report", file, "--html", tmp_path / "o.html", env=env)
    assert ran.code == 2
    assert 'pip install "unbroken[report]"' in ran.error_line
    assert unbroken("report", file, env=env).code == 0


def test_from_standard_input(unbroken: Command, file: Path) -> None:
    ran = unbroken("report", "-", stdin=file.read_bytes())
    assert ran.code == 0
    assert ran.text.startswith("standard input, 2 streams")


def test_previews_only_if_asked_for(unbroken: Command, file: Path) -> None:
    assert "word " not in unbroken("report", file, "--full").text.replace("word 1", "")
    assert '"content": "word' in unbroken("report", file, "--previews", "--stream", "2").text


def test_options_from_the_environment(unbroken: Command, file: Path) -> None:
    ran = unbroken("report", file, env={"UNBROKEN_REPORT_STREAM": "1", "UNBROKEN_JSON": "1"})
    assert [s["number"] for s in json.loads(ran.out)["streams"]] == [1]


def test_a_torn_file_is_told(unbroken: Command, file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-7])
    ran = unbroken("report", file)
    assert ran.code == 0
    assert "torn off" in ran.text


BAD = [
    (["none.jsonl"], "cannot read none.jsonl: no such file or directory"),
    (["{folder}"], "cannot read"),
    (["{png}"], "is no recording"),
    (["{file}", "--dialect", "morse"], "no dialect is called"),
    (["{file}", "--stream", "9"], "has no stream 9"),
    (["{file}", "--stream", "0"], "see: unbroken report --help"),
    (["{file}", "--html", "{folder}/no/such/o.html"], "cannot write"),
    ([], "see: unbroken report --help"),
]


@pytest.mark.parametrize(("words", "said"), BAD, ids=[said for _, said in BAD])
def test_bad_input_is_one_line(
    unbroken: Command, file: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    png = tmp_path / "x.png"
    png.write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00")
    known = {"file": str(file), "folder": str(tmp_path), "png": str(png)}
    ran = unbroken("report", *[word.format(**known) for word in words])
    assert ran.code == 2
    assert said in ran.error_line
    assert ran.out == b""


def test_nothing_optional_is_loaded(unbroken: Command) -> None:
    import subprocess

    code = (
        "import sys, unbroken.debugger; unbroken.debugger.report; "
        "print([m for m in ('plotly', 'aiohttp', 'mcp') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
