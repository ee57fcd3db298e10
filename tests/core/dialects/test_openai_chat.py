"""OpenAI Chat Completions and its kin: what frames mean, and spliced bodies under the SDK."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import openai
import pytest

from tests.core.dialects.helpers import (
    calls_of,
    decode,
    proven,
    read,
    request,
    splice,
    until,
)
from unbroken.core.dialects import by_name, recognise_request
from unbroken.core.dialects.base import Answer, AnswerCall, MalformedPayloadError
from unbroken.core.events import (
    End,
    Finish,
    Open,
    Other,
    ProviderError,
    Reasoning,
    Refusal,
    Start,
    Text,
    ToolCall,
    UsageReport,
)

DIALECT = by_name("openai-chat")
URL = "https://api.openai.com/v1/chat/completions"
PIECES = ("One ", "two ", "three ", "four ", "five.")
WHOLE = "".join(PIECES)
CALL = AnswerCall(name="look", arguments=('{"at": ', '"it"}'), id="call_a")


def raw(value: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode()


def said(finish: str | None = None, index: int = 0, **delta: Any) -> bytes:
    return raw({"id": "c", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]})


def only(*frames: bytes) -> list[Any]:
    """The events of frames after the first, so that every test is spared the start."""
    return read(DIALECT, b"".join([said(role="assistant"), *frames])).events[2:]


def received(*frames: bytes) -> Any:
    return read(DIALECT, b"".join(frames)).received


def call(**fields: Any) -> bytes:
    return said(tool_calls=[fields])


def answer(*pieces: str, **fields: Any) -> list[bytes]:
    return DIALECT.encode(Answer(text=pieces, **{"usage": (10, 5), **fields}))


def sdk_reads(body: bytes) -> Any:
    """Return the completion that the SDK's own accumulator makes of a body."""
    transport = httpx2.MockTransport(
        lambda _: httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)
    )
    with (
        httpx2.Client(transport=transport) as http,
        openai.OpenAI(api_key="k", http_client=http, max_retries=0) as client,
        client.chat.completions.stream(
            model="m", messages=[{"role": "user", "content": "hi"}]
        ) as stream,
    ):
        return stream.get_final_completion()


# Reading -----------------------------------------------------------------------------------


def test_a_whole_answer_means_this():
    body = DIALECT.encode(
        Answer(text=("Hi", "!"), reasoning=("hm",), calls=(CALL,), finish="tool-calls",
               usage=(7, 3), id="c1", model="g")
    )  # fmt: skip
    assert read(DIALECT, body).events == [
        Start("c1", "g"), Open("other"), Reasoning("hm"), Text("Hi"), Text("!"),
        ToolCall(0, id="call_a", name="look"), ToolCall(0, '{"at": '), ToolCall(0, '"it"}'),
        Finish("tool_calls", "tool-calls"), UsageReport(7, 3), End("[DONE]"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "payload",
    [
        {"choices": []}, {"choices": None}, {}, {"choices": [{}]}, {"choices": [{"delta": None}]},
        {"choices": [{"delta": {}}]}, {"choices": [{"delta": {"content": None}}]},
        {"choices": [{"delta": {"content": ""}, "finish_reason": ""}]}, {"choices": [7]},
    ],
    ids=json.dumps,
)  # fmt: skip
def test_frames_that_say_nothing(payload):
    assert only(raw(payload)) == []


def test_content_as_a_list_of_parts():
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}], "closed": True}
    parts = [thinking, {"type": "text", "text": "1"}, {"type": "image_url"}]
    assert only(said(content=parts)) == [
        Reasoning("hm"), Text("1"), Other("content part image_url", content=True),
    ]  # fmt: skip


def test_reasoning_under_two_names_is_told_once_and_refusal_apart():
    frame = said(reasoning="a", reasoning_content="a", refusal="no", content="x")
    assert only(frame) == [Reasoning("a"), Text("x"), Refusal("no")]


def test_content_on_the_finish_frame_and_a_finish_told_twice():
    frames = [said("stop", content="last"), said("stop", content="")]
    assert only(*frames) == [Text("last"), Finish("stop", "stop"), Finish("stop", "stop")]


