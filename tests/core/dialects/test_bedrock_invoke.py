"""Bedrock InvokeModel: whatever stands inside is read and gone on with, under Anthropic's SDK."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx2
import pytest

from tests.core.dialects.bedrock_kit import CLAUDE, HOST, QUOTED, chunk, event, exception, values
from tests.core.dialects.helpers import calls_of, proven, read, request, splice, until
from unbroken.core.attempt import Attempt
from unbroken.core.dialects import by_name, recognise_frame, recognise_request
from unbroken.core.dialects.base import Answer, AnswerCall, MalformedPayloadError
from unbroken.core.events import End, Finish, Other, ProviderError, Text, UsageReport
from unbroken.core.wire import AWSEventStreamDecoder

DIALECT, MESSAGES = by_name("bedrock-invoke"), by_name("anthropic-messages")
URL = f"{HOST}/model/{QUOTED}/invoke-with-response-stream"
PIECES = ("One ", "two ", "three ", "four ", "five.")
WHOLE = "".join(PIECES)
CALL = AnswerCall(name="look", arguments=('{"at": ', '"it"}'), id="toolu_1")
METRICS = {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 5, "outputTokenCount": 9}}


def answer(*pieces: str, **fields: Any) -> list[bytes]:
    return DIALECT.encode(Answer(text=pieces, **{"usage": (10, 5), **fields}))


def only(*messages: bytes) -> list[Any]:
    return read(DIALECT, b"".join(messages)).events


def inner(body: bytes) -> list[Any]:
    return [json.loads(base64.b64decode(value["bytes"])) for _, value in values(body)]


def sdk(body: bytes) -> Any:
    """Return the message that the real AnthropicBedrock client puts together."""
    pytest.importorskip("botocore", reason="AnthropicBedrock cannot decode without botocore")
    from anthropic import AnthropicBedrock

    asked = []

    def respond(sent: httpx2.Request) -> httpx2.Response:
        asked.append(str(sent.url))
        kind = {"content-type": "application/vnd.amazon.eventstream"}
        return httpx2.Response(200, headers=kind, content=body)

    with httpx2.Client(transport=httpx2.MockTransport(respond)) as http:
        client = AnthropicBedrock(
            api_key="k", aws_region="us-east-1", http_client=http, max_retries=0
        )
        with client.messages.stream(
            model=CLAUDE, max_tokens=9, messages=[{"role": "user", "content": "hi"}]
        ) as stream:
            message = stream.get_final_message()
    (url,) = asked
    assert recognise_request(request(url, {})) is DIALECT
    assert DIALECT.facts(request(url, {})).model == CLAUDE
    return message


# Reading ------------------------------------------------------------------------------------


def test_events_are_those_of_the_dialect_inside():
    said = Answer(text=PIECES, reasoning=("hm",), calls=(CALL,), finish="tool-calls", usage=(7, 3))
    ours = read(DIALECT, DIALECT.encode(said))
    theirs = read(MESSAGES, MESSAGES.encode(said))
    assert ours.events == [e for e in theirs.events if type(e).__name__ != "Ping"]
    assert calls_of(ours.received) == [("look", {"at": "it"})]


def test_sdk_reads_what_is_encoded():
    message = sdk(b"".join(answer(*PIECES, calls=(CALL,), finish="tool-calls")))
    assert [block.type for block in message.content] == ["text", "tool_use"]
    assert message.content[0].text == WHOLE
    assert message.content[1].input == {"at": "it"}
    assert message.stop_reason == "tool_use"


PLAIN = {
    # name: (values, text, reason, meaning)
    "titan": ([{"outputText": "a", "index": 0, "completionReason": None},
               {"outputText": "b", "completionReason": "FINISH"}], "ab", "FINISH", "stop"),
    "titan, cut": ([{"outputText": "a", "completionReason": "LENGTH"}], "a", "LENGTH", "limit"),
    "titan, filtered": ([{"outputText": "", "completionReason": "CONTENT_FILTERED"}], "",
                        "CONTENT_FILTERED", "filter"),
    "llama": ([{"generation": "a", "stop_reason": None}, {"generation": "", "stop_reason": "stop"}],
              "a", "stop", "stop"),
    "cohere": ([{"is_finished": False, "text": "a"},
                {"is_finished": True, "finish_reason": "MAX_TOKENS"}], "a", "MAX_TOKENS", "limit"),
    "cohere, failed": ([{"is_finished": True, "finish_reason": "ERROR"}], "", "ERROR", "fault"),
    "cohere chat": ([{"event_type": "text-generation", "text": "a", "is_finished": False},
                     {"event_type": "stream-end", "finish_reason": "COMPLETE", "is_finished": True,
                      "response": {"text": "a"}}], "a", "COMPLETE", "stop"),
    "mistral": ([{"outputs": [{"text": "a", "stop_reason": None}]},
                 {"outputs": [{"text": "", "stop_reason": "length"}]}], "a", "length", "limit"),
    "old claude": ([{"completion": " a", "stop_reason": None},
                    {"completion": "b", "stop_reason": "stop_sequence"}], " ab", "stop_sequence",
                   "stop"),
    "nova": ([{"messageStart": {"role": "assistant"}},
              {"contentBlockDelta": {"delta": {"text": "a"}, "contentBlockIndex": 0}},
              {"messageStop": {"stopReason": "max_tokens"}}], "a", "max_tokens", "limit"),
    "chat": ([{"choices": [{"index": 0, "delta": {"content": "a"}}]},
              {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]}], "a", "length",
             "limit"),
}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_other_models_are_read(name):
    said, text, reason, meaning = PLAIN[name]
    seen = read(DIALECT, [chunk(value) for value in [*said[:-1], said[-1] | METRICS]])
    assert seen.received.text == text
    (finish,) = seen.received.finishes.values()
    assert (finish.reason, finish.meaning) == (reason, meaning)
    assert seen.kinds.count("Start") <= 1
    assert (seen.received.usage.input, seen.received.usage.output) == (5, 9)
    assert [e for e in seen.events if type(e) is End]
    cut = read(DIALECT, [chunk(value) for value in said[:-1]])
    assert not proven(DIALECT, cut.events)


def test_unknown_protocol_is_whole_when_bedrock_says_so():
    said = [chunk({"wort": "a"}), chunk({"wort": "b"}), chunk(METRICS)]
    events = only(*said)
    assert events[0] == Other("chunk", content=True)  # it cannot be gone on with
    assert events[-3:] == [
        Finish("amazon-bedrock-invocationMetrics", "stop"), UsageReport(5, 9),
        End("amazon-bedrock-invocationMetrics"),
    ]  # fmt: skip
    assert not proven(DIALECT, only(*said[:2]))


def test_errors_of_both_sides():
    assert only(exception("modelTimeoutException", message="slow")) == [
        ProviderError("modelTimeoutException", "", "slow")
    ]
    (error,) = only(chunk({"type": "error", "error": {"type": "overloaded_error"}}))
    assert (error.type, error.retryable) == ("overloaded_error", True)
    (error,) = only(chunk({"text": "x", "error": "broken"}))
    assert error.message == "broken"


@pytest.mark.parametrize("payload", ["{}", '{"bytes": "%"}', '{"bytes": 1}', "{", "[]"])
def test_a_chunk_without_bytes_is_malformed(payload):
    (frame,) = AWSEventStreamDecoder().feed(event("chunk"))
    broken = type(frame)("chunk", payload.encode(), "", None, b"", 0)
    with pytest.raises(MalformedPayloadError):
        DIALECT.reader().read(broken)


def test_bytes_that_hold_no_json_are_malformed():
    body = event("chunk", bytes=base64.b64encode(b'{"type":').decode())
    with pytest.raises(MalformedPayloadError):
        only(body)


def test_bytes_that_hold_no_utf8_are_malformed():
    """The wire's decoder sees base64, and JSON decoders bear with surrogates."""
    text = b'{"type":"content_block_delta","delta":{"type":"text_delta","text":"\xed\xa0\x80"}}'
    body = event("chunk", bytes=base64.b64encode(text).decode())
    with pytest.raises(MalformedPayloadError, match="not UTF-8 at its byte 67"):
        only(body)


