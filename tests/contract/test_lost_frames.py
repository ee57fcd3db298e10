"""The real SDK over a local server that loses frames: it sees what the provider said."""

from __future__ import annotations

import itertools
import json
from typing import Any

import openai
import pytest

import unbroken
from tests.support.bodies import Answer, ToolCall, body, content_type, tokens_of
from tests.support.faultserver import FaultServer, Reply

D = "openai-responses"
ANSWER = Answer(
    tokens=tokens_of("One two, three four five. Six! 🚀"),
    tools=(ToolCall(name="weather", fragments=('{"city":', ' "Par', 'is"}')),),
)
SENT = [bytes(raw) for raw in body(D, ANSWER)]


def kind_of(raw: bytes) -> str:
    return str(json.loads(raw.partition(b"data: ")[2])["type"])


def at(kind: str) -> list[int]:
    return [n for n, raw in enumerate(SENT) if kind_of(raw) == f"response.{kind}"]


TEXTS, ARGUMENTS = at("output_text.delta"), at("function_call_arguments.delta")

GONE: dict[str, set[int]] = {
    "the first delta": {TEXTS[0]},
    "a delta": {TEXTS[2]},
    "the last delta": {TEXTS[-1]},
    "several numbers": set(TEXTS[1:4]),
    "every delta": set(TEXTS),
    "several gaps": {TEXTS[0], TEXTS[2], TEXTS[-1]},
    "the first arguments": {ARGUMENTS[0]},
    "some arguments": {ARGUMENTS[1]},
    "the last arguments": {ARGUMENTS[-1]},
    "all arguments": set(ARGUMENTS),
    "text and arguments": {TEXTS[1], ARGUMENTS[1]},
    "the repeated text": set(at("output_text.done")),
    "the end of the text": {TEXTS[-1], *at("output_text.done"), *at("content_part.done")},
    "openings": set(at("output_item.added")) | set(at("content_part.added")),
    "all between the texts and the arguments": set(range(TEXTS[-1], ARGUMENTS[0] + 1)),
}


def client(url: str, outcomes: list[Any], **options: Any) -> openai.OpenAI:
    http = unbroken.http_client(
        options=unbroken.Options(heals_always=10_000, **options), on_outcome=outcomes.append
    )
    return openai.OpenAI(api_key="k", base_url=f"{url}/v1", http_client=http, max_retries=0)


def reply(frames: list[bytes]) -> Reply:
    return Reply(headers={"content-type": content_type(D)}, pieces=frames)


def by_create(sdk: openai.OpenAI) -> tuple[str, str]:
    """Return text and arguments as a loop over the events puts them together."""
    text, arguments = "", ""
    for event in sdk.responses.create(model="m", input="hi", stream=True):
        if event.type == "response.output_text.delta":
            text += event.delta
        elif event.type == "response.function_call_arguments.delta":
            arguments += event.delta
    return text, arguments


def by_helper(sdk: openai.OpenAI) -> tuple[str, str]:
    """Return them as the SDK's helper does; it refuses a broken lifecycle."""
    with sdk.responses.stream(model="m", input="hi") as stream:
        snapshots = [(e.type, e.snapshot) for e in stream if hasattr(e, "snapshot")]
        final = stream.get_final_response()
    last = dict(snapshots)
    text = last.get("response.output_text.delta", "")
    arguments = last.get("response.function_call_arguments.delta", "")
    calls = [item.arguments for item in final.output if item.type == "function_call"]
    assert (final.output_text, calls) == (text, [arguments])
    return text, arguments


BOTH = pytest.mark.parametrize("read", [by_create, by_helper])


@BOTH
@pytest.mark.parametrize("gone", GONE)
def test_the_sdk_sees_what_the_provider_said(gone, read):
    frames = [raw for n, raw in enumerate(SENT) if n not in GONE[gone]]
    outcomes: list[Any] = []
    with FaultServer(reply(frames)) as server, client(server.url, outcomes) as sdk:
        assert read(sdk) == (ANSWER.text, '{"city": "Paris"}')
        assert len(server.requests) == 1, "nothing was asked for again"
    (outcome,) = outcomes
    assert outcome.status == "complete"
    assert outcome.text == ANSWER.text
    assert outcome.tool_calls[0].arguments == '{"city": "Paris"}'
    assert {fault.severity for fault in outcome.faults} == {"warning"}
    assert all("repaired from" in fault.detail for fault in outcome.faults)


@BOTH
@pytest.mark.parametrize("gone", [TEXTS[2], ARGUMENTS[1]])
def test_others_may_swap_and_repeat_around_the_gap(gone, read):
    frames = [raw for n, raw in enumerate(SENT) if n != gone]
    for shift in range(-3, 3):
        moved = list(frames)
        moved[gone + shift], moved[gone + shift + 1] = moved[gone + shift + 1], moved[gone + shift]
        moved.insert(gone, moved[gone - 1])
        outcomes: list[Any] = []
        with FaultServer(reply(moved)) as server, client(server.url, outcomes) as sdk:
            assert read(sdk) == (ANSWER.text, '{"city": "Paris"}')


@pytest.mark.parametrize("gone", [TEXTS[2], TEXTS[-1], ARGUMENTS[1]])
def test_cut_behind_the_gap_it_is_an_error_and_a_prefix(gone):
    frames = [raw for n, raw in enumerate(SENT) if n != gone]
    for cut in range(gone, len(frames)):
        outcomes: list[Any] = []
        with (
            FaultServer(reply(frames[:cut])) as server,
            client(server.url, outcomes, rungs=()) as sdk,
        ):
            text = ""
            with pytest.raises(openai.APIConnectionError) as raised:  # noqa: PT012
                for event in sdk.responses.create(model="m", input="hi", stream=True):
                    if event.type == "response.output_text.delta":
                        text += event.delta
            assert ANSWER.text.startswith(text)
            outcome = unbroken.outcome_of(raised.value)
            assert outcome is not None
            assert outcome.status == "failed"
            assert outcome.text == text


def test_without_us_the_same_stream_is_a_short_answer_and_no_error():
    frames = [raw for n, raw in enumerate(SENT) if n not in GONE["a delta"]]
    with (
        FaultServer(reply(frames)) as server,
        openai.OpenAI(api_key="k", base_url=f"{server.url}/v1", max_retries=0) as sdk,
    ):
        text, _ = by_create(sdk)
    assert text != ANSWER.text


@pytest.mark.parametrize("gone", [*itertools.combinations(range(len(SENT) - 1), 2)][::6])
def test_any_two_frames_of_a_sample(gone):
    frames = [raw for n, raw in enumerate(SENT) if n not in gone]
    with FaultServer(reply(frames)) as server, client(server.url, []) as sdk:
        assert by_helper(sdk) == (ANSWER.text, '{"city": "Paris"}')
