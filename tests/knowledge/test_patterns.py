"""What patterns need, and what could take for ever."""

from __future__ import annotations

import re
import time

import pytest

from unbroken.knowledge.patterns import alternatives, compiled, needs, trouble

# pattern, and of each way in which it can match the words; * marks a part of a longer word
WORDS = [
    ("connection reset by peer", ["*connection *peer reset"]),
    (r"peer\s+closed", ["*closed *peer"]),
    (r"\bpeer closed\b", ["closed peer"]),
    ("connection (reset|refused) here", ["*connection *here refused", "*connection *here reset"]),
    ("error|erratic", ["*erratic", "*error"]),  # the parser takes out what they share
    ("[Cc]onnection: lost", ["*connection *lost"]),
    ("timed? out now", ["*time"]),  # an optional letter may join what is around it
    ("(?:upstream)+ gone", ["*gone *upstream"]),
    ("(?:upstream)* vanished", ["*vanished"]),
    ("overloaded_error", ["*error *overloaded"]),
    (r"\d+ frames?", ["*frame"]),
    ("abc|d", [""]),
    ("timeout(?=seconds)", ["*timeout"]),
    ("KeyError.*'content'", ["*keyerror content"]),
    ("\u0131ncomplete", ["*ncomplete"]),
]


@pytest.mark.parametrize(("pattern", "expected"), WORDS, ids=[pattern for pattern, _ in WORDS])
def test_words_that_a_match_holds(pattern: str, expected: list[str]) -> None:
    ways = [
        " ".join(sorted(word.text if word.whole else f"*{word.text}" for word in way.words))
        for way in needs(pattern)
    ]
    assert sorted(set(ways)) == sorted(expected)


def test_what_matches_holds_the_words() -> None:
    group = "|".join(f"first{letter}" for letter in "abcdefghijklmnop")
    pattern = f"({group}) .{{0,9}}(second|third|fourth|fifthly|sixthly) (seventh|eighth)"
    text = "firstg then sixthly eighth"
    assert compiled(pattern).search(text)
    ways = needs(pattern)  # too many to write out: one group is chosen, the others are asked too
    assert ways
    assert all(way.words for way in ways)
    held = [
        way
        for way in ways
        if all(word.text in text for word in way.words)
        and all(any(all(w.text in text for w in words) for words in part) for part in way.also)
    ]
    assert held


SAFE = [
    "a+b+", r"\w+\s+\w+x", ".*", "foo.{0,80}bar.{0,80}baz", r"(?:error|failed) \d+", "[^)]*\\)",
    r"\d+ms \w*", "stream.*truncated", "(?:ab)*c", "a*b", r"'[^']*' and '[^']*'",
]  # fmt: skip
SLOW = [
    "(a+)+", "(a*)*b", "(?:a+b?)*", ".*.*", ".*foo.*", r"\w*\d*x", r"(\w|_x)*c", "(a|a)+$",
    r"(\s*,?)*x", "foo.*bar.*baz", "(x+x+)+y", r"\s+.*", "(?:a{1,5000})*",
]  # fmt: skip


@pytest.mark.parametrize("pattern", SAFE)
def test_patterns_that_are_fast(pattern: str) -> None:
    assert trouble(pattern) is None
    start = time.process_time()
    for line in ("a" * 1600, "a b, " * 320, "foo bar " * 200, "x1 'a' " * 200):
        compiled(pattern).search(line)
    assert time.process_time() - start < 0.5


@pytest.mark.parametrize("pattern", SLOW)
def test_patterns_that_could_take_for_ever(pattern: str) -> None:
    assert trouble(pattern)


def test_what_is_no_pattern_raises() -> None:
    with pytest.raises(re.error):
        needs("(")
    with pytest.raises(re.error):
        trouble("*a")


@pytest.mark.parametrize(
    ("pattern", "parts"),
    [
        ("left|right", ["left", "right"]),
        ("a(b|c)d|e", ["a(b|c)d", "e"]),
        ("[|]x|y", ["[|]x", "y"]),
        ("[^]|]a|b", ["[^]|]a", "b"]),
        (r"x\|y|z", [r"x\|y", "z"]),
        (r"(a)\1|b", [r"(a)\1|b"]),
        ("(?i)a|b", ["(?i)a|b"]),
    ],
)
def test_alternatives_stand_alone(pattern: str, parts: list[str]) -> None:
    assert alternatives(pattern) == parts
