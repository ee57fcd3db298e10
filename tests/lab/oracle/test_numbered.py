"""Numbered answers."""

from __future__ import annotations

import re
import unicodedata

import pytest

from unbroken.lab.oracle import Numbered
from unbroken.lab.oracle.numbered import LETTERS, word


def test_words_are_of_the_letters_and_repeat_by_seed_variant_and_number() -> None:
    assert [word(n) for n in range(50)] == [word(n) for n in range(50)]
    assert word(1) != word(1, seed=1) != word(1, variant=1)
    words = [word(n) for n in range(2000)]
    assert all(re.fullmatch(f"[{LETTERS}]+", w) for w in words)
    assert all(unicodedata.is_normalized("NFC", w) for w in words)
    assert {max(len(c.encode()) for c in w) for w in words} == {1, 2, 4}


def test_only_the_last_token_has_a_full_stop() -> None:
    answer = Numbered(tokens=20)
    assert answer.text == " ".join(answer)
    assert answer.text.endswith("19.")
    assert answer.text.count(".") == 1
    with pytest.raises(ValueError, match="at least 1"):
        Numbered(tokens=0)


def test_no_token_is_the_beginning_of_its_neighbours() -> None:
    for seed in range(20):
        tokens = list(Numbered(tokens=200, seed=seed))
        assert len(set(tokens)) == 200
