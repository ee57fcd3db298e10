"""Anthropic Messages: what frames mean, and spliced bodies under the real SDK."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx2
import pytest

from tests.core.dialects.helpers import calls_of, decode, proven, read, request, splice, until
from unbroken.core.checks.grammar import Grammar
from unbroken.core.dialects import by_name
from unbroken.core.dialects.base import Answer, AnswerCall, MalformedPayloadError
from unbroken.core.events import (
    Close,
    End,
    Finish,
    Open,
    Other,
    Ping,
    ProviderError,
    Reasoning,
    Start,
    Text,
    ToolCall,
    UsageReport,
)
from unbroken.core.wire import SSEDecoder

DIALECT = by_name("anthropic-messages")
URL = "https://api.anthropic.com/v1/messages?beta=true"
PIECES = ("One ", "two ", "three ", "four ", "five.")
WHOLE = "".join(PIECES)
CALL = AnswerCall(name="look", arguments=('{"at": ', '"it"}'), id="toolu_1")


def frame(payload: dict[str, Any], event: str | None = None) -> bytes:
    return f"event: {event or payload['type']}\ndata: {json.dumps(payload)}\n\n".encode()


def start(index: int, **block: Any) -> bytes:
    return frame({"type": "content_block_start", "index": index, "content_block": block})


def delta(index: int, **fields: Any) -> bytes:
    return frame({"type": "content_block_delta", "index": index, "delta": fields})


def stop(index: int) -> bytes:
    return frame({"type": "content_block_stop", "index": index})


def only(*raw: bytes) -> list[Any]:
    return read(DIALECT, b"".join(raw)).events


def answer(*pieces: str, **fields: Any) -> list[bytes]:
    return DIALECT.encode(Answer(text=pieces, **{"usage": (10, 5), **fields}))


def sdk_reads(body: bytes) -> Any:
    """Return the message that the SDK's own accumulator makes of a body."""
    transport = httpx2.MockTransport(
        lambda _: httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)
    )
    with (
        httpx2.Client(transport=transport) as http,
        anthropic.Anthropic(api_key="k", http_client=http, max_retries=0) as client,
        client.messages.stream(
            model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}]
        ) as stream,
    ):
        return stream.get_final_message()


def check_grammar(body: bytes) -> None:
    """One start and one end, each block opened in turn and closed once, by a second reading."""
    opened, closed, kinds = [], [], []
    for block in SSEDecoder().blocks(body):
        value = json.loads(block.payload)
        assert block.event == value["type"]
        kinds.append(value["type"])
        match value["type"]:
            case "content_block_start":
                assert closed == opened, "a block was opened inside another"
                opened.append(value["index"])
            case "content_block_delta":
                assert value["index"] in set(opened) - set(closed)
            case "content_block_stop":
                closed.append(value["index"])
    assert opened == closed == list(range(len(opened)))
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert kinds.count("message_start") == kinds.count("message_stop") == 1
    grammar = Grammar(DIALECT)
    assert [
        f for e in read(DIALECT, body).events if (f := grammar.add(e, frame=0, at_byte=0))
    ] == []


# Reading -----------------------------------------------------------------------------------


