"""`unbroken.stream` against a server that breaks."""

from __future__ import annotations

import json
import pickle
import time
from typing import Any

import httpx
import httpx2
import pytest

import unbroken
from tests.direct.helpers import MESSAGES, asking, good, options, refusal
from tests.support.bodies import DIALECTS, Answer, ToolCall, body
from tests.support.faults import STORY, Break, breaking, reply
from tests.support.faultserver import FaultServer, Gate, Pause, Reply, unused_url
from tests.support.model import Model, turns_of
from unbroken.core.events import Finish, Reasoning, Text, UsageReport

every_dialect = pytest.mark.parametrize("dialect", DIALECTS)
HOW_IT_ASKS = {
    "openai-chat": ("/v1/chat/completions", "authorization", "Bearer test-key"),
    "openai-responses": ("/v1/responses", "authorization", "Bearer test-key"),
    "anthropic-messages": ("/v1/messages", "x-api-key", "test-key"),
    "gemini": ("/v1beta/models/test-model:streamGenerateContent", "x-goog-api-key", "test-key"),
    "ollama": ("/api/chat", "authorization", "Bearer test-key"),
}


# the request


@every_dialect
def test_it_asks_and_gives_events(dialect: str) -> None:
    answer = Answer(tokens=STORY.tokens, reasoning=("Let", " me think."))
    with FaultServer(good(dialect, answer)) as server:
        with unbroken.stream(**asking(server, dialect, temperature=0)) as stream:
            events = list(stream)
        path, header, value = HOW_IT_ASKS[dialect]
        assert server.requests[0].path == path
        assert server.requests[0].headers[header] == value
        assert server.requests[0].headers["accept-encoding"] == "identity"
        assert server.bodies[0]["temperature"] == 0
        assert turns_of(dialect, server.bodies[0])[-1] == ("user", MESSAGES[1]["content"])
        assert "Be brief." in json.dumps(server.bodies[0])
        assert server.wait_for_open(0)
    assert "".join(e.text for e in events if isinstance(e, Text)) == STORY.text
    assert "".join(e.text for e in events if isinstance(e, Reasoning)) == "Let me think."
    assert any(isinstance(e, Finish) and e.meaning == "stop" for e in events)
    assert any(isinstance(e, UsageReport) for e in events)
    assert stream.outcome.status == "complete"
    assert stream.outcome.text == STORY.text


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        ("anthropic-messages", {"system": "Be brief.", "max_tokens": 4096}),
        ("gemini", {"systemInstruction": {"parts": [{"text": "Be brief."}]}}),
        ("openai-responses", {"store": False}),
    ],
)
def test_messages_are_put_as_the_dialect_has_them(dialect: str, expected: dict[str, Any]) -> None:
    with FaultServer(good(dialect)) as server:
        unbroken.stream(**asking(server, dialect)).text()
        assert expected.items() <= server.bodies[0].items()


@every_dialect
def test_parts_of_text_fit_into_every_dialect(dialect: str) -> None:
    parts = [
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Yes?"}]},
        {"role": "user", "content": "Go on."},
    ]
    with FaultServer(good(dialect)) as server:
        unbroken.stream(**asking(server, dialect, messages=parts)).text()
        turns = turns_of(dialect, server.bodies[0])
    assert turns == [("user", "Hi"), ("assistant", "Yes?"), ("user", "Go on.")]


@every_dialect
def test_a_url_and_a_body_do_too(dialect: str) -> None:
    with FaultServer(good(dialect)) as server:
        first = unbroken.stream(**asking(server, dialect))
        json_body = {k: v for k, v in first.request.json.items() if k != "stream"}
        url = first.request.url.replace("?alt=sse", "")
        stream = unbroken.stream(url=url, json=json_body, headers={"X-Api-Key": "mine"})
        assert stream.text() == STORY.text
        assert stream.outcome.dialect == dialect
        assert server.requests[0].headers["x-api-key"] == "mine"
        assert "authorization" not in server.requests[0].headers


