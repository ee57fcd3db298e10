"""Order, by the dialect's own numbers: put right, dropped, or said to be missing."""

from __future__ import annotations

import random

import pytest

from unbroken.core.checks.ordering import Gap, Ordering


def run(numbers, *, window=64, end=True, **how):
    """Return the numbers in the order they come out, and what was found, gaps last."""
    ordering: Ordering[int] = Ordering(window=window, **how)
    out = []
    for at, number in enumerate(numbers):
        out += ordering.accept(number, number, frame=at, at_byte=at * 10)
    if end:
        out += ordering.flush(at_byte=999)
    gaps = ["missing-event" for each in out if isinstance(each, Gap)]
    numbers = [each for each in out if not isinstance(each, Gap)]
    return numbers, [fault.kind.value for fault in ordering.faults] + gaps


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
    assert ordering.held == ["e", "g"]
    assert ordering.flush(at_byte=120) == [Gap(1, 4, 120), "e", Gap(5, 6, 120), "g"]
    assert not ordering.waiting
    assert ordering.faults == []
    assert Gap(1, 4).detail == "expected number 1 but got 4: 3 numbers are absent"
    assert Gap(5, 6).detail == "expected number 5 but got 6: 1 number is absent"
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


def test_a_full_window_gives_up_the_first_gap_alone():
    ordering: Ordering[int] = Ordering(window=3)
    for number in (0, 2, 3, 5):
        ordering.accept(number, number, frame=0, at_byte=0)
    assert ordering.accept(7, 7, at_byte=70) == [Gap(1, 2, 70), 2, 3]
    assert ordering.accept(4, 4) == [4, 5]
    assert ordering.waiting


def test_what_is_held_is_bounded_by_its_size_too():
    ordering: Ordering[int] = Ordering(max_size=100)
    ordering.accept(0, 0, size=500)
    assert ordering.accept(2, 2, size=60) == []
    assert ordering.accept(3, 3, size=60) == [Gap(1, 2), 2, 3]
    assert ordering.accept(5, 5, size=60) == []


def test_an_absent_number_is_given_up_when_its_time_is_over():
    ordering: Ordering[int] = Ordering(wait_s=5.0)
    ordering.accept(0, 0, now=1.0)
    assert ordering.next_timer() is None
    ordering.accept(3, 3, now=2.0)
    ordering.accept(5, 5, now=4.0)
    ordering.accept(2, 2, now=5.0)
    assert ordering.next_timer() == 7.0
    assert ordering.handle_timer(6.99) == []
    assert ordering.handle_timer(7.0, at_byte=9) == [Gap(1, 2, 9), 2, 3]
    assert ordering.next_timer() == 9.0, "the second gap began to wait later"
    assert ordering.handle_timer(8.0) == []
    assert ordering.accept(4, 4, now=8.5) == [4, 5]
    assert ordering.next_timer() is None


def test_the_first_number_may_be_given():
    assert run([1, 0, 2], start=0) == ([0, 1, 2], ["out-of-order"])
    assert run([1, 2], start=0) == ([1, 2], ["missing-event"])
    assert run([5, 6], start=None) == ([5, 6], [])


def test_another_numbering_begins_where_it_is_said_so():
    ordering: Ordering[int] = Ordering()
    for number in (0, 1, 3):
        ordering.accept(number, number)
    ordering.restart()
    assert not ordering.waiting
    assert ordering.accept(0, 0) == [0]
    ordering.go_on_after(7)
    assert ordering.accept(8, 8) == [8]


def test_no_more_faults_are_kept_than_anybody_reads():
    ordering: Ordering[int] = Ordering()
    for _ in range(1000):
        ordering.accept(0, 0)
    assert len(ordering.take_faults()) == 256
    assert ordering.faults == []


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
