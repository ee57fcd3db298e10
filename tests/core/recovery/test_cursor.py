"""Rung 2: the provider goes on from the place that was reached, and not a byte is bought again."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from tests.core.scripted import Reply, Run, ask, frames, play, until
from unbroken.core.dialects.base import AnswerCall
from unbroken.core.options import Clocks, Options
from unbroken.core.received import Usage
from unbroken.core.request import Request

TEXT = "The sea is salt because rivers carry dissolved minerals into it."
USED = (9, 16)
CHAT = b"".join(frames(TEXT, usage=USED))
CALLS = (AnswerCall(name="look", arguments=('{"a":', "1}"), id="call_1"),
         AnswerCall(name="look", arguments=('{"b":', "2}"), id="call_2"))  # fmt: skip


def named(**body: Any) -> Request:
    request = ask(**body)
    headers = (("Authorization", "Bearer k"), ("Content-Type", "application/json"),
               ("X-Conversation-Id", "talk 1"))  # fmt: skip
    return msgspec.structs.replace(request, headers=headers)


def from_byte(whole: bytes, *, cuts: tuple[int, ...] = ()) -> Any:
    """Answer as llama.cpp does; `cuts` is where each connection breaks, in the whole body."""
    ends = iter(cuts)

    def body(asked: Request) -> list[bytes]:
        query = parse_qs(urlsplit(asked.url).query)
        start = int(query["from"][0]) if asked.method == "GET" else 0
        return [whole[start : next(ends, len(whole))]]

    return body


def resumed(whole: bytes, *cuts: int, end: Any = "reset", **more: Any) -> Run:
    body = from_byte(whole, cuts=cuts)
    return play([*(Reply(body, end=end) for _ in cuts), Reply(body)],
                request=more.pop("request", None) or named(), **more)  # fmt: skip


@pytest.mark.parametrize("end", ["eof", "reset"])
def test_every_byte_is_delivered_once_wherever_it_breaks(end: Any) -> None:
    proven = CHAT.rindex(b'"finish_reason":"stop"') + len(b'"finish_reason":"stop"}]}')
    for cut in range(1, proven):
        run = resumed(CHAT, cut, end=end)
        assert run.delivered == CHAT, cut
        assert run.outcome.complete, cut
        assert run.rungs == ["first", "cursor"], cut
        assert run.outcome.text == TEXT


def test_the_request_is_a_get_of_the_same_caller() -> None:
    run = resumed(CHAT, 300)
    again = run.requests[1]
    assert (again.method, again.body) == ("GET", b"")
    assert again.url == "http://127.0.0.1:8080/v1/stream?conv_id=talk+1&from=300"
    assert again.header("authorization") == "Bearer k"
    assert again.header("content-type") is None


def test_it_breaks_again_and_again() -> None:
    run = resumed(CHAT, 150, 400, 401, 900)
    assert run.delivered == CHAT
    assert run.rungs == ["first", "cursor", "cursor", "cursor", "cursor"]
    assert {part.guarantee for part in run.outcome.provenance} == {"byte-exact"}
    assert "".join(TEXT[part.start : part.end] for part in run.outcome.provenance) == TEXT


def test_there_is_one_bill() -> None:
    outcome = resumed(CHAT, 300, 500).outcome
    assert [record.usage for record in outcome.attempts[:2]] == [Usage(), Usage()]
    assert (outcome.attempts[2].usage.input, outcome.attempts[2].usage.output) == USED
    assert sum(record.bytes for record in outcome.attempts) == len(CHAT)


@pytest.mark.parametrize("mode", ["hold", "stream"])
def test_an_open_call_goes_on(mode: Any) -> None:
    whole = b"".join(frames("Wait.", calls=CALLS, finish="tool-calls"))
    for cut in range(whole.index(b"call_1"), whole.index(b'"finish_reason":"tool')):
        run = resumed(whole, cut, options=Options(tool_calls=mode))
        assert run.delivered == whole, cut
        assert [call.arguments for call in run.outcome.tool_calls] == ['{"a":1}', '{"b":2}']
        assert all(call.complete for call in run.outcome.tool_calls)


def test_a_stall_is_left_for_the_rest_of_the_answer() -> None:
    options = Options(clocks=Clocks(progress_text_s=20, silence_s=20))
    run = resumed(CHAT, 500, end="silence", options=options)
    assert run.delivered == CHAT
    assert run.kinds[0] == "stalled"
    assert run.now == pytest.approx(20)


@pytest.mark.parametrize("status", [400, 404, 410])
def test_refused_it_falls_to_the_next_rung(status: int) -> None:
    sent = until(frames(TEXT), TEXT[:20])
    run = play([Reply(sent, end="reset"), Reply(status=status), Reply(frames(TEXT))],
               request=named())  # fmt: skip
    assert run.rungs == ["first", "cursor", "replay"]
    assert run.outcome.text == TEXT
    assert run.outcome.complete
    assert [part.rung for part in run.outcome.provenance] == ["first", "replay"]


def test_what_was_held_of_a_broken_answer_is_forgotten_at_the_next_rung() -> None:
    whole = frames("", calls=CALLS, finish="tool-calls")
    cut = b"".join(whole).index(b"call_2")
    run = play([Reply([b"".join(whole)[:cut]], end="reset"), Reply(status=404), Reply(whole)],
               request=named(temperature=0))  # fmt: skip
    assert run.rungs[:2] == ["first", "cursor"]
    assert [call.arguments for call in run.outcome.tool_calls] == ['{"a":1}', '{"b":2}']


def test_a_server_that_is_busy_is_asked_again() -> None:
    body = from_byte(CHAT, cuts=(300,))
    run = play([Reply(body, end="reset"), Reply(status=503), Reply(status="refused"), Reply(body)],
               request=named())  # fmt: skip
    assert run.rungs == ["first", "cursor", "cursor", "cursor"]
    assert run.delivered == CHAT


def test_three_answers_with_nothing_new_are_enough() -> None:
    sent = until(frames(TEXT), TEXT[:20])
    nothing = Reply([], end="reset")
    run = play([Reply(sent, end="reset"), nothing, nothing, nothing, Reply(frames(TEXT))],
               request=named())  # fmt: skip
    assert run.rungs == ["first", "cursor", "cursor", "cursor", "replay"]
    assert run.outcome.text == TEXT


def test_without_a_name_there_is_no_cursor_and_not_a_word_of_it() -> None:
    sent = until(frames(TEXT), TEXT[:20])
    run = play([Reply(sent, end="reset"), Reply(frames(TEXT))], request=ask())
    assert run.rungs == ["first", "replay"]
    assert not run.skipped("cursor")
    failed = play([Reply(sent, end="reset")], request=ask(), options=Options(rungs=("retry",)))
    assert failed.outcome.status == "failed"


def test_a_prompt_that_may_not_be_sent_twice_can_still_be_read_on() -> None:
    assert resumed(CHAT, 300, options=Options(allow_resend=False)).delivered == CHAT


def test_an_answer_at_fault_itself_is_not_read_again() -> None:
    sent = [*until(frames(TEXT), TEXT[:20]), b'data: {"choices": [}\n\n']
    run = play([Reply(sent), Reply(frames(TEXT))], request=named())
    assert run.rungs == ["first", "replay"]
    assert "malformed-json" in run.kinds


def test_a_consumer_who_leaves_meanwhile_ends_it() -> None:
    run = resumed(CHAT, 500, cancel_after=1)
    assert run.outcome.status == "cancelled"


def test_a_page_in_answer_to_a_cursor_is_no_stream() -> None:
    request = ask("openai-responses", url="https://api.openai.com/v1/responses", background=True)
    sent = until(frames(TEXT, dialect="openai-responses"), TEXT[:20], dialect="openai-responses")
    page = Reply([b"<html><body>Bad gateway</body></html>"])
    run = play([Reply(sent, end="reset"), page], request=request, dialect="openai-responses")
    assert run.rungs == ["first", "cursor"]
    assert run.kinds == ["connection-reset", "not-a-stream"]
    assert run.outcome.text == TEXT[:20]
