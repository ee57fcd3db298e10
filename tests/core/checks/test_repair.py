"""What waits behind a gap, and when it may be read."""

from __future__ import annotations

from typing import Any

import pytest

from unbroken.core.checks.ordering import Gap
from unbroken.core.checks.repair import Repair
from unbroken.core.dialects.base import Lost, Mended, Note
from unbroken.core.faults import Fault
from unbroken.core.frames import Frame


def frame(name: str, size: int = 10) -> Frame:
    return Frame(name, b"", "", None, b"x" * size, 7)


def note(name: str, *, tells: bool = False, size: int = 10) -> Note:
    return Note(frame(name, size), tells)


class Mender:
    """Gives what it is told to; counts how often it is asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[Lost, list[str], bool]] = []

    def note(self, frame: Frame) -> Note:
        raise NotImplementedError

    def mend(self, lost: Lost, behind: Any, *, ended: bool) -> Any:
        shown = ["gap" if isinstance(each, Lost) else each.frame.event for each in behind]
        self.asked.append((lost, shown, ended))
        return self.answers.pop(0) if self.answers else None


def repair(**how: Any) -> tuple[Repair, list[Fault]]:
    faults: list[Fault] = []
    return Repair(max_held_bytes=how.pop("max_held_bytes", 1000), faults=faults), faults


def names(found: Any) -> list[str]:
    return [each.event for each in found]


def mended(*made: str) -> Mended:
    return Mended(frames=[frame(name) for name in made], source="a done", characters=3)


def test_a_gap_is_filled_and_what_waited_follows():
    held, faults = repair()
    assert not held.active
    held.lose(Gap(5, 7, 90))
    held.hold(note("7"))
    assert held.active
    mender = Mender(mended("ours"))
    assert names(held.ready(mender)) == ["ours", "7"]
    assert not held.active
    assert held.mended
    assert mender.asked == [(Lost(5, 2), ["7"], False)]
    (fault,) = faults
    assert (fault.kind, fault.severity, fault.at_byte) == ("missing-event", "warning", 90)
    assert fault.detail == (
        "expected number 5 but got 7: 2 numbers are absent;"
        " repaired from a done: 1 frames with 3 characters"
    )


def test_a_gap_that_held_nothing_is_no_repair():
    held, faults = repair()
    held.lose(Gap(5, 6))
    held.hold(note("6"))
    assert names(held.ready(Mender(Mended(frames=[])))) == ["6"]
    assert not held.mended
    assert faults[0].severity == "warning"
    assert "nothing of the answer is missing" in faults[0].detail


def test_what_cannot_be_told_is_fatal_and_says_why():
    held, faults = repair()
    held.lose(Gap(5, 6))
    held.hold(note("6"))
    assert names(held.ready(Mender("no reason"))) == ["6"], "for who reads on"
    assert faults[0].fatal
    assert faults[0].detail.endswith("; no reason")


def test_it_is_looked_at_only_when_something_came_that_may_tell():
    held, _ = repair()
    mender = Mender()
    held.lose(Gap(5, 6))
    for name in "abc":
        held.hold(note(name))
        assert names(held.ready(mender)) == []
    assert len(mender.asked) == 1, "the first one behind the gap, and no delta after it"
    held.hold(note("d", tells=True))
    assert names(held.ready(mender)) == []
    assert len(mender.asked) == 2
    assert names(held.ready(mender)) == []
    assert len(mender.asked) == 2


def test_gaps_are_filled_one_after_the_other():
    held, faults = repair()
    held.lose(Gap(1, 2))
    held.hold(note("2"))
    held.lose(Gap(3, 4))
    held.hold(note("4"))
    mender = Mender(mended("one"), None, mended("three"))
    assert names(held.ready(mender)) == ["one", "2"]
    assert mender.asked[0][1] == ["2", "gap", "4"]
    assert held.active
    held.hold(note("5", tells=True))
    assert names(held.ready(mender)) == ["three", "4", "5"]
    assert len(faults) == 2


@pytest.mark.parametrize("order", [(5, 6, 7), (7, 6, 5), (6, 5, 7), (6, 7, 5)])
def test_late_frames_take_their_places(order):
    held, faults = repair()
    mender = Mender()
    held.lose(Gap(5, 8))
    held.hold(note("8"))
    out = []
    for number in order:
        assert held.awaits(number)
        held.fill(number, note(str(number)))
        assert not held.awaits(number)
        out += names(held.ready(mender))
    assert out == ["5", "6", "7", "8"]
    assert [fault.kind.value for fault in faults] == ["out-of-order"] * 3
    assert not held.active


def test_what_is_held_is_bounded():
    held, faults = repair(max_held_bytes=25)
    mender = Mender()
    held.lose(Gap(5, 6))
    held.hold(note("6"))
    held.hold(note("7"))
    assert names(held.ready(mender)) == []
    held.hold(note("8"))
    assert names(held.ready(mender)) == ["6", "7", "8"]
    assert faults[0].fatal
    assert "30 bytes were held, and what they carried is not known yet" in faults[0].detail


def test_so_is_how_often_it_is_looked_at():
    held, faults = repair(max_held_bytes=1 << 30)
    mender = Mender()
    held.lose(Gap(5, 6))
    for _ in range(600):
        held.hold(note("x", tells=True))
        list(held.ready(mender))
    assert len(mender.asked) <= 257
    assert faults[0].fatal


def test_the_end_ends_the_wait():
    held, faults = repair()
    held.lose(Gap(5, 6))
    held.hold(note("6"))
    mender = Mender()
    assert names(held.ready(mender)) == []
    assert names(held.ready(mender, ended=True)) == ["6"]
    assert mender.asked[-1][2]
    assert faults[0].fatal


def test_a_fork_goes_its_own_way():
    held, faults = repair()
    held.lose(Gap(5, 6))
    held.hold(note("6"))
    others: list[Fault] = []
    fork = held.fork(faults=others)
    assert names(fork.ready(Mender(mended("ours")))) == ["ours", "6"]
    assert held.active
    assert (len(others), len(faults)) == (1, 0)
    held.forget()
    assert not held.active
    assert not held.awaits(5)


def test_nothing_is_written_from_bytes_that_are_no_text():
    held, faults = repair()
    held.lose(Gap(5, 7, 90))
    spoilt = Frame("7", b"", "", None, b"\xff", 7, undecodable_at=7)
    held.hold(Note(spoilt, True))
    assert names(held.ready(Mender(mended("ours")))) == ["7"]
    (told,) = faults
    assert told.fatal
    assert told.detail.endswith("; what repeats them holds bytes that are no UTF-8")
    assert not held.mended