def test_the_environment_is_read_as_the_sdk_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultServer(good()) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url + "/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "from-the-environment\n")
        assert unbroken.stream("Hi", model="m").text() == STORY.text
        assert server.requests[0].headers["authorization"] == "Bearer from-the-environment"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "give messages= and model=, or url= and json="),
        ({"messages": "Hi"}, "messages need a model"),
        ({"messages": "Hi", "model": "m", "dialect": "latin"}, "no dialect is called 'latin'"),
        ({"url": "http://h/x", "json": {}}, "no dialect is recognised in the path '/x'"),
        ({"url": "http://h/x", "json": []}, "json must be an object"),
        ({"url": "http://h/api/chat", "json": {}, "model": "m"}, "with url= the request is json="),
        ({"url": "http://h/api/chat", "json": {"stream": False}}, "is off"),
        ({"messages": [], "model": "m"}, "messages is empty"),
        ({"messages": "Hi", "model": "m", "client": object()}, "must be an httpx2 or httpx Client"),
        ({"messages": "Hi", "model": "m", "timeout_s": 0}, "total_s must be more than 0"),
        ({"messages": "Hi", "model": "m", "headers": {"x": "a\nb"}}, "the header 'x' holds"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}], "model": "m",
             "dialect": "gemini"},
            "a message for gemini holds text",
        ),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused_at_once(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        unbroken.stream(**arguments)


@pytest.mark.parametrize("library", ["httpx2", "httpx"])
def test_a_given_client_is_used_and_stays_open(library: str) -> None:
    http: Any = {"httpx2": httpx2, "httpx": httpx}[library]
    with FaultServer([reply("cut_rst", "openai-chat", at=2), good()]) as server:
        client = http.Client(
            base_url=server.url + "/v1", auth=("me", "secret"), headers={"x-team": "blue"}
        )
        stream = unbroken.stream("Hi", model="m", client=client, options=options())
        assert stream.text() == STORY.text
        assert not client.is_closed
        for request in server.requests:
            assert request.headers["authorization"].startswith("Basic ")
            assert request.headers["x-team"] == "blue"
            assert request.headers["user-agent"].startswith("python-httpx")
        client.close()
        assert server.wait_for_open(0)


def test_a_client_of_ours_heals_once_and_not_twice() -> None:
    outcomes: list[unbroken.Outcome] = []
    with FaultServer([reply("cut_clean", "openai-chat", at=2), good()]) as server:
        with unbroken.http_client(on_outcome=outcomes.append) as client:
            stream = unbroken.stream(**asking(server, client=client))
            assert stream.text() == STORY.text
        assert len(server.requests) == 2
        assert all("x-unbroken-mode" not in request.headers for request in server.requests)
    assert not outcomes
    assert stream.outcome.recoveries == 1


# failures before the stream


@pytest.mark.seed("001-retry-backoff", "003-handler-backoff")
def test_what_fails_before_the_stream_is_tried_again_with_growing_pauses(
    no_waits: list[int],
) -> None:
    with FaultServer([refusal(500), refusal(503), refusal(429), good()]) as server:
        stream = unbroken.stream(**asking(server))
        assert stream.text() == STORY.text
    assert no_waits == [1, 2, 3]
    assert [a.status for a in stream.outcome.attempts] == [500, 503, 429, 200]
    assert stream.outcome.provenance[0].guarantee == "byte-exact"


@pytest.mark.parametrize("header", [{"retry_after_ms": "250"}, {"retry_after": "0.25"}])
def test_the_time_that_the_provider_asks_for_is_waited(
    header: dict[str, str], no_waits: list[int]
) -> None:
    heard: list[unbroken.Reconnecting] = []
    with FaultServer([refusal(429, **header), good()]) as server:
        assert unbroken.stream(**asking(server, on_reconnect=heard.append)).text() == STORY.text
        first, second = server.requests
    assert heard[0].wait_s == 0.25
    assert second.received_s - first.received_s >= 0.25


@pytest.mark.seed("003-handler-max-retries", "003-dont-retry-forever")
def test_the_number_of_attempts_is_limited_and_the_error_says_so(no_waits: list[int]) -> None:
    with FaultServer(refusal(503)) as server:
        with pytest.raises(unbroken.StreamingError) as caught:
            unbroken.stream(**asking(server, options=options(max_attempts=3))).text()
        assert len(server.requests) == 3
    assert caught.value.code == "http-error"
    assert len(caught.value.outcome.attempts) == 3
    assert "max_attempts" in caught.value.outcome.skipped[0].why
    assert "2 recoveries tried (retry, retry)" in str(caught.value)


@pytest.mark.seed("003-handler-http-error")
@pytest.mark.parametrize("mode", ["heal", "raise", "observe", "off"])
def test_an_http_error_has_the_providers_words_as_data(mode: str) -> None:
    error = {"type": "invalid_request_error", "code": "invalid_api_key", "message": "Key sk-12 ?"}
    with FaultServer(refusal(401, {"error": error})) as server:
        with pytest.raises(unbroken.StreamingError) as caught:
            unbroken.stream(**asking(server, options=options(mode))).text()
        assert len(server.requests) == 1, "the same key would be refused again"
        assert server.wait_for_open(0)
    assert type(caught.value) is unbroken.StreamingError
    said = str(caught.value)
    assert "the provider answered 401 (invalid_request_error, invalid_api_key)" in said
    assert "sk-12" not in said
    found = caught.value.outcome.provider_error
    assert found is not None
    assert found.message == "Key sk-12 ?"


def test_an_empty_account_is_not_tried_again() -> None:
    error = {"error": {"type": "insufficient_quota", "code": "insufficient_quota", "message": ""}}
    with FaultServer(refusal(429, error)) as server:
        with pytest.raises(unbroken.StreamingError, match="insufficient_quota"):
            unbroken.stream(**asking(server)).text()
        assert len(server.requests) == 1


def test_an_error_body_without_end_is_read_only_so_far() -> None:
    def pieces() -> Any:
        while True:
            yield b"x" * 4096

    endless = Reply(status=400, pieces=pieces)
    with FaultServer(endless, send_buffer_bytes=4096) as server:
        with pytest.raises(unbroken.StreamingError, match="the provider answered 400"):
            unbroken.stream(**asking(server)).text()
        assert server.wait_for_open(0)
        assert server.bytes_written < 8 * 1024 * 1024


def test_no_connection_is_a_streaming_error(no_waits: list[int]) -> None:
    with pytest.raises(unbroken.StreamingError) as caught:
        unbroken.stream(**asking(unused_url(), options=options(max_attempts=2))).text()
    assert type(caught.value) is unbroken.StreamingError
    assert caught.value.code == "connect-failed"
    assert len(no_waits) == 1


def test_a_url_that_cannot_be_sent_is_not_tried_again() -> None:
    with pytest.raises(unbroken.StreamingError) as caught:
        unbroken.stream(**asking("htp://nowhere")).text()
    assert len(caught.value.outcome.attempts) == 1


@pytest.mark.seed("003-handler-connect-timeout", "003-quick-no-data")
def test_a_head_that_does_not_come_is_a_timeout() -> None:
    with FaultServer(reply("no_head", "openai-chat")) as server:
        opts = options(clocks={"first_event_s": 0.2}, max_attempts=1)
        with pytest.raises(unbroken.StreamTimeoutError) as caught:
            unbroken.stream(**asking(server, options=opts)).text()
        assert server.wait_for_open(0)
    assert caught.value.code == "stalled"


@pytest.mark.seed("003-handler-no-body")
def test_an_answer_without_a_body_is_an_error() -> None:
    empty = Reply(status=200, framing="length")
    with FaultServer(empty) as server, pytest.raises(unbroken.IncompleteStreamError) as caught:
        unbroken.stream(**asking(server, options=options("raise"))).text()
    assert caught.value.code == "empty-stream"


# failures within it


@every_dialect
@pytest.mark.parametrize("fault", ["cut_clean", "cut_fin", "cut_rst", "cut_midchar"])
@pytest.mark.seed(
    "003-handler-resume", "003-handler-no-repeat", "001-retry-not-from-the-start",
    "003-drop-buffer", "003-drop-reconnect", "003-do-reconnect", "003-do-buffer",
)  # fmt: skip
def test_it_goes_on_from_what_was_received(dialect: str, fault: str) -> None:
    model = Model(dialect=dialect, answer=STORY)
    with FaultServer(breaking(model, Break(fault, at=14))) as server:
        with unbroken.stream(**asking(server, dialect)) as stream:
            pieces = list(stream.iter_text())
        assert len(server.requests) == 2
        assert server.wait_for_open(0)
    assert "".join(pieces) == STORY.text
    assert stream.outcome.recoveries == 1
    assert model.attempts[1].text != STORY.text, "it asked for the rest, not for all again"


@pytest.mark.seed("003-handler-split-lines", "003-malformed-lines", "003-dont-parse-incomplete")
@every_dialect
def test_no_line_is_lost_that_is_split_over_reads(dialect: str) -> None:
    whole = b"".join(body(dialect, STORY))
    pieces = [whole[at : at + 7] for at in range(0, len(whole), 7)]
    with FaultServer(Reply(headers=good(dialect).headers, pieces=pieces)) as server:
        assert unbroken.stream(**asking(server, dialect)).text() == STORY.text
        assert len(server.requests) == 1


@pytest.mark.seed("003-handler-no-marker-error", "003-handler-error-classes", "003-do-incomplete")
def test_an_end_without_a_proof_is_an_error_with_what_was_received() -> None:
    with FaultServer(reply("cut_clean", "openai-chat", at=5)) as server:
        stream = unbroken.stream(**asking(server, options=options("raise")))
        got: list[str] = []
        with pytest.raises(unbroken.IncompleteStreamError) as caught:
            got.extend(stream.iter_text())
    error = caught.value
    assert isinstance(error, unbroken.StreamingError)
    assert not isinstance(error, httpx2.HTTPError)
    assert error.code == "truncated-between-events"
    assert error.outcome.text == "".join(STORY.tokens[:5])
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), str(error))
    assert again.outcome.text == error.outcome.text
    assert list(stream) == []


