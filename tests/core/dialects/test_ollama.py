"""Ollama: what lines mean, and that its SDK takes a spliced body for one stream."""

from __future__ import annotations

import json
from typing import Any

import httpx
import ollama
import pytest

from tests.core.dialects.helpers import calls_of, decode, proven, read, request, splice
from tests.support import bodies
from unbroken.core.checks.completeness import Completeness
from unbroken.core.dialects.base import Answer, AnswerCall, MalformedPayloadError, RequestFacts
from unbroken.core.dialects.ollama.dialect import Ollama
from unbroken.core.events import (
    End,
    Event,
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
from unbroken.core.frames import Frame

DIALECT = Ollama()
CHAT = "http://127.0.0.1:11434/api/chat"
GENERATE = "http://127.0.0.1:11434/api/generate"
WORDS = ("One ", "two ", "three, ", "four ", "five \N{GRINNING FACE} ", "six.")
CALLS = (
    AnswerCall(name="weather", arguments=('{"city":', '"Paris"}'), id="call_a"),
    AnswerCall(name="clock", arguments=("{}",), id="call_b"),
)


def line(payload: Any) -> Frame:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return Frame("message", data, "", None, data + b"\n", 0)


def meaning(*payloads: Any) -> list[Event]:
    reader = DIALECT.reader()
    return [event for payload in payloads for event in reader.read(line(payload))]


def said(content: str, **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content}
    return {"model": "m", "created_at": "2026", "message": message, "done": False} | more


def answer(**more: Any) -> list[bytes]:
    return DIALECT.encode(Answer(**{"text": WORDS, "usage": (7, 9), **more}))


def client(body: bytes) -> ollama.Client:
    def handler(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=body, headers={"content-type": "application/x-ndjson"})

    return ollama.Client(host="http://test", transport=httpx.MockTransport(handler))


def chat(body: bytes) -> list[Any]:
    return list(client(body).chat(model="m", messages=[], stream=True))


# Meanings ----------------------------------------------------------------------------------


def test_the_first_line_starts_and_the_rest_are_text():
    assert meaning(said("Hi"), said(" you"), said("")) == [
        Start(None, "m"), Open("other"), Text("Hi"), Text(" you")
    ]  # fmt: skip


def test_generate_has_its_own_keys():
    got = meaning(
        {"model": "m", "response": "", "thinking": "hm", "done": False},
        {"model": "m", "response": "Hi", "done": False},
        {"model": "m", "response": " you", "thinking": "", "done": False},
        {"model": "m", "response": "", "done": True, "done_reason": "stop", "context": [1, 2],
         "prompt_eval_count": 3, "eval_count": 2},
    )  # fmt: skip
    assert got == [
        Start(None, "m"), Open("other"), Reasoning("hm"), Text("Hi"), Text(" you"),
        UsageReport(3, 2), Finish("stop", "stop"), End("done"),
    ]  # fmt: skip


def test_thinking_comes_before_text_of_the_same_line():
    value = said("Hi")
    value["message"]["thinking"] = "hm"
    made = {"response": "Hi", "thinking": "hm", "done": False}
    for events in (
        meaning(value)[2:], meaning(said("x"), value)[3:], meaning(said("x"), made)[3:]
    ):  # fmt: skip
        assert events == [Reasoning("hm"), Text("Hi")]


def test_each_entry_is_one_whole_call_whatever_its_index():
    def call(name: str, arguments: Any, **more: Any) -> dict[str, Any]:
        return {"function": {"index": 0, "name": name, "arguments": arguments}, **more}

    value = said("")
    value["message"]["tool_calls"] = [call("a", {"x": "é"}, id="c1"), call("b", {})]
    again = said("")
    again["message"]["tool_calls"] = [call("a", '{"x": 1}'), call("a", None)]
    got = meaning(said("x"), value, again, said("", done=True, done_reason="stop"))
    assert got[3:] == [
        ToolCall(0, '{"x": "é"}', id="c1", name="a", whole=True),
        ToolCall(1, "{}", name="b", whole=True),
        ToolCall(2, '{"x": 1}', name="a", whole=True),
        ToolCall(3, "{}", name="a", whole=True),
        Finish("stop", "tool-calls"),
        End("done"),
    ]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("stop", "stop"), ("length", "limit"), ("load", "stop"), ("unload", "stop"), ("new", "stop")],
)
def test_how_it_ended(reason, expected):
    got = meaning(said("x"), said("", done=True, done_reason=reason))
    assert got[3:] == [Finish(reason, expected), End("done")]