def test_a_whole_answer_means_this():
    body = DIALECT.encode(
        Answer(text=("Hi", "!"), reasoning=("hm",), calls=(CALL,), finish="tool-calls",
               usage=(7, 3), id="msg_1", model="claude")
    )  # fmt: skip
    assert only(*body) == [
        Start("msg_1", "claude"), UsageReport(7, 1),
        Open("reasoning", 0, 0), Ping(), Reasoning("hm", 0, 0), Reasoning("", 0, 0, sealed=True),
        Close(0, 0),
        Open("text", 0, 1), Text("Hi", 0, 1), Text("!", 0, 1), Close(0, 1),
        Open("tool", 0, 2), ToolCall(0, block=2, id="toolu_1", name="look"),
        ToolCall(0, '{"at": ', block=2), ToolCall(0, '"it"}', block=2),
        ToolCall(0, block=2, whole=True), Close(0, 2),
        UsageReport(None, 3), Finish("tool_use", "tool-calls"), End("message_stop"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "meaning"),
    [("end_turn", "stop"), ("stop_sequence", "stop"), ("tool_use", "tool-calls"),
     ("max_tokens", "limit"), ("model_context_window_exceeded", "limit"),
     ("pause_turn", "pause"), ("refusal", "filter"), ("something_new", "stop")],
)  # fmt: skip
def test_stop_reasons(reason, meaning):
    payload = {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": None}
    assert only(frame(payload)) == [Finish(reason, meaning)]


def test_the_type_in_the_json_is_trusted_and_the_name_is_not():
    payload = {
        "type": "content_block_delta",
        "index": 3,
        "delta": {"type": "text_delta", "text": "x"},
    }
    assert only(frame(payload, "ping")) == [Text("x", 0, 3)]
    payload = {"type": "ping"}
    assert only(frame(payload, "content_block_delta")) == [Ping()]
    assert only(b'event: message_stop\ndata: {"no": "type"}\n\n') == [End("message_stop")]


def test_server_work_is_told_apart_and_never_takes_a_number_of_the_applications_calls():
    server = {"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {}}
    client = {"type": "tool_use", "id": "toolu", "name": "look", "input": {}}
    seen = read(
        DIALECT,
        start(0, **server)
        + delta(0, type="input_json_delta", partial_json='{"q": 1}')
        + stop(0)
        + start(1, type="web_search_tool_result", content=[])
        + stop(1)
        + start(2, **client)
        + stop(2),
    )
    assert seen.events == [
        Open("other", 0, 0), ToolCall(-1, block=0, id="srv", name="web_search", kind="server"),
        ToolCall(-1, '{"q": 1}', block=0, kind="server"),
        ToolCall(-1, block=0, whole=True, kind="server"), Close(0, 0),
        Open("other", 0, 1), Other("web_search_tool_result", content=True), Close(0, 1),
        Open("tool", 0, 2), ToolCall(0, block=2, id="toolu", name="look"),
        ToolCall(0, block=2, whole=True), Close(0, 2),
    ]  # fmt: skip
    assert seen.received.calls[0, 0].arguments == ""


def test_input_given_whole_at_the_opening_is_the_arguments_unless_deltas_come():
    opened = start(0, type="tool_use", id="t", name="look", input={"a": 1})
    assert only(opened, stop(0))[-2] == ToolCall(0, '{"a":1}', block=0, whole=True)
    pieces = delta(0, type="input_json_delta", partial_json='{"a": 1}')
    assert calls_of(read(DIALECT, opened + pieces + stop(0)).received) == [("look", {"a": 1})]


def test_what_cannot_be_continued_is_marked():
    assert only(
        start(0, type="redacted_thinking", data="x"),
        delta(1, type="citations_delta", citation={}),
        start(2, type="compaction", content=None),
        delta(2, type="compaction_delta", content="x"),
        delta(3, type="input_json_delta", partial_json=""),
        frame({"type": "brand_new"}),
    ) == [
        Open("reasoning", 0, 0), Reasoning("", 0, 0, sealed=True),
        Other("citations_delta", content=True),
        Open("other", 0, 2), Other("compaction", content=True),
        Other("compaction_delta", content=True),
        Other("brand_new"),
    ]  # fmt: skip


def test_done_after_message_stop_is_no_marker():
    assert only(b"data: [DONE]\n\n") == [Other("[DONE]")]
    assert not proven(DIALECT, only(b"data: [DONE]\n\n"))


@pytest.mark.parametrize(
    ("error", "retryable"),
    [({"type": "overloaded_error"}, True), ({"type": "api_error"}, True),
     ({"type": "rate_limit_error"}, True), ({"type": "timeout_error"}, True),
     ({"type": "invalid_request_error"}, False), ({"type": "billing_error"}, False),
     ({"type": "rate_limit_error", "details": {"error_code": "ramp_limit_exceeded"}}, False)],
)  # fmt: skip
def test_errors(error, retryable):
    (event,) = only(frame({"type": "error", "error": {**error, "message": "m"}}))
    assert type(event) is ProviderError
    assert (event.type, event.message, event.retryable) == (error["type"], "m", retryable)


def test_an_error_event_without_a_type_and_a_bare_error_are_errors_too():
    assert only(b'event: error\ndata: {"message": "m"}\n\n') == [ProviderError(message="m")]
    assert [type(e) for e in only(b'{"type": "error", "error": {"type": "api_error"}}\n\n')] == [
        ProviderError
    ]


def test_the_old_completions_are_read():
    body = b"".join(
        f"event: completion\r\ndata: {json.dumps(payload)}\r\n\r\n".encode()
        for payload in (
            {
                "type": "completion",
                "id": "c",
                "model": "m",
                "completion": " Hi",
                "stop_reason": None,
            },
            {"type": "completion", "completion": "", "stop_reason": "stop_sequence"},
        )
    )
    events = only(body)
    assert events == [
        Start("c", "m"), Text(" Hi"), Finish("stop_sequence", "stop"), End("stop_reason"),
    ]  # fmt: skip
    assert proven(DIALECT, events)
    assert not DIALECT.recognises_path("/v1/complete")


def test_payloads_that_are_not_one_object():
    with pytest.raises(MalformedPayloadError):
        only(b'data: {"type": "ping"} x\n\n')
    with pytest.raises(MalformedPayloadError):
        only(b"data: 3\n\n")


def test_a_surrogate_pair_cut_over_two_deltas_is_one_character():
    half = '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\\u%s"}}'
    body = "".join(f"data: {half % code}\n\n" for code in ("d83d", "de00"))
    assert read(DIALECT, body.encode()).received.text == "😀"


def test_a_fork_goes_its_own_way():
    reader = DIALECT.reader()
    for block in decode(DIALECT, start(0, type="tool_use", id="a", name="x", input={})):
        reader.read(block)
    fork = reader.fork()
    (block,) = decode(DIALECT, start(1, type="tool_use", id="b", name="y", input={}))
    assert fork.read(block) == reader.read(block)
    (piece,) = decode(DIALECT, delta(0, type="input_json_delta", partial_json="{}"))
    assert fork.read(piece) == [ToolCall(0, "{}", block=0)]


def test_no_cut_of_a_whole_answer_is_proven_before_its_stop_reason():
    body = b"".join(answer(*PIECES, calls=(CALL,), finish="tool-calls"))
    finish = body.index(b"event: message_delta")
    for cut in range(len(body)):
        seen = read(DIALECT, body[:cut])
        assert WHOLE.startswith(seen.received.text)
        assert not proven(DIALECT, seen.events) or cut > finish


# Recognition and requests --------------------------------------------------------------------


def test_recognition():
    assert DIALECT.recognises_path("/v1/messages")
    assert DIALECT.recognises_path("/messages")
    assert not DIALECT.recognises_path("/model/anthropic.claude/invoke-with-response-stream")
    assert not DIALECT.recognises_path("/v1/projects/p/models/claude:streamRawPredict")
    (first, *_) = decode(DIALECT, answer("x")[0])
    assert DIALECT.recognises_frame(first)
    assert DIALECT.wants_stream(request(URL, {"stream": True}))
    assert not DIALECT.wants_stream(request(URL, {"stream": False}))


@pytest.mark.parametrize(
    ("body", "field", "value"),
    [
        ({"model": "claude"}, "model", "claude"),
        ({"temperature": 0}, "deterministic", True),
        ({"temperature": 1}, "deterministic", False),
        ({"thinking": {"type": "enabled", "budget_tokens": 9}}, "thinking", True),
        ({"thinking": {"type": "adaptive"}}, "thinking", True),
        ({"thinking": {"type": "disabled"}}, "thinking", False),
        ({"tools": [{"name": "look", "input_schema": {}}]}, "server_work", False),
        ({"tools": [{"type": "custom", "name": "look"}]}, "server_work", False),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "server_work", False),
        ({"tools": [{"type": "web_search_20250305"}]}, "server_work", True),
        ({"mcp_servers": [{"url": "u"}]}, "server_work", True),
        ({"output_format": {"type": "json_schema"}}, "structured", True),
        ({"output_config": {"format": {"type": "json_schema"}}}, "structured", True),
        ({"output_config": {"effort": "high"}}, "structured", False),
    ],
)
def test_facts(body, field, value):
    assert getattr(DIALECT.facts(request(URL, body)), field) == value


USER = {"role": "user", "content": "hi"}


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (None, {"role": "assistant", "content": [{"type": "text", "text": "part"}]}),
        ("{", {"role": "assistant", "content": "{part"}),
        (
            [{"type": "text", "text": "{"}],
            {"role": "assistant", "content": [{"type": "text", "text": "{part"}]},
        ),
        (
            [{"type": "thinking", "thinking": "", "signature": "s"}],
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "", "signature": "s"},
                    {"type": "text", "text": "part"},
                ],
            },
        ),
    ],
)
def test_prefill_and_user_turn_go_on_in_the_turn_that_the_request_began(last, expected):
    messages = [USER, *([{"role": "assistant", "content": last}] if last else [])]
    asked = request(URL, {"model": "m", "messages": messages})
    again = DIALECT.prefill(asked, "part", {"body": {"x": 1}})
    assert again is not None
    assert again.json == {"model": "m", "messages": [USER, expected], "x": 1}
    again = DIALECT.user_turn(asked, "part", "go on")
    assert again is not None
    assert again.json["messages"] == [USER, expected, {"role": "user", "content": "go on"}]
    assert asked.json["messages"] == messages


