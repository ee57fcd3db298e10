"""The fewest items with which something is still so."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from unbroken.debugger.shrinking.ddmin import fewest


@given(st.integers(0, 60), st.sets(st.integers(0, 59), max_size=5))
def test_exactly_what_is_needed_is_left(count: int, needed: set[int]) -> None:
    needed = {item for item in needed if item < count}
    assert set(fewest(range(count), lambda some: needed <= set(some))) == needed


def test_order_is_kept_and_no_try_is_made_twice_in_vain() -> None:
    tried: list[tuple[int, ...]] = []

    def still(some: list[int]) -> bool:
        tried.append(tuple(some))
        assert some == sorted(some)
        return {3, 700} <= set(some)

    assert fewest(range(1000), still) == [3, 700]
    assert len(tried) < 60


def test_of_two_ways_one_is_left() -> None:
    assert len(fewest(range(8), lambda some: 1 in some or 6 in some)) == 1


def test_nothing_may_be_needed() -> None:
    assert fewest(range(9), lambda some: True) == []
    assert fewest([], lambda some: True) == []
    assert fewest([1], lambda some: 1 in some) == [1]
