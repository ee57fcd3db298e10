"""Dialects that other packages bring: what is taken in, and what is left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from unbroken.core import dialects
from unbroken.core.dialects import (
    DIALECTS,
    by_name,
    load_with,
    recognise_frame,
    recognise_request,
    register,
)
from unbroken.core.dialects.base import Answer, Dialect, Place, PlainReader, RequestFacts
from unbroken.core.events import Event, Other
from unbroken.core.frames import Frame
from unbroken.core.received import Received
from unbroken.core.request import Request

ASKED = Request(method="POST", url="https://x.example/v9/say", body=b'{"model":"m"}')
FRAME = Frame("message", b'{"say":"hi"}', "", None, b"", 0)


class Reads(PlainReader):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def read(self, frame: Frame) -> list[Event]:
        self.seen.append(frame.data)
        return [Other("x")]


class Mine(Dialect):
    """As little as a dialect may say."""

    name = "mine"
    wire = "ndjson"

    def recognises_path(self, path: str) -> bool:
        return path.endswith("/say")

    def reader(self) -> Reads:
        return Reads()


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    known, loader, complaints = dict(DIALECTS), dialects._loader[:], dict(dialects._complaints)
    yield
    DIALECTS.clear()
    DIALECTS.update(known)
    dialects._loader[:] = loader
    dialects._complaints.clear()
    dialects._complaints.update(complaints)


def test_a_registered_dialect_is_found():
    register(mine := Mine())
    assert by_name("mine") is mine
    assert recognise_request(ASKED) is mine
    assert recognise_frame(FRAME) is None  # says of no frame that it is its own


def test_those_that_come_with_unbroken_are_asked_first():
    class Greedy(Mine):
        def recognises_path(self, path: str) -> bool:
            return True

        def recognises_frame(self, frame: Frame) -> bool:
            return True

    register(Greedy())
    chat = Request(method="POST", url="https://x.example/v1/chat/completions")
    assert recognise_request(chat) is DIALECTS["openai-chat"]
    first = Frame("message", b'{"object":"chat.completion.chunk"}', "", None, b"", 0)
    assert recognise_frame(first) is DIALECTS["openai-chat"]
    assert recognise_request(ASKED) is recognise_frame(FRAME) is DIALECTS["mine"]


def changed(**how: Any) -> Dialect:
    return type("Changed", (Mine,), how)()


@pytest.mark.parametrize(
    ("dialect", "error", "words"),
    [
        (Mine, TypeError, "an instance of Dialect"),
        (object(), TypeError, "not object"),
        (changed(name=""), ValueError, "no name"),
        (changed(name="openai-chat"), ValueError, "already"),
        (changed(wire="carrier-pigeon"), ValueError, "the wires are sse, ndjson"),
        (changed(reader=lambda self: object()), TypeError, "PlainReader"),
    ],
)
def test_what_does_not_keep_the_rules_is_refused(dialect, error, words):
    before = dict(DIALECTS)
    with pytest.raises(error, match=words):
        register(dialect)
    assert before == DIALECTS


@pytest.mark.parametrize("method", ["recognises_path", "asked_as", "recognises_frame"])
def test_a_dialect_that_raises_when_it_is_asked_is_asked_no_more(method):
    def fails(self: Dialect, asked: object) -> bool:
        raise RuntimeError("broken")

    told: list[tuple[str, str]] = []
    yes = {"recognises_path": lambda self, path: True}
    register(changed(**{**yes, method: fails}),
             on_failure=lambda name, bug: told.append((name, str(bug))))  # fmt: skip
    for _ in range(2):
        assert recognise_request(ASKED) is None or method == "recognises_frame"
        assert recognise_frame(FRAME) is None
    assert told == [("mine", "broken")]
    with pytest.raises(ValueError, match="no dialect is called 'mine'"):
        by_name("mine")


def test_our_own_bugs_are_not_hidden(monkeypatch):
    def fails(path: str) -> bool:
        raise RuntimeError("ours")

    monkeypatch.setattr(DIALECTS["openai-chat"], "recognises_path", fails)
    with pytest.raises(RuntimeError, match="ours"):
        recognise_request(ASKED)


def test_the_loader_is_called_before_any_look_up():
    calls: list[int] = []

    def load() -> None:
        calls.append(1)
        if "mine" not in DIALECTS:
            register(Mine())

    load_with(load)
    assert by_name("mine").name == "mine"
    assert recognise_request(ASKED) is DIALECTS["mine"]
    recognise_frame(FRAME)
    assert len(calls) == 3


def test_what_a_dialect_need_not_say():
    mine = Mine()
    assert (mine.last_marker, mine.splices, mine.number(FRAME)) == (None, False, None)
    assert mine.facts(ASKED) == RequestFacts(model="m")
    assert mine.facts(Request(method="POST", url="/", body=b'{"model":7}')) == RequestFacts()
    assert mine.prefill(ASKED, "x", {}) is None
    assert mine.user_turn(ASKED, "x", "y") is None
    assert mine.cursor(ASKED, Place()) == ""
    for cannot in (
        lambda: mine.splicer(Received(), rung="replay", facts=RequestFacts()),
        lambda: mine.encode(Answer()),
    ):
        with pytest.raises(NotImplementedError, match="mine"):
            cannot()
    assert DIALECTS["openai-chat"].splices


def test_a_plain_reader_copies_its_state():
    reader = Reads()
    reader.read(FRAME)
    copy = reader.fork()
    reader.read(FRAME)
    assert (len(copy.seen), len(reader.seen)) == (1, 2)
    assert reader.texts([b"x"], 0, None) is None
