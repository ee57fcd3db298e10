"""What may be delivered now: lifecycle waits for content, calls until they are whole."""

from __future__ import annotations

import pytest

from unbroken.core.events import (
    Finish,
    Open,
    Other,
    Ping,
    Reasoning,
    Refusal,
    Start,
    Text,
    ToolCall,
    UsageReport,
)
from unbroken.core.recovery.delivery import Delivery, is_content
from unbroken.core.recovery.written import Piece


class Desk:
    """A `Delivery` in letters: each offered piece is one, what comes out is joined."""

    def __init__(self, *, lifecycle: bool = True, calls: bool = True, most: int = 100) -> None:
        self.delivery = Delivery(
            hold_lifecycle=lifecycle, hold_calls=calls, max_held_bytes=most, max_held_s=30.0
        )

    def offer(self, name: str, *events, now: float = 0.0, size: int = 1) -> str:
        piece = Piece(name.encode().ljust(size), None, list(events))
        return self.names(self.delivery.offer(piece, now))

    def names(self, pieces: list[Piece]) -> str:
        return "".join(piece.raw.decode().strip() for piece in pieces)


def call(index: int = 0, arguments: str = "", **more) -> ToolCall:
    return ToolCall(index, arguments, **more)


CONTENT = [
    (Text("a"), True), (Text(""), False), (Refusal("a"), True), (Refusal(""), False),
    (Reasoning("a"), True), (Reasoning("", sealed=True), False),
    (ToolCall(0), True), (ToolCall(0, kind="custom"), True), (ToolCall(0, kind="server"), False),
    (Other("image", content=True), True), (Other("x"), False), (Start(), False),
    (Open("text"), False), (Ping(), False), (UsageReport(1), False),
    (Finish("stop", "stop"), False),
]  # fmt: skip


@pytest.mark.parametrize(("event", "content"), CONTENT, ids=str)
def test_what_counts_as_content(event, content):
    assert is_content(event) == content


@pytest.mark.parametrize("event", [event for event, content in CONTENT if content], ids=str)
def test_lifecycle_waits_for_the_first_content_and_then_passes_in_order(event):
    desk = Desk(calls=False)
    assert (
        desk.offer("a", Start()) == desk.offer("b", Open("text")) == desk.offer("c", Ping()) == ""
    )
    assert desk.offer("d", Text("")) == desk.offer("e") == ""
    assert desk.offer("f", event) == "abcdef"
    assert desk.offer("g", Ping()) == "g"


def test_lifecycle_that_is_not_held_passes():
    desk = Desk(lifecycle=False)
    assert desk.offer("a", Start()) == "a"


def test_what_waits_is_forgotten_when_the_attempt_fails():
    desk = Desk()
    desk.offer("a", Start())
    desk.delivery.drop()
    assert desk.offer("b", Text("x")) == "b"


def test_call_waits_until_it_is_whole_with_all_that_is_behind_it():
    desk = Desk()
    assert desk.offer("a", Text("x")) == "a"
    assert desk.offer("b", call(id="1", name="f")) == ""
    assert desk.offer("c", call(arguments='{"a"')) == ""
    assert desk.offer("d", Ping()) == desk.offer("e", UsageReport(1)) == ""
    assert desk.offer("f", call(arguments=":1}", whole=True)) == "bcdef"
    assert not desk.delivery.open_call_delivered


def test_without_blocks_the_next_call_or_the_finish_ends_a_call():
    desk = Desk()
    desk.offer("a", call(0, id="1", name="f"))
    assert desk.offer("b", call(1, id="2", name="g")) == "a"
    assert desk.offer("c", Text("behind")) == ""
    assert desk.offer("d", Finish("tool_calls", "tool-calls")) == "bcd"