def test_other_events_pass():
    assert only(event("news", x=1)) == [Other("news")]


def test_a_fork_of_the_reader_is_independent():
    reader = DIALECT.reader()
    frames = AWSEventStreamDecoder().feed(b"".join(chunk(v) for v in PLAIN["titan"][0]))
    twin = reader.fork()
    assert len(reader.read(frames[0])) == len(twin.read(frames[0])) == 2
    assert reader.fork().read(frames[1]) == [Text("b"), Finish("FINISH", "stop")]


# Requests -----------------------------------------------------------------------------------

ASKED: dict[str, Any] = {
    "anthropic_version": "bedrock-2023-05-31", "max_tokens": 99, "temperature": 0,
    "messages": [{"role": "user", "content": "hi"}],
}  # fmt: skip
NOVA: dict[str, Any] = {
    "schemaVersion": "messages-v1", "inferenceConfig": {"maxTokens": 9, "temperature": 0},
    "messages": [{"role": "user", "content": [{"text": "hi"}]}],
}  # fmt: skip


def test_path_says_that_it_streams():
    assert recognise_request(request(URL, ASKED)) is DIALECT
    assert DIALECT.wants_stream(request(URL, ASKED))
    for other in (f"{HOST}/model/{QUOTED}/invoke", f"{HOST}/model/{QUOTED}/converse-stream"):
        assert recognise_request(request(other, ASKED)) is not DIALECT
        assert not DIALECT.wants_stream(request(other, {"stream": True}))


