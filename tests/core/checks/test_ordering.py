"""Order, by the dialect's own numbers: put right, dropped, or said to be missing."""

from __future__ import annotations

import random

import pytest

from unbroken.core.checks.ordering import Ordering


def run(numbers, *, window=64, end=True):
    """Return the numbers in the order they come out, and the faults."""
    ordering: Ordering[int] = Ordering(window=window)
    out = []
    for at, number in enumerate(numbers):
        out += ordering.accept(number, number, frame=at, at_byte=at * 10)
    if end:
        out += ordering.flush(at_byte=999)
    return out, [fault.kind.value for fault in ordering.faults]


CASES = {
    # name: (numbers that come, numbers that come out, faults)
    "in order": ([0, 1, 2, 3], [0, 1, 2, 3], []),
    "from any number": ([41, 42, 43], [41, 42, 43], []),
    "two swapped": ([0, 2, 1, 3], [0, 1, 2, 3], ["out-of-order"]),
    "one late": ([0, 2, 3, 4, 1, 5], [0, 1, 2, 3, 4, 5], ["out-of-order"]),
    "backwards": ([0, 3, 2, 1], [0, 1, 2, 3], ["out-of-order"]),
    "swapped twice": ([0, 2, 1, 4, 3], [0, 1, 2, 3, 4], ["out-of-order"] * 2),
    "two gaps at once": ([0, 2, 4, 1, 3], [0, 1, 2, 3, 4], ["out-of-order"]),
    "one twice": ([0, 1, 1, 2], [0, 1, 2], ["duplicate-event"]),
    "an old one again": ([0, 1, 2, 0], [0, 1, 2], ["duplicate-event"]),
    "one twice while held": ([0, 2, 2, 1], [0, 1, 2], ["duplicate-event", "out-of-order"]),
    "one missing": ([0, 2, 3], [0, 2, 3], ["missing-event"]),
    "late, and another missing": ([0, 2, 4, 1], [0, 1, 2, 4], ["out-of-order", "missing-event"]),
    "none": ([], [], []),
}


@pytest.mark.parametrize("name", CASES)
def test_numbers(name):
    numbers, out, faults = CASES[name]
    assert run(numbers) == (out, faults)


@pytest.mark.seed("000-order-cause")
def test_what_is_missing_is_counted_and_placed():
    ordering: Ordering[str] = Ordering()
    ordering.accept(0, "a", frame=0, at_byte=0)
    assert ordering.accept(4, "e", frame=1, at_byte=50) == []
    assert ordering.waiting
    assert ordering.accept(6, "g", frame=2, at_byte=90) == []
    assert ordering.flush(at_byte=120) == ["e", "g"]
    assert not ordering.waiting
    (fault,) = ordering.faults
    assert fault.detail == "4 numbered events are absent between 1 and 6"
    assert (fault.severity, fault.at_byte, fault.retryable) == ("fatal", 120, True)
    assert ordering.accept(7, "h", frame=3, at_byte=150) == ["h"]


def test_notes_are_no_fatal_faults():
    ordering: Ordering[int] = Ordering()
    for number in (0, 2, 1, 1):
        ordering.accept(number, number, frame=0, at_byte=0)
    assert [(fault.kind.value, fault.severity) for fault in ordering.faults] == [
        ("out-of-order", "note"),
        ("duplicate-event", "note"),
    ]


@pytest.mark.seed("003-memory-limits")
def test_no_more_than_the_window_is_held():
    out, faults = run([0, *range(2, 70)], end=False)
    assert faults == ["missing-event"]
    assert out == [0, *range(2, 70)]
    assert run([0, 2, 3, 4], window=2, end=False) == ([0, 2, 3, 4], ["missing-event"])
    assert run([0, 2, 3], window=2, end=False) == ([0], [])


@pytest.mark.seed("000-order-cause")
@pytest.mark.parametrize("seed", range(50))
def test_any_shuffle_within_the_window_is_put_right(seed):
    chance = random.Random(seed)
    numbers = list(range(200))
    for at in range(0, 200, 20):
        part = numbers[at + 1 : at + 20]
        chance.shuffle(part)
        numbers[at + 1 : at + 20] = part
    repeated = [n for n in numbers for _ in range(chance.choice((1, 1, 1, 2)))]
    out, faults = run(repeated)
    assert out == list(range(200))
    assert "missing-event" not in faults
    assert faults.count("duplicate-event") == len(repeated) - 200


def test_in_turn():
    ordering: Ordering[int] = Ordering()
    assert ordering.in_turn(5)
    ordering.accept(5, 5, frame=0, at_byte=0)
    assert [ordering.in_turn(number) for number in (5, 6, 7)] == [False, True, False]


def test_fork_goes_its_own_way():
    ordering: Ordering[int] = Ordering()
    ordering.accept(0, 0, frame=0, at_byte=0)
    ordering.accept(2, 2, frame=0, at_byte=0)
    fork = ordering.fork()
    assert fork.accept(1, 1, frame=0, at_byte=0) == [1, 2]
    assert ordering.waiting
    assert not fork.waiting
    assert ordering.faults == []
