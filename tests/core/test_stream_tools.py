"""Tool calls: held until whole, issued again atomically, released when that takes too much."""

from __future__ import annotations

import pytest

from tests.core.scripted import CALLING, Reply, ask, frames, play
from unbroken.core.attempt import Attempt
from unbroken.core.dialects import by_name
from unbroken.core.dialects.base import AnswerCall
from unbroken.core.events import ToolCall
from unbroken.core.options import Options

TEXT = "Let me sum these two numbers for you, and then let me say what they come to in all."
ARGUMENTS = ('{"a":', " 1,", ' "b":', " 2}")
ADD = AnswerCall(name="add", arguments=ARGUMENTS, id="call_1")
MUL = AnswerCall(name="mul", arguments=('{"c":', " 3}"), id="call_2")
PIECEWISE = ["openai-chat", "openai-responses", "anthropic-messages"]  # the others send calls whole


def answer(dialect: str, *calls: AnswerCall, text: str = TEXT, id: str = "answer-1") -> list[bytes]:
    return frames(text, dialect=dialect, calls=calls or (ADD,), finish="tool-calls", id=id)


def calls_in(sent: list[bytes], dialect: str) -> list[int]:
    """Return the positions of the frames that hold pieces of function calls."""
    attempt = Attempt(by_name(dialect))
    return [
        at
        for at, raw in enumerate(sent)
        if any(type(event) is ToolCall for step in attempt.receive(raw) for event in step.events)
    ]


@pytest.mark.parametrize("dialect", CALLING)
def test_whole_calls_pass_byte_for_byte(dialect):
    sent = answer(dialect, ADD, MUL)
    run = play([Reply(sent)], dialect=dialect)
    assert run.delivered == b"".join(sent)
    assert [call.complete for call in run.outcome.tool_calls] == [True, True]
    assert [call.name for call in run.outcome.tool_calls] == ["add", "mul"]
    assert run.outcome.stop_reason is not None


@pytest.mark.parametrize("dialect", PIECEWISE)
def test_call_is_delivered_only_when_it_is_whole(dialect):
    sent = answer(dialect)
    first, *_, last = calls_in(sent, dialect)
    reads = [piece for raw in sent for piece in (raw, 1.0)]
    run = play([Reply(reads)], dialect=dialect)
    with_call = next(piece for piece in run.pieces if sent[first] in piece)
    assert sent[last] in with_call
    assert run.delivered == b"".join(sent)


@pytest.mark.parametrize("dialect", PIECEWISE)
def test_cut_call_is_never_delivered_in_part_and_comes_whole_from_the_next_attempt(dialect):
    request = ask(dialect, temperature=0)
    sent = answer(dialect)
    later = answer(dialect, id="answer-2")
    for at in calls_in(sent, dialect)[:-1]:
        run = play([Reply(sent[: at + 1], end="reset"), Reply(later)],
                   request=request, dialect=dialect)  # fmt: skip
        assert run.rungs == ["first", "replay"]
        (call,) = run.outcome.tool_calls
        assert (call.name, call.arguments, call.complete) == ("add", "".join(ARGUMENTS), True)
        assert run.outcome.status == "complete"
        assert run.outcome.text == TEXT
        # Nothing of the call was out before it was whole: all of it came with one delivery.
        with_call = [piece for piece in run.pieces if b"add" in piece and b"{" in piece]
        assert any(b'"b' in piece or b'\\"b' in piece for piece in with_call)


@pytest.mark.parametrize("dialect", PIECEWISE)
def test_cut_call_without_a_way_back_fails_and_leaves_no_part_of_itself(dialect):
    sent = answer(dialect)
    first, *_, last = calls_in(sent, dialect)
    run = play([Reply(sent[:last], end="reset")], dialect=dialect,
               options=Options(rungs=("retry",)))  # fmt: skip
    assert run.raised is not None
    assert run.delivered == b"".join(sent[:first])
    assert b'"add"' not in run.delivered
    assert run.outcome.tool_calls == []


def test_text_before_an_open_call_is_continued_and_the_call_issued_anew():
    sent = answer("openai-chat")
    at = calls_in(sent, "openai-chat")[2]

    def goes_on(asked):
        said = asked.json["messages"][-1]["content"]
        return answer("openai-chat", MUL, text=TEXT[len(said) :])

    run = play([Reply(sent[:at], end="reset"), Reply(goes_on)])
    assert run.rungs == ["first", "prefill"]
    assert [call.name for call in run.outcome.tool_calls] == ["mul"]
    assert (run.outcome.text, run.outcome.status) == (TEXT, "complete")
    assert b'"add"' not in run.delivered


