"""What recovery may cost: attempts, input, time, the share of the process, and Retry-After."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.scripted import Reply, ask, frames, play, until
from unbroken.core.dialects import by_name
from unbroken.core.faults import FaultKind
from unbroken.core.options import Clocks, Options
from unbroken.core.stream import Stream

TEXT = "The sea is salt because rivers carry minerals from the rocks of the land into it."
WHOLE = frames(TEXT)
NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT
HI = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


def waits(run) -> list[float]:
    return [notice.wait_s for notice in run.reconnects]


@pytest.mark.seed("001-retry-backoff", "003-dont-retry-forever")
def test_attempts_are_limited():
    run = play([Reply(end="reset")] * 5, options=Options(max_added_input=99))
    assert len(run.requests) == 5
    assert run.raised is not None
    assert "max_attempts" in run.skipped("all")
    run = play([Reply(end="reset")] * 2, options=Options(max_attempts=2))
    assert len(run.requests) == 2


def test_added_input_is_three_times_the_request_by_default():
    run = play([Reply(end="reset")] * 4)
    assert len(run.requests) == 4
    assert "max_added_input" in run.skipped("retry")


def test_one_attempt_only_where_a_prompt_may_not_be_sent_twice():
    run = play([Reply(end="reset")], options=Options(allow_resend=False))
    assert run.raised is not None
    assert run.raised.kind is FaultKind.CONNECTION_RESET
    assert "allow_resend" in run.skipped("all")


@pytest.mark.seed("001-retry-backoff", "003-handler-backoff")
def test_first_recovery_after_a_cut_does_not_wait_and_later_ones_back_off():
    run = play([Reply(end="reset")] * 3 + [Reply(WHOLE)])
    assert waits(run) == [0.0, 1.0, 2.0]
    assert run.sent_at == [0.0, 0.0, 1.0, 3.0]


@pytest.mark.seed("003-handler-backoff")
def test_jitter_comes_from_the_driver():
    run = play([Reply(end="reset")] * 2 + [Reply(WHOLE)], jitter=lambda: 1.0)
    assert waits(run) == [0.0, 0.75]


def test_backoff_starts_again_once_something_new_was_delivered():
    first = until(WHOLE, TEXT[:20])
    run = play([Reply(end="reset"), Reply(end="reset"), Reply(first, end="reset"), Reply(WHOLE)])
    assert waits(run) == [0.0, 1.0, 0.0]


RETRY_AFTER: dict[str, tuple[dict[str, str], float]] = {
    "seconds": ({"retry-after": "7"}, 7.0),
    "milliseconds": ({"retry-after-ms": "2500", "retry-after": "60"}, 2.5),
    "date": ({"retry-after": "Tue, 14 Nov 2023 22:13:50 GMT"}, 30.0),
    "less than the backoff": ({"retry-after": "0"}, 0.5),
    "nonsense": ({"retry-after": "soon"}, 0.5),
    "nothing": ({}, 0.5),
}


@pytest.mark.parametrize("name", RETRY_AFTER)
def test_retry_after_is_obeyed(name):
    headers, wait = RETRY_AFTER[name]
    run = play([Reply(status=503, headers=headers), Reply(WHOLE)], wall_time=NOW)
    assert waits(run) == [wait]
    assert run.sent_at == [0.0, wait]
    assert run.delivered == b"".join(WHOLE)


def test_retry_after_as_a_date_counts_from_the_moment_it_came():
    headers = {"retry-after": "Tue, 14 Nov 2023 22:13:50 GMT"}
    run = play([Reply(status=429, headers=headers, after_s=10.0), Reply(WHOLE)], wall_time=NOW)
    assert waits(run) == [20.0]


@pytest.mark.parametrize(
    ("status", "headers", "again"),
    [
        (429, {}, True), (503, {}, True), (529, {}, True), (408, {}, True), (409, {}, True),
        (500, {}, True), (401, {}, False), (403, {}, False), (404, {}, False), (400, {}, False),
        (413, {}, False), (429, {"x-should-retry": "false"}, False),
        (400, {"x-should-retry": "true"}, True),
    ],
)  # fmt: skip
def test_statuses_that_are_tried_again(status, headers, again):
    run = play([Reply(status=status, headers=headers), *[Reply(WHOLE)] * again])
    assert (run.raised is None) == again
    assert run.kinds == ["http-error"]
    assert run.outcome.attempts[0].status == status


def test_wait_that_would_pass_the_time_for_recovery_fails_at_once_and_says_so():
    run = play([Reply(status=503, headers={"retry-after": "121"})])
    assert run.raised is not None
    assert run.now == 0.0
    assert "121.0 s would pass" in run.skipped("retry")


@pytest.mark.seed("003-dont-retry-forever")
def test_time_that_recovery_adds_is_limited_also_while_it_runs():
    first = until(WHOLE, TEXT[:20])
    run = play([Reply([*first, 5.0], end="reset"), Reply(end="silence")])
    assert run.raised is not None
    assert run.raised.kind is FaultKind.STALLED
    assert "120 s" in run.raised.detail
    assert run.now == pytest.approx(5.0 + 120.0)


def test_time_that_recovery_added_counts_over_all_recoveries():
    first, more = until(WHOLE, TEXT[:20]), until(WHOLE, TEXT[:40])
    replies = [
        Reply(first, end="reset"),
        Reply([70.0, *more], end="reset"),
        Reply(end="silence"),
    ]
    run = play(replies)
    assert run.raised is not None
    assert run.now == pytest.approx(120.0)


def test_stream_that_goes_well_takes_the_time_it_needs():
    run = play([Reply([piece for _ in range(9) for piece in (HI, 100.0)] + [STOP])])
    assert run.outcome.status == "complete"
    assert run.now == pytest.approx(900.0)


def test_whole_stream_may_be_given_a_time():
    options = Options(clocks=Clocks(total_s=50.0))
    run = play([Reply([HI, 30.0, HI, 30.0, HI, STOP])], options=options)
    assert run.raised is not None
    assert "clock total" in run.raised.detail
    assert run.now == pytest.approx(50.0)
    assert run.outcome.text == "HiHi"


@pytest.mark.seed("003-dont-retry-forever")
def test_share_of_the_process_is_asked_for_before_every_further_attempt():
    asked: list[float] = []

    def permit(now: float) -> bool:
        asked.append(now)
        return len(asked) < 2

    run = play([Reply(end="reset"), Reply([3.0], end="reset")], permit=permit)
    assert asked == [0.0, 3.0]
    assert len(run.requests) == 2
    assert run.raised is not None
    assert "share" in run.skipped("retry")


def test_share_is_not_asked_for_by_a_healthy_stream():
    def permit(now: float) -> bool:
        raise AssertionError("asked")

    assert play([Reply(WHOLE)], permit=permit).raised is None


def test_response_head_of_ours_has_a_time_limit():
    run = play([Reply(end="reset"), Reply(after_s=700.0), Reply(WHOLE)],
               options=Options(max_recovery_s=900.0))  # fmt: skip
    assert run.raised is None
    assert run.kinds == ["connection-reset", "stalled"]
    assert "clock first-event" in run.outcome.faults[1].detail
    assert run.sent_at[2] == pytest.approx(600.0 + 1.0)


def test_response_head_of_the_first_attempt_is_the_sdks_affair():
    stream = Stream(ask(), by_name("openai-chat"), options=Options(), now=0.0, sent=True)
    assert stream.next_timer() is None
    stream.handle_timer(9_999.0)
    assert not stream.over


@pytest.mark.seed("003-dont-accumulate", "003-memory-limits")
def test_answer_larger_than_the_replay_limit_is_delivered_and_not_healed():
    options = Options(max_replay_bytes=200)
    run = play([Reply([HI * 150 + STOP])], options=options)
    assert run.delivered == HI * 150 + STOP
    assert run.outcome.status == "complete"
    assert run.outcome.overflowed
    run = play([Reply([HI * 150], end="reset")], options=options)
    assert run.raised is not None
    assert "max_replay_bytes" in run.skipped("all")


def test_requests_that_we_send_are_signed_anew():
    def authorize(request: Any) -> Any:
        return type(request)(method="POST", url=request.url, headers=(("authorization", "new"),),
                             body=request.body)  # fmt: skip

    run = play([Reply(end="reset"), Reply(WHOLE)], options=Options(authorize=authorize),
               request=ask())  # fmt: skip
    assert [request.header("Authorization") for request in run.requests] == ["new", "new"]


def test_observers_hear_of_every_further_attempt():
    def obeys(asked: Any) -> list[bytes]:
        anchor = asked.json["messages"][-1]["content"].split("exactly: ")[1].split("\n")[0]
        return frames(TEXT[TEXT.index(anchor) :])

    first = until(WHOLE, TEXT[:70])
    run = play([Reply(first, end="reset"), Reply(status=400), Reply(status=503), Reply(obeys)])
    assert run.outcome.status == "complete"
    assert [notice.rung for notice in run.reconnects] == ["prefill", "user-turn", "user-turn"]
    assert [notice.attempt for notice in run.reconnects] == [2, 3, 4]
    assert [notice.fault.kind.value for notice in run.reconnects] == [
        "connection-reset", "http-error", "http-error",
    ]  # fmt: skip
    assert all(notice.added_bytes == len(request.body) for notice, request in
               zip(run.reconnects, run.requests[1:], strict=True))  # fmt: skip
    assert {skip.rung for skip in run.reconnects[0].skipped} == {"retry", "replay"}