def test_choices_interleave_and_each_owes_its_finish():
    frames = [
        said(content="a"),
        said(index=1, content="b"),
        said("stop"),
        said(index=1, content="c"),
    ]
    seen = read(DIALECT, b"".join(frames))
    assert seen.received.texts == {0: "a", 1: "bc"}
    assert not proven(DIALECT, seen.events, choices=2)
    assert proven(DIALECT, [*seen.events, Finish("stop", "stop", 1)], choices=2)


def test_the_last_marker_alone_proves_nothing():
    assert not proven(DIALECT, only(said(content="x"), b"data: [DONE]\n\n"))
    assert only(b"data: [DONE] \n\n") == [End("[DONE]")]


def test_calls_without_an_index_are_told_apart_by_their_ids():
    got = received(
        call(id="x", function={"name": "f", "arguments": '{"a": '}),
        call(id="x", function={"arguments": "1}"}),
        call(id="y", function={"name": "f", "arguments": "{}"}),
    )
    assert calls_of(got) == [("f", {"a": 1}), ("f", {})]


def test_calls_that_are_all_numbered_0_are_told_apart_by_their_ids():
    got = received(
        call(index=0, id="x", function={"name": "f", "arguments": '{"a": 1}'}),
        call(index=0, id="y", function={"name": "g", "arguments": '{"b"'}),
        call(index=0, function={"arguments": ": 2}"}),
    )
    assert calls_of(got) == [("f", {"a": 1}), ("g", {"b": 2})]


def test_a_call_whose_opening_is_repeated_is_one_and_null_pieces_are_nothing():
    opening = call(index=0, id="x", type="function", function={"name": "f", "arguments": ""})
    got = received(
        opening,
        opening,
        call(index=0, id=None, type=None, function={"name": None, "arguments": None}),
        call(index=0, function={"arguments": "{}"}),
    )
    assert calls_of(got) == [("f", {})]


def test_custom_and_old_function_calls():
    assert only(call(index=0, id="x", custom={"name": "f", "input": "any"})) == [
        ToolCall(0, "any", id="x", name="f", kind="custom")
    ]
    assert only(said(function_call={"name": "f", "arguments": "{}"})) == [
        ToolCall(0, "{}", name="f")
    ]


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        ({"error": {"message": "m", "type": "server"}}, ProviderError("server", "", "m")),
        ({"choices": [], "x_groq": {"error": {"message": "m"}}}, ProviderError(message="m")),
        (
            {"error": {"message": "m", "code": 502, "metadata": {"error_type": "server"}},
             "choices": [{"delta": {}, "finish_reason": "error"}]},
            ProviderError("server", "502", "m"),
        ),
        ({"object": "error", "message": "m", "code": 400}, ProviderError("", "400", "m", False)),
    ],
)  # fmt: skip
def test_errors(frame, error):
    assert only(raw(frame)) == [error]


def test_an_error_written_as_an_unknown_field_is_found():
    line = b'error: {"code": 500, "message": "m", "type": "server_error"}\n\n'
    assert only(line) == [ProviderError("server_error", "500", "m")]


def test_payloads_that_are_not_one_object():
    with pytest.raises(MalformedPayloadError):
        only(b"data: {}{}\n\n")


def test_no_cut_of_a_whole_answer_is_proven_before_its_finish():
    body = b"".join(answer(*PIECES, calls=(CALL,), finish="tool-calls"))
    finish = body.index(b'"finish_reason":"tool_calls"')
    for cut in range(len(body)):
        seen = read(DIALECT, body[:cut])
        assert WHOLE.startswith(seen.received.text)
        assert not proven(DIALECT, seen.events) or cut > finish


# Requests --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/v1/chat/completions", "/openai/deployments/d/chat/completions", "/v1/agents/completions",
     "/v1/fim/completions"],
)  # fmt: skip
def test_recognition(path):
    assert recognise_request(request(f"https://x.example{path}?api-version=1", {})) is DIALECT