@pytest.mark.parametrize("more", [{}, {"done_reason": ""}, {"done_reason": None}])
def test_an_end_without_a_reason_is_not_proven(more):
    events = meaning(said("x"), said("", done=True, **more))
    assert events[3:] == [End("done")]
    assert not proven(DIALECT, events)
    account = Completeness(DIALECT)
    for event in events:
        account.add(event)
    variant = DIALECT.variant("127.0.0.1", json.dumps(said("x")).encode())
    (fault,) = account.judge("eof", variant=variant, pending=0, at_byte=9, frames=2)
    assert fault.kind == "missing-finish"
    assert fault.severity == "fatal"


def test_text_of_the_last_line_counts():
    got = meaning(said("x"), said("y", done=True, done_reason="stop"))
    assert Text("y") in got


def test_an_error_line():
    got = meaning(said("x"), {"error": "an error was encountered while running the model"})
    assert got[3:] == [ProviderError(message="an error was encountered while running the model")]
    assert got[3].retryable  # type: ignore[union-attr]


def test_an_image_cannot_be_continued():
    value = said("x")
    value["message"]["images"] = ["AAAA"]
    for events in (meaning(value), meaning(said("y"), value)):
        assert Other("image", content=True) in events


def test_the_fast_path_says_what_the_slow_one_says():
    whole = b"".join(answer(reasoning=("hm",), calls=CALLS))
    fast, slow = DIALECT.reader(), DIALECT.reader()
    for each in decode(DIALECT, whole):
        assert fast.read(each) == slow._read_any(each)


def test_half_a_surrogate_pair_is_text():
    raw = b'{"message":{"content":"\\ud83d"},"done":false}'
    assert meaning(said("x"), raw)[3:] == [Text("\ud83d")]


def test_what_is_not_one_object_is_malformed():
    for raw in (b"{", b'"text"', b"[1]", b"{}{}"):
        with pytest.raises(MalformedPayloadError):
            DIALECT.reader().read(line(raw))


@pytest.mark.parametrize("value", [None, 1, "x", [], [1], {"a": None}, True])
def test_no_shape_of_a_field_raises(value):
    keys = ("message", "done", "done_reason", "response", "thinking", "error", "model",
            "tool_calls", "eval_count", "prompt_eval_count")  # fmt: skip
    for raw in answer(reasoning=("hm",), calls=CALLS):
        payload = json.loads(raw)
        for key in keys:
            reader = DIALECT.reader()
            reader.read(line(said("x")))
            reader.read(line({**payload, key: value}))
            reader.read(line({**payload, "message": {**payload["message"], key: value}}))


def test_a_whole_answer_in_events():
    seen = read(DIALECT, answer(reasoning=("hm",), calls=CALLS))
    got = seen.received
    assert got.text == "".join(WORDS)
    assert got.reasoning == "hm"
    assert calls_of(got) == [("weather", {"city": "Paris"}), ("clock", {})]
    assert got.usage.input == 7
    assert got.usage.output == 9
    assert proven(DIALECT, seen.events)


def test_a_fork_reads_on_alone():
    frames = decode(DIALECT, b"".join(answer(reasoning=("hm",), calls=CALLS)))
    for cut in range(len(frames)):
        reader = DIALECT.reader()
        for each in frames[:cut]:
            reader.read(each)
        fork = reader.fork()
        for each in frames[cut:]:
            assert fork.read(each) == reader.read(each)


