"""The guide's table of quick fixes, and its advice on malformed data and memory."""

from __future__ import annotations

from typing import Any

import openai
import pytest

import unbroken
from tests.core.scripted import Reply as Attempt
from tests.core.scripted import ask, frames, play, until
from tests.seeds.scenes import breaks, options, protected, read
from tests.support.bodies import body, content_type
from tests.support.faults import STORY, Break, reply
from tests.support.faultserver import FaultServer, Reply

TEXT = "Someone has to know that they came home, he said."
# What the guide calls it, a fault that is just that, and the stable name by which we call it.
SYMPTOMS = {
    "SSE connection terminated unexpectedly": ("cut_rst", "connection-reset"),
    "Stream ended without finish_reason": ("cut_clean", "truncated-between-events"),
    "Malformed SSE data": ("cut_midline", "truncated-mid-event"),
    "Invalid JSON in stream": ("bad_json", "malformed-json"),
}


@pytest.mark.seed(
    "003-quick-terminated",
    "003-quick-no-finish",
    "003-quick-malformed",
    "003-quick-invalid-json",
    "003-dont-ignore-errors",
)
@pytest.mark.parametrize("symptom", SYMPTOMS)
def test_each_symptom_is_named_or_healed(symptom: str) -> None:
    fault, kind = SYMPTOMS[symptom]
    with FaultServer(breaks(*[Break(fault, at=12)] * 2)) as server:
        with (
            protected(server, "raise") as (sdk, _),
            pytest.raises(openai.APIConnectionError) as raised,
        ):
            read(sdk)
        outcome = unbroken.outcome_of(raised.value)
        assert outcome is not None
        assert outcome.fault is not None
        assert outcome.fault.kind == kind
        assert STORY.text.startswith(outcome.text)
        assert outcome.text[:16]
        assert outcome.text[:16] not in str(raised.value.__cause__), "output is no error text"
        with protected(server) as (sdk, outcomes):
            assert read(sdk) == STORY.text
    assert outcomes[0].healed


@pytest.mark.seed("003-quick-no-finish", "003-dont-trust")
def test_a_marker_without_a_finish_is_not_taken_for_the_end() -> None:
    with (
        FaultServer(reply("no_finish", "openai-chat")) as server,
        protected(server, "raise") as (sdk, _),
        pytest.raises(openai.APIConnectionError) as raised,
    ):
        read(sdk)
    outcome = unbroken.outcome_of(raised.value)
    assert outcome is not None
    assert outcome.fault is not None
    assert outcome.fault.kind == "missing-finish"


@pytest.mark.seed("003-quick-no-done", "003-handler-finish-reason")
def test_a_missing_done_marker_is_told_and_costs_nothing() -> None:
    with (
        FaultServer(reply("no_done", "openai-chat")) as server,
        protected(server) as (sdk, outcomes),
    ):
        assert read(sdk) == STORY.text
    assert [fault.kind.value for fault in outcomes[0].faults] == ["missing-terminator"]
    assert (outcomes[0].status, len(outcomes[0].attempts)) == ("complete", 1)


@pytest.mark.seed("003-handler-done-marker")
def test_nothing_is_awaited_after_the_done_marker() -> None:
    """A server that keeps the connection open after it does not keep the reader."""
    run = play([Attempt(frames(TEXT), end="silence")])
    assert run.outcome.status == "complete"
    assert run.delivered_at[-1] == 0.0
    assert run.now == 1.0, "the end of the body is awaited for a second, all being delivered"


@pytest.mark.seed("003-quick-no-data", "003-quick-timeout", "003-test-timeouts")
@pytest.mark.parametrize(("delivered", "after_s"), [("", 300.0), (TEXT[:24], 120.0)])
def test_no_data_within_the_timeout_is_a_typed_error_with_what_was_received(
    delivered: str, after_s: float
) -> None:
    sent = until(frames(TEXT), delivered) if delivered else frames(TEXT)[:1]
    run = play([Attempt(sent, end="silence")], options=options("raise"))
    assert run.raised is not None
    assert run.raised.kind == "stalled"
    assert run.now == after_s
    error = unbroken.StreamTimeoutError(outcome=run.outcome, fault=run.raised)
    assert isinstance(error, unbroken.StreamingError)
    assert error.outcome.text == delivered


