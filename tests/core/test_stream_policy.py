"""Policy as streams show it: bad frames, empty answers, the floor, the breaker, raw frames."""

from __future__ import annotations

import json

import pytest

from tests.core.scripted import Reply, Run, ask, frames, play, until
from unbroken.core.dialects import by_name
from unbroken.core.faults import FaultKind
from unbroken.core.options import Clocks, Options
from unbroken.core.request import Request
from unbroken.core.stream import Stream

ANSWER = "The sea is salt because rivers wash minerals out of the rocks and carry them down."
WHOLE = frames(ANSWER)
BROKEN = b'data: {"choices":[{"index":0,"delta":{"content":"lost\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":9}}\n\n'
DONE = b"data: [DONE]\n\n"
FINISH = next(at for at, raw in enumerate(WHOLE) if b'"stop"' in raw)


def chat(**delta: object) -> bytes:
    finish = delta.pop("finish", None)
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"id": "c-1", "choices": [choice]}).encode() + b"\n\n"


def told(run: Run) -> list[tuple[str, str]]:
    return [(fault.kind.value, fault.severity) for fault in run.outcome.faults]


# Malformed frames ----------------------------------------------------------------------------


def test_recover_asks_again() -> None:
    run = play([Reply([*WHOLE[:1], BROKEN]), Reply(WHOLE)])
    assert run.rungs == ["first", "retry"]
    assert run.delivered == b"".join(WHOLE)


def test_raise_fails_at_once_and_tries_nothing() -> None:
    run = play([Reply([*WHOLE[:1], BROKEN, *WHOLE[1:]])], options=Options(malformed="raise"))
    assert run.raised is not None
    assert run.raised.kind is FaultKind.MALFORMED_JSON
    assert run.rungs == ["first"]
    assert not run.outcome.recoverable


@pytest.mark.parametrize("cut", [1, 7, 10_000])
def test_skip_leaves_the_frame_out_and_goes_on(cut: int) -> None:
    sent = b"".join([*WHOLE[:4], BROKEN, *WHOLE[4:6], BROKEN, *WHOLE[6:]])
    reads = [sent[at : at + cut] for at in range(0, len(sent), cut)]
    run = play([Reply(reads)], options=Options(malformed="skip"))
    assert run.raised is None
    assert run.delivered == b"".join(WHOLE)
    assert run.outcome.status == "complete"
    assert told(run) == [("malformed-json", "warning")] * 2
    assert run.outcome.faults[1].detail.endswith("; it was left out (2)")
    assert run.outcome.faults[1].at_byte == sent.rindex(BROKEN)


def test_skip_hides_no_finish() -> None:
    """Where the frame that was left out held the finish, the end is not proven."""
    cut = WHOLE[FINISH].replace(b"}", b"", 1)
    broken = [*WHOLE[:FINISH], cut, *WHOLE[FINISH + 1 :]]
    run = play([Reply(broken)], options=Options(malformed="skip", rungs=()))
    assert run.raised is not None
    assert run.raised.kind is FaultKind.MISSING_FINISH
    assert DONE not in run.delivered
    no_marker = [raw for raw in broken if raw != DONE]
    run = play([Reply(no_marker)], options=Options(malformed="skip", rungs=()))
    assert run.raised is not None
    assert run.raised.kind is FaultKind.TRUNCATED_BETWEEN_EVENTS


CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "pay"}}


def piece(arguments: str) -> bytes:
    return chat(tool_calls=[{"index": 0, "function": {"arguments": arguments}}])


@pytest.mark.parametrize("tool_calls", ["hold", "stream"])
def test_skip_leaves_no_hole_in_a_tool_call(tool_calls: str) -> None:
    """``{"to": "Ann`` + ``"}`` is JSON, and not what the model wrote."""
    hole = [chat(tool_calls=[CALL]), piece('{"to": "Ann'), BROKEN, piece('"}')]
    sent = [*hole, chat(finish="tool_calls"), DONE]
    options = Options(malformed="skip", tool_calls=tool_calls, rungs=())  # type: ignore[arg-type]
    run = play([Reply(sent)], options=options)
    assert run.raised is not None
    assert run.raised.kind is FaultKind.MALFORMED_JSON
    assert not any(call.complete for call in run.outcome.tool_calls)