@pytest.mark.parametrize(
    ("body", "text"),
    [({"messages": []}, "x"), ({}, "x"), ({"messages": [USER]}, " \n"),
     ({"messages": [USER], "thinking": {"type": "enabled"}}, "x")],
)  # fmt: skip
def test_prefill_that_the_provider_would_refuse_is_not_made(body, text):
    assert DIALECT.prefill(request(URL, body), text, {}) is None


# Splicing --------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", range(1, len(PIECES) + 1))
@pytest.mark.parametrize("later_thinks", [False, True])
def test_cut_in_text_and_continued(cut, later_thinks):
    first = until(DIALECT, answer(*PIECES), cut)
    later = answer(*PIECES[cut:], " More.", id="msg_2", reasoning=("hm",) if later_thinks else ())
    body = splice(DIALECT, first, later, rung="prefill")
    check_grammar(body)
    message = sdk_reads(body)
    assert [block.type for block in message.content] == ["text"]
    assert message.content[0].text == WHOLE + " More."
    assert (message.id, message.stop_reason) == ("answer-1", "end_turn")


@pytest.mark.parametrize("cut", range(1, len(PIECES) + 1))
def test_cut_in_text_and_replayed_with_thinking_and_a_call(cut):
    whole = answer(*PIECES, reasoning=("a", "b"), calls=(CALL,), finish="tool-calls")
    first = until(DIALECT, whole, cut)
    done = len("".join(PIECES[:cut]))
    body = splice(DIALECT, first, whole, rung="replay", repeated=done)
    check_grammar(body)
    message = sdk_reads(body)
    assert message.to_dict() == sdk_reads(b"".join(whole)).to_dict()


