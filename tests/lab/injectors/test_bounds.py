"""Injectors hold and make no more than a server can bear."""

from __future__ import annotations

import random
import time

import pytest

from unbroken.lab.injectors.base import Scene, injector_for, run
from unbroken.lab.parts import Piece
from unbroken.lab.plan import parse_fault


def played(fault: str, pieces: list[Piece]) -> list[Piece]:
    scene = Scene(dialect="openai-chat", random=random.Random(0), healthy=None)
    injectors = [injector_for(parse_fault(one), scene) for one in fault.split("+")]
    return [part for part in run(iter(pieces), injectors) if isinstance(part, Piece)]


@pytest.mark.parametrize(("how", "byte"), [("bytes", b"x"), ("lines", b"\n")])
def test_split_cuts_a_large_frame_only_so_often(how: str, byte: bytes) -> None:
    whole = byte * 5_000_000
    begun = time.monotonic()
    parts = played(f"split.{how}+burst.all", [Piece(whole, "content", 0, 7, 0.5, True)])
    assert time.monotonic() - begun < 10  # each cut that copied the rest would take minutes
    assert len(parts) == 100_001
    assert b"".join(part.data for part in parts) == whole
    assert [part.at_byte for part in parts[:3]] == [7, 8, 9]
    assert [part.event for part in parts[-2:]] == [False, True]
    assert (parts[0].role, parts[-1].role) == ("other", "content")


def test_burst_holds_only_so_many_pieces() -> None:
    scene = Scene(dialect="openai-chat", random=random.Random(0), healthy=None)
    burst = injector_for(parse_fault("burst.all"), scene)
    taken = 0

    def pieces():
        nonlocal taken
        for number in range(300_000):
            taken += 1
            yield Piece(b"x", "other", number, number, 0.0, False)

    next(run(pieces(), [burst]))
    assert taken == 100_000