USER = {"role": "user", "content": "hi"}


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (None, [{"role": "assistant", "content": "part"}]),
        ({"content": "{"}, [{"role": "assistant", "content": "{part"}]),
        (
            {"content": [{"type": "text", "text": "{"}]},
            [{"role": "assistant", "content": [{"type": "text", "text": "{part"}]}],
        ),
        (
            {"content": None, "tool_calls": [{}]},
            [
                {"role": "assistant", "content": None, "tool_calls": [{}]},
                {"role": "assistant", "content": "part"},
            ],
        ),
    ],
)
def test_prefill_and_user_turn_go_on_in_the_turn_that_the_request_began(last, expected):
    messages = [USER, *([{"role": "assistant", **last}] if last else [])]
    asked = request(URL, {"messages": messages})
    extra = {"body": {"continue_final_message": True}, "message": {"prefix": True}}
    again = DIALECT.prefill(asked, "part", extra)
    assert again is not None
    marked = [*expected[:-1], {**expected[-1], "prefix": True}]
    assert again.json == {"messages": [USER, *marked], "continue_final_message": True}
    again = DIALECT.user_turn(asked, "part", "go on")
    assert again is not None
    assert again.json["messages"] == [USER, *expected, {"role": "user", "content": "go on"}]


# Splicing --------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", range(1, len(PIECES) + 1))
def test_cut_in_text_and_continued(cut):
    first = until(DIALECT, answer(*PIECES), cut)
    later = answer(*PIECES[cut:], " More.", id="c2", reasoning=("secret",))
    body = splice(DIALECT, first, later, rung="prefill")
    assert body.startswith(b"".join(first))
    assert b"secret" not in body
    completion = sdk_reads(body)
    assert completion.choices[0].message.content == WHOLE + " More."
    assert (completion.id, completion.choices[0].finish_reason) == ("answer-1", "stop")


@pytest.mark.parametrize("cut", range(1, len(PIECES) + 1))
def test_cut_in_text_and_replayed_with_a_call(cut):
    whole = answer(*PIECES, calls=(CALL,), finish="tool-calls")
    done = len("".join(PIECES[:cut]))
    body = splice(DIALECT, until(DIALECT, whole, cut), whole, rung="replay", repeated=done)
    assert sdk_reads(body).to_dict() == sdk_reads(b"".join(whole)).to_dict()


def test_a_reader_that_goes_on_after_a_splice_numbers_the_next_call_anew():
    """The machine rebuilds a reader from the skeleton: it must remember the calls."""
    before = received(*answer("x", calls=(CALL,), finish="tool-calls")[:-3])
    reader = DIALECT.reader()
    for _, payload in before.skeleton:
        for block in decode(DIALECT, b"data: " + payload + b"\n\n"):
            reader.read(block)
    (block,) = decode(DIALECT, call(index=1, id="b", function={"name": "g", "arguments": "{}"}))
    (event,) = reader.read(block)
    assert event == ToolCall(1, "{}", id="b", name="g")


def test_half_a_surrogate_pair_can_be_written():
    first = until(DIALECT, answer(*PIECES), 3)
    later = [said(role="assistant"), said(content="\ud83d"), said(content="\ude00"), said("stop")]
    body = splice(DIALECT, first, later, rung="prefill")
    assert read(DIALECT, body).received.text == "".join(PIECES[:3]) + "😀"


def test_a_block_that_is_not_json_passes_as_it_is():
    splicer = DIALECT.splicer(received(), rung="prefill", facts=DIALECT.facts(request(URL, {})))
    (block,) = decode(DIALECT, b"error: out of memory\n\n")
    assert splicer.splice(block, [ProviderError(message="m")], "") == [block.raw]


@pytest.mark.parametrize(
    ("rung", "later", "expected"),
    [("prefill", (14, 5), (10, 9)), ("prefill", (8, 5), (8, 5)), ("user-turn", (30, 5), (30, 5))],
)
def test_usage_counts_the_prompt_once(rung, later, expected):
    first = answer(*PIECES)[:4]
    seen = received(*first, raw({"choices": [], "usage": {"prompt_tokens": 10}}))
    splicer = DIALECT.splicer(seen, rung=rung, facts=DIALECT.facts(request(URL, {})))
    (block,) = decode(DIALECT, answer("x", usage=later)[-2])
    (out,) = splicer.splice(block, DIALECT.reader().read(block), "")
    usage = json.loads(out.removeprefix(b"data: "))["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == expected
