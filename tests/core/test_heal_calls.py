"""Parallel tool calls: those that are whole are delivered and compared, an open one comes anew.

Each call is delivered once it is whole, without waiting for the others: a consumer that acts
on calls as they come does so, memory is bounded by one call, and what was delivered is never
in doubt. The price is that without a replay a cut after the first of several calls fails; the
outcome then says which of them are whole.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.core.scripted import Reply, Run, ask, frames, play
from tests.core.test_stream_tools import PIECEWISE, TEXT, calls_in
from unbroken.core.attempt import Attempt
from unbroken.core.dialects import by_name
from unbroken.core.dialects.base import AnswerCall
from unbroken.core.received import Received

CALLS = (
    AnswerCall(name="add", arguments=('{"a":', " 1}"), id="call_1"),
    AnswerCall(name="mul", arguments=('{"b":', ' "x",', ' "c": [2]}'), id="call_2"),
    AnswerCall(name="now", arguments=("{}",), id="call_3"),
)
REPEATS: dict[str, dict[str, Any]] = {
    "openai-chat": {"temperature": 0},
    "openai-responses": {"temperature": 0, "store": False},
    "anthropic-messages": {"temperature": 0},
    "gemini": {"generationConfig": {"temperature": 0}},
    "ollama": {"options": {"temperature": 0}},
}


def answer(
    dialect: str, id: str = "answer-1", calls: tuple[AnswerCall, ...] = CALLS
) -> list[bytes]:
    return frames(TEXT, dialect=dialect, calls=calls, finish="tool-calls", id=id)


def read(run: Run, dialect: str) -> Received:
    attempt, received = Attempt(by_name(dialect)), Received()
    for step in attempt.receive(run.delivered):
        received.add(step.frame, step.events)
    attempt.close("eof")
    assert attempt.faults == []
    return received


def told(calls: Any) -> list[tuple[str, Any]]:
    return [(call.name, json.loads(call.arguments)) for call in calls]


ALL = [("add", {"a": 1}), ("mul", {"b": "x", "c": [2]}), ("now", {})]


@pytest.mark.parametrize("dialect", REPEATS)
def test_every_cut_in_or_between_calls_is_healed_where_the_answer_repeats(dialect):
    sent = answer(dialect)
    # Other ids, and other pieces, as a second answer has them.
    later_calls = tuple(
        AnswerCall(name=c.name, arguments=("".join(c.arguments),), id=f"later_{n}")
        for n, c in enumerate(CALLS)
    )
    later = answer(dialect, "answer-2", later_calls)
    first, *_ = calls_in(sent, dialect)
    for cut in range(first, len(sent) - 2):
        run = play([Reply(sent[:cut], end="reset"), Reply(later)],
                   request=ask(dialect, **REPEATS[dialect]), dialect=dialect)  # fmt: skip
        if run.rungs == ["first"]:  # the finish was out
            assert run.outcome.status in ("complete", "failed")
            continue
        assert run.rungs == ["first", "replay"], cut
        assert (run.outcome.status, run.raised) == ("complete", None)
        received = read(run, dialect)
        assert received.text == run.outcome.text == TEXT
        assert told(received.calls.values()) == told(run.outcome.tool_calls) == ALL
        assert all(call.complete for call in run.outcome.tool_calls)
        assert [call.index for call in run.outcome.tool_calls] == [0, 1, 2]
        ids = [call.id for call in run.outcome.tool_calls]
        assert len(set(ids)) == 3
        assert ids[0] in ("call_1", "later_0")
        if dialect in PIECEWISE:  # blocks continue, none is used twice
            blocks = [call.block for call in received.calls.values()]
            assert blocks == sorted(set(blocks)) or dialect == "openai-chat"


@pytest.mark.parametrize("dialect", REPEATS)
def test_failure_says_which_calls_are_whole(dialect):
    sent = answer(dialect)
    places = calls_in(sent, dialect)
    attempt, seen = Attempt(by_name(dialect)), Received()
    for at, raw in enumerate(sent[: places[-1] + 1]):
        for step in attempt.receive(raw):
            seen.add(step.frame, step.events)
        if at < places[0]:
            continue
        run = play([Reply(sent[: at + 1], end="reset")],
                   request=ask(dialect, store=False), dialect=dialect) \
            if any(call.complete for call in seen.calls.values()) else None  # fmt: skip
        if run is None:
            continue  # text alone was delivered, and that is continued
        assert run.outcome.status == "failed"
        whole = [call for call in run.outcome.tool_calls if call.complete]
        assert whole == run.outcome.tool_calls, "a call that is not whole was delivered"
        assert told(whole) == ALL[: len(whole)]
        assert len(whole) == sum(call.complete for call in seen.calls.values())
        assert "not known to repeat" in run.skipped("replay")


def test_several_calls_in_one_frame_are_told_apart():
    def delta(*calls: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": {"tool_calls": list(calls)}, "finish_reason": finish}
        return b"data: " + json.dumps({"id": "x", "choices": [choice]}).encode() + b"\n\n"

    def of(index: int, name: str, arguments: str) -> dict[str, Any]:
        return {"index": index, "id": f"c{index}", "function": {"name": name,
                "arguments": arguments}}  # fmt: skip

    one, two = of(0, "add", '{"a": 1}'), of(1, "mul", '{"b": 2}')
    open_two = {**two, "function": {"name": "mul", "arguments": '{"b'}}
    run = play(
        [Reply([delta(one), delta(open_two)], end="reset"),
         Reply([delta(one, two), delta(finish="tool_calls"), b"data: [DONE]\n\n"])],
        request=ask(temperature=0),
    )  # fmt: skip
    assert run.rungs == ["first", "replay"]
    received = read(run, "openai-chat")
    assert told(received.calls.values()) == [("add", {"a": 1}), ("mul", {"b": 2})]
    assert run.delivered.count(b'"add"') == 1


def test_calls_of_a_later_attempt_in_another_order_are_refused():
    def delta(at: int, arguments: str, **named: str) -> bytes:
        entry: dict[str, Any] = {"index": at, "function": {"arguments": arguments}}
        if named:
            entry |= {"id": named["id"], "function": {"name": named["name"], "arguments": ""}}
        choice = {"index": 0, "delta": {"tool_calls": [entry]}, "finish_reason": None}
        return b"data: " + json.dumps({"id": "x", "choices": [choice]}).encode() + b"\n\n"

    first = [delta(0, "", id="a", name="add"), delta(0, '{"a": 1}'),
             delta(1, "", id="b", name="mul")]  # fmt: skip
    mixed = [delta(0, "", id="a", name="add"), delta(0, '{"a"'), delta(1, "", id="b", name="mul"),
             delta(1, "{}"), delta(0, ": 1}")]  # fmt: skip
    run = play([Reply(first, end="reset"), Reply(mixed)], request=ask(temperature=0))
    assert run.outcome.status == "failed"
    assert told(run.outcome.tool_calls) == [("add", {"a": 1})]
    assert b"mul" not in run.delivered


def test_stored_response_is_not_replayed_once_a_call_was_delivered():
    """Its call id would be unknown to the answer that the application sends it back to."""
    sent = answer("openai-responses")
    at = calls_in(sent, "openai-responses")[-1]
    run = play([Reply(sent[:at], end="reset")], dialect="openai-responses",
               request=ask("openai-responses", temperature=0))  # fmt: skip
    assert run.outcome.status == "failed"
    assert "call's id" in run.skipped("replay")
    assert [call.name for call in run.outcome.tool_calls] == ["add", "mul"]