def test_skip_leaves_no_call_without_its_beginning() -> None:
    sent = [BROKEN, piece('{"to": "Ann"}'), chat(finish="tool_calls"), DONE]
    run = play([Reply(sent)], options=Options(malformed="skip", rungs=()))
    assert run.raised is not None
    assert run.raised.detail == ("a tool call began without its name, in a frame that was left out")
    assert run.delivered == b""


def test_a_call_that_is_over_lets_frames_be_skipped_again() -> None:
    calls = [chat(tool_calls=[CALL]), piece("{}"), chat(finish="tool_calls")]
    run = play([Reply([*calls, BROKEN, DONE])], options=Options(malformed="skip"))
    assert run.raised is None
    assert run.outcome.tool_calls[0].complete


def test_a_call_in_one_choice_is_over_when_that_choice_is() -> None:
    text = chat(content="b").replace(b'"index": 0', b'"index": 1', 1)
    end = chat(finish="stop").replace(b'"index": 0', b'"index": 1', 1)
    calls = [chat(tool_calls=[CALL]), piece("{}"), chat(finish="tool_calls")]
    options = Options(malformed="skip", rungs=())
    run = play([Reply([*calls, text, BROKEN, end, DONE])], request=ask(n=2), options=options)
    assert run.raised is None
    assert run.outcome.texts == {1: "b"}


@pytest.mark.parametrize("malformed", ["recover", "skip"])
def test_a_frame_after_the_finish_costs_nothing_of_the_answer(malformed: str) -> None:
    sent = [*WHOLE[: FINISH + 1], b'data: {"choices":[],"usage":{"pro\n\n', DONE]
    run = play([Reply(sent)], options=Options(malformed=malformed))  # type: ignore[arg-type]
    assert run.raised is None
    assert run.outcome.status == "complete"
    assert run.outcome.complete
    assert run.outcome.text == ANSWER
    assert run.delivered == b"".join([*WHOLE[: FINISH + 1], DONE])
    assert told(run) == [("malformed-json", "warning")]
    assert "after the finish" in run.outcome.faults[0].detail


def test_with_raise_it_is_raised_there_too() -> None:
    sent = [*WHOLE[: FINISH + 1], b'data: {"usa\n\n', DONE]
    run = play([Reply(sent)], options=Options(malformed="raise"))
    assert run.raised is not None
    assert run.raised.kind is FaultKind.MALFORMED_JSON


def test_before_the_last_choice_finished_it_may_hold_an_answer() -> None:
    second = chat(content="b").replace(b'"index": 0', b'"index": 1')
    sent = [chat(content="a"), second, chat(finish="stop"), b"data: {\n\n", DONE]
    run = play([Reply(sent)], request=ask(n=2), options=Options(rungs=()))
    assert run.raised is not None
    assert run.raised.kind is FaultKind.MALFORMED_JSON


def test_gemini_may_go_on_after_a_finish_so_nothing_is_left_out_there() -> None:
    whole = frames(ANSWER, dialect="gemini")
    run = play([Reply([*whole, b"data: {\n\n"])], dialect="gemini", options=Options(rungs=()))
    assert run.raised is not None


def test_who_only_observes_gets_every_byte() -> None:
    sent = [*WHOLE[:4], BROKEN, *WHOLE[4:]]
    run = play([Reply(sent)], options=Options(mode="observe", malformed="skip"))
    assert run.delivered == b"".join(sent)
    assert run.outcome.status == "failed"


def test_salvage_owes_nobody_what_was_left_out() -> None:
    """A bug of ours after a frame was left out: pass on the rest, and not that frame again."""
    options = Options(malformed="skip")
    stream = Stream(ask(), by_name("openai-chat"), options=options, now=0.0, sent=True)
    stream.connected(200, {}, 0.0)
    for raw in [*WHOLE[:4], BROKEN, WHOLE[4][:9]]:
        stream.receive(raw, 0.0)
    assert stream.salvage(None) == b"".join(WHOLE[:4]) + WHOLE[4][:9]


# Empty answers -------------------------------------------------------------------------------