@pytest.mark.parametrize("mode", ["observe", "off"])
def test_observing_reports_and_does_not_raise(mode: str) -> None:
    with FaultServer(reply("cut_clean", "openai-chat", at=5)) as server:
        stream = unbroken.stream(**asking(server, options=options(mode)))
        assert stream.text() == "".join(STORY.tokens[:5])
        assert len(server.requests) == 1
    assert stream.outcome.status == "failed"


def test_observing_a_reset_raises_our_class() -> None:
    reset = reply("cut_rst", "openai-chat", at=5)
    with FaultServer(reset) as server, pytest.raises(unbroken.IncompleteStreamError) as caught:
        unbroken.stream(**asking(server, options=options("observe"))).text()
    assert caught.value.code == "connection-reset"


def test_observing_gives_a_last_frame_that_was_not_closed() -> None:
    frames = body("openai-chat", Answer(tokens=("One", " two")))
    unclosed = b"".join(frames[:3]).rstrip(b"\n")
    with FaultServer(Reply(pieces=[unclosed])) as server:
        stream = unbroken.stream(**asking(server, options=options("observe")))
        assert "".join(stream.iter_text()) == stream.outcome.text == "One two"


def test_the_mode_of_the_environment_and_of_the_header_rules(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with FaultServer(reply("cut_clean", "openai-chat", at=5)) as server:
        monkeypatch.setenv("UNBROKEN_MODE", "observe")
        unbroken.stream(**asking(server)).text()
        with pytest.raises(unbroken.IncompleteStreamError):
            unbroken.stream(**asking(server, headers={"X-Unbroken-Mode": "raise"})).text()
        assert "x-unbroken-mode" not in server.requests[1].headers


@pytest.mark.seed("003-handler-total-timeout", "003-quick-timeout", "003-do-timeouts")
def test_the_whole_stream_has_a_limit() -> None:
    with FaultServer(reply("ka_dead", "openai-chat", at=5, every_s=0.05)) as server:
        started = time.monotonic()
        with pytest.raises(unbroken.StreamTimeoutError, match="clock total") as caught:
            unbroken.stream(**asking(server, timeout_s=0.3)).text()
        assert time.monotonic() - started < 1.6
        assert server.wait_for_open(0)
    assert caught.value.outcome.text == "".join(STORY.tokens[:5])


@pytest.mark.seed("003-handler-read-timeout")
def test_silence_has_a_limit() -> None:
    with FaultServer(reply("stall", "openai-chat", at=5)) as server:
        opts = options("raise", clocks={"silence_s": 0.2})
        with pytest.raises(unbroken.StreamTimeoutError, match="clock silence"):
            unbroken.stream(**asking(server, options=opts)).text()
        assert server.wait_for_open(0)


def test_a_shorter_read_timeout_of_the_client_wins() -> None:
    client = httpx2.Client(timeout=httpx2.Timeout(5, read=0.2))
    with FaultServer(reply("stall", "openai-chat", at=5)) as server, client:
        stream = unbroken.stream(**asking(server, client=client, options=options("raise")))
        with pytest.raises(unbroken.StreamTimeoutError, match="read timeout"):
            stream.text()


# as it comes


@pytest.mark.seed("003-memory-incremental", "002-dead-end-wait-for-whole")
def test_events_come_as_they_arrive_and_the_account_is_live() -> None:
    gate = Gate()
    frames = body("openai-chat", STORY)
    with FaultServer(Reply(pieces=[*frames[:4], gate, *frames[4:]])) as server:
        stream = unbroken.stream(**asking(server))
        texts = stream.iter_text()
        assert [next(texts) for _ in range(3)] == list(STORY.tokens[:3])
        live = stream.outcome
        assert (live.status, live.text) == ("unconfirmed", "".join(STORY.tokens[:3]))
        gate.open()
        assert "".join(texts) == "".join(STORY.tokens[3:])
        assert stream.outcome.status == "complete"


@pytest.mark.seed("003-memory-backpressure", "003-dont-ignore-backpressure")
def test_a_consumer_that_stops_reading_stops_the_server() -> None:
    frame = body("openai-chat", Answer(tokens=("word " * 200,)))[1]
    start = body("openai-chat", STORY)[0]

    def pieces() -> Any:
        yield start
        while True:
            yield frame

    with FaultServer(Reply(pieces=pieces), send_buffer_bytes=16 * 1024) as server:
        with unbroken.stream(**asking(server)) as stream:
            next(stream.iter_text())
            written = -1
            while written != server.bytes_written:
                written = server.bytes_written
                time.sleep(0.2)
            assert written < 8 * 1024 * 1024
        assert server.wait_for_open(0)


def test_tool_calls_come_whole() -> None:
    answer = Answer(tools=(ToolCall(name="weather", fragments=('{"city":', '"Oslo"}')),))
    with FaultServer(
        [Reply(pieces=body("openai-chat", answer)[:3]), good(answer=answer)]
    ) as server:
        stream = unbroken.stream(**asking(server))
        calls = [e for e in stream if isinstance(e, unbroken.events.ToolCall)]
    assert "".join(call.arguments for call in calls) == '{"city":"Oslo"}'
    assert stream.outcome.tool_calls[0].complete


@pytest.mark.seed("003-handler-activity-warning", "003-drop-activity", "003-do-monitor")
def test_a_stall_is_told_while_reading_goes_on(sharp_clock: None) -> None:
    frames = body("openai-chat", STORY)
    stalls: list[unbroken.StallNotice] = []
    slow = Reply(pieces=[*frames[:4], Pause(0.5), *frames[4:]])
    with FaultServer(slow) as server:
        opts = options(clocks={"notice_s": 0.1})
        text = unbroken.stream(**asking(server, options=opts, on_stall=stalls.append)).text()
        assert len(server.requests) == 1
    assert text == STORY.text
    assert [(stall.clock, stall.phase) for stall in stalls] == [("progress", "text")]
    assert stalls[0].waited_s >= 0.1
