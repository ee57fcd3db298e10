"""The oracle on tool arguments: numbered text inside JSON."""

from __future__ import annotations

import json

import pytest

from unbroken.lab.oracle import Numbered, examine_arguments

ANSWER = Numbered(tokens=40, seed=1)
SHAPES = {
    "one string": {"text": ANSWER.text},
    "a list": {"words": list(ANSWER), "count": 40},
    "nested": {"a": {"b": [ANSWER.text[:50]]}, "c": None, "d": True, "rest": ANSWER.text[50:]},
}


def test_whole_arguments() -> None:
    for ascii_only in (True, False):
        for shape in ("one string",):
            arguments = json.dumps(SHAPES[shape], ensure_ascii=ascii_only)
            for expected in (ANSWER, None):
                report = examine_arguments(arguments, expected)
                assert report.whole, report
                assert report.whole_object is True


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("shape", ["one string"])
def test_every_cut_is_truncated(ascii_only: bool, shape: str) -> None:
    arguments = json.dumps(SHAPES[shape], ensure_ascii=ascii_only)
    for end in range(len(arguments)):
        report = examine_arguments(arguments[:end], ANSWER)
        assert report.verdict == ("truncated" if end else "empty"), (arguments[:end], report)
        assert report.whole_object is False
        assert report.laundered


def test_a_text_that_is_whole_in_an_object_that_is_not() -> None:
    arguments = json.dumps(SHAPES["one string"])
    assert examine_arguments(arguments[:-1], ANSWER).verdict == "truncated"
    assert examine_arguments(arguments[:-2], ANSWER).verdict == "truncated"
    assert examine_arguments(arguments + "}", ANSWER).verdict == "corrupted"
    assert examine_arguments("sorry " + arguments, ANSWER).verdict == "corrupted"
    assert "not one whole JSON object" in examine_arguments(arguments + "}", ANSWER).describe()


def test_arguments_that_came_twice() -> None:
    report = examine_arguments(json.dumps(SHAPES["one string"]) * 2, ANSWER)
    assert report.verdict == "corrupted"
    assert len(report.repeated) == 40
    assert report.whole_object is False


def test_arguments_that_lost_something_in_the_middle() -> None:
    arguments = json.dumps({"text": " ".join(t for n, t in enumerate(ANSWER) if n != 7)})
    report = examine_arguments(arguments, ANSWER)
    assert (report.lost, report.whole_object) == ((7,), True)


def test_an_object_without_the_answer() -> None:
    assert examine_arguments("{}", ANSWER).verdict == "corrupted"
    assert examine_arguments("", ANSWER).verdict == "empty"
    assert examine_arguments("", ANSWER).whole_object is False
    assert examine_arguments(ANSWER.text, ANSWER).whole_object is False


@pytest.mark.parametrize(
    "arguments",
    [
        json.dumps(SHAPES["a list"]),
        json.dumps(SHAPES["nested"]),
        json.dumps({"content": ANSWER.text}),
        json.dumps({"text": list(ANSWER)}),
        json.dumps({"text": ANSWER.text, "n": 1}),
        json.dumps({"text": ANSWER.text})[:-1] + ', "no',
        json.dumps({"text": ANSWER.text})[:-1] + ', "text": ""}',
        json.dumps({"text": ANSWER.text, "n": float("nan")}),
        json.dumps({"text": ANSWER.text.replace(" ", "\n")}).replace("\\n", "\n"),
    ],
)
def test_what_the_object_should_not_have_is_invented(arguments: str) -> None:
    for expected in (ANSWER, None):
        report = examine_arguments(arguments, expected)
        assert report.verdict == "corrupted", report
        assert report.invented, report


@pytest.mark.parametrize("odd", ["NaN", "Infinity", "9" * 5000, "[" * 200_000])
def test_what_is_not_json_by_the_letter_is_no_whole_object(odd: str) -> None:
    assert examine_arguments(odd, ANSWER).whole_object is False
    report = examine_arguments(json.dumps({"text": ANSWER.text})[:-1] + f', "n": {odd}}}', ANSWER)
    assert (report.verdict, report.whole_object) == ("corrupted", False)


def test_another_key_may_be_the_right_one() -> None:
    arguments = json.dumps({"content": ANSWER.text})
    assert examine_arguments(arguments, ANSWER, key="content").whole
