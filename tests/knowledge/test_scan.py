"""Patterns are found where they are, in a text of any size, and nothing makes it long."""

from __future__ import annotations

import random
import time

import pytest

from unbroken.knowledge.patterns import compiled
from unbroken.knowledge.scan import Scanner

PATTERNS = [
    "peer closed connection",
    "connection (?:reset|refused)",
    r"\boverload(?:ed)?\b",
    "error code: (?:429|529)",
    "upstream prematurely",
    r"\[DONE\] is missing|missing terminator",
    "(?:ALB|ELB) .{0,9}60",  # no word that is long enough
    "",
    "quux.{0,40}blob",
]


def lines(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    words = ["peer", "closed", "connection", "reset", "error code", "429", "the", "overloaded"]
    words += ["quux", "blob", "missing"]
    return [" ".join(rng.choices(words, k=rng.randint(1, 9))) for _ in range(count)]


@pytest.mark.parametrize("seed", range(20))
def test_finds_what_each_pattern_finds(seed: int) -> None:
    text = "\n".join(lines(60, seed))
    found = {number for number, _ in Scanner(PATTERNS).find(text)}
    expected = {
        number
        for number, pattern in enumerate(PATTERNS)
        if pattern and any(compiled(pattern).search(line) for line in text.split("\n"))
    }
    assert found == expected


@pytest.mark.parametrize("place", [0, 7_777, 19_999])
def test_one_line_among_many_alike(place: int) -> None:
    many = [f"peer {n} has closed its connection in good health" for n in range(20_000)]
    many[place] = "the peer closed connection, and that was that"
    text = "\n".join(many)
    ((number, found),) = Scanner(PATTERNS).find(text)
    assert number == 0
    assert text[found.start() : found.end()] == "peer closed connection"


def test_a_match_in_a_line_without_end() -> None:
    text = f"{'x y ' * 50_000}upstream prematurely{' z' * 50_000}"
    assert [number for number, _ in Scanner(PATTERNS).find(text)] == [4]


@pytest.mark.parametrize(
    "text",
    [
        "peer connection closed " * 50_000,
        "peer connection closed\n" * 50_000,
        "q" * 1_000_000,
        "\n" * 1_000_000,
        " ".join(f"quux{n}" for n in range(100_000)),
        "\u5b57" * 300_000,
        "quux " * 200_000,
    ],
    ids=["one line", "same lines", "one word", "empty lines", "many words", "han", "nearly"],
)
def test_no_text_takes_long(text: str) -> None:
    scanner = Scanner([*PATTERNS, "stream.*truncated"])
    start = time.process_time()
    list(scanner.find(text, everywhere=True))
    assert time.process_time() - start < 2.0


@pytest.mark.parametrize("before", [16_370, 16_384, 32_760, 49_140])
def test_a_match_where_blocks_meet(before: int) -> None:
    text = f"{'x y ' * (before // 4)}{'z' * (before % 4)}upstream prematurely{' z' * 50_000}"
    assert [number for number, _ in Scanner(PATTERNS).find(text)] == [4]


def test_patterns_that_could_hang_are_left_out() -> None:
    scanner = Scanner(["(a+)+beta", "(", "good words"])
    assert [number for number, _ in scanner.problems] == [0, 1]
    assert [number for number, _ in scanner.find("some good words")] == [2]
