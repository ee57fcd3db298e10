"""When parts are due: paces add up by the clock, silences are as long as they say."""

from __future__ import annotations

from unbroken.lab.parts import Pause, Piece
from unbroken.lab.server.physics import Pacer


def piece(pace_s: float) -> Piece:
    return Piece(b"x", pace_s=pace_s)


def test_paces_add_up_whenever_they_are_asked_for() -> None:
    pacer = Pacer(100.0)
    late = [100.0, 100.3, 100.9, 101.0]  # when each piece before was really sent
    assert [pacer.due_of(piece(0.25), now) for now in late] == [100.25, 100.5, 100.75, 101.0]


def test_a_silence_begins_when_the_part_before_it_was_sent() -> None:
    pacer = Pacer(0.0)
    pacer.due_of(piece(1.0), 0.0)
    assert pacer.due_of(Pause(3.0), 5.0) == 8.0  # the piece due at 1 went out at 5
    assert pacer.due_of(piece(0.5), 8.0) == 8.5


def test_a_drip_is_a_pace() -> None:
    pacer = Pacer(0.0)
    pacer.due_of(piece(1.0), 0.0)
    assert pacer.due_of(Pause(3.0, drip=True), 5.0) == 4.0


def test_a_silence_that_is_early_begins_when_its_part_was_due() -> None:
    pacer = Pacer(0.0)
    pacer.due_of(piece(2.0), 0.0)
    assert pacer.due_of(Pause(1.0), 2.0) == 3.0


def test_a_pause_without_end_is_never_due() -> None:
    assert Pacer(0.0).due_of(Pause(None), 0.0) is None
