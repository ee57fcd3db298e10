"""The oracle: texts that were damaged in known ways, and what it says of them."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbroken.lab.oracle import Numbered, examine

ANSWER = Numbered(tokens=60, seed=3)
TOKENS = list(ANSWER)
counts = st.integers(4, 80)


def without(*numbers: int) -> str:
    return " ".join(t for n, t in enumerate(TOKENS) if n not in numbers)


@given(st.builds(Numbered, tokens=counts, seed=st.integers(0, 255), variant=st.integers(0, 31)))
@settings(max_examples=60, deadline=None)
def test_a_whole_answer_is_whole_known_or_not(answer: Numbered) -> None:
    for expected in (answer, None, Numbered(tokens=answer.tokens, seed=answer.seed)):
        report = examine(answer.text, expected)
        assert report.verdict == "whole", report
        assert report.got == report.tokens == answer.tokens
        assert not report.laundered
        assert report.first_break is None
    assert (report.seed, report.variant) == (answer.seed, answer.variant)


def test_white_space_may_change() -> None:
    for text in (f"\n  {ANSWER.text}\t\n", ANSWER.text.replace(" ", "\n"), "  ".join(TOKENS)):
        assert examine(text, ANSWER).whole
    assert examine(ANSWER.text.replace("é", "e\u0301"), ANSWER).whole


def test_every_cut_is_truncated_and_never_whole() -> None:
    for expected in (ANSWER, None):  # an answer that nobody named must be recognised first
        for end in range(1 if expected else len(TOKENS[0]) + 1, len(ANSWER.text)):
            report = examine(ANSWER.text[:end], expected)
            assert report.verdict == "truncated", (end, report)
            assert report.laundered
            begun = ANSWER.text[:end].split(" ")
            last_whole = begun[-1] == TOKENS[len(begun) - 1]
            if expected is not None or len(begun) < len(TOKENS):
                got = len([t for t in begun if t]) - (bool(begun[-1]) and not last_whole)
                assert report.got == got, (end, report)


def test_a_cut_through_a_letter_is_a_cut() -> None:
    raw = ANSWER.text.encode()
    for end in range(1, 300):
        text = raw[:end].decode(errors="replace")
        assert examine(text, ANSWER, ended_well=False).verdict == "truncated"


def test_nothing_is_empty_and_laundered_only_if_taken_for_a_success() -> None:
    assert examine("", ANSWER).verdict == examine(" \n", ANSWER).verdict == "empty"
    assert examine("", ANSWER).laundered
    assert examine("", ANSWER).missing == 60
    assert not examine("", ANSWER, ended_well=False).laundered
    assert not examine(ANSWER.text[:50], ANSWER, ended_well=False).laundered


@given(st.sets(st.integers(0, 58), min_size=1, max_size=30))
@settings(deadline=None)
def test_lost_tokens(numbers: set[int]) -> None:
    report = examine(without(*numbers), ANSWER)
    assert report.verdict == "corrupted"
    assert report.lost == tuple(sorted(numbers))
    assert report.got == 60 - len(numbers)
    assert not any((report.repeated, report.reordered, report.invented, report.missing))
    assert report.first_break == min(numbers)
    assert not report.laundered


@given(st.lists(st.integers(0, 59), min_size=1, max_size=20), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_repeated_tokens(numbers: list[int], chance: random.Random) -> None:
    tokens = list(TOKENS)
    for number in numbers:
        tokens.insert(chance.randint(0, len(tokens)), TOKENS[number])
    report = examine(" ".join(tokens), ANSWER)
    assert report.repeated == tuple(sorted(numbers))
    assert not any((report.lost, report.reordered, report.invented))
    assert report.got == 60


@given(st.integers(0, 59), st.integers(1, 10), st.integers(0, 59))
@settings(deadline=None)
def test_a_block_that_was_moved(start: int, length: int, to: int) -> None:
    block, rest = TOKENS[start : start + length], TOKENS[:start] + TOKENS[start + length :]
    to = min(to, len(rest))
    report = examine(" ".join(rest[:to] + block + rest[to:]), ANSWER)
    fewest = min(len(block), abs(to - start))
    assert len(report.reordered) == fewest
    assert report.whole == (fewest == 0)
    assert not any((report.lost, report.repeated, report.invented))


@given(
    lost=st.sets(st.integers(0, 40)),
    repeated=st.lists(st.integers(41, 49), max_size=5),
    invented=st.lists(
        st.sampled_from(["Sorry,", "bada17", "17", "…", "{}", "miloka0"]), max_size=5
    ),
    end=st.integers(50, 60),
    chance=st.randoms(use_true_random=False),
)
@settings(deadline=None)
def test_several_things_at_once(
    lost: set[int], repeated: list[int], invented: list[str], end: int, chance: random.Random
) -> None:
    tokens = [t for n, t in enumerate(TOKENS[:end]) if n not in lost]
    for number in repeated:
        tokens.insert(chance.randrange(len(tokens)), TOKENS[number])
    for piece in invented:
        tokens.insert(chance.randrange(len(tokens)), piece)
    report = examine(" ".join(tokens), ANSWER)
    assert report.lost == tuple(sorted(lost))
    assert report.repeated == tuple(sorted(repeated))
    assert sorted(f.text for f in report.invented) == sorted(invented)
    assert not report.reordered
    assert report.missing == 60 - end
    assert report.laundered == (end < 60)
    assert report.ended == (end == 60)


def test_a_token_that_was_glued_from_two_is_none() -> None:
    text = ANSWER.text.replace(f"{TOKENS[17]} {TOKENS[18]}", TOKENS[17][:4] + TOKENS[18][4:])
    report = examine(text, ANSWER)
    assert report.lost == (17, 18)
    assert [f.text for f in report.invented] == [TOKENS[17][:4] + TOKENS[18][4:]]


def test_a_repeated_piece_of_a_token_is_seen() -> None:
    for piece in (TOKENS[17][3:], TOKENS[17][-1], "7"):
        text = ANSWER.text.replace(TOKENS[17], TOKENS[17] + piece)
        report = examine(text, ANSWER)
        assert report.verdict == "corrupted"
        assert not report.lost
        assert [f.text for f in report.invented] == [piece]


def test_lost_spaces_are_seen() -> None:
    report = examine("".join(TOKENS), ANSWER)
    assert (report.verdict, report.glued, report.got) == ("corrupted", 59, 60)
    assert examine("".join(TOKENS)).glued == 59


@pytest.mark.parametrize("known", [True, False])
def test_a_mixture_of_two_answers(known: bool) -> None:
    other = list(Numbered(tokens=60, seed=3, variant=5))
    report = examine(" ".join(TOKENS[:40] + other[40:]), ANSWER if known else None)
    assert report.verdict == "corrupted"
    assert [f.number for f in report.invented if f.why == "mixed"] == list(range(40, 60))
    assert {f.variant for f in report.invented if f.why == "mixed"} == {5}
    assert not report.lost
    assert "tokens 40-59 from another answer (variant 5)" in report.describe()


def test_another_variant_alone_is_whole_unless_asked() -> None:
    other = Numbered(tokens=60, seed=3, variant=9)
    assert examine(other.text, ANSWER).whole
    assert examine(other.text, ANSWER).variant == 9
    assert examine(other.text, ANSWER, variants=False).verdict == "corrupted"


def test_an_answer_given_twice() -> None:
    report = examine(ANSWER.text + ANSWER.text, ANSWER)
    assert len(report.repeated) == 60
    assert report.glued == 1
    assert not any((report.lost, report.reordered, report.invented))


def test_more_than_the_answer() -> None:
    longer = Numbered(tokens=70, seed=3)
    report = examine(" ".join([*TOKENS, *list(longer)[60:]]), ANSWER)
    assert report.verdict == "corrupted"
    assert len(report.invented) == 10
    early_end = " ".join([TOKENS[0] + ".", *TOKENS[1:]])
    for expected in (ANSWER, None):
        assert [f.text for f in examine(early_end, expected).invented] == ["."]


def test_foreign_text_only() -> None:
    report = examine("I am sorry, but I cannot help with that.", ANSWER)
    assert (report.verdict, report.got, report.laundered) == ("corrupted", 0, True)
    assert examine("I am sorry").verdict == "corrupted"


def test_the_line_says_numbers() -> None:
    numbered = Numbered(tokens=200)
    tokens = [t for n, t in enumerate(numbered) if not 17 <= n <= 20]
    tokens.insert(60, numbered.token(41))
    assert examine(" ".join(tokens), numbered).describe() == (
        "corrupted: tokens 17-20 lost, token 41 repeated"
    )
    assert examine(numbered.text, numbered).describe() == "whole: 200 tokens, each once, in order"
    cut = " ".join(numbered.token(n) for n in range(36)) + " ba"
    cut = examine(numbered.text[: len(" ".join(list(numbered)[:36])) + 3], numbered).describe()
    assert cut == ("truncated: ends inside a token after 36 of 200 tokens; taken for a success")
    assert examine("", numbered, ended_well=False).describe() == "empty"


LARGE = 90_000


@pytest.mark.parametrize(
    "text",
    [
        Numbered(tokens=LARGE).text,
        " ".join(reversed(list(Numbered(tokens=LARGE)))),
        "".join(list(Numbered(tokens=LARGE))),
        "a" * 1_000_000,
        "1" * 1_000_000,
        "a1" * 500_000,
        "badada1" * 150_000,
        "foreign " * 125_000,
        "." * 1_000_000,
        "a" * 500_000 + "1" * 500_000,
    ],
    ids=lambda text: f"{text[:4]}-{text[-4:]}",
)
@pytest.mark.parametrize("known", [True, False])
def test_a_megabyte_takes_seconds_at_most(text: str, known: bool) -> None:
    before = time.process_time()
    report = examine(text, Numbered(tokens=LARGE) if known else None)
    assert time.process_time() - before < 10
    assert report.describe()
    assert len(report.describe()) < 500


@pytest.mark.parametrize(
    "text",
    [
        ANSWER.text.translate({ord("0") + n: 0x0660 + n for n in range(10)}),  # Arabic digits
        ANSWER.text.translate({ord("0") + n: 0xFF10 + n for n in range(10)}),  # fullwidth
        ANSWER.text.replace(" ", "\x1f"),
        ANSWER.text.replace(" ", "\u2028"),
    ],
)
def test_other_digits_and_other_separators_are_not_the_answer(text: str) -> None:
    for expected in (ANSWER, None):
        assert examine(text, expected).verdict == "corrupted"


def test_more_variants_are_looked_at_where_a_caller_knows() -> None:
    text = Numbered(tokens=60, seed=3, variant=40).text
    assert not examine(text, ANSWER).whole
    report = examine(text, ANSWER, variants=64)
    assert (report.verdict, report.variant) == ("whole", 40)


def test_findings_are_bounded_and_counted() -> None:
    junk = "lorem bakida555 " * 10_000
    report = examine(ANSWER.text[:-1] + ". " + junk + TOKENS[7], ANSWER)
    assert len(report.invented) == 5000
    assert len(report.invented) + report.invented_more == 20_000
    assert (report.repeated, report.got, report.ended) == ((7,), 60, True)
    assert "20,000 pieces of text invented" in report.describe()
