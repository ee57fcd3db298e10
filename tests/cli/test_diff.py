"""`unbroken diff`: what it prints, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.debugger.recordings import PING, attempt, recording, whole

WORDS = [f"word{n} " for n in range(9)]


@pytest.fixture
def one(tmp_path: Path) -> Path:
    return recording(tmp_path / "one.jsonl", attempt([PING, *whole(*WORDS)]))


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    return recording(tmp_path / "cut.jsonl", attempt(whole(*WORDS)[:4]))


def test_equal_is_0_and_different_is_1(unbroken: Command, one: Path, cut: Path) -> None:
    same = unbroken("diff", one, one)
    assert same.code == 0
    assert same.text.startswith("equal: the same meaning, and the same end\n")
    other = unbroken("diff", one, cut)
    assert other.code == 1
    assert other.text.startswith("different\n")
    for told in (
        "first meaning that differs at character 24",
        "A: text in frame 4",
        "B: the end",
        "text: 24 of 54 and 24 characters in common from the start",
        "only in A: finish (stop), last marker ([DONE])",
        "bytes are lost between, and yet the end is clean",
        "1 keep-alive pings are taken out",
    ):
        assert told in other.text, told
    assert "word4" not in other.text


def test_text_is_shown_only_if_asked_for(unbroken: Command, one: Path, cut: Path) -> None:
    assert "A: text in frame 4 at byte" in unbroken("diff", one, cut).text
    assert ": 'word4 '" in unbroken("diff", one, cut, "--text").text


def test_json_is_one_object(unbroken: Command, one: Path, cut: Path) -> None:
    ran = unbroken("diff", one, cut, "--json")
    assert ran.code == 1
    found = json.loads(ran.out)
    assert found["equal"] is False
    assert found["attempts"][0]["meaning"]["at_character"] == 24
    assert ran.out.count(b"\n") == 1


def test_two_streams_of_one_file(unbroken: Command, tmp_path: Path) -> None:
    path = recording(tmp_path / "a.jsonl", attempt(whole("a")), attempt(whole("b"), stream=2))
    ran = unbroken("diff", path, "--stream-b", "2")
    assert ran.code == 1
    assert "different (streams 1 and 2)" in ran.text


def test_another_end_is_different(unbroken: Command, tmp_path: Path) -> None:
    reset, fin = (
        recording(tmp_path / f"{how}.jsonl", attempt(whole(*WORDS)[:4], how=how))
        for how in ("reset", "incomplete")
    )
    ran = unbroken("diff", reset, fin)
    assert (ran.code, ran.text.splitlines()[0]) == (1, "different")


def test_what_has_no_contents_is_not_called_the_same_meaning(
    unbroken: Command, tmp_path: Path
) -> None:
    a, b = (
        recording(tmp_path / f"{name}.jsonl", attempt(whole("xxxx")), contents="removed")
        for name in "ab"
    )
    ran = unbroken("diff", a, b)
    assert ran.code == 0
    first, second, *_ = ran.text.splitlines()
    assert first == "equal as far as a recording without contents can tell"
    assert "the contents of both recordings are removed: texts cannot be compared" in second
    assert "same meaning" not in ran.text


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["{one}"], "holds one stream: give a second recording"),
        (["{one}", "/no/such"], "cannot read /no/such: no such file or directory"),
        (["{one}", "{text}"], "is no recording"),
        (["{one}", "{one}", "--stream-a", "7"], "has no stream 7; it has 1"),
    ],
)
def test_bad_input_is_one_line(
    unbroken: Command, one: Path, tmp_path: Path, arguments: list[str], why: str
) -> None:
    text = tmp_path / "text"
    text.write_text("hello\n")
    ran = unbroken("diff", *(word.format(one=one, text=text) for word in arguments))
    assert ran.code == 2
    assert why in ran.error_line
