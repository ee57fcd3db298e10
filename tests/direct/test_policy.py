"""Policy through the drivers, sync and async: breaker, floor, malformed frames, raw frames."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

import unbroken
from tests.direct.helpers import asking, good, options
from tests.support.bodies import body, content_type
from tests.support.faults import STORY, reply
from tests.support.faultserver import FaultServer, Reply
from unbroken.core.actions import Ended
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.outcome import AttemptRecord
from unbroken.drivers.targets import Targets
from unbroken.governor import Breaker, breaker, target_of

pytestmark = pytest.mark.usefixtures("no_waits", "sharp_clock")
BROKEN = b'data: {"choices":[{"index":0,"delta":{"content":"api_key: hunter2hunter2\n\n'

Ask = Callable[..., unbroken.Outcome]


def ask_sync(server: FaultServer, **settings: Any) -> unbroken.Outcome:
    stream = unbroken.stream(**asking(server, options=options(**settings)))
    try:
        stream.text()
    except unbroken.StreamingError as error:
        return error.outcome
    assert stream.outcome is not None
    return stream.outcome


def ask_async(server: FaultServer, **settings: Any) -> unbroken.Outcome:
    async def ask() -> unbroken.Outcome:
        stream = unbroken.astream(**asking(server, options=options(**settings)))
        try:
            await stream.text()
        except unbroken.StreamingError as error:
            return error.outcome
        assert stream.outcome is not None
        return stream.outcome

    return asyncio.run(ask())


both = pytest.mark.parametrize("ask", [ask_sync, ask_async], ids=["sync", "async"])


@pytest.fixture(autouse=True)
def shared(monkeypatch: pytest.MonkeyPatch) -> Breaker:
    """A process's breaker of each test's own."""
    own = Breaker()
    monkeypatch.setattr(breaker, "_shared", own)
    return own


def cut(at: int = 0) -> Reply:
    return reply("cut_rst", "openai-chat", at=at)


def reasons(outcome: unbroken.Outcome) -> str:
    return "; ".join(skipped.why for skipped in outcome.skipped)


def with_broken_frame() -> Reply:
    frames = [bytes(frame) for frame in body("openai-chat", STORY)]
    pieces = [*frames[:4], BROKEN, *frames[4:]]
    return Reply(headers={"content-type": content_type("openai-chat")}, pieces=pieces)


# The breaker ---------------------------------------------------------------------------------


@both
def test_a_target_that_breaks_every_stream_is_not_asked_again(ask: Ask, shared: Breaker) -> None:
    """Status 200 each time: it is the streams that open it."""
    with FaultServer(lambda request: cut()) as server:
        outcome = ask(server, breaker_failures=2)
        assert outcome.status == "failed"
        # The third is known to be no better than the first two only when it has failed.
        assert len(outcome.attempts) == 3
        assert "the circuit breaker is open" in reasons(outcome)
        assert "(failures in a row: 2)" in reasons(outcome)
        outcome = ask(server, breaker_failures=2)
        assert len(outcome.attempts) == 1, "the first request is the application's"
        assert len(server.requests) == 4
        assert len(ask(server, breaker_failures=0).attempts) > 3, "0 sets none"


@both
def test_a_break_that_is_healed_counts_for_nothing(ask: Ask, shared: Breaker) -> None:
    """A proxy cuts every answer, and every further request makes it good."""
    with FaultServer([cut(), good()] * 5) as server:
        for _ in range(5):
            assert ask(server, breaker_failures=1).status == "complete"
            assert shared.quiet


@both
def test_of_more_breaks_the_one_that_was_healed_does_not_count(ask: Ask, shared: Breaker) -> None:
    with FaultServer([cut(), cut(), good()]) as server:
        assert ask(server, breaker_failures=2).status == "complete"
    assert shared.quiet


def opened(ask: Ask, server: FaultServer, shared: Breaker) -> str:
    """Open the breaker by a stream that is not healed; return the target."""
    assert ask(server, mode="raise", breaker_failures=1).status == "failed"
    (target,) = shared._targets
    assert shared.state(target, time.monotonic(), open_s=30.0) == "open"
    return target


@both
def test_a_whole_answer_closes_it(ask: Ask, shared: Breaker) -> None:
    with FaultServer([cut(), cut(), good(), cut(), good()]) as server:
        opened(ask, server, shared)
        assert len(ask(server, breaker_failures=1).attempts) == 1
        assert ask(server, breaker_failures=1).status == "complete"
        assert shared.quiet
        assert len(ask(server, breaker_failures=1).attempts) == 2


@both
def test_after_a_while_one_stream_tries(ask: Ask, shared: Breaker) -> None:
    with FaultServer([cut(), cut(), good()]) as server:
        target = opened(ask, server, shared)
        other = object()
        assert shared.blocked(target, time.monotonic() + 31.0, open_s=30.0, who=other) is None
        shared.release(other)
        outcome = ask(server, breaker_failures=1, breaker_open_s=0.0)
        assert outcome.status == "complete"
        assert len(outcome.attempts) == 2
        assert shared.quiet


@both
def test_who_only_watches_feeds_it_too(ask: Ask, shared: Breaker) -> None:
    with FaultServer(lambda request: cut(2)) as server:
        ask(server, mode="raise", breaker_failures=1)
        outcome = ask(server, mode="observe", breaker_failures=1)
        assert "the circuit breaker is open" in reasons(outcome)


@both
def test_what_a_request_itself_is_refused_for_does_not_count(ask: Ask, shared: Breaker) -> None:
    refused = Reply(
        status=400,
        headers={"content-type": "application/json"},
        pieces=[json.dumps({"error": {"type": "invalid_request_error"}}).encode()],
        framing="length",
    )
    with FaultServer(lambda request: refused) as server:
        for _ in range(3):
            ask(server, breaker_failures=1)
    assert shared.quiet


@both
def test_another_target_gets_its_turn(ask: Ask, shared: Breaker) -> None:
    with FaultServer(lambda request: cut()) as server, FaultServer(good()) as second:
        target = opened(ask, server, shared)
        assert target == target_of(unbroken.stream(**asking(server)).request)
        other = unbroken.Target(base_url=second.url + "/v1", api_key="other-key")
        outcome = ask(server, breaker_failures=1, targets=(other,))
        assert outcome.status == "complete", reasons(outcome)
        assert [record.rung for record in outcome.attempts] == ["first", "target"]
        assert len(server.requests) == 2
        assert list(shared._targets) == [target], "what the other made good does not clear it"
        assert shared._targets[target].failures == 2


def test_a_stream_that_is_over_holds_no_try(shared: Breaker) -> None:
    """It was let through and then left, and its own break is older than what is known."""
    request = unbroken.stream(**asking("http://127.0.0.1:9")).request
    shared.failed(target_of(request), 100.0, began=90.0, after=1)
    targets = Targets(unbroken.Options(breaker_failures=1))
    fault = Fault.of(FaultKind.CONNECTION_RESET, "reset")
    record = AttemptRecord(number=1, fault=fault, status=200, started_at=50.0, ended_at=140.0)
    targets.ended(Ended(record=record, request=request))
    assert targets.why_not(140.0, request) is None
    (known,) = shared._targets.values()
    assert known.tried_by is not None
    targets.over()
    assert known.tried_by is None


# Floor, malformed frames ---------------------------------------------------------------------


@both
def test_a_slow_drip_is_given_up_and_healed(ask: Ask) -> None:
    slow = reply("slow_drip", "openai-chat", pace_s=0.05)
    with FaultServer([slow, good()]) as server:
        clocks = {"floor_chars_per_s": 400.0, "floor_window_s": 0.3}
        outcome = ask(server, clocks=clocks, rungs=("retry", "replay", "user-turn"))
        fault = outcome.attempts[0].fault
        assert fault is not None
        assert fault.kind is unbroken.FaultKind.SLOW_DRIP
        assert "under the floor of 400 a second" in fault.detail
        assert len(server.requests) > 1


@both
@pytest.mark.seed("003-malformed-skip")
def test_a_broken_frame_is_skipped(ask: Ask) -> None:
    with FaultServer(with_broken_frame()) as server:
        outcome = ask(server, malformed="skip")
    assert outcome.status == "complete"
    assert outcome.text == STORY.text
    assert [fault.severity for fault in outcome.faults] == ["warning"]


# Raw frames ----------------------------------------------------------------------------------


@both
@pytest.mark.seed("002-log-raw")
def test_raw_frames_are_logged_once_for_each_failure(
    ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "unbroken")
    with FaultServer(lambda request: with_broken_frame()) as server:
        outcome = ask(server, log_raw="on-fault", max_attempts=1)
    said = [record for record in caplog.records if "last frames" in record.message]
    assert len(said) == 1
    assert said[0].levelno == logging.WARNING
    assert said[0].name == "unbroken"
    message = said[0].getMessage()
    assert "attempt 1 failed (malformed-json)" in message
    assert '"content":"<23 characters>' in message
    assert "hunter2" not in message + "".join(outcome.attempts[0].raw)
    assert STORY.text[:5] not in message
    assert len(outcome.attempts[0].raw) == 3


@pytest.mark.seed("002-log-raw")
@both
def test_contents_but_no_key_where_asked_for(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    with FaultServer(lambda request: with_broken_frame()) as server:
        ask(server, log_raw="on-fault-with-contents", max_attempts=1)
    assert "lighthouse" in caplog.text
    assert "hunter2" not in caplog.text


@both
def test_by_default_nothing_is_logged(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "unbroken")
    with FaultServer(lambda request: with_broken_frame()) as server:
        outcome = ask(server, max_attempts=1)
    assert "last frames" not in caplog.text
    assert outcome.attempts[0].raw == []


@both
def test_what_a_refusal_said_is_kept_too(ask: Ask) -> None:
    told = {"error": {"type": "overloaded", "message": "test-key is over its limit", "code": 503}}
    refused = Reply(
        status=503,
        headers={"content-type": "application/json"},
        pieces=[json.dumps(told).encode()],
        framing="length",
    )
    with FaultServer(lambda request: refused) as server:
        outcome = ask(server, log_raw="on-fault-with-contents", max_attempts=1)
    (raw,) = outcome.attempts[0].raw
    assert json.loads(raw)["error"] == {
        "type": "overloaded", "message": "[removed] is over its limit", "code": 503,
    }  # fmt: skip