EMPTY = [chat(role="assistant", content=""), chat(finish="stop"), USAGE, DONE]
THOUGHT = [chat(reasoning_content="Hm."), chat(finish="stop"), DONE]


def test_an_empty_answer_is_named_and_passed_on() -> None:
    run = play([Reply(EMPTY)])
    assert run.raised is None
    assert run.outcome.status == "complete"
    assert run.outcome.complete
    assert told(run) == [("empty-stream", "warning")]
    assert run.outcome.faults[0].detail == (
        "the answer ended with stop and holds nothing: no text, no refusal, no tool call"
    )
    assert run.delivered == b"".join(EMPTY)


def test_recover_asks_again_before_anything_is_delivered() -> None:
    run = play([Reply(EMPTY), Reply(WHOLE)], options=Options(empty_answer="recover"))
    assert run.rungs == ["first", "retry"]
    assert run.delivered == b"".join(WHOLE)
    assert run.outcome.status == "complete"


def test_recover_ends_honestly() -> None:
    options = Options(empty_answer="recover", max_attempts=3)
    run = play([Reply(EMPTY)] * 3, options=options)
    assert run.raised is not None
    assert run.raised.kind is FaultKind.EMPTY_STREAM
    assert run.outcome.status == "failed"
    assert run.outcome.recoverable
    assert b"stop" not in run.delivered


def test_raise_tries_nothing() -> None:
    run = play([Reply(EMPTY)], options=Options(empty_answer="raise"))
    assert run.raised is not None
    assert run.raised.kind is FaultKind.EMPTY_STREAM
    assert not run.outcome.recoverable


def test_thinking_is_no_answer() -> None:
    """The turn is issued again, and what it thinks anew is not delivered."""
    again = [chat(reasoning_content="Well."), *WHOLE]
    run = play([Reply(THOUGHT), Reply(again)], options=Options(empty_answer="recover"))
    assert run.raised is None
    assert run.outcome.text == ANSWER
    assert run.outcome.reasoning.startswith("Hm.")
    assert "nothing, but thinking" in run.outcome.faults[0].detail
    run = play([Reply(THOUGHT)])
    assert told(run) == [("empty-stream", "warning")]


NOT_EMPTY = {
    "text": [chat(content="a"), chat(finish="stop")],
    "text in the finish": [chat(content="a", finish="stop")],
    "refusal": [chat(refusal="No."), chat(finish="stop")],
    "call": [chat(tool_calls=[CALL]), piece("{}"), chat(finish="stop")],
    "limit": [chat(reasoning_content="Hm"), chat(finish="length")],
    "filter": [chat(content=""), chat(finish="content_filter")],
    "calls without a call": [chat(content=""), chat(finish="tool_calls")],
}


@pytest.mark.parametrize("sent", NOT_EMPTY.values(), ids=NOT_EMPTY.keys())
def test_what_is_not_empty(sent: list[bytes]) -> None:
    run = play([Reply([*sent, DONE])], options=Options(empty_answer="raise"))
    assert run.raised is None
    assert FaultKind.EMPTY_STREAM not in {fault.kind for fault in run.outcome.faults}


def test_one_token_is_asked_for_to_warm_up() -> None:
    for limit, empty in ((1, False), (2, True)):
        run = play(
            [Reply(EMPTY)], request=ask(max_tokens=limit), options=Options(empty_answer="raise")
        )
        assert (run.raised is not None) is empty


def test_a_model_that_is_only_loaded_says_nothing() -> None:
    line = b'{"model":"m","message":{"content":""},"done_reason":"%s","done":true}\n'
    options = Options(empty_answer="raise")
    assert play([Reply([line % b"load"])], dialect="ollama", options=options).raised is None
    assert play([Reply([line % b"stop"])], dialect="ollama", options=options).raised is not None


@pytest.mark.parametrize("dialect", ["openai-responses", "anthropic-messages", "ollama"])
def test_every_dialect_knows_an_empty_answer(dialect: str) -> None:
    sent, whole = frames("", dialect=dialect), frames(ANSWER, dialect=dialect)
    run = play([Reply(sent)], dialect=dialect)
    assert told(run) == [("empty-stream", "warning")]
    assert run.delivered == b"".join(sent)
    options = Options(empty_answer="recover")
    run = play([Reply(sent), Reply(whole)], dialect=dialect, options=options)
    assert run.delivered == b"".join(whole)