def test_what_was_delivered_before_the_splice_keeps_its_bytes():
    first = until(DIALECT, answer(*PIECES), 3)
    body = splice(DIALECT, first, answer("x"), rung="prefill")
    assert body.startswith(b"".join(first))


def test_cut_after_the_text_block_was_closed_opens_another():
    whole = answer(*PIECES)
    first = whole[: whole.index(next(f for f in whole if b"content_block_stop" in f)) + 1]
    body = splice(DIALECT, first, answer(" More."), rung="prefill")
    check_grammar(body)
    assert [block.text for block in sdk_reads(body).content] == [WHOLE, " More."]


@pytest.mark.parametrize("thinks", [False, True])
def test_later_attempt_goes_straight_to_a_call(thinks):
    first = until(DIALECT, answer(*PIECES), 5)
    later = answer(calls=(CALL,), finish="tool-calls", reasoning=("hm",) if thinks else ())
    body = splice(DIALECT, first, later, rung="user-turn")
    check_grammar(body)
    text, call = sdk_reads(body).content
    assert (text.text, call.input, call.id) == (WHOLE, {"at": "it"}, "toolu_1")


def test_later_attempt_ends_without_anything_new():
    first = until(DIALECT, answer(*PIECES), 5)
    body = splice(DIALECT, first, answer(*PIECES), rung="replay", repeated=len(WHOLE))
    check_grammar(body)
    assert sdk_reads(body).content[0].text == WHOLE