def test_with_blocks_calls_may_be_open_side_by_side():
    desk = Desk()
    desk.offer("a", call(0, block=0, name="f"))
    assert desk.offer("b", call(1, block=1, name="g")) == ""
    assert desk.offer("c", call(0, block=0, whole=True)) == ""
    assert desk.offer("d", call(1, block=1, whole=True)) == "abcd"


def test_calls_of_another_choice_are_not_ended():
    desk = Desk()
    desk.offer("a", call(0, choice=0, name="f"))
    assert desk.offer("b", call(0, choice=1, name="g")) == ""
    assert desk.offer("c", Finish("stop", "stop", choice=1)) == ""
    assert desk.offer("d", Finish("stop", "stop", choice=0)) == "abcd"


@pytest.mark.parametrize("kind", ["custom", "server"])
def test_input_of_other_tools_is_not_held(kind):
    desk = Desk(lifecycle=False)
    assert desk.offer("a", call(arguments="x", kind=kind)) == "a"


def test_calls_stream_where_that_was_asked_for():
    desk = Desk(calls=False)
    assert desk.offer("a", call(name="f")) == "a"
    assert desk.delivery.open_call_delivered
    assert desk.offer("b", call(arguments="1", whole=True)) == "b"
    assert not desk.delivery.open_call_delivered


@pytest.mark.seed("003-memory-limits")
def test_call_that_is_too_large_is_released_and_from_there_streams():
    desk = Desk(most=100)
    assert desk.offer("a", call(name="f"), size=60) == ""
    assert desk.offer("b", call(arguments="x"), size=60) == "ab"
    assert desk.delivery.open_call_delivered
    assert desk.offer("c", call(arguments="x")) == "c"
    assert desk.offer("d", call(whole=True)) == "d"
    assert not desk.delivery.open_call_delivered
    assert desk.offer("e", call(1, name="g")) == "", "the next call is held again"


def test_call_that_takes_too_long_is_released():
    desk = Desk()
    assert desk.delivery.next_timer() is None
    desk.offer("a", call(name="f"), now=10.0)
    desk.offer("b", call(arguments="x"), now=35.0)
    assert desk.delivery.next_timer() == 40.0
    assert desk.delivery.handle_timer(39.9) == []
    assert desk.names(desk.delivery.handle_timer(40.0)) == "ab"
    assert desk.delivery.open_call_delivered
    assert desk.delivery.next_timer() is None


def test_failed_attempt_leaves_nothing_of_a_held_call():
    desk = Desk()
    desk.offer("a", Text("x"))
    desk.offer("b", call(name="f"))
    desk.delivery.drop()
    assert not desk.delivery.open_call_delivered
    assert desk.names(desk.delivery.flush()) == ""
    assert desk.offer("c", Text("y")) == "c"


def test_half_a_surrogate_pair_waits_for_its_other_half():
    desk = Desk()
    assert desk.offer("a", Text("Go ")) == "a"
    assert desk.offer("b", Text("\ud83d")) == ""
    assert desk.offer("c", Ping()) == ""
    assert desk.offer("d", Text("\ude80")) == "bcd"


def test_half_a_surrogate_pair_is_dropped_with_its_attempt_and_flushed_at_a_proven_end():
    for end, left in (("drop", ""), ("flush", "ab")):
        desk = Desk()
        desk.offer("a", Text("Go \ud83d"))
        desk.offer("b", Finish("stop", "stop"))
        pieces = desk.delivery.flush() if end == "flush" else desk.delivery.drop() or []
        assert desk.names(pieces) == left


def test_all_that_waits_comes_out_at_a_proven_end():
    desk = Desk()
    desk.offer("a", Start())
    desk.offer("b", Finish("stop", "stop"))
    assert desk.names(desk.delivery.flush()) == "ab"


def test_idle_says_when_text_may_pass_without_a_look():
    desk = Desk()
    assert not desk.delivery.idle
    desk.offer("a", Text("x"))
    assert desk.delivery.idle
    desk.offer("b", call(name="f"))
    assert not desk.delivery.idle
