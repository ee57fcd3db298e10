"""A target's answer in the consumer's dialect: for every pair, by our reader and by the SDK."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.core.dialects.helpers import calls_of, proven, read
from tests.support import bodies, drives
from unbroken.core.attempt import Attempt
from unbroken.core.dialects import by_name
from unbroken.core.dialects.base import Answer, AnswerCall
from unbroken.core.events import (
    End,
    Event,
    Finish,
    Other,
    ProviderError,
    Reasoning,
    Start,
    Text,
    ToolCall,
    UsageReport,
)
from unbroken.core.frames import Frame
from unbroken.core.received import Usage
from unbroken.core.recovery.translate import Translation
from unbroken.core.request import Request
from unbroken.core.verdict import check

NAMES = bodies.DIALECTS
PAIRS = [(home, target) for home in NAMES for target in NAMES if home != target]
FRAME = Frame("message", b"{}", "", None, b"", 0)
WORDS = ("The sea ", "is salt: ", "rivers ", "bring it. \N{GRINNING FACE}")
CALLS = (
    bodies.ToolCall(name="weather", fragments=('{"city": ', '"Pa', 'ris"}'), id="call_a"),
    bodies.ToolCall(name="clock", fragments=("{}",), id="call_b"),
)
ANSWERS = {
    "text": bodies.Answer(tokens=WORDS),
    "text-and-calls": bodies.Answer(tokens=WORDS, tools=CALLS),
    "calls": bodies.Answer(tools=CALLS),
    "reasoning": bodies.Answer(tokens=WORDS, reasoning=("Hm. ", "Salt.")),
    "limit": bodies.Answer(tokens=WORDS, finish="length"),
    "filter": bodies.Answer(tokens=WORDS, finish="filter"),
}
MEANINGS = {"stop": "stop", "tool": "tool-calls", "length": "limit", "filter": "filter"}
# Ollama itself has no word for a filter, so no target of its kind can say it.
CASES = [
    (home, target, name)
    for home, target in PAIRS
    for name in ANSWERS
    if not (target == "ollama" and name == "filter")
]
ASKED = Request(
    method="POST",
    url="http://home/",
    body=b'{"stream":true,"stream_options":{"include_usage":true}}',
)


def tell(home: str, target: str, frames: Sequence[bytes], **more: Any) -> list[bytes]:
    """Return the frames of the home dialect for an attempt that ends after these frames."""
    attempt = Attempt(by_name(target))
    translation = Translation(by_name(home), by_name(target), **{"asked": ASKED, **more})
    steps = [step for raw in frames for step in attempt.receive(raw)]
    pieces = []
    for step in [*steps, *attempt.close("eof")]:
        pieces += translation.accept(step.frame, step.events)
        assert translation.diverged is None
    if attempt.fatal is None:
        pieces += translation.finish()
    assert translation.diverged is None
    assert translation.proven == bool(pieces)
    # What a piece is said to mean is what the home dialect reads in its bytes.
    meant = [event for piece in pieces for event in piece.events]
    assert meant == read(by_name(home), [piece.raw for piece in pieces]).events
    return [piece.raw for piece in pieces]


def finish_of(events: Sequence[Event]) -> Finish | None:
    return next((event for event in reversed(events) if type(event) is Finish), None)


def counted(name: str, usage: Usage) -> tuple[int, int]:
    """Return input and output; Gemini alone counts its thinking beside the output."""
    assert usage.input
    assert usage.output is not None
    thought = (usage.reasoning or 0) if name == "gemini" else 0
    return usage.input, usage.output + thought


@pytest.mark.parametrize(("home", "target", "name"), CASES)
def test_an_answer_reads_the_same_in_the_other_dialect(home, target, name):
    answer = ANSWERS[name]
    told = tell(home, target, bodies.body(target, answer))
    seen = read(by_name(home), told)
    assert seen.received.text == answer.text
    assert calls_of(seen.received) == [(c.name, json.loads(c.arguments)) for c in answer.tools]
    assert all(call.complete and call.id for call in seen.received.calls.values())
    finish = finish_of(seen.events)
    assert finish is not None
    assert finish.meaning == MEANINGS[answer.why]
    assert proven(by_name(home), seen.events)
    there = read(by_name(target), bodies.body(target, answer)).received.usage
    assert counted(home, seen.received.usage) == counted(target, there)
    verdict = check(b"".join(told), dialect=home)
    assert verdict.status in {"stop": {"complete"}, "tool": {"complete"}, "length": {"limited"},
                              "filter": {"filtered"}}[answer.why]  # fmt: skip
    assert not [fault for fault in verdict.faults if fault.severity != "note"]


@pytest.mark.parametrize(("home", "target"), PAIRS)
def test_our_own_encoder_s_answers_are_told_as_well(home, target):
    calls = (AnswerCall(name="weather", arguments=('{"city":', '"Paris"}'), id="call_a"),)
    answer = Answer(text=WORDS, calls=calls, finish="tool-calls", usage=(7, 9), id="x-1")
    told = tell(home, target, by_name(target).encode(answer))
    seen = read(by_name(home), told)
    assert seen.received.text == "".join(WORDS)
    assert calls_of(seen.received) == [("weather", {"city": "Paris"})]
    assert proven(by_name(home), seen.events)
    assert seen.received.id in ("x-1", "ollama-0", "")
    assert seen.received.model == "a-model"


@pytest.mark.parametrize(("home", "target", "name"), CASES)
def test_a_target_that_is_cut_never_ends_the_stream(home, target, name):
    frames = bodies.body(target, ANSWERS[name])
    whole = b"".join(tell(home, target, frames))
    for cut in range(len(frames)):
        attempt = Attempt(by_name(target))
        steps = [step for raw in frames[:cut] for step in attempt.receive(raw)]
        steps += attempt.close("eof")
        told = tell(home, target, frames[:cut])
        events = read(by_name(home), told).events
        if attempt.fatal is not None:
            assert finish_of(events) is None, f"cut after {cut} frames"
            assert b"".join(told) == whole[: len(b"".join(told))]
            assert not proven(by_name(home), events)
        else:  # only the last marker is missing: nothing of the answer is
            assert any(type(event) is Finish for step in steps for event in step.events)
            assert proven(by_name(home), events)
            assert by_name(home).last_marker not in ("[DONE]", "message_stop") or (
                "End" not in read(by_name(home), told).kinds
            )


@pytest.mark.parametrize("drive", [n for n in drives.DRIVES if "async" not in n])
@pytest.mark.parametrize("target", NAMES)
def test_the_vendor_s_sdk_takes_it(drive, target):
    spec = drives.DRIVES[drive]
    if spec.dialect == target:
        pytest.skip("no translation")
    library = importlib.import_module(spec.library)
    for name, answer in ANSWERS.items():
        if target == "ollama" and name == "filter":
            continue
        if drive.startswith("openai") and drive.endswith("helper") and name in ("limit", "filter"):
            continue  # these raise on any such end, OpenAI's own too
        told = b"".join(tell(spec.dialect, target, bodies.body(target, answer)))

        def serve(_: Any, told: bytes = told, dialect: str = spec.dialect) -> Any:
            kind = {"content-type": bodies.content_type(dialect)}
            return library.Response(200, content=told, headers=kind)

        drive_ = drives.run(drive, "http://test", transport=library.MockTransport(serve))
        assert drive_.error is None, (name, drive_.error)
        assert not drive_.odd
        assert drive_.text == answer.text, name
        if drive_.final_text is not None:
            assert drive_.final_text == answer.text, name
        tools = [(t["name"], json.loads(t["arguments"] or "{}")) for t in drive_.tools]
        assert tools == [(c.name, json.loads(c.arguments)) for c in answer.tools], name
        assert drive_.finish, name


def say(home: str, *events: Event, target: str = "openai-chat", **more: Any) -> Translation:
    translation = Translation(by_name(home), by_name(target), **more)
    for event in events:
        translation.accept(FRAME, [event])
    return translation


@pytest.mark.parametrize("home", NAMES)
@pytest.mark.parametrize(
    ("event", "why"),
    [
        (Other("image", content=True), "other than text"),
        (Finish("pause_turn", "pause"), "a pause"),
        (Finish("error", "fault"), "a fault"),
        (Text("x", 1), "more than one answer"),
        (ToolCall(0, "x", name="shell", kind="custom"), "custom tool"),
    ],
)
def test_what_has_no_place_ends_it(home, event, why):
    translation = say(home, Start("1", "m"), Text("a"), event)
    assert why in (translation.diverged or "")
    assert translation.accept(FRAME, [Text("more")]) == []
    assert translation.finish() == []


@pytest.mark.parametrize("home", ["gemini", "ollama"])
def test_arguments_that_are_no_object_cannot_be_told_where_an_object_is_asked(home):
    broken = say(home, ToolCall(0, '{"a":', name="f", whole=True))
    assert "not an object" in (broken.diverged or "")


@pytest.mark.parametrize("home", ["openai-chat", "anthropic-messages", "openai-responses"])
def test_arguments_are_told_as_the_model_wrote_them(home):
    translation = Translation(by_name(home), by_name("ollama"))
    call = ToolCall(0, '{"a": oops', id="a", name="f", whole=True)
    pieces = translation.accept(FRAME, [call, Finish("stop", "tool-calls"), End("done")])
    seen = read(by_name(home), [piece.raw for piece in pieces])
    assert [call.arguments for call in seen.received.calls.values()] == ['{"a": oops']


@pytest.mark.parametrize("home", NAMES)
@pytest.mark.parametrize("meaning", ["limit", "filter"])
def test_a_call_that_the_end_cut_never_looks_whole(home, meaning):
    translation = Translation(by_name(home), by_name("openai-chat"))
    pieces = translation.accept(
        FRAME,
        [
            Start("1", "m"),
            ToolCall(0, "{}", id="a", name="clock"),
            ToolCall(1, '{"city": "Pa', id="b", name="weather"),
            Finish("cut", meaning),
            End("[DONE]"),
        ],
    )
    seen = read(by_name(home), [piece.raw for piece in pieces])
    calls = list(seen.received.calls.values())
    assert calls[0].name == "clock"
    assert calls[0].complete
    assert not [call for call in calls if call.name == "weather" and call.complete]
    assert finish_of(seen.events).meaning == meaning
    if home == "anthropic-messages":  # the SDK runs a tool when its block is closed
        assert seen.kinds.count("Open") == seen.kinds.count("Close") + 1


@pytest.mark.parametrize(
    ("home", "shown"),
    [("openai-chat", True), ("gemini", True), ("ollama", True),
     ("anthropic-messages", False), ("openai-responses", False)],
)  # fmt: skip
def test_thinking_is_told_only_where_the_provider_takes_it_back(home, shown):
    translation = Translation(by_name(home), by_name("openai-chat"))
    pieces = translation.accept(FRAME, [Start("1", "m"), Reasoning("Hm."), Text("Yes.")])
    received = read(by_name(home), [piece.raw for piece in pieces]).received
    assert received.reasoning == ("Hm." if shown else "")
    assert received.text == "Yes."


def test_gemini_s_own_word_stands_for_the_signature_of_another_model_s_call():
    told = tell("gemini", "openai-chat", bodies.body("openai-chat", ANSWERS["calls"]))
    parts = [json.loads(raw[6:])["candidates"][0]["content"]["parts"][0] for raw in told]
    signatures = [part.get("thoughtSignature") for part in parts if "functionCall" in part]
    assert signatures == ["skip_thought_signature_validator"] * 2


def test_a_frame_without_a_choice_comes_only_where_it_was_asked_for():
    frames = bodies.body("anthropic-messages", ANSWERS["text"])
    for asked, empty in ((ASKED, 1), (Request(method="POST", url=""), 0), (None, 0)):
        told = tell("openai-chat", "anthropic-messages", frames, asked=asked)
        payloads = [json.loads(raw[6:]) for raw in told[:-1]]
        assert sum(payload["choices"] == [] for payload in payloads) == empty
        assert payloads[-1]["usage"]["completion_tokens"] == ANSWERS["text"].output_tokens


def test_an_id_that_the_provider_would_refuse_is_not_written():
    told = say("anthropic-messages", Start("1", "m"))
    pieces = told.accept(FRAME, [ToolCall(0, "{}", id="functions.get:0", name="f", whole=True)])
    pieces += told.accept(FRAME, [ToolCall(1, "{}", id="fine-1", name="f", whole=True)])
    calls = read(by_name("anthropic-messages"), [p.raw for p in pieces]).received.calls
    ids = [call.id for call in calls.values()]
    assert ids[0].startswith("call_")
    assert ids[0].replace("_", "").isalnum()
    assert ids[1] == "fine-1"


@pytest.mark.parametrize(
    ("home", "target", "told", "expected"),
    [
        # Gemini counts thinking apart, Anthropic what it read from its cache.
        ("openai-chat", "gemini", UsageReport(100, 5, 60, 20), Usage(input=100, output=25)),
        ("gemini", "openai-chat", UsageReport(100, 25, 60, 20), Usage(input=100, output=5)),
        ("openai-chat", "anthropic-messages", UsageReport(40, 5, 60), Usage(input=100, output=5)),
        ("anthropic-messages", "openai-chat", UsageReport(100, 5, 60), Usage(input=40, output=5)),
        ("openai-chat", "ollama", UsageReport(100, 5), Usage(input=100, output=5)),
    ],
)
def test_tokens_are_counted_as_the_home_dialect_counts(home, target, told, expected):
    translation = say(home, Start("1", "m"), Text("x"), Finish("stop", "stop"), target=target)
    pieces = translation.accept(FRAME, [told])
    translation._target = by_name("gemini")  # without a marker: its end is the body's
    pieces += translation.finish()
    usage = read(by_name(home), [piece.raw for piece in pieces]).received.usage
    assert (usage.input, usage.output) == (expected.input, expected.output)


@pytest.mark.parametrize("home", ["openai-responses", "gemini", "ollama"])
def test_what_must_be_remembered_has_a_limit(home):
    piece = "x" * 100
    events = [Start("1", "m"), ToolCall(0, name="f")] + [ToolCall(0, piece)] * 20
    assert "1000 characters" in (say(home, *events, limit_bytes=1000).diverged or "")
    assert say("anthropic-messages", *events, limit_bytes=1000).diverged is None


def test_an_error_is_not_told():
    error = b'data: {"error":{"message":"overloaded","type":"server_error"}}\n\n'
    frames = [*bodies.body("openai-chat", ANSWERS["text"])[:3], error]
    told = b"".join(tell("anthropic-messages", "openai-chat", frames))
    assert b"overloaded" not in told
    assert finish_of(read(by_name("anthropic-messages"), told).events) is None


def test_an_error_after_the_finish_leaves_the_stream_without_an_end():
    # vLLM and others send one, and then their last marker.
    frames = bodies.body("openai-chat", bodies.Answer(tokens=WORDS, usage=False))
    error = b'data: {"error":{"message":"boom","type":"server_error"}}\n\n'
    told = tell("anthropic-messages", "openai-chat", [*frames[:-1], error, frames[-1]])
    assert finish_of(read(by_name("anthropic-messages"), told).events) is None


def test_what_stands_in_one_frame_with_an_error_is_not_told():
    translation = say("openai-chat", Start("1", "m"), Text("a"))
    error = ProviderError(type="server_error")
    assert translation.accept(FRAME, [error, Finish("stop", "stop"), End("[DONE]")]) == []
    assert translation.finish() == []
