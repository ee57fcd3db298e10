"""The six kinds of test that the guide asks for, each by a server that is just so."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

import unbroken
from tests.seeds.scenes import breaks, plain, protected, read
from tests.support.bodies import Answer
from tests.support.faults import STORY, Break, reply
from tests.support.faultserver import FaultServer

CLOCKS = unbroken.Clocks(silence_s=0.2, progress_text_s=0.2, progress_slow_s=0.2)


@pytest.mark.seed("003-test-slow")
def test_slow_connections_are_waited_for() -> None:
    """Slow is no fault: what moves is left alone, and nothing is asked for twice."""
    slow = reply("ok", "openai-chat", at=0, pace_s=0.01)
    with FaultServer(slow) as server, protected(server, clocks=CLOCKS) as (sdk, outcomes):
        assert read(sdk) == STORY.text
        assert len(server.requests) == 1
    assert outcomes[0].faults == []
    assert outcomes[0].duration_s > 0.3, "it took longer than any of its clocks"


@pytest.mark.seed("003-test-interrupted")
@pytest.mark.parametrize("fault", ["cut_rst", "cut_fin", "cut_clean", "cut_midchar"])
def test_interrupted_connections_are_healed(fault: str) -> None:
    with FaultServer(breaks(Break(fault, at=20))) as server, protected(server) as (sdk, outcomes):
        assert read(sdk) == STORY.text
    assert outcomes[0].provenance[-1].guarantee == "prefix-verified"


@pytest.mark.seed("003-test-large", "003-memory-incremental")
def test_large_responses_pass_in_bounded_memory() -> None:
    large = Answer(tokens=("0123456789abcdef" * 16,) * 2000)
    with (
        FaultServer(breaks(answer=large)) as server,
        protected(server, max_replay_bytes=64 * 1024) as (sdk, outcomes),
    ):
        assert read(sdk) == large.text
    assert outcomes[0].status == "complete"
    assert outcomes[0].overflowed
    assert len(outcomes[0].text) <= 64 * 1024, "what is remembered has a limit"


@pytest.mark.seed("003-test-concurrent")
def test_concurrent_streams_do_not_mix() -> None:
    """Twelve at once over one client; of the first requests every other one is cut."""
    plan = [Break("cut_rst", at=12) if number % 2 else None for number in range(8)]
    with (
        FaultServer(breaks(*plan)) as server,
        protected(server) as (sdk, outcomes),
        ThreadPoolExecutor(12) as pool,
    ):
        texts = list(pool.map(lambda _: read(sdk), range(12)))
    assert texts == [STORY.text] * 12
    assert {outcome.status for outcome in outcomes} == {"complete"}
    assert any(outcome.healed for outcome in outcomes)


@pytest.mark.seed("003-test-errors", "003-handler-http-error")
@pytest.mark.parametrize("fault", ["http400", "http429", "http500", "http529"])
def test_error_responses_are_what_the_sdk_makes_of_them(fault: str) -> None:
    with FaultServer(reply(fault, "openai-chat")) as server:
        with plain(server) as sdk, pytest.raises(openai.APIStatusError) as without:
            read(sdk)
        with protected(server) as (sdk, _), pytest.raises(openai.APIStatusError) as within:
            read(sdk)
        assert len(server.requests) == 2, "the SDK's own retries are not multiplied"
    assert type(within.value) is type(without.value)
    assert str(within.value) == str(without.value)


@pytest.mark.seed("003-test-errors")
def test_error_inside_a_stream_is_healed_or_the_sdks() -> None:
    with FaultServer(breaks(*[Break("error_obj", at=12)] * 2)) as server:
        with protected(server, "raise") as (sdk, _), pytest.raises(openai.APIError) as raised:
            read(sdk)
        assert "had an error while processing" in str(raised.value), "the provider's own words"
        with protected(server) as (sdk, outcomes):
            assert read(sdk) == STORY.text
    assert outcomes[0].healed


@pytest.mark.seed("003-test-timeouts", "003-quick-timeout")
def test_timeouts_are_recovered_from() -> None:
    with FaultServer(breaks(*[Break("stall", at=12)] * 2)) as server:
        with (
            protected(server, "raise", clocks=CLOCKS) as (sdk, _),
            pytest.raises(openai.APITimeoutError) as raised,
        ):
            read(sdk)
        assert unbroken.outcome_of(raised.value) is not None
        with protected(server, clocks=CLOCKS) as (sdk, outcomes):
            assert read(sdk) == STORY.text
    assert [fault.kind.value for fault in outcomes[0].faults] == ["stalled"]
    assert outcomes[0].healed