# Splicing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("tools", [(), CALLS], ids=["text", "calls"])
@pytest.mark.parametrize("rung", ["prefill", "user-turn"])
@pytest.mark.parametrize("anchor", ["", "tail "])
def test_a_continuation_anywhere_in_or_after_the_text(rung, tools, anchor):
    first = answer(reasoning=("Let me", " see"), calls=tools)
    text = "".join(WORDS)
    for cut in range(3, len(first) - len(tools)):
        delivered = first[:cut]
        rest = text[len(read(DIALECT, delivered).received.text) :]
        pieces = tuple(piece for piece in (anchor, rest[:3], rest[3:]) if piece)
        later = answer(text=pieces, reasoning=("again",), calls=tools)
        body = splice(DIALECT, delivered, later, rung=rung, repeated=len(anchor))
        parts = chat(body)
        assert "".join(part.message.content for part in parts) == text, f"cut at {cut}"
        assert "".join(part.message.thinking or "" for part in parts) == "Let me see"
        named = [c.function.name for part in parts for c in part.message.tool_calls or ()]
        assert named == [call.name for call in tools]
        assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
        assert parts[-1].done_reason == "stop"
        assert proven(DIALECT, read(DIALECT, body).events)


def test_thinking_beside_new_text_stays_out():
    value = said("three")
    value["message"]["thinking"] = "hm"
    later = [line(value).raw, answer()[-1]]
    parts = chat(splice(DIALECT, answer()[:2], later, rung="prefill"))
    assert [part.message.content for part in parts] == ["One ", "two ", "three", ""]
    assert [part.message.thinking for part in parts] == [None] * 4


def test_a_replay_keeps_no_call_that_was_delivered():
    first = answer(calls=CALLS)
    text = "".join(WORDS)
    for cut in range(1, len(first)):
        length = len(read(DIALECT, first[:cut]).received.text)
        later = answer(text=tuple(text), calls=CALLS)
        parts = chat(splice(DIALECT, first[:cut], later, rung="replay", repeated=length))
        assert "".join(part.message.content for part in parts) == text, f"cut at {cut}"
        named = [c.function.name for part in parts for c in part.message.tool_calls or ()]
        assert named == ["weather", "clock"], f"cut at {cut}"


def test_of_one_line_only_the_calls_that_are_new_stay():
    value = said("")
    value["message"]["tool_calls"] = [
        {"function": {"name": name, "arguments": {}}} for name in ("weather", "clock")
    ]
    later = line(value)
    splicer = DIALECT.splicer(
        read(DIALECT, answer()[:3]).received, rung="replay", facts=RequestFacts()
    )
    kept: list[Event] = [ToolCall(1, "{}", name="clock", whole=True)]
    (raw,) = splicer.splice(later, kept, "")
    calls = json.loads(raw)["message"]["tool_calls"]
    assert [call["function"]["name"] for call in calls] == ["clock"]


def test_generate_is_spliced_in_its_own_keys():
    def piece(text: str, **more: Any) -> bytes:
        payload = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "response": text}
        return json.dumps(payload | {"done": False} | more).encode() + b"\n"

    first = [piece("", thinking="hm"), piece("One "), piece("two ")]
    later = [piece("", thinking="no"), piece("two three"), piece(".", done=True,
             done_reason="stop", eval_count=4)]  # fmt: skip
    body = splice(DIALECT, first, later, rung="prefill", repeated=4)
    parts = list(client(body).generate(model="m", prompt="hi", stream=True))
    assert "".join(part.response for part in parts) == "One two three."
    assert "".join(part.thinking or "" for part in parts) == "hm"
    assert parts[-1].done
    assert parts[-1].eval_count == 4
    assert b"message" not in body


def test_a_prompt_is_counted_once_where_it_is_known():
    before = read(DIALECT, answer()[:3]).received
    before.usage.input = 7
    splicer = DIALECT.splicer(before, rung="prefill", facts=RequestFacts())
    end = line(said("", done=True, done_reason="stop", prompt_eval_count=10, eval_count=6))
    (raw,) = splicer.splice(end, DIALECT.reader().read(end), "")
    assert json.loads(raw)["prompt_eval_count"] == 7
    assert json.loads(raw)["eval_count"] == 9


def test_the_providers_own_error_passes_unchanged():
    splicer = DIALECT.splicer(
        read(DIALECT, answer()[:3]).received, rung="prefill", facts=RequestFacts()
    )
    error = line({"error": "out of memory"})
    assert splicer.splice(error, DIALECT.reader().read(error), "") == [error.raw]
    with pytest.raises(ollama.ResponseError, match="out of memory"):
        chat(b"".join([*answer()[:3], error.raw]))