def test_gemini_proves_no_end_with_an_empty_answer() -> None:
    """A lone STOP may be followed by more there: what is empty was never whole."""
    empty, whole = frames("", dialect="gemini"), frames(ANSWER, dialect="gemini")
    run = play([Reply(empty), Reply(whole)], dialect="gemini")
    assert run.delivered == b"".join(whole)


def test_who_is_asked_to_go_on_and_says_nothing_is_asked_again() -> None:
    """What it leaves out is not the answer, so that is no empty one."""
    said = until(WHOLE, "The sea is salt because rivers wash minerals out")

    def rest(request: Request) -> list[bytes]:
        anchor = request.json["messages"][-1]["content"].split("exactly: ")[1].split("\n")[0]
        return frames(ANSWER[ANSWER.index(anchor) :])

    options = Options(empty_answer="raise", rungs=("user-turn",))
    run = play([Reply(said, end="reset"), Reply(EMPTY), Reply(rest)], options=options)
    assert run.rungs == ["first", "user-turn", "user-turn"]
    assert run.outcome.text == ANSWER
    assert FaultKind.EMPTY_STREAM not in {fault.kind for fault in run.outcome.faults}


# The floor -----------------------------------------------------------------------------------

FLOOR = Options(clocks=Clocks(floor_chars_per_s=5.0, floor_window_s=10.0))


@pytest.mark.parametrize("split", [False, True], ids=["lane", "split"])
def test_a_slow_drip_is_healed(split: bool) -> None:
    drip: list[bytes | float] = [WHOLE[0]]
    for raw in WHOLE[1:FINISH]:
        drip += [4.0, *([raw[:20], raw[20:]] if split else [raw])]
    run = play([Reply(drip), Reply(WHOLE)], request=ask(temperature=0), options=FLOOR)
    assert run.raised is None
    assert run.outcome.text == ANSWER
    assert run.rungs == ["first", "replay"]
    assert run.outcome.faults[0].kind is FaultKind.SLOW_DRIP
    assert "12 characters of text came in 10 s" in run.outcome.faults[0].detail
    assert play([Reply([*drip, *WHOLE[FINISH:]])]).raised is None, "no floor unless asked for"


def test_a_consumer_who_takes_his_time_is_not_the_provider() -> None:
    fed: list[bytes | float] = []
    for raw in WHOLE:
        fed += [0.1, raw]
    run = play([Reply(fed)], options=FLOOR, consumer_s=20.0)
    assert run.raised is None
    assert not run.outcome.faults


# The breaker ---------------------------------------------------------------------------------


def test_a_blocked_target_is_sent_nothing_of_ours_and_named() -> None:
    asked: list[Request] = []

    def blocked(now: float, request: Request) -> str | None:
        asked.append(request)
        return "the circuit breaker is open"

    said = until(WHOLE, "The sea is salt because rivers wash minerals out")
    run = play([Reply(said, end="reset")], blocked=blocked)
    assert run.rungs == ["first"], "the first request always goes out"
    assert run.raised is not None
    assert asked
    assert run.skipped("user-turn") == "the circuit breaker is open"


def test_attempts_say_how_they_ended() -> None:
    run = play([Reply(WHOLE[:1], end="reset"), Reply(status=503), Reply(WHOLE)])
    ended = run.stream.take_ended()
    assert run.stream.take_ended() == []
    kinds = [None if each.record.fault is None else each.record.fault.kind for each in ended]
    assert kinds == [FaultKind.CONNECTION_RESET, FaultKind.HTTP_ERROR, None]
    assert [each.record.status for each in ended] == [200, 503, 200]
    assert not any(each.blameless for each in ended)


def test_who_is_given_up_for_other_words_is_blameless() -> None:
    other = frames("Something else altogether, in other words, and at some length.")
    options = Options(rungs=("replay",))
    first = Reply(until(WHOLE, "The sea is salt because"), end="reset")
    run = play([first, Reply(other)], request=ask(temperature=0), options=options)
    assert run.raised is not None
    assert [each.blameless for each in run.stream.take_ended()] == [False, True]


