"""A text that came in pieces is known again by its length and checksum."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from unbroken.core.checksum import added, from_units, to_units

ANY = st.text(st.characters(exclude_categories=()))
WHOLE = st.text(st.characters(exclude_categories=("Cs",)))


@given(ANY, ANY)
def test_pieces_add_up_to_the_whole(one, other):
    assert added(added(None, one), other) == added(None, one + other)


@given(WHOLE)
def test_units_are_those_of_utf_16_and_give_the_text_back(text):
    units = to_units(text)
    assert len(units) == len(text.encode("utf-16-le")) // 2
    assert from_units(units) == text
    assert added(None, units) == added(None, text)
    for at in range(len(units) + 1):
        assert added(added(None, units[:at]), units[at:]) == added(None, text)


def test_nothing_is_nothing():
    assert added(None, "") == (0, 0)
    assert added(None, "a") != added(None, "b")
    assert added(None, "\N{ROCKET}")[0] == 2