def test_half_a_surrogate_pair_passes_a_splice():
    pair = b'{"message":{"content":"\\ud83d"},"done":false}\n'
    other = pair.replace(b"ud83d", b"ude00")
    body = splice(DIALECT, answer()[:2], [pair, other, *answer()[-1:]], rung="prefill")
    assert read(DIALECT, body).received.text == "One two \N{GRINNING FACE}"


def test_a_heartbeat_is_nothing_to_the_sdk():
    assert DIALECT.heartbeat == b" "
    body = b"".join(b"   " + raw for raw in answer())
    assert "".join(part.message.content for part in chat(body)) == "".join(WORDS)


def test_bodies_written_by_hand_splice_as_well():
    first = bodies.body("ollama", bodies.Answer(tokens=WORDS, reasoning=("hm",)))
    later = bodies.body("ollama", bodies.Answer(tokens=WORDS[2:], reasoning=("x",)))
    parts = chat(splice(DIALECT, list(first[:3]), list(later), rung="prefill"))
    assert "".join(part.message.content for part in parts) == "".join(WORDS)


# Requests ----------------------------------------------------------------------------------


def test_recognition():
    assert DIALECT.recognises_path("/api/chat")
    assert DIALECT.recognises_path("/proxy/api/generate")
    for path in ("/v1/chat/completions", "/api/tags", "/api/chats", "/v1/responses"):
        assert not DIALECT.recognises_path(path)
    assert DIALECT.recognises_frame(line(said("x")))
    assert DIALECT.recognises_frame(line({"response": "x", "done": False}))
    assert not DIALECT.recognises_frame(line({"choices": []}))
    assert DIALECT.wants_stream(request(CHAT, {}))  # on by default
    assert DIALECT.wants_stream(request(CHAT, {"stream": True}))
    assert not DIALECT.wants_stream(request(CHAT, {"stream": False}))


@pytest.mark.parametrize(
    ("body", "field", "value"),
    [
        ({"model": "m"}, "model", "m"),
        ({"options": {"temperature": 0}}, "deterministic", True),
        ({"options": {"seed": 3}}, "deterministic", True),
        ({"options": {"seed": -1}}, "deterministic", False),
        ({}, "deterministic", False),
        ({"format": "json"}, "structured", True),
        ({"format": {"type": "object"}}, "structured", True),
        ({"think": True}, "thinking", True),
        ({"think": "high"}, "thinking", True),
        ({"think": False}, "thinking", False),
    ],
)
def test_facts(body, field, value):
    assert getattr(DIALECT.facts(request(CHAT, body)), field) == value


def test_prefill_and_user_turn():
    user = {"role": "user", "content": "hi"}
    begun = {"role": "assistant", "content": "One"}
    got = DIALECT.prefill(request(CHAT, {"model": "m", "messages": [user]}), "One", {})
    assert got is not None
    assert got.json == {"model": "m", "messages": [user, begun]}
    got = DIALECT.prefill(
        request(CHAT, {"messages": [user, begun]}), " two", {"body": {"think": False}}
    )
    assert got is not None
    assert got.json == {
        "messages": [user, {"role": "assistant", "content": "One two"}], "think": False
    }  # fmt: skip
    got = DIALECT.user_turn(request(CHAT, {"messages": [user]}), "One", "Go on.")
    assert got is not None
    assert got.json["messages"] == [user, begun, {"role": "user", "content": "Go on."}]
    assert DIALECT.prefill(request(CHAT, {"messages": []}), "One", {}) is None


def test_only_a_raw_prompt_of_generate_can_be_continued():
    plain = request(GENERATE, {"model": "m", "prompt": "hi"})
    assert DIALECT.prefill(plain, "One", {}) is None
    assert DIALECT.user_turn(plain, "One", "Go on.") is None
    raw = request(GENERATE, {"model": "m", "prompt": "hi ", "raw": True})
    got = DIALECT.prefill(raw, "One", {})
    assert got is not None
    assert got.json["prompt"] == "hi One"
    assert DIALECT.user_turn(raw, "One", "Go on.") is None
    filled = request(GENERATE, {"prompt": "hi", "raw": True, "suffix": "end"})
    assert DIALECT.prefill(filled, "One", {}) is None
