"""Graphemes and words: where text may be cut, and how much of it makes an anchor."""

from __future__ import annotations

import pytest

from unbroken.core.recovery.words import (
    anchor_start,
    grapheme_count,
    is_grapheme_boundary,
    unique_anchor_start,
)

ONE = {
    "combining accent": "e\u0301",
    "two combining marks": "o\u0302\u0323",
    "family": "👨‍👩‍👧‍👦",
    "skin tone": "👍🏽",
    "flag": "🇩🇪",
    "heart with selector": "❤️",
    "keycap": "1️⃣",
    "cut surrogate pair": "\ud83d\ude80",
    "Hangul syllable in parts": "\u1112\u1161\u11ab",
    "Devanagari with vowel": "की",
    "CRLF": "\r\n",
    "flag of tags": "🏴󠁧󠁢󠁥󠁮󠁧󠁿",
}


@pytest.mark.parametrize("name", ONE)
def test_what_a_reader_sees_as_one_is_never_cut(name):
    text = f"a{ONE[name]}b"
    inside = range(2, len(text) - 1)
    assert not any(is_grapheme_boundary(text, at) for at in inside)
    assert is_grapheme_boundary(text, 1)
    assert is_grapheme_boundary(text, len(text) - 1)
    assert grapheme_count(text) == 3


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("abc", 3),
        ("日本語", 3),
        ("🇩🇪🇫🇷", 2),
        ("🇩🇪🇫", 2),
        ("a\u0301b\u0301", 2),
        ("한국", 2),
    ],
)
def test_graphemes_are_counted_as_a_reader_does(text, count):
    assert grapheme_count(text) == count


ANCHORS = [
    # text, letters, anchor
    ("The sea is salt", 8, "sea is salt"),
    ("The sea is salty", 8, "sea is salty"),
    ("one sufficiently", 8, "sufficiently"),
    ("one sufficiently ", 8, "sufficiently "),
    ("end of it. ", 8, None),
    ("the end of it. ", 8, "the end of it. "),
    ("short", 8, None),
    ("", 8, None),
    ("........", 8, None),
    ("because rivers", 8, "because rivers"),
    ("snake_case_name", 8, "snake_case_name"),
    ("don't stop now", 8, "t stop now"),
    ("海水很咸", 8, "海水很咸"),
    ("为什么海水很咸", 8, "海水很咸"),
    ("カタカナ", 8, "カタカナ"),
    ("Größe zählt", 8, "Größe zählt"),
    ("42 is 1234567890", 8, "1234567890"),
    ("naïve cafe\u0301s", 8, "naïve cafe\u0301s"),
    ("go 🚀🚀 straight on", 8, "straight on"),
]


@pytest.mark.parametrize(("text", "letters", "anchor"), ANCHORS)
def test_anchor_is_the_fewest_last_words_with_enough_letters(text, letters, anchor):
    at = anchor_start(text, letters=letters)
    assert (None if at is None else text[at:]) == anchor


def test_twice_the_letters_make_a_longer_anchor():
    text = "rivers carry minerals from the rocks"
    eight, sixteen = anchor_start(text, letters=8), anchor_start(text, letters=16)
    assert text[eight:] == "the rocks"
    assert text[sixteen:] == "minerals from the rocks"


@pytest.mark.parametrize("unit", ["x", "7", "e\u0301"])
def test_run_without_words_is_cut_between_graphemes(unit):
    text = unit * 500
    at = anchor_start(text, letters=8)
    assert at is not None
    assert is_grapheme_boundary(text, at)
    assert 8 <= grapheme_count(text[at:]) <= 100


@pytest.mark.parametrize("name", ONE)
def test_anchor_never_begins_inside_a_grapheme(name):
    text = f"{ONE[name]}{ONE[name]} and {ONE[name]}then{ONE[name]} more {ONE[name]}"
    for end in range(1, len(text) + 1):
        at = anchor_start(text[:end], letters=4)
        assert at is None or is_grapheme_boundary(text, at)


UNIQUE = [
    # text, anchor of eight letters or more that stands nowhere else
    ("The sea is salt because", "salt because"),
    ("one is done, two is done", "two is done"),
    ("Row one is done.\nRow one is done.\n", "is done.\nRow one is done.\n"),
    ("| --- | 1000000000 |\n| --- | 2000000000 |", "2000000000 |"),
    ("tick tock tick tock tick tock", "tock tick tock tick tock"),
    ("ha " * 200, None),
    ("short", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "anchor"), UNIQUE)
def test_anchor_grows_until_it_tells_its_place(text, anchor):
    at = unique_anchor_start(text, letters=8)
    assert (None if at is None else text[at:]) == anchor
    assert at is None or text.find(text[at:]) == at
