"""Responses: what frames mean, and the requests that ask for them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tests.core.dialects.helpers import calls_of, decode, proven, read, request
from tests.core.dialects.responses_kit import CALLS, DIALECT, URL, WORDS, answer, frame, payloads
from tests.support import bodies
from unbroken.core.dialects.base import Cursor, MalformedPayloadError, Place
from unbroken.core.events import (
    Close,
    End,
    Finish,
    Number,
    Open,
    Other,
    Ping,
    ProviderError,
    Reasoning,
    Refusal,
    Start,
    Text,
    ToolCall,
    UsageReport,
    Whole,
)
from unbroken.core.frames import Frame
from unbroken.core.request import Request


def meaning(*payloads: Any) -> list[Any]:
    reader = DIALECT.reader()
    return [event for payload in payloads for event in reader.read(frame(payload))]


# Meanings ----------------------------------------------------------------------------------


def test_a_text_delta_is_a_number_and_text():
    delta = {"type": "response.output_text.delta", "sequence_number": 4, "item_id": "x",
             "output_index": 1, "content_index": 0, "delta": "hi", "logprobs": []}  # fmt: skip
    assert meaning(delta) == [Number(4), Text("hi", 0, (1, 0))]
    assert meaning({**delta, "delta": ""}) == [Number(4)]
    del delta["sequence_number"]
    assert meaning(delta) == [Text("hi", 0, (1, 0))]


def test_the_fast_path_says_what_the_slow_one_says():
    whole = b"".join(answer("a"))
    fast, slow = DIALECT.reader(), DIALECT.reader()
    for each in decode(DIALECT, whole):
        assert fast.read(each) == slow._read_any(each)


def test_half_a_surrogate_pair_is_text():
    start = b'{"type":"response.output_text.delta","output_index":0,"content_index":0,'
    raw = start + b'"sequence_number":1,"delta":"\\ud83d"}'
    assert DIALECT.reader().read(frame(raw)) == [Number(1), Text("\ud83d", 0, (0, 0))]


def test_a_whole_answer_in_events():
    seen = read(DIALECT, b"".join(answer("a", reasoning=("hm",), calls=CALLS)))
    got = seen.received
    assert got.text == "".join(WORDS)
    assert got.reasoning == "hm"
    assert calls_of(got) == [("weather", {"city": "Paris"}), ("clock", {})]
    assert [call.id for call in got.calls.values()] == ["call_a", "call_b"]
    assert list(got.calls) == [(0, 0), (0, 1)]
    assert got.open_blocks == {}
    assert got.usage.input == 7
    assert got.usage.output == 9
    assert got.finishes[0] == Finish("completed", "tool-calls")
    assert proven(DIALECT, seen.events)
    opened = [e.block for e in seen.events if type(e) is Open]
    assert opened == [(0, -1), (1, -1), (1, 0), (2, -1), (3, -1)]
    assert [e.block for e in seen.events if type(e) is Close] == [
        (0, -1), (1, 0), (1, -1), (2, -1), (3, -1)
    ]  # fmt: skip
    wholes = [e for e in seen.events if type(e) is Whole]
    assert [w.text for w in wholes] == ["".join(WORDS), '{"city":"Paris"}', "{}"]


@pytest.mark.parametrize(
    ("kind", "response", "expected"),
    [
        ("completed", {"status": "completed"}, Finish("completed", "stop")),
        ("completed", {}, Finish("completed", "stop")),
        (
            "incomplete",
            {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
            Finish("incomplete:max_output_tokens", "limit"),
        ),
        (
            "incomplete",
            {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}},
            Finish("incomplete:content_filter", "filter"),
        ),
        (
            "incomplete",
            {"incomplete_details": {"reason": "steered"}},
            Finish("incomplete:steered", "limit"),
        ),
        # The status is the answer's own; the name of the frame is only its wrapping.
        ("completed", {"status": "incomplete"}, Finish("incomplete", "limit")),
    ],
)
def test_how_it_ended(kind, response, expected):
    got = meaning({"type": f"response.{kind}", "sequence_number": 9, "response": response})
    assert got == [Number(9), expected, End(f"response.{kind}")]


def test_usage_comes_with_the_end():
    usage = {"input_tokens": 3, "output_tokens": 4, "input_tokens_details": {"cached_tokens": 1},
             "output_tokens_details": {"reasoning_tokens": 2}}  # fmt: skip
    got = meaning({"type": "response.completed", "response": {"usage": usage}})
    assert UsageReport(3, 4, 1, 2) in got


@pytest.mark.parametrize(
    ("code", "retryable", "refused"),
    [
        ("server_error", True, False),
        ("rate_limit_exceeded", True, False),
        ("vector_store_timeout", True, False),
        ("invalid_prompt", False, False),
        ("image_too_large", False, False),
        ("bio_policy", False, True),
        ("image_content_policy_violation", False, True),
    ],
)
def test_a_failed_response_is_the_providers_error(code, retryable, refused):
    error = {"code": code, "message": "words"}
    response = {"status": "failed", "error": error}
    got = meaning({"type": "response.failed", "response": response})
    expected = ProviderError("", code, "words", retryable, refused)
    assert got == [expected, Finish("failed", "fault"), End("response.failed")]


def test_an_error_frame_in_both_shapes_is_told_once():
    flat = {"type": "error", "code": "server_error", "message": "m", "sequence_number": 3}
    nested = {"type": "error", "sequence_number": 3, "error": {"type": "", **flat}}
    nested["error"].pop("type")
    for shape in (flat, nested):
        failed = {"type": "response.failed", "sequence_number": 4,
                  "response": {"status": "failed", "error": {"code": "server_error"}}}  # fmt: skip
        got = meaning(shape, failed)
        assert [e for e in got if type(e) is ProviderError] == [
            ProviderError("", "server_error", "m")
        ]
        assert got[0] == Number(3)
        assert got[-1] == End("response.failed")


def test_cancelled_is_a_fault_that_is_not_tried_again():
    got = meaning({"type": "response.cancelled", "response": {"status": "cancelled"}})
    assert got[0] == ProviderError("", "cancelled", "", retryable=False)
    assert Finish("cancelled", "fault") in got


def test_a_bare_error_object_or_field_is_an_error():
    assert meaning({"error": {"code": "server_error", "message": "m"}}) == [
        ProviderError("", "server_error", "m")
    ]
    raw = b'error: {"code":500,"message":"m"}\n\n'
    block = Frame("message", b"", "", None, raw, 0, False, ('error: {"code":500,"message":"m"}',))
    assert DIALECT.reader().read(block) == [ProviderError("", "500", "m")]


def test_done_proves_nothing():
    body = b"".join(answer("a")[:-1])
    seen = read(DIALECT, body + b"data: [DONE]\n\n")
    assert seen.events[-1] == End("[DONE]")
    assert not proven(DIALECT, seen.events)
    assert proven(DIALECT, read(DIALECT, [*answer("a"), b"data: [DONE]\n\n"]).events)


def test_the_json_type_is_believed_before_the_events_name():
    delta = {"type": "response.output_text.delta", "output_index": 0, "content_index": 0,
             "sequence_number": 1, "delta": "hi"}  # fmt: skip
    reader = DIALECT.reader()
    assert reader.read(frame(delta, "response.refusal.delta")) == [Number(1), Text("hi", 0, (0, 0))]
    del delta["type"]
    assert reader.read(frame(delta, "response.refusal.delta")) == [
        Number(1), Refusal("hi", 0, (0, 0))
    ]  # fmt: skip


def test_item_ids_are_no_key():
    rotated = []
    for serial, payload in enumerate(payloads(b"".join(answer("a", calls=CALLS)))):
        if "item_id" in payload:
            payload["item_id"] = f"rotated_{serial}"
        if "item" in payload:
            payload["item"]["id"] = f"rotated_{serial}"
        rotated.append(bodies.sse_frame(payload))
    got = read(DIALECT, b"".join(rotated)).received
    assert got.text == "".join(WORDS)
    assert calls_of(got) == [("weather", {"city": "Paris"}), ("clock", {})]


def test_reasoning_in_its_forms():
    item = {"type": "reasoning", "id": "rs", "encrypted_content": "AAAA"}
    at = {"output_index": 0, "item_id": "rs"}
    got = meaning(
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.reasoning_summary_text.delta", **at, "summary_index": 0, "delta": "a"},
        {"type": "response.reasoning_text.delta", **at, "content_index": 0, "delta": "b"},
        {"type": "response.content_part.added", **at, "content_index": 0,
         "part": {"type": "reasoning_text", "text": ""}},
        {"type": "response.reasoning_text.delta", **at, "content_index": 0, "delta": "c"},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
    )  # fmt: skip
    assert got == [
        Open("reasoning", 0, (0, -1)),
        Reasoning("a", 0, (0, -1)),
        Reasoning("b", 0, (0, -1)),
        Open("reasoning", 0, (0, 0)),
        Reasoning("c", 0, (0, 0)),
        Reasoning("", 0, (0, -1), sealed=True),
        Close(0, (0, 0)),
        Close(0, (0, -1)),
    ]


def test_arguments_that_come_only_whole():
    item = {"type": "function_call", "id": "f", "call_id": "c", "name": "n"}
    added = {"type": "response.output_item.added", "output_index": 0,
             "item": {**item, "arguments": ""}}  # fmt: skip
    said = {"type": "response.function_call_arguments.done", "output_index": 0, "arguments": "{}"}
    done = {"type": "response.output_item.done", "output_index": 0,
            "item": {**item, "arguments": "{}"}}  # fmt: skip
    for body in ([added, said, done], [added, done], [done]):
        events = [e for e in meaning(*body) if type(e) is ToolCall]
        assert "".join(e.arguments for e in events) == "{}"
        assert events[0].name == "n"
        assert events[0].id == "c"
        assert [e.whole for e in events].count(True) == 1


def test_calls_of_other_kinds():
    def added(at: int, **item: Any) -> dict[str, Any]:
        return {"type": "response.output_item.added", "output_index": at, "item": item}

    got = meaning(
        added(0, type="mcp_call", id="mcp_1", name="ask"),
        added(1, type="custom_tool_call", id="ct_1", call_id="c1", name="sql"),
        {"type": "response.custom_tool_call_input.delta", "output_index": 1, "delta": "SELECT"},
        {"type": "response.custom_tool_call_input.done", "output_index": 1, "input": "SELECT"},
        added(2, type="web_search_call", id="ws_1"),
        {"type": "response.web_search_call.searching", "output_index": 2},
        added(3, type="mcp_approval_request", id="ap_1"),
    )
    assert got == [
        Open("tool", 0, (0, -1)),
        ToolCall(1000, block=(0, -1), id="mcp_1", name="ask", kind="server"),
        Open("tool", 0, (1, -1)),
        ToolCall(0, block=(1, -1), id="c1", name="sql", kind="custom"),
        ToolCall(0, "SELECT", block=(1, -1), kind="custom"),
        ToolCall(0, block=(1, -1), whole=True, kind="custom"),
        Whole("arguments", "SELECT", 0, (1, -1)),
        Other("response.custom_tool_call_input.done"),
        Open("other", 0, (2, -1)),
        Other("response.web_search_call.searching"),
        Open("other", 0, (3, -1)),
        Other("mcp_approval_request", content=True),
    ]


def test_a_call_that_the_application_carries_out_is_a_call():
    item = {"type": "local_shell_call", "id": "s", "call_id": "c", "action": {"command": ["ls"]}}
    got = meaning(
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": {"status": "completed"}},
    )
    assert ToolCall(
        0, '{"command":["ls"]}', block=(0, -1), id="c", whole=True, kind="custom"
    ) in got  # fmt: skip
    assert Finish("completed", "tool-calls") in got


def test_openings_that_are_left_out_or_listed_with_the_item():
    at = {"output_index": 0, "content_index": 0}
    item = {"type": "message", "content": [{"type": "output_text", "text": ""}]}
    got = meaning(
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.content_part.added", **at, "part": item["content"][0]},
        {"type": "response.output_text.delta", **at, "delta": "x"},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
    )
    assert got == [
        Open("text", 0, (0, -1)), Open("text", 0, (0, 0)), Text("x", 0, (0, 0)),
        Close(0, (0, 0)), Close(0, (0, -1)),
    ]  # fmt: skip


def test_a_resumed_stream_starts_where_it_starts():
    response = {"id": "resp_1", "model": "m"}
    got = meaning(
        {"type": "response.queued", "sequence_number": 1, "response": response},
        {"type": "response.in_progress", "sequence_number": 2, "response": response},
        {"type": "keepalive", "sequence_number": 3},
    )
    assert got == [
        Number(1), Start("resp_1", "m"), Number(2), Other("response.in_progress"), Number(3), Ping()
    ]  # fmt: skip


def test_what_is_not_one_object_is_malformed():
    for raw in (b"{", b'"text"', b"[1]", b"{}{}"):
        with pytest.raises(MalformedPayloadError):
            DIALECT.reader().read(frame(raw))
    assert DIALECT.reader().read(frame({"type": "response.new_thing"})) == [
        Other("response.new_thing")
    ]


@pytest.mark.parametrize("value", [None, 1, "x", [], [1], {"a": None}, True])
def test_no_shape_of_a_field_raises(value):
    keys = ("type", "response", "item", "part", "delta", "output_index", "content_index",
            "sequence_number", "error", "text", "arguments")  # fmt: skip
    for payload in payloads(b"".join(answer("a", reasoning=("hm",), calls=CALLS))):
        for key in keys:
            DIALECT.reader().read(frame({**payload, key: value}))


def test_a_fork_reads_on_alone():
    frames = decode(DIALECT, b"".join(answer("a", reasoning=("hm",), calls=CALLS)))
    for cut in range(len(frames)):
        reader = DIALECT.reader()
        for each in frames[:cut]:
            reader.read(each)
        fork = reader.fork()
        for each in frames[cut:]:
            assert fork.read(each) == reader.read(each)


# Requests ----------------------------------------------------------------------------------


def test_recognition():
    for path in ("/v1/responses", "/openai/v1/responses", "/backend-api/codex/responses",
                 "/v1/responses/resp_1"):  # fmt: skip
        assert DIALECT.recognises_path(path)
    for path in ("/v1/responses/resp_1/cancel", "/v1/chat/completions", "/v1/responses_x"):
        assert not DIALECT.recognises_path(path)
    assert DIALECT.recognises_frame(frame({"type": "response.created", "response": {}}))
    assert not DIALECT.recognises_frame(frame({"choices": [{"delta": {}}]}))
    assert DIALECT.wants_stream(request(URL, {"stream": True}))
    assert not DIALECT.wants_stream(request(URL, {"stream": False}))
    assert not DIALECT.wants_stream(request(URL + "/compact", {"stream": True}))
    again = request(URL + "/resp_1?stream=true&starting_after=4", {})
    assert not DIALECT.wants_stream(again)
    assert DIALECT.wants_stream(msgspec.structs.replace(again, method="GET"))


@pytest.mark.parametrize(
    ("body", "field", "value"),
    [
        ({}, "server_state", True),
        ({"store": False}, "server_state", False),
        ({"store": False, "previous_response_id": "r"}, "server_state", True),
        ({"store": False, "conversation": "c"}, "server_state", True),
        ({"conversation": {"id": "c"}}, "server_work", True),
        ({"background": True}, "server_work", True),
        ({"tools": [{"type": "function"}, {"type": "custom"}]}, "server_work", False),
        ({"tools": [{"type": "function"}, {"type": "mcp"}]}, "server_work", True),
        ({"temperature": 0}, "deterministic", True),
        ({"temperature": 1}, "deterministic", False),
        ({"text": {"format": {"type": "json_schema"}}}, "structured", True),
        ({"text": {"format": {"type": "text"}}}, "structured", False),
        ({"reasoning": {"effort": "low"}}, "thinking", True),
        ({"model": "m"}, "model", "m"),
    ],
)
def test_facts(body, field, value):
    assert getattr(DIALECT.facts(request(URL, body)), field) == value


def test_prefill_and_user_turn():
    part = {"type": "output_text", "text": "One two"}
    turn = {"role": "assistant", "content": [part]}
    got = DIALECT.prefill(request(URL, {"model": "m", "input": "hi"}), "One two", {})
    assert got is not None
    assert got.json == {"model": "m", "input": [{"role": "user", "content": "hi"}, turn]}
    got = DIALECT.user_turn(request(URL, {"input": [{"role": "user", "content": "hi"}]}),
                            "One two", "Go on.")  # fmt: skip
    assert got is not None
    assert got.json["input"][1] == turn
    assert got.json["input"][2] == {
        "role": "user", "content": [{"type": "input_text", "text": "Go on."}]
    }  # fmt: skip
    extra = {"body": {"continue_final_message": True}, "message": {"prefix": True}}
    got = DIALECT.prefill(request(URL, {"input": "hi"}), "One", extra)
    assert got is not None
    assert got.json["continue_final_message"] is True
    assert got.json["input"][-1]["prefix"] is True
    for body in ({}, {"input": []}, {"prompt": {"id": "p"}}):
        assert DIALECT.prefill(request(URL, body), "One", {}) is None
        assert DIALECT.user_turn(request(URL, body), "One", "Go on.") is None


@pytest.mark.parametrize(
    ("content", "joined"),
    [
        ("{", "{One"),
        ([{"type": "output_text", "text": "{"}], [{"type": "output_text", "text": "{One"}]),
    ],
)
def test_the_answer_goes_on_in_the_applications_own_begun_turn(content, joined):
    given = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": content}]
    got = DIALECT.prefill(request(URL, {"input": given}), "One", {})
    assert got is not None
    assert got.json["input"] == [given[0], {"role": "assistant", "content": joined}]


# Resuming ----------------------------------------------------------------------------------

RESPONSES = "https://api.openai.com/v1/responses"
AZURE = "https://x.openai.azure.com/openai/responses"
AT = Place(id="resp_1", number=41)


def background(url: str = RESPONSES, method: str = "POST", **body: Any) -> Request:
    headers = (
        ("Authorization", "Bearer k"), ("content-type", "application/json"),
        ("content-length", "9"), ("accept", "text/event-stream"),
    )  # fmt: skip
    return Request(method=method, url=url, headers=headers, body=json.dumps(body).encode())


@pytest.mark.parametrize(
    ("asked", "url"),
    [
        (background(background=True, stream=True),
         f"{RESPONSES}/resp_1?stream=true&starting_after=41"),
        (background(f"{AZURE}?api-version=preview", background=True, stream=True),
         f"{AZURE}/resp_1?api-version=preview&stream=true&starting_after=41"),
        (background(f"{RESPONSES}/resp_0?stream=true&starting_after=3&include=x", "GET"),
         f"{RESPONSES}/resp_1?include=x&stream=true&starting_after=41"),
    ],
)  # fmt: skip
def test_an_answer_made_in_the_background_goes_on_behind_its_last_number(asked, url):
    cursor = DIALECT.cursor(asked, AT)
    assert isinstance(cursor, Cursor)
    assert not cursor.mid_frame
    again = cursor.request
    assert (again.method, again.url, again.body) == ("GET", url, b"")
    assert again.headers == (("Authorization", "Bearer k"), ("accept", "text/event-stream"))


def test_a_get_of_an_answer_knows_its_id():
    asked = background(f"{RESPONSES}/resp_0?stream=true", "GET")
    cursor = DIALECT.cursor(asked, Place(number=0))
    assert isinstance(cursor, Cursor)
    assert cursor.request.url == f"{RESPONSES}/resp_0?stream=true&starting_after=0"


@pytest.mark.parametrize(
    ("asked", "place", "why"),
    [
        (background(stream=True), AT, "background"),
        (background(background=False, stream=True), AT, "background"),
        (background(f"{RESPONSES}/resp_0", "GET"), AT, "background"),
        (background(background=True), Place(id="resp_1"), "sequence_number"),
        (background(background=True), Place(number=1), "id had not arrived"),
    ],
)
def test_why_an_answer_cannot_be_read_again(asked, place, why):
    cursor = DIALECT.cursor(asked, place)
    assert isinstance(cursor, str)
    assert why in cursor
