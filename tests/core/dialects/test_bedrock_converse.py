"""Bedrock Converse: what messages mean, requests, and spliced bodies under botocore."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.core.dialects.bedrock_kit import (
    CLAUDE,
    HOST,
    QUOTED,
    botocore_reads,
    event,
    exception,
    values,
)
from tests.core.dialects.helpers import blocks_opened, calls_of, read, request, splice, until
from unbroken.core.attempt import Attempt
from unbroken.core.dialects import by_name, recognise_frame, recognise_request
from unbroken.core.dialects.base import Answer, AnswerCall, MalformedPayloadError
from unbroken.core.events import (
    Close,
    End,
    Finish,
    Open,
    Other,
    ProviderError,
    Reasoning,
    Start,
    Text,
    ToolCall,
    UsageReport,
)
from unbroken.core.wire import AWSEventStreamDecoder

DIALECT = by_name("bedrock-converse")
URL = f"{HOST}/model/{QUOTED}/converse-stream"
PIECES = ("One ", "two ", "three ", "four ", "five.")
WHOLE = "".join(PIECES)
CALL = AnswerCall(name="look", arguments=('{"at": ', '"it"}'), id="tooluse_1")


def answer(*pieces: str, **fields: Any) -> list[bytes]:
    return DIALECT.encode(Answer(text=pieces, **{"usage": (10, 5), **fields}))


def only(*messages: bytes) -> list[Any]:
    return read(DIALECT, b"".join(messages)).events


def delta(block: int, **content: Any) -> bytes:
    return event("contentBlockDelta", contentBlockIndex=block, delta=content, p="abc")


# Reading ------------------------------------------------------------------------------------


def test_a_whole_answer_means_this():
    assert only(*answer("Hi", "!", reasoning=("hm",), calls=(CALL,), finish="tool-calls")) == [
        Start(),
        Open("reasoning", 0, 0), Reasoning("hm", 0, 0), Reasoning("", 0, 0, sealed=True),
        Close(0, 0),
        Open("text", 0, 1), Text("Hi", 0, 1), Text("!", 0, 1), Close(0, 1),
        Open("tool", 0, 2), ToolCall(0, block=2, id="tooluse_1", name="look"),
        ToolCall(0, '{"at": ', block=2), ToolCall(0, '"it"}', block=2),
        ToolCall(0, block=2, whole=True), Close(0, 2),
        Finish("tool_use", "tool-calls"),
        UsageReport(10, 5), End("metadata"),
    ]  # fmt: skip


@pytest.mark.parametrize("first", ["metadata", "messageStop"])
def test_the_end_is_the_stop_and_the_usage_in_either_order(first):
    stop, usage = event("messageStop", stopReason="end_turn"), event("metadata", usage={})
    both = (usage, stop) if first == "metadata" else (stop, usage)
    events = only(*both)
    assert [type(e) for e in events if type(e) is End] == [End]
    assert type(events[-1]) is End
    assert not any(type(e) is End for e in only(both[0]))


@pytest.mark.parametrize(
    ("content", "means"),
    [
        ({"text": ""}, [Open("text", 0, 3)]),
        ({"text": "a"}, [Open("text", 0, 3), Text("a", 0, 3)]),
        ({"reasoningContent": {"signature": "s"}},
         [Open("reasoning", 0, 3), Reasoning("", 0, 3, sealed=True)]),
        ({"reasoningContent": {"redactedContent": "s"}},
         [Open("reasoning", 0, 3), Reasoning("", 0, 3, sealed=True)]),
        ({"citation": {"title": "t"}}, [Open("text", 0, 3), Other("citation", content=True)]),
        ({"image": {}}, [Open("other", 0, 3), Other("image", content=True)]),
        ({"toolResult": []}, [Open("other", 0, 3), Other("toolResult", content=True)]),
        ({"toolUse": {"input": "{"}}, [Open("tool", 0, 3), ToolCall(0, "{", block=3)]),
    ],
)  # fmt: skip
def test_first_delta_of_a_block_opens_it(content, means):
    assert only(delta(3, **content)) == means
    assert only(delta(3, **content), delta(3, text="b"))[-1] == Text("b", 0, 3)


def test_calls_of_the_server_are_told_apart():
    start = {"toolUse": {"name": "search", "toolUseId": "s", "type": "server_tool_use"}}
    events = only(event("contentBlockStart", contentBlockIndex=0, start=start))
    assert events == [Open("other", 0, 0),
                      ToolCall(-1, block=0, id="s", name="search", kind="server")]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "retryable", "elsewhere"),
    [
        ("throttlingException", True, False),
        ("serviceUnavailableException", True, False),
        ("internalServerException", True, False),
        ("modelStreamErrorException", True, False),
        ("modelTimeoutException", True, False),
        ("validationException", False, False),
        ("ValidationException", False, False),
        ("accessDeniedException", False, True),
        ("serviceQuotaExceededException", False, True),
    ],
)
def test_exceptions_and_whether_to_try_again(name, retryable, elsewhere):
    (error,) = only(exception(name, message="words", p="abc"))
    assert error == ProviderError(name, "", "words", retryable, elsewhere=elsewhere)
    attempt = Attempt(DIALECT)
    attempt.receive(answer("Hi")[1] + exception(name, message="words"))
    assert attempt.fatal is not None
    assert (attempt.fatal.kind, attempt.fatal.retryable) == ("provider-error", retryable)
    assert name in attempt.fatal.detail


def test_exception_brings_the_status_of_the_model():
    (error,) = only(exception("modelStreamErrorException", originalStatusCode=529,
                              originalMessage="overloaded"))  # fmt: skip
    assert (error.code, error.message) == ("529", "overloaded")


def test_exception_whose_payload_is_no_json_is_one_all_the_same():
    (frame,) = AWSEventStreamDecoder().feed(exception("throttlingException"))
    broken = type(frame)(frame.event, b"slow", "", None, b"", 0, failure=True)
    assert DIALECT.reader().read(broken) == [ProviderError("throttlingException")]


@pytest.mark.parametrize("payload", [b"", b"{", b"[1]", b'"x"'])
def test_what_is_no_object_is_malformed(payload):
    (frame,) = AWSEventStreamDecoder().feed(event("contentBlockDelta"))
    with pytest.raises(MalformedPayloadError):
        DIALECT.reader().read(type(frame)(frame.event, payload, "", None, b"", 0))


def test_unknown_events_pass():
    assert only(event("news", x=1)) == [Other("news")]


def test_a_fork_of_the_reader_is_independent():
    reader = DIALECT.reader()
    first, second = AWSEventStreamDecoder().feed(delta(0, text="a") + delta(0, text="b"))
    twin = reader.fork()
    assert Open("text", 0, 0) in reader.read(first)
    assert Open("text", 0, 0) in twin.read(second)
    assert reader.read(second) == [Text("b", 0, 0)]


def test_botocore_reads_what_is_encoded():
    body = b"".join(answer(*PIECES, reasoning=("hm",), calls=(CALL,), finish="tool-calls"))
    theirs = botocore_reads(body, "ConverseStreamOutput")
    deltas = [each["contentBlockDelta"]["delta"] for each in theirs if "contentBlockDelta" in each]
    assert "".join(each.get("text", "") for each in deltas) == WHOLE
    assert theirs[-1]["metadata"]["usage"]["outputTokens"] == 5


# Recognition and requests -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "known"),
    [
        (f"/model/{QUOTED}/converse-stream", True),
        (f"/proxy/model/{QUOTED}/converse-stream/", True),
        ("/model/arn:aws:bedrock:us-east-1:1:inference-profile/x/converse-stream", True),
        (f"/model/{QUOTED}/converse", False),
        (f"/model/{QUOTED}/invoke-with-response-stream", False),
        ("/converse-stream", False),
    ],
)
def test_path_says_that_it_streams(path, known):
    asked = request(HOST + path, {})
    assert (recognise_request(asked) is DIALECT) == known
    assert DIALECT.wants_stream(asked) == known


def test_first_frame_tells_it():
    (first, *_) = AWSEventStreamDecoder().feed(b"".join(answer("Hi")))
    assert recognise_frame(first) is DIALECT
    (error,) = AWSEventStreamDecoder().feed(exception("throttlingException"))
    assert recognise_frame(error) is DIALECT


FACTS = [
    ({}, "model", CLAUDE),
    ({"inferenceConfig": {"temperature": 0}}, "deterministic", True),
    ({"inferenceConfig": {"temperature": 0.5}}, "deterministic", False),
    ({"inferenceConfig": {"maxTokens": 9}}, "max_tokens", 9),
    ({"inferenceConfig": {"stopSequences": ["a", ""]}}, "stop", ("a",)),
    ({"additionalModelRequestFields": {"thinking": {"type": "enabled"}}}, "thinking", True),
    ({"additionalModelRequestFields": {"thinking": {"type": "disabled"}}}, "thinking", False),
    ({"additionalModelRequestFields": {"reasoningConfig": {"type": "enabled"}}}, "thinking", True),
    ({"additionalModelRequestFields": {"reasoningConfig": {"type": "disabled"}}}, "thinking",
     False),
    ({"outputConfig": {"textFormat": {"type": "json_schema"}}}, "structured", True),
    ({"toolConfig": {"tools": [{"toolSpec": {}}]}}, "server_work", False),
    ({"toolConfig": {"tools": [{"systemTool": {"name": "x"}}]}}, "server_work", True),
]  # fmt: skip


@pytest.mark.parametrize(("body", "name", "value"), FACTS)
def test_facts_of_a_request(body, name, value):
    assert getattr(DIALECT.facts(request(URL, body)), name) == value


def turns(made: Any) -> list[tuple[str, Any]]:
    return [(turn["role"], turn["content"]) for turn in made.json["messages"]]


ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}


def test_prefill_begins_the_assistants_turn():
    made = DIALECT.prefill(request(URL, ASKED), "One two", {"body": {"x": 1}})
    assert made is not None
    assert turns(made)[1:] == [("assistant", [{"text": "One two"}])]
    assert (made.url, made.json["x"]) == (URL, 1)


@pytest.mark.parametrize(
    ("begun", "whole"),
    [
        ([{"text": "So: "}], [{"text": "So: One"}]),
        ([{"text": "So: "}, {"cachePoint": {}}],
         [{"text": "So: "}, {"cachePoint": {}}, {"text": "One"}]),
        ([], [{"text": "One"}]),
    ],
)  # fmt: skip
def test_prefill_goes_on_with_a_turn_that_was_begun(begun, whole):
    body = {"messages": [*ASKED["messages"], {"role": "assistant", "content": begun}]}
    made = DIALECT.prefill(request(URL, body), "One", {})
    assert made is not None
    assert turns(made)[1:] == [("assistant", whole)]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": []},
        {"messages": "x"},
        {**ASKED, "additionalModelRequestFields": {"thinking": {"type": "enabled"}}},
        {"messages": [{"role": "assistant", "content": "x"}]},
    ],
)
def test_no_place_for_a_begun_turn(body):
    assert DIALECT.prefill(request(URL, body), "One", {}) is None


def test_blank_text_is_no_turn():
    assert DIALECT.prefill(request(URL, ASKED), " \n", {}) is None
    assert DIALECT.user_turn(request(URL, ASKED), "", "go on") is None


def test_user_turn_asks_to_go_on():
    made = DIALECT.user_turn(request(URL, ASKED), "One", "go on")
    assert made is not None
    assert turns(made)[1:] == [("assistant", [{"text": "One"}]), ("user", [{"text": "go on"}])]


def test_other_model_other_limit_other_address():
    asked = request(URL + "?a=b", ASKED)
    other = DIALECT.with_model(asked, "arn:aws:x/y")
    assert other.url == f"{HOST}/model/arn%3Aaws%3Ax%2Fy/converse-stream?a=b"
    assert DIALECT.facts(other).model == "arn:aws:x/y"
    assert other.body is asked.body
    limited = DIALECT.with_max_tokens(
        request(URL, {"inferenceConfig": {"maxTokens": 9, "topP": 1}}), 4
    )
    assert limited.json["inferenceConfig"] == {"maxTokens": 4, "topP": 1}
    assert DIALECT.url_for(HOST + "/", CLAUDE) == URL
    assert DIALECT.key_headers("k") == {"authorization": "Bearer k"}
    assert DIALECT.with_model(request("https://h/x", {}), "m").url == "https://h/x"


# Splicing -----------------------------------------------------------------------------------


def check_wire(body: bytes) -> Any:
    """One start, one end, every block closed once and in its place; return what was read."""
    named = [name for name, _ in values(body)]
    assert named.count("messageStart") == named.count("messageStop") == 1
    assert named.count("metadata") == 1
    attempt = Attempt(DIALECT)
    for _ in attempt.receive(body):
        pass
    attempt.close("eof")
    assert attempt.faults == []
    seen = read(DIALECT, body)
    assert seen.received.open_blocks == {}
    opened = [e.block for e in seen.events if type(e) is Open]
    assert opened == sorted(set(opened))
    botocore_reads(body, "ConverseStreamOutput")
    return seen


@pytest.mark.parametrize("cut", range(1, len(PIECES) + 1))
@pytest.mark.parametrize("rung", ["replay", "prefill"])
def test_text_goes_on_in_its_block(rung, cut):
    delivered = until(DIALECT, answer(*PIECES, reasoning=("hm",)), cut)
    said = "".join(PIECES[:cut])
    later = answer(*(PIECES if rung == "replay" else PIECES[cut:]), reasoning=("again",))
    body = splice(DIALECT, delivered, later, rung=rung, repeated=len(said) * (rung == "replay"))
    seen = check_wire(body)
    assert seen.received.text == WHOLE
    assert seen.received.reasoning == "hm"
    assert blocks_opened(seen.events) == ["reasoning", "text"]


def test_calls_behind_the_text_get_blocks_of_their_own():
    delivered = until(DIALECT, answer(*PIECES, reasoning=("hm",)), 3)
    later = answer(*PIECES, calls=(CALL, CALL), finish="tool-calls")
    body = splice(DIALECT, delivered, later, rung="replay", repeated=len("".join(PIECES[:3])))
    seen = check_wire(body)
    assert seen.received.text == WHOLE
    assert calls_of(seen.received) == [("look", {"at": "it"})] * 2
    assert blocks_opened(seen.events) == ["reasoning", "text", "tool", "tool"]


def test_calls_that_were_delivered_are_left_out():
    delivered = answer(*PIECES[:1], calls=(CALL,), finish="tool-calls")[:-2]
    other = AnswerCall(name="other", arguments=("{}",), id="tooluse_2")
    later = answer(*PIECES[:1], calls=(CALL, other), finish="tool-calls")
    body = splice(DIALECT, delivered, later, rung="replay", repeated=len(PIECES[0]))
    seen = check_wire(body)
    assert [name for name, _ in calls_of(seen.received)] == ["look", "other"]


def test_replay_keeps_the_end_of_the_block_in_which_it_was_cut():
    two = [event("messageStart", role="assistant"), delta(0, text="One "), delta(0, text="two "),
           event("contentBlockStop", contentBlockIndex=0), delta(1, text="three"),
           event("contentBlockStop", contentBlockIndex=1),
           event("messageStop", stopReason="end_turn"), event("metadata", usage={})]  # fmt: skip
    body = splice(DIALECT, two[:3], two, rung="replay", repeated=len("One two "))
    texts = [(e.text, e.block) for e in check_wire(body).events if type(e) is Text]
    assert texts == [("One ", 0), ("two ", 0), ("three", 1)]


def test_citations_of_new_text_stay():
    whole = [*answer("One ")[:2], delta(0, citation={"title": "t"}), *answer("One ")[2:]]
    body = splice(DIALECT, whole[:2], whole, rung="replay", repeated=4)
    assert any(type(e) is Other and e.type == "citation" for e in check_wire(body).events)


def test_errors_pass_unchanged():
    error = exception("throttlingException", message="m")
    body = splice(DIALECT, answer(*PIECES)[:3], [error], rung="replay")
    assert body.endswith(error)


def test_padding_says_nothing():
    (name, value), *_ = values(b"".join(answer("Hi")))
    assert json.dumps(value) == '{"role": "assistant"}'
    assert name == "messageStart"
    assert only(event("messageStart", role="assistant", p="x" * 99)) == [Start()]