@pytest.mark.parametrize("later", [answer(), answer("five.")], ids=["nothing", "repeated"])
def test_a_continuation_ends_without_anything_new(later):
    first = until(DIALECT, answer(*PIECES), 5)
    body = splice(DIALECT, first, later, rung="prefill", repeated=len("five."))
    check_grammar(body)
    assert sdk_reads(body).content[0].text == WHOLE


def test_a_call_that_was_delivered_is_not_repeated_and_the_next_one_is_new():
    two = (CALL, AnswerCall(name="ask", arguments=('{"b": 2}',), id="toolu_2"))
    whole = answer(*PIECES, calls=two, finish="tool-calls")
    stops = [at for at, raw in enumerate(whole) if b"content_block_stop" in raw]
    first = whole[: stops[1] + 1]
    body = splice(DIALECT, first, whole, rung="replay", repeated=len(WHOLE))
    check_grammar(body)
    assert sdk_reads(body).to_dict() == sdk_reads(b"".join(whole)).to_dict()


def test_replay_over_the_end_of_a_text_block_keeps_the_blocks_apart():
    head = frame({
        "type": "message_start",
        "message": {"id": "m", "type": "message", "role": "assistant", "model": "c",
                    "content": [], "usage": {"input_tokens": 1, "output_tokens": 1}},
    })  # fmt: skip
    blocks = [
        [start(at, type="text", text=""), delta(at, type="text_delta", text=text), stop(at)]
        for at, text in enumerate(("First.", "Second.", "Third."))
    ]
    tail = answer()[-2:]
    whole = [head, *blocks[0], *blocks[1], *blocks[2], *tail]
    first = whole[:6]  # the second block has all its text, and is open
    done = len("First.Second.")
    body = splice(DIALECT, first, whole, rung="replay", repeated=done)
    check_grammar(body)
    assert [b.text for b in sdk_reads(body).content] == ["First.", "Second.", "Third."]


def test_text_that_is_new_only_at_the_finish_is_written():
    first = until(DIALECT, answer(*PIECES), 5)
    received = read(DIALECT, first).received
    splicer = DIALECT.splicer(received, rung="prefill", facts=DIALECT.facts(request(URL, {})))
    out = list(first)
    for block in decode(DIALECT, b"".join(answer("held"))):
        ends = block.event == "message_delta"
        out += splicer.splice(block, [Finish("end_turn", "stop")] if ends else [], "held" * ends)
    check_grammar(b"".join(out))
    assert sdk_reads(b"".join(out)).content[0].text == WHOLE + "held"


