"""The three error records, symptom by symptom: what happens without us, and what with us."""

from __future__ import annotations

import socket

import openai
import pytest

import unbroken
from tests.core.scripted import Reply as Attempt
from tests.core.scripted import ask, frames, play, until
from tests.seeds.scenes import (
    asked,
    breaks,
    options,
    payloads,
    plain,
    printed_loop,
    protected,
    read,
)
from tests.support.bodies import WireFrame, body, content_type
from tests.support.faults import STORY, Break
from tests.support.faultserver import FaultServer, Gate, Reply
from unbroken.core.options import Clocks

FOR_EVER = Clocks(
    connect_s=None,
    first_event_s=None,
    silence_s=None,
    progress_text_s=None,
    progress_slow_s=None,
    notice_s=None,
)
TEXT = "Someone has to know that they came home, he said."


# Seed 000: "streaming response chunk order mismatch - expected index 5 but got 7" ------------


def numbered(*, swap: bool = False, drop: bool = False) -> Reply:
    """A Responses stream whose number 6 comes after 7, or never."""
    answer: list[WireFrame] = body("openai-responses", STORY)
    if swap:
        answer[6], answer[7] = answer[7], answer[6]
    if drop:
        del answer[6]
    return Reply(headers={"content-type": content_type("openai-responses")}, pieces=answer)


def read_numbered(sdk: openai.OpenAI) -> str:
    stream = sdk.responses.create(model="a-model", input="A story.", stream=True, temperature=0)
    return "".join(unbroken.iter_text(stream))


@pytest.mark.seed("000-order-cause")
def test_events_that_changed_places_are_put_right_by_their_numbers() -> None:
    with FaultServer(numbered(swap=True)) as server:
        with plain(server) as sdk:
            assert read_numbered(sdk) != STORY.text, "without us the words change places too"
        with protected(server) as (sdk, outcomes):
            assert read_numbered(sdk) == STORY.text
    assert [fault.kind.value for fault in outcomes[0].faults] == ["out-of-order"]
    assert outcomes[0].status == "complete"
    assert len(outcomes[0].attempts) == 1, "nothing was asked for again"


@pytest.mark.seed("000-order-cause", "003-dont-trust")
def test_an_event_that_never_comes_is_named_or_made_good() -> None:
    with FaultServer([numbered(drop=True)] * 2 + [numbered()]) as server:
        with (
            protected(server, "raise") as (sdk, outcomes),
            pytest.raises(openai.APIConnectionError) as raised,
        ):
            read_numbered(sdk)
        outcome = unbroken.outcome_of(raised.value)
        assert outcome is not None
        assert outcome.fault is not None
        assert outcome.fault.kind == "missing-event"
        assert "6" in outcome.fault.detail, "it says which number"
        assert outcomes == [outcome]
        with protected(server) as (sdk, outcomes):
            assert read_numbered(sdk) == STORY.text
    assert [(f.kind.value, f.severity) for f in outcomes[0].faults] == [
        ("missing-event", "warning")
    ]
    assert "repaired from response.output_text.done" in outcomes[0].faults[0].detail
    assert len(outcomes[0].attempts) == 1, "nothing was asked for again"


@pytest.mark.seed("000-dead-end-longer-timeout")
@pytest.mark.parametrize("clocks", [Clocks(), FOR_EVER], ids=["default", "for ever"])
def test_no_timeout_puts_events_in_order(clocks: Clocks) -> None:
    """Neither what is early nor what is missing waits for a clock: it is settled at once."""
    sent = frames(TEXT, dialect="openai-responses")
    at = len(until(sent, TEXT[:8], dialect="openai-responses"))
    early = [*sent[:at], sent[at + 1], sent[at], *sent[at + 2 :]]
    run = play(
        [Attempt(early)], dialect="openai-responses", options=options("raise", clocks=clocks)
    )
    assert run.outcome.text == TEXT
    assert run.now == 0.0
    missing = [*sent[:at], *sent[at + 1 :]]
    run = play(
        [Attempt(missing)], dialect="openai-responses", options=options("raise", clocks=clocks)
    )
    assert "missing-event" in run.kinds
    assert run.now == 0.0