def test_first_frame_tells_it():
    for said, *_ in PLAIN.values():
        (frame,) = AWSEventStreamDecoder().feed(chunk(said[0]))
        assert recognise_frame(frame) is DIALECT


def test_facts_of_a_claude():
    facts = DIALECT.facts(request(URL, {**ASKED, "thinking": {"type": "enabled"}}))
    assert (facts.model, facts.max_tokens) == (CLAUDE, 99)
    assert (facts.deterministic, facts.thinking) == (True, True)


@pytest.mark.parametrize(
    ("body", "deterministic"),
    [
        (NOVA, True),
        ({"prompt": "x", "temperature": 0}, True),
        ({"inputText": "x", "textGenerationConfig": {"temperature": 0}}, True),
        ({"prompt": "x", "temperature": 0.1}, False),
        ({"prompt": "x"}, False),
        ({}, False),
    ],
)
def test_facts_of_others(body, deterministic):
    facts = DIALECT.facts(request(URL, body))
    assert (facts.model, facts.deterministic) == (CLAUDE, deterministic)


def test_claude_and_nova_are_asked_to_go_on():
    made = DIALECT.prefill(request(URL, ASKED), "One", {})
    assert made is not None
    assert made.url == URL
    assert made.json["messages"][-1]["role"] == "assistant"
    assert "model" not in made.json
    made = DIALECT.user_turn(request(URL, NOVA), "One", "go on")
    assert made is not None
    assert made.json["messages"][-1] == {"role": "user", "content": [{"text": "go on"}]}
    for body in ({"prompt": "x"}, {"inputText": "x"}, {}):
        assert DIALECT.prefill(request(URL, body), "One", {}) is None
        assert DIALECT.user_turn(request(URL, body), "One", "go on") is None


def test_other_model_other_limit_other_address():
    asked = request(URL, ASKED)
    other = DIALECT.with_model(asked, "amazon.nova-pro-v1:0")
    assert other.url == f"{HOST}/model/amazon.nova-pro-v1%3A0/invoke-with-response-stream"
    assert other.body is asked.body
    assert DIALECT.with_max_tokens(asked, 4).json["max_tokens"] == 4
    assert DIALECT.with_max_tokens(request(URL, NOVA), 4).json["inferenceConfig"]["maxTokens"] == 4
    assert DIALECT.with_max_tokens(request(URL, {"prompt": "x"}), 4).json == {"prompt": "x"}
    assert DIALECT.url_for(HOST, CLAUDE) == URL


# Splicing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", range(1, len(PIECES) + 1))
@pytest.mark.parametrize("rung", ["replay", "prefill"])
def test_claude_goes_on_and_the_sdk_sees_one_message(rung, cut):
    delivered = until(DIALECT, answer(*PIECES, reasoning=("hm",)), cut)
    said = "".join(PIECES[:cut])
    later = answer(*(PIECES if rung == "replay" else PIECES[cut:]), reasoning=("again",),
                   calls=(CALL,), finish="tool-calls", id="answer-2")  # fmt: skip
    body = splice(DIALECT, delivered, later, rung=rung, repeated=len(said) * (rung == "replay"))
    attempt = Attempt(DIALECT)
    attempt.receive(body)
    attempt.close("eof")
    assert attempt.faults == []
    assert {value["type"] for value in inner(body)} <= {
        "message_start", "content_block_start", "content_block_delta", "content_block_stop",
        "message_delta", "message_stop",
    }  # fmt: skip
    message = sdk(body)
    assert message.id == "answer-1"
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use"]
    assert message.content[1].text == WHOLE
    assert message.content[2].input == {"at": "it"}


