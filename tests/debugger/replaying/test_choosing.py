"""Which attempt answers a request."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.debugger.recordings import CHAT, attempt, recording
from unbroken.debugger.index import RecordingIndex
from unbroken.debugger.replaying.choosing import Chooser

OTHER = "/v1/messages"


@pytest.fixture
def index(tmp_path: Path) -> RecordingIndex:
    return RecordingIndex(
        recording(
            tmp_path / "a.jsonl",
            attempt([b"x"], stream=1, number=1, body=b"first"),
            attempt([b"x"], stream=1, number=2, body=b"first"),
            attempt([b"x"], stream=2, body=b"second"),
            attempt([b"x"], stream=3, path=OTHER, body=None),
        )
    )


def given_out(chooser: Chooser, *bodies: bytes, path: str = CHAT) -> list[str]:
    found = []
    for body in bodies:
        choice = chooser.choose("POST", path, body)
        again = "" if choice is None or not choice.again else "+"
        found.append(
            "-" if choice is None else f"{choice.entry.stream}.{choice.entry.number}{again}"
        )
    return found


def test_attempts_come_in_order_and_the_last_again(index: RecordingIndex) -> None:
    chooser = Chooser(index.streams.values())
    assert given_out(chooser, *[b"any"] * 5) == ["1.1", "1.2", "2.1", "2.1+", "2.1+"]


def test_a_body_that_was_recorded_gets_its_own_stream(index: RecordingIndex) -> None:
    chooser = Chooser(index.streams.values())
    assert given_out(chooser, b"second", b"first", b"second", b"first") == [
        "2.1", "1.1", "1.2", "1.2+",
    ]  # fmt: skip


def test_strict_gives_nothing_twice(index: RecordingIndex) -> None:
    chooser = Chooser(index.streams.values(), strict=True)
    assert given_out(chooser, b"a", b"b", path=OTHER) == ["3.1", "-"]


def test_other_paths_and_methods_get_nothing(index: RecordingIndex) -> None:
    chooser = Chooser(index.streams.values())
    assert chooser.choose("POST", "/v1/other", b"") is None
    assert chooser.choose("GET", CHAT, b"") is None
    assert chooser.routes == {("POST", CHAT): 3, ("POST", OTHER): 1}
