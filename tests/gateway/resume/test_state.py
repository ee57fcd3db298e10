"""What a late consumer is told first, read by the real SDKs."""

from __future__ import annotations

import json

import pytest

from tests.support.bodies import Answer, ToolCall, body
from unbroken.gateway.resume import OpenState

ANSWER = Answer(
    tokens=("Hel", "lo ", "world", ", all", " of you."),
    reasoning=("First ", "think."),
    tools=(
        ToolCall(name="look", fragments=('{"at"', ': "it"}'), id="call_1"),
        ToolCall(name="take", fragments=('{"one"', ": 1", "}"), id="call_2"),
    ),
)


def prefix_at(dialect: str, log: list[bytes], count: int) -> bytes:
    state = OpenState(dialect)
    for frame in log[:count]:
        state.receive(frame)
    return state.prefix


def read_by_anthropic(wire: bytes):
    anthropic = pytest.importorskip("anthropic", reason="needs the package anthropic")
    client = anthropic.Anthropic(api_key="k", http_client=_client_giving(anthropic, wire))
    with client.messages.stream(model="m", max_tokens=9, messages=[]) as stream:
        return stream.get_final_message()


def read_by_openai(wire: bytes):
    openai = pytest.importorskip("openai", reason="needs the package openai")
    client = openai.OpenAI(api_key="k", http_client=_client_giving(openai, wire))
    said = ""
    with client.responses.stream(model="m", input="x") as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                said += event.delta
        return said, stream.get_final_response()


def _client_giving(sdk, wire: bytes):
    for name in ("httpx2", "httpx"):
        library = pytest.importorskip(name)
        base = sdk.DefaultHttpxClient.__mro__
        if any(each.__module__.split(".")[0] == name for each in base):
            return _client_of(library, wire)
    pytest.skip("the SDK stands on another HTTP library")


def _client_of(library, wire: bytes):
    def answer(_):
        return library.Response(200, headers={"content-type": "text/event-stream"}, content=wire)

    return library.Client(transport=library.MockTransport(answer))


@pytest.mark.parametrize("count", range(len(body("anthropic-messages", ANSWER)) + 1))
def test_the_anthropic_sdk_accumulates_from_any_place(count):
    log = [bytes(frame) for frame in body("anthropic-messages", ANSWER)]
    if count == len(log):
        return  # nothing follows
    message = read_by_anthropic(prefix_at("anthropic-messages", log, count) + b"".join(log[count:]))
    text = "".join(block.text for block in message.content if block.type == "text")
    assert ANSWER.text.endswith(text)
    said_before = sum(
        len(json.loads(frame.partition(b"data: ")[2])["delta"].get("text", ""))
        for frame in log[:count]
        if b'"text_delta"' in frame
    )
    assert len(text) == len(ANSWER.text) - said_before
    calls = [block for block in message.content if block.type == "tool_use"]
    assert [call.input for call in calls] == [{"at": "it"}, {"one": 1}]
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use", "tool_use"]


@pytest.mark.parametrize("count", range(len(body("openai-responses", ANSWER)) + 1))
def test_the_openai_sdk_reads_responses_from_any_place(count):
    log = [bytes(frame) for frame in body("openai-responses", ANSWER)]
    if count == len(log):
        return
    said, response = read_by_openai(
        prefix_at("openai-responses", log, count) + b"".join(log[count:])
    )
    before = "".join(
        json.loads(frame.partition(b"data: ")[2])["delta"]
        for frame in log[:count]
        if b"event: response.output_text.delta" in frame
    )
    assert before + said == ANSWER.text
    assert response.output_text == ANSWER.text  # the provider repeats it all at the end


def test_without_it_the_sdks_do_not_understand_what_follows():
    log = [bytes(frame) for frame in body("anthropic-messages", ANSWER)]
    with pytest.raises((AssertionError, RuntimeError)):
        read_by_anthropic(b"".join(log[4:]))


def test_frames_are_the_logs_own_and_in_order():
    for dialect in ("anthropic-messages", "openai-responses", "cohere"):
        log = [bytes(frame) for frame in body(dialect, ANSWER)]
        for count in range(len(log) + 1):
            prefix = prefix_at(dialect, log, count)
            at = 0
            for frame in log[:count]:
                if prefix.startswith(frame, at):
                    at += len(frame)
            assert at == len(prefix), (dialect, count)


@pytest.mark.parametrize("dialect", ["openai-chat", "gemini", "ollama", "no-such-dialect"])
def test_no_text_is_said_twice_where_blocks_have_no_frames_of_their_own(dialect):
    known = dialect if dialect != "no-such-dialect" else "openai-chat"
    log = [bytes(frame) for frame in body(known, Answer(tokens=("abc", "def")))]
    prefix = prefix_at(dialect, log, len(log))
    assert b"abc" not in prefix
    assert b"def" not in prefix


def test_how_the_log_is_cut_changes_nothing():
    log = b"".join(body("anthropic-messages", ANSWER))
    whole, cut = OpenState("anthropic-messages"), OpenState("anthropic-messages")
    whole.receive(log)
    for at in range(0, len(log), 7):
        cut.receive(log[at : at + 7])
    assert whole.prefix == cut.prefix != b""


def test_it_is_bounded():
    state = OpenState("anthropic-messages", max_bytes=100)
    for frame in body("anthropic-messages", ANSWER):
        state.receive(frame)
    assert state.overflowed
    assert state.prefix == b""


def test_blocks_that_are_closed_are_told_as_closed():
    log = [bytes(frame) for frame in body("anthropic-messages", ANSWER)]
    prefix = prefix_at("anthropic-messages", log, len(log))
    assert prefix.count(b"event: content_block_start") == 4
    assert prefix.count(b"event: content_block_stop") == 4