@pytest.mark.parametrize(
    ("rung", "later", "wire"), [("prefill", (17, 4), (10, 11)), ("replay", (10, 11), (10, 11))]
)
def test_usage_on_the_wire_counts_the_prompt_once(rung, later, wire):
    delivered = until(DIALECT, answer(*PIECES, usage=(10, 7)), 3)
    said = "".join(PIECES[:3])
    rest = answer(*(PIECES if rung == "replay" else PIECES[3:]), usage=later)
    body = splice(DIALECT, delivered, rest, rung=rung, repeated=len(said) * (rung == "replay"))
    usage = read(DIALECT, body).received.usage
    assert (usage.input, usage.output) == wire


def test_replay_keeps_the_end_of_the_block_in_which_it_was_cut():
    def text(block: int, *pieces: str) -> list[bytes]:
        at = {"index": block}
        start = {"type": "content_block_start", **at, "content_block": {"type": "text", "text": ""}}
        deltas = [{"type": "content_block_delta", **at, "delta": {"type": "text_delta", "text": p}}
                  for p in pieces]  # fmt: skip
        return [chunk(each) for each in [start, *deltas, {"type": "content_block_stop", **at}]]

    start, *_, delta, stop = answer("x")
    two = [start, *text(0, "One ", "two "), *text(1, "three"), delta, stop]
    body = splice(DIALECT, two[:4], two, rung="replay", repeated=len("One two "))
    texts = [(e.text, e.block) for e in read(DIALECT, body).events if type(e) is Text]
    assert texts == [("One ", 0), ("two ", 0), ("three", 1)]
    assert [block.text for block in sdk(body).content] == ["One two ", "three"]


@pytest.mark.parametrize("name", [name for name, row in PLAIN.items() if len(row[0]) > 1])
def test_other_models_are_replayed(name):
    said, text, reason, _ = PLAIN[name]
    whole = [chunk(value) for value in [*said[:-1], said[-1] | METRICS]]
    cut = next(n for n, _ in enumerate(whole, 1) if read(DIALECT, whole[:n]).received.text)
    begun = read(DIALECT, whole[:cut]).received.text
    body = splice(DIALECT, whole[:cut], whole, rung="replay", repeated=len(begun))
    seen = read(DIALECT, body)
    assert seen.received.text == text
    assert [finish.reason for finish in seen.received.finishes.values()] == [reason]
    assert seen.kinds.count("End") >= 1
    assert all(name == "chunk" for name, _ in values(body))


def test_text_that_comes_with_the_finish_is_not_lost():
    whole = [chunk({"is_finished": False, "text": "One "}),
             chunk({"is_finished": False, "text": "two"}),
             chunk({"is_finished": True, "finish_reason": "COMPLETE"} | METRICS)]  # fmt: skip
    splicer = DIALECT.splicer(read(DIALECT, whole[:1]).received, rung="replay",
                              facts=DIALECT.facts(request(URL, {})))  # fmt: skip
    frames = AWSEventStreamDecoder().feed(b"".join(whole))
    assert splicer.splice(frames[1], [], "") == []
    (raw,) = splicer.splice(frames[2], [Finish("COMPLETE", "stop")], "two")
    assert inner(raw) == [{"is_finished": True, "finish_reason": "COMPLETE", "text": "two"}
                          | METRICS]  # fmt: skip


def test_errors_pass_unchanged():
    error = exception("throttlingException", message="m")
    body = splice(DIALECT, answer(*PIECES)[:3], [error], rung="replay")
    assert body.endswith(error)


def test_sdk_raises_the_exception_of_a_stream():
    error = exception("throttlingException", message="Too many requests")
    with pytest.raises(Exception, match="throttlingException"):
        sdk(b"".join(answer(*PIECES)[:4]) + error)