@pytest.mark.seed("000-single-consumer")
@pytest.mark.parametrize("fault", ["cut_rst", "cut_clean", "bad_json"])
def test_attempts_come_one_after_the_other(fault: str) -> None:
    with FaultServer(breaks(Break(fault, at=12))) as server:
        with protected(server) as (sdk, outcomes):
            assert read(sdk) == STORY.text
        assert server.wait_for_open(0)
        first, second = server.exchanges
        assert first.ended_s is not None
        assert first.ended_s <= second.request.received_s
    assert [part.attempt for part in outcomes[0].provenance] == [1, 2]


# Seed 001: "Incomplete stream response - ... connection closed unexpectedly" -----------------


@pytest.mark.seed("001-closed-message", "001-truncated-message", "003-drop-symptom")
@pytest.mark.parametrize("fault", ["cut_clean", "cut_close", "cut_midline"])
def test_a_clean_close_in_mid_answer_is_silent_without_us_and_named_with_us(fault: str) -> None:
    with FaultServer(breaks(*[Break(fault, at=12)] * 2)) as server:
        with plain(server) as sdk:
            half = read(sdk)  # nothing is raised
            assert half
            assert half != STORY.text
        with (
            protected(server, "raise") as (sdk, _),
            pytest.raises(openai.APIConnectionError) as raised,
        ):
            read(sdk)
    outcome = unbroken.outcome_of(raised.value)
    assert outcome is not None
    assert outcome.fault is not None
    kind = "truncated-mid-event" if fault == "cut_midline" else "truncated-between-events"
    assert outcome.fault.kind == kind
    assert outcome.fault.at_byte == outcome.bytes, "it says where"
    assert outcome.text.startswith(half.rstrip("\ufffd"))
    assert "do not treat the answer as complete" in str(raised.value.__cause__)


@pytest.mark.seed("001-cause-server-restart", "003-drop-reconnect")
def test_a_server_that_restarts_in_mid_answer_is_survived() -> None:
    sent = body("openai-chat", STORY)
    held = Reply(
        headers={"content-type": content_type("openai-chat")}, pieces=[*sent[:9], Gate(), *sent[9:]]
    )
    with FaultServer(held) as server, protected(server) as (sdk, outcomes):
        texts = unbroken.iter_text(sdk.chat.completions.create(**asked()))
        said = next(texts) + next(texts)
        server.stop()
        with FaultServer(breaks(), port=server.port):
            said += "".join(texts)
            assert said == STORY.text
    assert outcomes[0].healed


@pytest.mark.seed("001-cause-proxy", "003-do-reconnect")
@pytest.mark.parametrize("fault", ["cut_fin", "cut_rst", "cut_close", "cut_clean"])
def test_a_proxy_that_cuts_is_survived_also_where_it_hides_the_cut(fault: str) -> None:
    """`cut_close` is what nginx makes out of a crash, as it is shipped: a clean end."""
    with FaultServer(breaks(Break(fault, at=12))) as server, protected(server) as (sdk, outcomes):
        assert read(sdk) == STORY.text
    assert outcomes[0].healed


@pytest.mark.seed("001-dead-end-longer-timeout")
@pytest.mark.parametrize("clocks", [Clocks(), FOR_EVER], ids=["default", "for ever"])
def test_a_cut_is_acted_on_at_once_whatever_the_timeout(clocks: Clocks) -> None:
    sent = frames(TEXT)
    broken = Attempt(until(sent, TEXT[:24]), end="reset")
    run = play([broken, Attempt(sent)], request=ask(temperature=0), options=options(clocks=clocks))
    assert run.outcome.text == TEXT
    assert run.now == 0.0