def test_calls_before_content_are_retried_unseen():
    sent = answer("openai-chat", ADD, text="")
    for at in calls_in(sent, "openai-chat")[:-1]:
        run = play([Reply(sent[: at + 1], end="reset"), Reply(sent)])
        assert run.rungs == ["first", "retry"]
        assert run.delivered == b"".join(sent)


def test_whole_call_that_was_delivered_is_matched_and_the_next_one_added():
    sent = answer("openai-chat", ADD, MUL)
    second = calls_in(sent, "openai-chat")[len(ARGUMENTS) + 1]
    for size, later_id in ((second + 1, "answer-2"), (second + 2, "answer-3")):
        run = play(
            [Reply(sent[:size], end="reset"), Reply(answer("openai-chat", ADD, MUL, id=later_id))],
            request=ask(temperature=0),
        )
        assert run.rungs == ["first", "replay"]
        assert [call.name for call in run.outcome.tool_calls] == ["add", "mul"]
        assert all(call.complete for call in run.outcome.tool_calls)
        assert run.delivered.count(b'"name":"add"') == run.delivered.count(b'"name":"mul"') == 1


def test_call_over_the_byte_limit_is_released_and_then_a_cut_fails_honestly():
    big = AnswerCall(name="add", arguments=('{"a": "', "x" * 600, "y" * 600, '"}'), id="c")
    sent = frames(TEXT, calls=(big,), finish="tool-calls")
    options = Options(max_held_bytes=1000)
    whole = play([Reply(sent)], options=options)
    assert whole.delivered == b"".join(sent)
    cut = play([Reply(sent[:-3], end="reset")], request=ask(temperature=0), options=options)
    assert cut.raised is not None
    assert b"y" * 600 in cut.delivered
    assert "part of a tool call" in cut.skipped("all")
    (call,) = cut.outcome.tool_calls
    assert not call.complete
    assert cut.outcome.status == "failed"


def test_call_held_for_thirty_seconds_is_released_and_then_a_cut_fails_honestly():
    sent = answer("openai-chat")
    at = calls_in(sent, "openai-chat")[1] + 1
    run = play([Reply([*sent[:at], 29.0, b": hb\n\n", 40.0], end="reset")])
    assert run.delivered == b"".join(sent[:at]) + b": hb\n\n"
    assert run.delivered_at[-1] == pytest.approx(30.0)
    assert run.raised is not None
    assert "part of a tool call" in run.skipped("all")


def test_default_limits_of_a_held_call():
    assert (Options().max_held_bytes, Options().max_held_s) == (1024 * 1024, 30.0)


def test_calls_stream_where_that_was_asked_for_and_a_cut_in_one_fails():
    sent = answer("openai-chat")
    first, second, *_ = calls_in(sent, "openai-chat")
    run = play([Reply(sent[: second + 1], end="reset")], options=Options(tool_calls="stream"))
    assert run.delivered == b"".join(sent[: second + 1])
    assert run.raised is not None
    assert [call.complete for call in run.outcome.tool_calls] == [False]
    assert first < second


def test_frames_behind_a_held_call_wait_with_it():
    sent = answer("openai-chat", text="")
    first, *_ = calls_in(sent, "openai-chat")
    reads = [*sent[: first + 1], b": between\n\n", *sent[first + 1 :]]
    run = play([Reply(reads)])
    assert run.delivered == b"".join(reads)
    assert run.pieces[0].startswith(sent[0])
    assert b": between" in run.pieces[0]


def test_call_cut_by_the_token_limit_is_a_proven_end_and_passes_as_it_is():
    sent = frames(TEXT, calls=(AnswerCall(name="add", arguments=('{"a": ',), id="c"),),
                  finish="limit")  # fmt: skip
    run = play([Reply(sent)])
    assert run.delivered == b"".join(sent)
    assert run.outcome.status == "limited"
    assert [call.complete for call in run.outcome.tool_calls] == [False]


def test_plain_text_behind_a_held_call_waits_for_it():
    """The short way for reads of plain text must not overtake what is held."""
    sent = answer("openai-chat")
    first, *_ = calls_in(sent, "openai-chat")
    words = frames("It is on its way now, wait", size=6)[1:-2]  # nothing but text
    run = play([Reply([*sent[: first + 1], *words], end="reset")],
               options=Options(max_attempts=1))  # fmt: skip
    assert run.delivered == b"".join(sent[:first])
    assert run.outcome.text == TEXT