def test_citations_and_server_work_of_the_later_attempt_are_taken_over():
    first = until(DIALECT, answer(*PIECES), 2)
    later = [
        answer()[0],
        start(0, type="server_tool_use", id="srv", name="web_search", input={}),
        delta(0, type="input_json_delta", partial_json='{"q": 1}'),
        stop(0),
        start(1, type="web_search_tool_result", tool_use_id="srv", content=[]),
        stop(1),
        start(2, type="text", text="", citations=[]),
        delta(2, type="citations_delta", citation={"type": "char_location", "cited_text": "c"}),
        delta(2, type="text_delta", text="found"),
        stop(2),
        *answer()[-2:],
    ]
    body = splice(DIALECT, first, later, rung="user-turn")
    check_grammar(body)
    kinds = [block.type for block in sdk_reads(body).content]
    assert kinds == ["text", "server_tool_use", "web_search_tool_result", "text"]
    assert sdk_reads(body).content[3].citations[0].cited_text == "c"


def test_unknown_events_about_a_block_follow_it_and_others_pass():
    first = [*answer()[:1], start(0, type="text", text=""), delta(0, type="text_delta", text="a"),
             stop(0)]  # fmt: skip
    later = answer("b", reasoning=("hm",))
    later[-3:-3] = [frame({"type": "new", "index": at}) for at in (0, 1)] + [frame({"type": "any"})]
    body = splice(DIALECT, first, later, rung="user-turn")
    news = [json.loads(b.payload) for b in SSEDecoder().blocks(body)]
    assert [value for value in news if value["type"] == "new"] == [{"type": "new", "index": 1}]
    assert {"type": "any"} in news


def test_thinking_of_a_later_attempt_never_goes_on_the_wire():
    first = until(DIALECT, answer(*PIECES), 2)
    later = answer("x", reasoning=("secret",))
    later.insert(5, start(7, type="redacted_thinking", data="secret"))
    later.insert(6, stop(7))
    body = splice(DIALECT, first, later, rung="prefill")
    check_grammar(body)
    assert b"thinking" not in body
    assert b"secret" not in body


@pytest.mark.parametrize(
    ("rung", "later", "expected"),
    [
        ("prefill", (14, 5), (10, 9)),  # 4 of its prompt were delivered before
        ("prefill", (8, 5), (10, 5)),  # counted otherwise: not known
        ("user-turn", (30, 5), (10, 5)),
        ("replay", (10, 7), (10, 7)),
    ],
)
def test_usage_counts_the_prompt_once(rung, later, expected):
    first = until(DIALECT, answer(*PIECES), 3)
    frames = answer("x", usage=later)
    repeated = 0
    if rung == "replay":
        frames, repeated = answer(*PIECES, usage=later), len("".join(PIECES[:3]))
    frames[-2] = frames[-2].replace(
        b'"output_tokens"', b'"input_tokens":%d,"output_tokens"' % later[0]
    )
    usage = sdk_reads(splice(DIALECT, first, frames, rung=rung, repeated=repeated)).usage
    assert (usage.input_tokens, usage.output_tokens) == expected


def test_cached_tokens_are_part_of_a_prompt():
    first = until(DIALECT, answer(*PIECES), 3)
    later = answer("x", usage=(4, 5))
    later[0] = later[0].replace(
        b'"input_tokens":4', b'"cache_read_input_tokens":9,"input_tokens":4'
    )
    assert sdk_reads(splice(DIALECT, first, later, rung="prefill")).usage.output_tokens == 5 + 3


def test_half_a_surrogate_pair_can_be_written():
    first = until(DIALECT, answer(*PIECES), 3)
    half = (
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\\ud83d"}}'
    )
    later = answer("x")
    at = next(at for at, raw in enumerate(later) if b"text_delta" in raw)
    later[at] = b"event: content_block_delta\ndata: " + half + b"\n\n"
    assert b'"\\ud83d"' in splice(DIALECT, first, later, rung="prefill")