# Malformed data ------------------------------------------------------------------------------


@pytest.mark.seed("003-malformed-validate", "003-dont-parse-incomplete", "002-dead-end-ignore")
@pytest.mark.parametrize("bad", [b'{"choices":[{"del', b"{} {}", b"NaN,"])
def test_no_frame_passes_whose_json_is_not_whole(bad: bytes) -> None:
    """An SDK that never sees it cannot choke on it, and the token in it is not lost."""
    sent = frames(TEXT)
    broken = [*until(sent, TEXT[:24]), b"data: " + bad + b"\n\n", *sent[-3:]]
    run = play([Attempt(broken), Attempt(sent)], request=ask(temperature=0))
    assert bad not in run.delivered
    assert run.outcome.text == TEXT
    assert run.kinds == ["malformed-json"]


@pytest.mark.seed("003-malformed-lines", "003-dont-parse-incomplete", "003-malformed-parser")
def test_a_line_cut_at_any_byte_is_read_when_it_is_whole() -> None:
    raw = b"".join(frames(TEXT))
    for cut in range(len(raw) + 1):
        decoder = unbroken.SSEDecoder()
        read_in_two = decoder.feed(raw[:cut]) + decoder.feed(raw[cut:]) + decoder.close()
        assert [frame.raw for frame in read_in_two] == frames(TEXT)


@pytest.mark.seed("003-handler-bad-line")
def test_bytes_that_are_no_text_do_not_end_the_stream() -> None:
    sent = [bytes(frame) for frame in body("openai-chat", STORY)]
    at = next(number for number, frame in enumerate(sent) if b" ships" in frame)
    sent[at] = sent[at].replace(b" ships", b" sh\xffips")
    kind = {"content-type": content_type("openai-chat")}
    bad = Reply(headers=kind, pieces=sent)
    whole = Reply(headers=kind, pieces=[bytes(frame) for frame in body("openai-chat", STORY)])
    spoilt = STORY.text.replace(" ships", " sh\ufffdips")
    for rule, text, asked in (("recover", STORY.text, 2), ("skip", spoilt, 1)):
        options = unbroken.Options(malformed=rule, heals_always=10**6)
        with (
            FaultServer([bad, whole]) as server,
            unbroken.stream(
                "A story.", model="m", base_url=server.url + "/v1", options=options
            ) as stream,
        ):
            assert stream.text() == text
            assert len(server.requests) == asked
        assert [fault.kind.value for fault in stream.outcome.faults] == ["invalid-utf8"]
        assert stream.outcome.status == "complete"


# Memory --------------------------------------------------------------------------------------


@pytest.mark.seed("003-memory-limits", "003-dont-accumulate")
@pytest.mark.parametrize(
    ("limit", "sent", "kind"),
    [
        ({"max_frame_bytes": 4096}, [b"data: " + b"x" * 9000], "oversized-event"),
        ({"max_replay_bytes": 8}, until(frames(TEXT), TEXT[:24]), "truncated-between-events"),
    ],
)
def test_every_buffer_has_a_limit_that_is_an_option(
    limit: dict[str, Any], sent: list[bytes], kind: str
) -> None:
    run = play([Attempt(sent)], options=options(**limit, rungs=()))
    assert run.kinds == [kind]
    assert len(run.outcome.text) <= 8


@pytest.mark.seed("003-memory-limits", "003-dont-accumulate")
def test_what_is_held_back_is_let_go_of_at_its_limit() -> None:
    """Frames before the first content wait for it, so that a failed start can be repeated."""
    pings = [b": ping\n\n"] * 1000
    run = play([Attempt([*pings, *frames(TEXT)])], options=options(max_held_bytes=1024))
    assert run.outcome.text == TEXT
    assert len(run.delivered) < 1024 + len(b"".join(frames(TEXT)))