@pytest.mark.seed("001-dead-end-longer-timeout", "003-drop-keep-alive", "003-do-timeouts")
@pytest.mark.parametrize("limit_s", [60.0, 6000.0])
def test_a_longer_timeout_only_waits_longer_for_a_dead_stream(limit_s: float) -> None:
    """It answers pings and says nothing: no byte clock would ever notice."""
    sent = until(frames(TEXT), TEXT[:24])
    empty = b'data: {"choices":[{"index":0,"delta":{"content":""}}]}\n\n'
    ping = b": ping\n\n" + empty
    pings = [piece for _ in range(int(limit_s) // 10 + 1) for piece in (10.0, ping)]
    clocks = Clocks(progress_text_s=limit_s)
    run = play([Attempt([*sent, *pings])], options=options("raise", clocks=clocks))
    assert run.kinds == ["stalled"]
    assert run.now == limit_s
    assert run.outcome.text == TEXT[:24]


@pytest.mark.seed("001-dead-end-no-streaming")
def test_streaming_stays_on_through_a_failure() -> None:
    with FaultServer(breaks(Break("cut_rst", at=12))) as server, protected(server) as (sdk, _):
        assert read(sdk) == STORY.text
        assert [sent["stream"] for sent in server.bodies] == [True, True]


@pytest.mark.seed("001-retry-not-from-the-start", "003-handler-no-repeat")
def test_the_printed_loop_repeats_itself_and_under_us_does_not() -> None:
    plan = [Break("cut_rst", at=12), Break("cut_rst", at=5)]
    with FaultServer(breaks(*plan)) as server, plain(server) as sdk:
        said = printed_loop(sdk)
    assert said.count("The lighthouse keeper counted") > 1, "the record's own loop prints it again"
    with FaultServer(breaks(*plan[:1])) as server, protected(server) as (sdk, _):
        assert printed_loop(sdk) == STORY.text


@pytest.mark.seed("001-robust-http-client", "003-drop-keep-alive")
def test_the_http_client_pools_connections_and_keeps_them_alive() -> None:
    with FaultServer(breaks()) as server, unbroken.http_client(options=options()) as http_client:
        for _ in range(3):
            with http_client.stream(
                "POST", server.url + "/v1/chat/completions", json=asked()
            ) as response:
                assert response.read().endswith(b"data: [DONE]\n\n")
                peer = response.extensions["network_stream"].get_extra_info("socket")
                assert peer.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert server.accepted == 1, "three answers came over one connection"
        limits = http_client.timeout
        assert (limits.connect, limits.read) == (5.0, 600.0)


# Seed 002: "KeyError: 'content' in streaming response chunk" ---------------------------------


@pytest.mark.seed("002-cause-metadata-only", "002-robust-parsing", "002-dead-end-only-content")
def test_events_without_content_are_no_key_error() -> None:
    events = payloads()
    with pytest.raises(KeyError, match="content"):
        [event["choices"][0]["delta"]["content"] for event in events]
    events.insert(3, {"id": "x", "object": "chat.completion.chunk"})  # no `choices` at all
    guarded = (event["choices"][0]["delta"].get("content") for event in events)
    with pytest.raises((KeyError, IndexError)):  # to guard `content` alone is not enough
        list(guarded)
    assert "".join(unbroken.iter_text(events)) == STORY.text


@pytest.mark.seed("002-dead-end-ignore", "002-retry-malformed", "003-quick-invalid-json")
def test_an_event_that_cannot_be_read_costs_no_token() -> None:
    with FaultServer(breaks(*[Break("bad_json", at=12)] * 2)) as server:
        with (
            protected(server, "raise") as (sdk, _),
            pytest.raises(openai.APIConnectionError) as raised,
        ):
            read(sdk)
        outcome = unbroken.outcome_of(raised.value)
        assert outcome is not None
        assert outcome.fault is not None
        assert outcome.fault.kind == "malformed-json"
        with protected(server) as (sdk, outcomes):
            assert read(sdk) == STORY.text
    assert outcomes[0].healed


@pytest.mark.seed("002-retry-malformed", "001-retry-backoff", "003-handler-backoff")
def test_waits_double_while_attempts_keep_failing() -> None:
    sent = frames(TEXT)
    broken = Attempt([*until(sent, TEXT[:24]), b"data: {oops\n\n"])
    run = play([broken, broken, broken, Attempt(sent)], request=ask(temperature=0))
    assert run.outcome.text == TEXT
    waits = [later - sooner for sooner, later in zip(run.sent_at, run.sent_at[1:], strict=False)]
    assert waits == [0.0, 1.0, 2.0], "a stream that broke off once is taken up at once"


@pytest.mark.seed("002-sdk-iterator")
def test_the_sdks_own_iterator_works_on_with_its_null_checks() -> None:
    with FaultServer(breaks(Break("cut_rst", at=12))) as server, protected(server) as (sdk, _):
        assert printed_loop(sdk, tries=1) == STORY.text