def test_who_leaves_says_nothing_of_the_provider() -> None:
    run = play([Reply(WHOLE)], cancel_after=2)
    assert run.outcome.status == "cancelled"
    assert run.stream.take_ended() == []


def test_who_leaves_at_the_last_marker_has_seen_a_whole_answer() -> None:
    """As openai's SDK does; one frame a read, and the first two are held for the content."""
    run = play([Reply([*WHOLE, 60.0], end="silence")], cancel_after=len(WHOLE) - 1)
    assert run.outcome.status == "complete"
    (ended,) = run.stream.take_ended()
    assert ended.record.fault is None


# Raw frames ----------------------------------------------------------------------------------

HEADERS = (("authorization", "Bearer very-secret"),)


def asked(**body: object) -> Request:
    plain = ask(**body)
    return Request(method="POST", url=plain.url, headers=HEADERS, body=plain.body)


def raw_of(reply: Reply, log_raw: str = "on-fault", **more: object) -> list[str]:
    options = Options(log_raw=log_raw, rungs=(), **more)  # type: ignore[arg-type]
    return play([reply], request=asked(), options=options).outcome.attempts[0].raw


def test_frames_are_kept_only_where_asked_for() -> None:
    broken = Reply([*WHOLE[:5], BROKEN])
    assert raw_of(broken, "never") == []
    kept = raw_of(broken)
    assert len(kept) == 3
    assert kept[-1] == 'data: {"choices":[{"index":0,"delta":{"content":"<4 characters>\n\n'
    assert '"content":"<4 characters>"' in kept[0]
    assert "sea" not in "".join(kept)
    full = raw_of(broken, "on-fault-with-contents")
    assert full == [raw.decode() for raw in [*WHOLE[3:5], BROKEN]]


@pytest.mark.parametrize("per_read", [1, 3, 100])
def test_they_are_the_last_ones_however_they_came(per_read: int) -> None:
    cut = WHOLE[6][:30]
    sent = [*WHOLE[:6], cut]
    reads = [b"".join(sent[at : at + per_read]) for at in range(0, len(sent), per_read)]
    kept = raw_of(Reply(reads, end="reset"), "on-fault-with-contents")
    assert kept == [raw.decode() for raw in [*WHOLE[4:6], cut]]


def test_a_page_in_place_of_a_stream_is_told_by_its_kind() -> None:
    page = b"<html><body>gateway says very-secret</body></html>"
    assert raw_of(Reply([page])) == ["<50 bytes, HTML>"]
    (full,) = raw_of(Reply([page]), "on-fault-with-contents")
    assert full == "<html><body>gateway says [removed]</body></html>"


def test_of_each_attempt_that_failed_there_are_some() -> None:
    options = Options(log_raw="on-fault", max_attempts=2)
    run = play([Reply(WHOLE[:1], end="reset"), Reply([*WHOLE[:1], BROKEN])], options=options)
    assert [len(record.raw) for record in run.outcome.attempts] == [1, 2]
    run = play([Reply(WHOLE[:1], end="reset"), Reply(WHOLE)], options=options)
    assert [len(record.raw) for record in run.outcome.attempts] == [1, 0]


def test_a_huge_frame_is_not_kept_whole() -> None:
    huge = b'data: {"x":"' + b"y" * 100_000 + b"\n\n"
    (kept,) = raw_of(Reply([huge]), "on-fault-with-contents")
    assert len(kept) < 5000
    assert kept.endswith(f"<{len(huge) - 4096} bytes more>")


def test_plain_text_keeps_its_short_way() -> None:
    stream = Stream(ask(), by_name("openai-chat"), options=Options(log_raw="on-fault"), now=0.0)
    stream.next_action()
    stream.connected(200, {}, 0.0)
    for raw in WHOLE[:5]:
        stream.receive(raw, 0.0)
    attempt = stream._course.attempt
    assert attempt is not None
    assert attempt._evidence is not None
    assert attempt.receive_texts(WHOLE[5]) is not None
    assert [size for _, size in attempt._evidence._last] == [0, 0, 0], "reads, not frames"
    assert not any(record.raw for record in play([Reply(WHOLE)]).outcome.attempts)
