"""A later attempt's frames: nothing before the proof, nothing twice, one valid stream."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.scripted import CALLING, SPLICED, ask, frames
from unbroken.core.attempt import Attempt
from unbroken.core.dialects import by_name
from unbroken.core.dialects.base import AnswerCall
from unbroken.core.events import End, Finish, Reasoning, Start, Text, ToolCall
from unbroken.core.received import Received
from unbroken.core.recovery.seam import AnchorMatch, Matcher, NoMatch, ReplayMatch
from unbroken.core.recovery.situation import Plan
from unbroken.core.recovery.splice import Splice

SAID = "The sea is salt because rivers"
REST = " carry minerals."
ADD = AnswerCall(name="add", arguments=('{"a":', "1}"), id="c1")
MUL = AnswerCall(name="mul", arguments=('{"b":', "2}"), id="c2")


class Spliced:
    """What was delivered, and what a later attempt adds to it."""

    def __init__(
        self, delivered: list[bytes], later: list[bytes], matcher: Matcher, *, rung: Any = "replay",
        dialect: str = "openai-chat",
    ) -> None:  # fmt: skip
        speaks = by_name(dialect)
        self.received = Received()
        for step in Attempt(speaks).receive(b"".join(delivered)):
            self.received.add(step.frame, step.events)
        request = ask(dialect)
        plan = Plan(rung=rung, request=request, matcher=matcher, guarantee="prefix-verified")
        self.splice = Splice(speaks, plan, self.received, facts=speaks.facts(request))
        self.events: list[Any] = []
        self.out: list[bytes] = []
        attempt = Attempt(speaks)
        for raw in later:
            for step in attempt.receive(raw):
                for piece in self.splice.accept(step.frame, step.events):
                    self.out.append(piece.raw)
                    self.events += piece.events
                    self.received.add(piece.frame, piece.events)

    def all(self, kind: type) -> list[Any]:
        return [event for event in self.events if type(event) is kind]

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.all(Text))


def begun(text: str = SAID, *, dialect: str = "openai-chat", calls: tuple = ()) -> list[bytes]:
    """Return the frames of an answer that broke off after its content."""
    whole = frames(text, dialect=dialect, calls=calls, finish="tool-calls" if calls else "stop")
    attempt, kept = Attempt(by_name(dialect)), []
    for raw in whole:
        for step in attempt.receive(raw):
            if any(type(event) in (Finish, End) for event in step.events):
                return kept
        kept.append(raw)
    raise AssertionError("no finish")


each_dialect = pytest.mark.parametrize("dialect", SPLICED)
with_calls = pytest.mark.parametrize("dialect", [n for n in SPLICED if n in CALLING])


@each_dialect
def test_replay_gives_only_what_is_new(dialect):
    later = frames(SAID + REST, dialect=dialect, size=7)
    spliced = Spliced(begun(dialect=dialect), later, ReplayMatch(SAID), dialect=dialect)
    assert spliced.splice.diverged is None
    assert spliced.text == REST
    assert spliced.received.text == SAID + REST
    assert spliced.all(Start) == []
    assert len(spliced.all(Finish)) == 1


@each_dialect
def test_joined_body_is_one_valid_stream_of_its_dialect(dialect):
    for rung, matcher, later in (
        ("replay", ReplayMatch(SAID), SAID + REST),
        ("prefill", AnchorMatch(sent="The sea is salt ", anchor="because rivers"),
         "because rivers" + REST),
        ("user-turn", AnchorMatch(sent="The sea is salt ", anchor="because rivers"),
         SAID + REST),
    ):  # fmt: skip
        first = begun(dialect=dialect)
        spliced = Spliced(
            first, frames(later, dialect=dialect, size=9, id="answer-2"), matcher, rung=rung,
            dialect=dialect,
        )  # fmt: skip
        joined, received = Attempt(by_name(dialect)), Received()
        for step in joined.receive(b"".join([*first, *spliced.out])):
            received.add(step.frame, step.events)
        joined.close("eof")
        assert joined.faults == [], rung
        assert received.text == SAID + REST, rung
        assert joined.completeness.finished


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_nothing_comes_out_before_the_proof(size):
    later = frames(SAID + REST, size=size)
    spliced = Spliced(begun(), later[: len(SAID) // size], ReplayMatch(SAID))
    assert spliced.out == []
    assert not spliced.splice.proven


DIVERGED = {
    "other text": (frames("The sea is blue."), ReplayMatch(SAID), "not the continuation"),
    "too short": (frames("The sea is salt"), ReplayMatch(SAID), "ended before"),
    "no text": (frames(""), ReplayMatch(SAID), "ended before"),
    "a paraphrase": (
        frames("since rivers bring them"), AnchorMatch(sent="x ", anchor="because rivers"),
        "not the continuation",
    ),
    "a tool call too early": (
        frames(calls=(ADD,), finish="tool-calls"), ReplayMatch(SAID), "called a tool",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DIVERGED)
def test_attempt_that_does_not_continue_the_answer_gives_nothing(name):
    later, matcher, why = DIVERGED[name]
    spliced = Spliced(begun(), later, matcher)
    assert why in (spliced.splice.diverged or "")
    assert spliced.out == []
    assert spliced.splice.accept(*_step(frames("more")[1])) == []


def _step(raw: bytes):
    (step,) = Attempt(by_name("openai-chat")).receive(raw)
    return step.frame, step.events


@each_dialect
def test_reasoning_of_a_later_attempt_never_goes_on_the_wire(dialect):
    later = frames(SAID + REST, dialect=dialect, reasoning=("Other ", "thoughts."))
    spliced = Spliced(begun(dialect=dialect), later, ReplayMatch(SAID), dialect=dialect)
    assert spliced.text == REST
    assert spliced.all(Reasoning) == []
    assert spliced.received.reasoning == ""


def test_turn_that_is_issued_again_after_reasoning_keeps_the_first_reasoning():
    first = frames(reasoning=("I see. ",))[:2]
    later = frames("Salt.", reasoning=("Let me think again. ",))
    spliced = Spliced(first, later, NoMatch(), rung="retry")
    assert spliced.received.reasoning == "I see. "
    assert spliced.received.text == "Salt."


CALLS = {
    # name: (delivered calls, calls of the later attempt, calls that are new or None)
    "the same": ((ADD,), (ADD,), []),
    "one more": ((ADD,), (ADD, MUL), ["mul"]),
    "another name": ((ADD,), (MUL,), None),
    "another name, same arguments": (
        (ADD,),
        (AnswerCall(name="sub", arguments=ADD.arguments),),
        None,
    ),
    "other arguments": ((ADD,), (AnswerCall(name="add", arguments=('{"a":2}',)),), None),
    "one fewer": ((ADD, MUL), (ADD,), None),
    "none": ((ADD,), (), None),
}


@pytest.mark.parametrize("name", CALLS)
@with_calls
def test_calls_are_compared_by_name_and_arguments_and_never_by_id(name, dialect):
    delivered, written, new = CALLS[name]
    written = tuple(
        AnswerCall(name=call.name, arguments=call.arguments, id=f"other-{at}")
        for at, call in enumerate(written)
    )
    later = frames(SAID, dialect=dialect, calls=written, finish="tool-calls" if written else "stop")
    first = begun(SAID, dialect=dialect, calls=delivered)
    spliced = Spliced(first, later, ReplayMatch(SAID), dialect=dialect)
    if new is None:
        assert spliced.splice.diverged is not None
        assert spliced.all(ToolCall) == []
    else:
        assert spliced.splice.diverged is None
        names = [call.name for call in spliced.received.calls.values()]
        assert names == [call.name for call in delivered] + new
        assert len(spliced.all(Finish)) == 1


@with_calls
def test_calls_after_continued_text_are_numbered_on(dialect):
    later = frames("because rivers" + REST, dialect=dialect, calls=(MUL,), finish="tool-calls")
    matcher = AnchorMatch(sent="The sea is salt ", anchor="because rivers")
    spliced = Spliced(begun(dialect=dialect), later, matcher, rung="prefill", dialect=dialect)
    (call,) = spliced.received.calls.values()
    assert (call.name, call.arguments.replace(" ", ""), call.complete) == ("mul", '{"b":2}', True)
    assert spliced.received.text == SAID + REST


USAGE = [
    # rung, first attempt's input, later (input, output), on the wire
    ("prefill", 10, (17, 4), (10, 11)),
    ("replay", 10, (10, 11), (10, 11)),
]


@pytest.mark.parametrize(("rung", "first_input", "later", "wire"), USAGE)
@pytest.mark.parametrize("dialect", ["anthropic-messages", "gemini"])
def test_usage_on_the_wire_counts_the_prompt_once(dialect, rung, first_input, later, wire):
    """In these dialects the first attempt says how long the prompt was as it begins."""
    text = SAID + REST if rung == "replay" else "because rivers" + REST
    matcher: Matcher = (
        ReplayMatch(SAID)
        if rung == "replay"
        else AnchorMatch(sent="The sea is salt ", anchor="because rivers")
    )
    whole = frames(SAID, dialect=dialect, usage=(first_input, 7))
    spliced = Spliced(
        whole[: len(begun(dialect=dialect))], frames(text, dialect=dialect, usage=later), matcher,
        rung=rung, dialect=dialect,
    )  # fmt: skip
    usage = spliced.received.usage
    assert (usage.input, usage.output) == wire


def test_our_own_frames_never_make_it_raise():
    spliced = Spliced(begun(), [], ReplayMatch(SAID))
    step = _step(b'data: {"choices":[{"index":0,"delta":{"content":"x"}}],"id":[1,2]}\n\n')
    assert spliced.splice.accept(*step) == []
