"""Responses: what frames mean, and that the openai SDK takes a spliced body for one stream."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import msgspec
import openai
import pytest

from tests.core.dialects.helpers import calls_of, decode, proven, read, request, splice
from tests.support import bodies
from unbroken.core.dialects.base import Answer, AnswerCall, MalformedPayloadError, RequestFacts
from unbroken.core.dialects.openai_responses import OpenAIResponses
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
from unbroken.core.recovery.ladder import Plan
from unbroken.core.recovery.seam import AnchorMatch
from unbroken.core.recovery.splice import Splice

DIALECT = OpenAIResponses()
URL = "https://api.openai.com/v1/responses"
WORDS = ("One ", "two ", "three, ", "four ", "five \N{GRINNING FACE} ", "six.")
CALLS = (
    AnswerCall(name="weather", arguments=('{"city":', '"Paris"}'), id="call_a"),
    AnswerCall(name="clock", arguments=("{}",), id="call_b"),
)
STORED = RequestFacts(server_state=True)


def frame(payload: Any, event: str = "message") -> Frame:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return Frame(event, data, "", None, b"data: " + data + b"\n\n", 0)


def meaning(*payloads: Any) -> list[Any]:
    reader = DIALECT.reader()
    return [event for payload in payloads for event in reader.read(frame(payload))]


def payloads(body: bytes) -> list[dict[str, Any]]:
    found = [json.loads(f.payload) for f in decode(DIALECT, body) if f.payload[:1] == b"{"]
    return [payload for payload in found if isinstance(payload, dict)]


def answer(tag: str, **more: Any) -> list[bytes]:
    return DIALECT.encode(Answer(**{"id": f"resp_{tag}", "text": WORDS, "usage": (7, 9), **more}))


# What the SDK makes of a body --------------------------------------------------------------


def sdk(body: bytes) -> openai.OpenAI:
    def handler(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=body, headers={"content-type": "text/event-stream"})

    transport = httpx2.MockTransport(handler)
    return openai.OpenAI(
        api_key="none", base_url="http://test/v1", max_retries=0,
        http_client=httpx2.Client(transport=transport),
    )  # fmt: skip


def final(body: bytes) -> Any:
    """The response that `responses.stream` puts together; it checks ids and lifecycles."""
    snapshots: dict[tuple[int, int], str] = {}
    with sdk(body).responses.stream(model="m", input="hi") as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                place = (event.output_index, event.content_index)
                assert event.snapshot == snapshots.get(place, "") + event.delta
                snapshots[place] = event.snapshot
        response = stream.get_final_response()
    assert "".join(snapshots.values()) == response.output_text
    return response


def deltas(body: bytes) -> str:
    events = sdk(body).responses.create(model="m", input="hi", stream=True)
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def calls(response: Any) -> list[tuple[str, str, str]]:
    return [(c.call_id, c.name, c.arguments) for c in response.output if c.type == "function_call"]


def check(body: bytes, *, same_ids: bool = True) -> None:
    """Hold a whole body against the grammar of the dialect."""
    seen = payloads(body)
    assert [p["sequence_number"] for p in seen] == list(range(len(seen)))
    assert [p["type"] for p in seen].count("response.created") == 1
    assert seen[-1]["type"] in ("response.completed", "response.incomplete")
    items: dict[int, dict[str, Any]] = {}
    parts: dict[tuple[int, int], str] = {}
    texts: dict[tuple[int, int], str] = {}
    done: dict[int, dict[str, Any]] = {}
    for p in seen:
        kind, at = p["type"], p.get("output_index")
        place = (at, p.get("content_index"))
        if kind == "response.output_item.added":
            assert at == len(items)
            items[at] = p["item"]
            continue
        if at is None:
            continue
        assert at in items, kind
        assert at not in done, kind
        if "item_id" in p and same_ids:
            assert p["item_id"] == items[at]["id"]
        if kind == "response.content_part.added":
            assert place not in parts
            assert place[1] == sum(1 for other in parts if other[0] == at)
            parts[place], texts[place] = "open", ""
        elif kind == "response.output_text.delta":
            assert parts[place] == "open"
            assert p["delta"]
            texts[place] += p["delta"]
        elif kind == "response.output_text.done":
            assert parts[place] == "open"
            parts[place] = "said"
            assert p["text"] == texts[place]
        elif kind == "response.content_part.done":
            assert parts[place] == "said"
            parts[place] = "closed"
            assert p["part"]["text"] == texts[place]
        elif kind == "response.output_item.done":
            done[at] = p["item"]
            if same_ids:
                assert p["item"]["id"] == items[at]["id"]
            if p["item"]["type"] == "message":
                said = [part["text"] for part in p["item"]["content"]]
                assert said == [text for key, text in texts.items() if key[0] == at]
    assert done.keys() == items.keys()
    assert set(parts.values()) <= {"closed"}
    response = seen[-1]["response"]
    if same_ids:
        assert response["output"] == [done[at] for at in sorted(done)]
        assert response["id"] == seen[0]["response"]["id"]


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


# Splicing ----------------------------------------------------------------------------------


def index_of(frames: list[bytes], mark: bytes) -> int:
    return next(i for i, raw in enumerate(frames) if mark in raw)


def test_an_encoded_answer_is_what_the_sdk_expects():
    body = b"".join(answer("a", reasoning=("hm",), calls=CALLS))
    check(body)
    response = final(body)
    assert response.output_text == "".join(WORDS)
    assert calls(response) == [("call_a", "weather", '{"city":"Paris"}'), ("call_b", "clock", "{}")]


@pytest.mark.parametrize("reasoning", [(), ("Let me", " see")], ids=["plain", "thought"])
@pytest.mark.parametrize("tools", [(), CALLS], ids=["text", "calls"])
@pytest.mark.parametrize("rung", ["prefill", "user-turn"])
@pytest.mark.parametrize("anchor", ["", "tail "])
def test_a_continuation_anywhere_in_or_after_the_text(rung, tools, reasoning, anchor):
    first = answer("a", reasoning=reasoning, calls=tools)
    text = "".join(WORDS)
    start = index_of(first, b"event: response.output_text.delta") + 1
    stop = index_of(first, b'"type":"function_call"') if tools else len(first) - 1
    for cut in range(start, stop + 1):
        delivered = first[:cut]
        said = read(DIALECT, delivered).received.text
        rest = text[len(said) :]
        pieces = tuple(piece for piece in (anchor, rest[:3], rest[3:]) if piece)
        later = answer("b", text=pieces, reasoning=("again",), calls=tools)
        body = splice(DIALECT, delivered, later, rung=rung, repeated=len(anchor))
        check(body)
        response = final(body)
        assert response.output_text == text == deltas(body), f"cut at {cut}"
        assert response.id == "resp_a"
        assert calls(response) == [(c.id, c.name, "".join(c.arguments)) for c in tools]
        assert b"again" not in body
        seen = read(DIALECT, body)
        assert proven(DIALECT, seen.events)
        assert seen.received.open_blocks == {}


@pytest.mark.parametrize("stored", [False, True])
def test_a_replay_cut_anywhere(stored):
    first = answer("a", reasoning=("Let me", " see"), calls=CALLS)
    text = "".join(WORDS)
    later = answer("b", text=tuple(text), calls=CALLS)  # no reasoning, other pieces
    facts = STORED if stored else RequestFacts()
    start = index_of(first, b"event: response.output_text.delta") + 1
    held = [i for i, raw in enumerate(first) if b"function_call" in raw and b"s.done" not in raw]
    for cut in range(start, len(first)):
        if cut - 1 in held and b"output_item.done" not in first[cut - 1]:
            continue  # an open call is held, so such a prefix is never delivered
        said = len(read(DIALECT, first[:cut]).received.text)
        body = splice(DIALECT, first[:cut], later, rung="replay", repeated=said, facts=facts)
        check(body, same_ids=not stored)
        assert deltas(body) == text, f"cut at {cut}"
        if stored:  # what is sent back is what the provider keeps: the later attempt's
            assert payloads(body)[-1]["response"] == payloads(later[-1])[0]["response"]
        else:
            response = final(body)
            assert response.output_text == text
            assert calls(response) == [(c.id, c.name, "".join(c.arguments)) for c in CALLS]


def test_a_call_cut_in_its_arguments_is_issued_again():
    first = answer("a", calls=CALLS)
    delivered = first[: index_of(first, b'"type":"function_call"')]  # the rest is held
    later = answer("b", text=(), calls=CALLS)
    body = splice(DIALECT, delivered, later, rung="prefill")
    check(body)
    assert final(body).output_text == "".join(WORDS)
    assert [name for _, name, _ in calls(final(body))] == ["weather", "clock"]


def test_a_call_before_a_cut_message_is_closed_first():
    """The attempt goes on with a call alone: the open message ends before it begins."""
    first = answer("a")
    delivered = first[: index_of(first, b'"three')]
    later = answer("b", text=(), calls=CALLS)
    body = splice(DIALECT, delivered, later, rung="user-turn")
    check(body)
    kinds = [p["type"] for p in payloads(body)]
    second = [i for i, k in enumerate(kinds) if k == "response.output_item.added"][1]
    assert kinds[second - 1] == "response.output_item.done"
    assert final(body).output_text == "One two "


def test_nothing_is_written_before_the_seam_is_proven():
    """What a splicer returns for an unproven frame is not delivered; so it must lose nothing."""
    first = answer("a")
    delivered = first[: index_of(first, b'"four')]
    later = answer("b", text=("three, ", "four ", "five", " six."))
    splicer = DIALECT.splicer(
        read(DIALECT, delivered).received, rung="prefill", facts=RequestFacts()
    )
    frames = decode(DIALECT, b"".join(later))
    reader = DIALECT.reader()
    out: list[bytes] = []
    for each in frames:
        events = reader.read(each)
        proof = any(type(e) is Finish for e in events)
        kept = [e for e in events if type(e) not in (Start, Reasoning, Text, Number)]
        got = splicer.splice(each, kept, "four five six." if proof else "")
        assert proof or not got
        out += got
    body = b"".join([*delivered, *out])
    check(body)
    assert final(body).output_text == "One two three, four five six."


def test_text_goes_on_in_a_new_part_where_the_old_one_was_closed():
    first = answer("a")
    delivered = first[: index_of(first, b"content_part.done") + 1]
    body = splice(DIALECT, delivered, answer("b", text=(" More.",)), rung="prefill")
    check(body)
    response = final(body)
    assert [len(item.content) for item in response.output] == [2]
    assert response.output_text == "".join(WORDS) + " More."


def test_a_later_item_with_an_id_that_is_taken_gets_another():
    first = answer("same")
    delivered = first[: index_of(first, b"output_item.done") + 1]
    body = splice(DIALECT, delivered, answer("same", text=(" More.",)), rung="prefill")
    check(body)
    response = final(body)
    assert [item.id for item in response.output] == ["msg_resp_same", "msg_resp_same_2"]
    assert response.output_text == "".join(WORDS) + " More."


def test_a_second_splice_goes_on_from_the_first():
    first = answer("a")[: index_of(answer("a"), b'"three')]
    second = answer("b", text=("three, ", "four ", "five"))
    once = splice(DIALECT, first, second[: index_of(second, b'"five') - 0], rung="prefill")
    frames = [f.raw for f in decode(DIALECT, once)]
    twice = splice(DIALECT, frames, answer("c", text=("five, ", "six.")), rung="prefill")
    check(twice)
    assert final(twice).output_text == "One two three, four five, six."


def test_streams_without_numbers_or_part_openings_or_names():
    def bare(frames: list[bytes]) -> list[bytes]:
        kept = []
        for payload in payloads(b"".join(frames)):
            payload.pop("sequence_number")
            if "content_part" not in payload["type"]:
                kept.append(bodies.sse_frame(payload))
        return [*kept, b"data: [DONE]\n\n"]

    delivered = bare(answer("a")[: index_of(answer("a"), b'"four')])[:-1]
    body = splice(DIALECT, delivered, bare(answer("b", text=WORDS[3:])), rung="prefill")
    seen = payloads(body)
    assert all("sequence_number" not in p for p in seen)
    assert b"event:" not in body
    assert body.endswith(b"data: [DONE]\n\n")
    assert seen[-1]["response"]["output"][0]["content"][0]["text"] == "".join(WORDS)
    assert read(DIALECT, body).received.text == "".join(WORDS)


def test_an_incomplete_end_says_so_of_the_joined_answer():
    first = answer("a")[: index_of(answer("a"), b'"four')]
    body = splice(DIALECT, first, answer("b", text=("four",), finish="limit"), rung="prefill")
    check(body)
    last = payloads(body)[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["output"][0]["content"][0]["text"] == "One two three, four"


def test_annotations_of_the_later_text_count_from_the_whole():
    first = answer("a")[: index_of(answer("a"), b'"three')]  # "One two "
    note = {"type": "url_citation", "start_index": 4, "end_index": 9, "url": "u", "title": "t"}
    later = []
    for payload in payloads(b"".join(answer("b", text=("two ", "three")))):
        if payload["type"] == "response.output_text.done":
            where = {k: payload[k] for k in ("item_id", "output_index", "content_index")}
            later.append({"type": "response.output_text.annotation.added", **where,
                          "annotation_index": 0, "annotation": note})  # fmt: skip
        later.append(payload)
    for number, payload in enumerate(later):
        payload["sequence_number"] = number
    frames = [bytes(bodies.sse_frame(p, event=p["type"])) for p in later]
    body = splice(DIALECT, first, frames, rung="prefill", repeated=4)
    check(body)
    part = final(body).output[0].content[0]
    assert part.text == "One two three"
    assert part.text[part.annotations[0].start_index : part.annotations[0].end_index] == "three"


def test_half_a_surrogate_pair_passes_a_splice():
    first = answer("a")[: index_of(answer("a"), b'"four')]
    later = b"".join(answer("b", text=("A", "B"))).replace(b'"delta":"A"', b'"delta":"\\ud83d"')
    later = later.replace(b'"delta":"B"', b'"delta":"\\ude00"')
    body = splice(DIALECT, first, [later], rung="prefill")
    assert read(DIALECT, body).received.text == "One two three, \N{GRINNING FACE}"
    assert payloads(body)[-1]["response"]["output"][0]["content"][0]["text"].endswith(
        "\N{GRINNING FACE}"
    )


def test_the_providers_own_error_passes_unchanged():
    delivered = answer("a")[:6]
    splicer = DIALECT.splicer(read(DIALECT, delivered).received, rung="prefill", facts=STORED)
    failed = frame({"type": "response.failed", "response": {"status": "failed", "error": None}})
    assert splicer.splice(failed, DIALECT.reader().read(failed), "") == [failed.raw]


@pytest.mark.parametrize("reasoning", [(), ("hm", "m")])
def test_bodies_written_by_hand_splice_as_well(reasoning):
    tools = (bodies.ToolCall(name="f", fragments=('{"a":', "1}"), id="call_1"),)
    first = bodies.body(
        "openai-responses", bodies.Answer(tokens=WORDS, reasoning=reasoning, tools=tools)
    )
    cut = index_of(list(first), b'"three')
    later = bodies.body(
        "openai-responses", bodies.Answer(tokens=WORDS[2:], reasoning=("x",), tools=tools, tag="2")
    )
    body = splice(DIALECT, list(first[:cut]), list(later), rung="prefill")
    check(body)
    assert final(body).output_text == "".join(WORDS)
    assert calls(final(body)) == [("call_1", "f", '{"a":1}')]


@pytest.mark.parametrize("whole", [False, True], ids=["pieces", "one delta"])
@pytest.mark.parametrize("sent_part", [True, False], ids=["anchor", "all is anchor"])
def test_with_recoverys_own_splice(whole, sent_part):
    """It throws away what a splicer writes before the seam is proven."""
    text = "".join(WORDS)
    first = answer("a", reasoning=("hm",), calls=CALLS)
    start = index_of(first, b'"two') + 1
    for cut in range(start, index_of(first, b'"type":"function_call"') + 1):
        before = read(DIALECT, first[:cut]).received
        at = len(before.text) - 4 if sent_part else 0
        sent, anchor = before.text[:at], before.text[at:]
        rest = text[at:].lstrip()
        later = answer("b", text=(rest,) if whole else tuple(rest), reasoning=("x",), calls=CALLS)
        plan = Plan(
            rung="user-turn",
            request=request(URL, {}),
            matcher=AnchorMatch(sent=sent, anchor=anchor),
            guarantee="seam-verified",
        )
        joined = Splice(DIALECT, plan, before, facts=RequestFacts())
        reader = DIALECT.reader()
        out = list(first[:cut])
        for each in decode(DIALECT, b"".join(later)):
            for piece in joined.accept(each, reader.read(each)):
                out.append(piece.raw)
                before.add(piece.frame, piece.events)
        check(b"".join(out))
        assert final(b"".join(out)).output_text == text == before.text, f"cut at {cut}"
        assert calls_of(before) == [("weather", {"city": "Paris"}), ("clock", {})]
        assert before.open_blocks == {}


def test_a_fork_reads_on_alone():
    frames = decode(DIALECT, b"".join(answer("a", reasoning=("hm",), calls=CALLS)))
    for cut in range(len(frames)):
        reader = DIALECT.reader()
        for each in frames[:cut]:
            reader.read(each)
        fork = reader.fork()
        ahead = [fork.read(each) for each in frames[cut:]]
        assert [reader.read(each) for each in frames[cut:]] == ahead


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
