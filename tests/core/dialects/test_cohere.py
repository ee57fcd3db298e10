"""Cohere's chat: what frames mean, and that its SDK takes a spliced body for one stream."""

from __future__ import annotations

import json
from typing import Any

import cohere
import httpx
import pytest

from tests.core.dialects.helpers import calls_of, decode, proven, read, request, splice, until
from tests.core.scripted import Reply, ask, frames, play
from unbroken.core.dialects.base import Answer, AnswerCall, MalformedPayloadError, RequestFacts
from unbroken.core.dialects.cohere.dialect import Cohere
from unbroken.core.dialects.cohere.splice import write
from unbroken.core.events import (
    Close,
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

DIALECT = Cohere()
URL = "https://api.cohere.com/v2/chat"
WORDS = ("One ", "two ", "three, ", "four ", "five 🎈 ", "six.")
CALLS = (
    AnswerCall(name="weather", arguments=('{"city":', '"Paris"}'), id="call_a"),
    AnswerCall(name="clock", arguments=(), id="call_b"),
)


def frame(payload: Any, event: str = "message") -> Frame:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return Frame(event, data, "", None, b"data: " + data + b"\n\n", 0)


def event(kind: str, index: int | None = None, **message: Any) -> dict[str, Any]:
    at = {} if index is None else {"index": index}
    return {"type": kind, **at, "delta": {"message": message}}


def end(**delta: Any) -> dict[str, Any]:
    return {"type": "message-end", "delta": delta}


def meaning(*payloads: Any) -> list[Event]:
    reader = DIALECT.reader()
    return [event for payload in payloads for event in reader.read(frame(payload))]


def answer(**more: Any) -> list[bytes]:
    return DIALECT.encode(Answer(**{"text": WORDS, "usage": (7, 9), **more}))


def chat(body: bytes) -> list[Any]:
    """What the vendor's SDK gives out."""

    def handler(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=body, headers={"content-type": "text/event-stream"})

    client = cohere.ClientV2(
        api_key="k", httpx_client=httpx.Client(transport=httpx.MockTransport(handler))
    )
    return list(client.chat_stream(model="m", messages=[{"role": "user", "content": "Hi"}]))


# Meanings ----------------------------------------------------------------------------------


def test_thinking_and_text_are_contents_of_their_own():
    got = meaning(
        {"type": "message-start", "id": "a", "delta": {}},
        event("content-start", 0, content={"type": "thinking", "thinking": ""}),
        event("content-delta", 0, content={"thinking": "hm"}),
        {"type": "content-end", "index": 0},
        event("content-start", 1, content={"type": "text", "text": "H"}),
        event("content-delta", 1, content={"text": "i"}),
        event("content-delta", 1, content={"text": ""}),
        {"type": "content-end", "index": 1},
    )
    assert got == [
        Start("a"), Open("reasoning", 0, 0), Reasoning("hm", 0, 0), Close(0, 0),
        Open("text", 0, 1), Text("H", 0, 1), Text("i", 0, 1), Close(0, 1),
    ]  # fmt: skip


def test_plan_and_calls():
    function = {"name": "clock", "arguments": ""}
    got = meaning(
        event("tool-plan-delta", tool_plan="I will"),
        event("tool-call-start", 0, tool_calls={"id": "c", "function": function}),
        event("tool-call-delta", 0, tool_calls={"function": {"arguments": "{}"}}),
        event("tool-call-delta", 0, tool_calls={"function": {"arguments": ""}}),
        {"type": "tool-call-end", "index": 0},
    )
    block = (1, 0)
    assert got == [
        Reasoning("I will"), Open("tool", 0, block),
        ToolCall(0, "", block=block, id="c", name="clock"), ToolCall(0, "{}", block=block),
        ToolCall(0, block=block, whole=True), Close(0, block),
    ]  # fmt: skip


def test_citations_cannot_be_continued():
    got = meaning(event("citation-start", 0, citations={"start": 1}), {"type": "citation-end"})
    assert got == [Other("citation", content=True), Other("citation-end")]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("COMPLETE", "stop"), ("STOP_SEQUENCE", "stop"), ("MAX_TOKENS", "limit"),
     ("TOOL_CALL", "tool-calls"), ("A_NEW_ONE", "stop")],
)  # fmt: skip
def test_how_it_ended(reason, expected):
    assert meaning(end(finish_reason=reason)) == [Finish(reason, expected), End("message-end")]


@pytest.mark.parametrize("marker", [b"[DONE]", b" [DONE] "])
def test_done_alone_is_where_an_sdk_stops(marker):
    assert meaning(marker) == [End("[DONE]")]


def test_done_behind_the_end_says_nothing_more():
    body = b"".join(DIALECT.encode(Answer(text=("a",)))) + b"data: [DONE]\n\n"
    assert [type(event) for event in read(DIALECT, body).events].count(End) == 1


@pytest.mark.parametrize(
    ("delta", "type_", "retryable", "refused"),
    [
        ({"finish_reason": "ERROR", "error": "m", "error_type": "INVALID_TOOL_GENERATION"},
         "INVALID_TOOL_GENERATION", True, False),
        ({"finish_reason": "TIMEOUT"}, "", True, False),
        ({"finish_reason": "ERROR_LIMIT"}, "", False, False),
        ({"finish_reason": "ERROR_TOXIC"}, "", False, True),
        ({"finish_reason": "COMPLETE", "error": "m"}, "", True, False),
    ],
)  # fmt: skip
def test_failures_are_errors_of_the_provider(delta, type_, retryable, refused):
    error, finish, last = meaning(end(**delta))
    assert type(error) is ProviderError
    assert (error.type, error.code, error.message) == (
        type_, delta["finish_reason"], delta.get("error", ""),
    )  # fmt: skip
    assert (error.retryable, error.refused) == (retryable, refused)
    assert (type(finish), type(last)) == (Finish, End)


def test_an_end_without_a_reason_is_not_proven():
    events = meaning(event("content-delta", 0, content={"text": "x"}), end())
    assert events[-1] == End("message-end")
    assert not proven(DIALECT, events)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"tokens": {"input_tokens": 5, "output_tokens": 3, "reasoning_tokens": 2},
          "billed_units": {"input_tokens": 1}, "cached_tokens": 4}, [UsageReport(5, 3, 4, 2)]),
        ({"billed_units": {"input_tokens": 1}}, [UsageReport(1)]),
        ({}, []),
    ],
)  # fmt: skip
def test_usage(usage, expected):
    assert meaning(end(usage=usage))[:-1] == expected


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"message": "gone"}, "gone"), ({"id": "x", "message": "gone"}, "gone"),
        ({"error": {"message": "gone"}}, "gone"), ([{"error": "gone"}], "gone"),
    ],
)  # fmt: skip
def test_bare_errors(payload, expected):
    (error,) = meaning(payload)
    assert type(error) is ProviderError
    assert error.message == expected


@pytest.mark.parametrize("payload", [b"{", b"7", b"[]"])
def test_not_one_object_is_malformed(payload):
    with pytest.raises(MalformedPayloadError):
        meaning(payload)


@pytest.mark.parametrize(
    "kind",
    ["content-start", "content-delta", "tool-call-start", "tool-call-delta", "tool-plan-delta",
     "message-start"],
)  # fmt: skip
@pytest.mark.parametrize("rest", [{}, {"delta": None}, {"delta": {"message": 7}}])
def test_every_field_is_optional(kind, rest):
    meaning({"type": kind, **rest})
    assert DIALECT.reader().read(frame(rest, kind)) == meaning({"type": kind, **rest})


def test_short_cut_takes_text_of_its_content_alone():
    reader = DIALECT.reader()

    def raw(value: Any) -> bytes:
        return json.dumps(value).encode()

    texts = [raw(event("content-delta", 1, content={"text": word})) for word in "bc"]
    assert reader.texts(texts, 0, 1) == ["b", "c"]
    assert reader.texts(texts, 0, 0) is None
    for other in (
        event("content-delta", 1, content={"text": ""}), {"type": "content-end", "index": 1},
        event("content-delta", 1, content={"text": "x", "thinking": "y"}), end(), 7,
    ):  # fmt: skip
        assert reader.texts([*texts, raw(other)], 0, 1) is None


# Recognition and requests -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "is_ours"), [("/v2/chat", True), ("/v2/chat/", True), ("/v1/chat", False),
                          ("/v1/chat/completions", False)],
)  # fmt: skip
def test_paths(path, is_ours):
    assert DIALECT.recognises_path(path) == is_ours


def test_frames():
    assert DIALECT.recognises_frame(frame({"type": "message-start"}))
    for other in ({"type": "message_start"}, {}, b"[DONE]", b"{"):
        assert not DIALECT.recognises_frame(frame(other))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"model": "m"}, RequestFacts(model="m")),
        ({"temperature": 0.0}, RequestFacts(deterministic=True)),
        ({"seed": 1}, RequestFacts(deterministic=True)),
        ({"response_format": {"type": "json_object"}}, RequestFacts(structured=True)),
        ({"thinking": {"type": "enabled"}}, RequestFacts(thinking=True)),
        ({"max_tokens": 7, "stop_sequences": ["x"]}, RequestFacts(max_tokens=7, stop=("x",))),
    ],
)
def test_facts(body, expected):
    assert DIALECT.facts(request(URL, body)) == expected


def test_turns():
    asked = request(URL, {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9})
    begun = DIALECT.prefill(asked, "One", {"body": {"x": 1}, "message": {"y": 2}})
    assert begun is not None
    assert begun.json["messages"][1:] == [{"role": "assistant", "content": "One", "y": 2}]
    assert begun.json["x"] == 1
    again = DIALECT.prefill(begun, " two", {})
    assert again is not None
    assert again.json["messages"][1]["content"] == "One two"
    turn = DIALECT.user_turn(asked, "One", "Go on")
    assert turn is not None
    assert [m["role"] for m in turn.json["messages"]] == ["user", "assistant", "user"]
    assert DIALECT.user_turn(request(URL, {}), "One", "Go on") is None
    assert DIALECT.with_max_tokens(asked, 3).json["max_tokens"] == 3
    assert DIALECT.url_for("https://api.cohere.com/", "m") == URL
    assert DIALECT.url_for("https://api.cohere.com/v2", "m") == URL


# Splicing ----------------------------------------------------------------------------------


def as_sdk_sees(body: bytes) -> tuple[str, list[str], str]:
    """Text, calls' arguments and finish; and that every content is opened and closed once."""
    text, calls, finish, open_, seen = "", {}, "", set(), []
    for each in chat(body):
        match each.type:
            case "content-start":
                assert each.index == len(seen), "contents are numbered on"
                seen.append(each.index)
                open_.add(each.index)
            case "content-delta":
                assert each.index in open_
                text += each.delta.message.content.text or ""
            case "content-end":
                open_.remove(each.index)
            case "tool-call-start":
                assert not open_, "a content is left open before a call"
                assert each.index == len(calls)
                calls[each.index] = ""
            case "tool-call-delta":
                calls[each.index] += each.delta.message.tool_calls.function.arguments
            case "message-end":
                finish = each.delta.finish_reason
            case _:
                pass
    assert not open_
    return text, list(calls.values()), finish


@pytest.mark.parametrize("cut", range(1, len(WORDS) + 1))
@pytest.mark.parametrize("rung", ["replay", "user-turn"])
@pytest.mark.parametrize("thinking", [(), ("hm",)])
def test_the_sdk_takes_a_spliced_body_for_one_stream(cut, rung, thinking):
    calls = CALLS if thinking else ()
    delivered = until(DIALECT, answer(reasoning=thinking), cut)
    have = "".join(WORDS[:cut])
    words = WORDS if rung == "replay" else WORDS[cut:]
    later = answer(text=words, reasoning=("Other ", "thoughts"), calls=calls, id="a2",
                   finish="tool-calls" if calls else "stop")  # fmt: skip
    body = splice(DIALECT, delivered, later, rung=rung,
                  repeated=len(have) if rung == "replay" else 0)  # fmt: skip
    text, arguments, finish = as_sdk_sees(body)
    assert text == "".join(WORDS)
    assert arguments == ["".join(call.arguments) for call in calls]
    assert finish == ("TOOL_CALL" if calls else "COMPLETE")
    assert proven(DIALECT, read(DIALECT, body).events)


def test_a_turn_issued_again_closes_the_thinking_that_was_cut():
    delivered = answer(reasoning=("Hm, ", "I think"))[:3]
    body = splice(DIALECT, delivered, answer(reasoning=("Again",)), rung="retry")
    assert as_sdk_sees(body)[0] == "".join(WORDS)
    assert read(DIALECT, body).received.reasoning == "Hm, "


def test_a_replay_leaves_out_the_calls_that_were_delivered():
    whole = answer(calls=CALLS, finish="tool-calls")
    delivered = whole[:-4]  # up to the end of the first call
    assert [name for name, _ in calls_of(read(DIALECT, delivered).received)] == ["weather"]
    body = splice(DIALECT, delivered, answer(calls=CALLS, finish="tool-calls", id="a2"),
                  rung="replay", repeated=len("".join(WORDS)))  # fmt: skip
    assert as_sdk_sees(body)[1:] == (['{"city":"Paris"}', ""], "TOOL_CALL")


def test_text_that_is_new_only_at_the_end_gets_its_place():
    """An anchor that could still be an echo is proven by the end alone."""
    delivered = until(DIALECT, answer(), 2)
    splicer = DIALECT.splicer(read(DIALECT, delivered).received, rung="user-turn",
                              facts=RequestFacts())  # fmt: skip
    out = list(delivered)
    reader = DIALECT.reader()
    for each in decode(DIALECT, b"".join(answer(id="a2"))):
        events = [e for e in reader.read(each) if type(e) not in (Start, Text)]
        finishing = any(type(e) is Finish for e in events)
        out += splicer.splice(each, events, "three." if finishing else "")
    assert as_sdk_sees(b"".join(out))[0] == "One two three."


def test_citations_of_the_later_text_count_from_the_whole():
    def cited(start: int, block: int) -> bytes:
        citation = {"start": start, "end": start + 5, "text": "three", "content_index": block}
        return write(event("citation-start", 0, citations=citation))

    delivered = until(DIALECT, answer(reasoning=("Hm",)), 2)  # 8 characters
    later = answer(text=("two ", "three"), reasoning=())
    later.insert(4, cited(4, 0))
    body = splice(DIALECT, delivered, later, rung="user-turn", repeated=4)
    (found,) = [e for e in chat(body) if e.type == "citation-start"]
    where = found.delta.message.citations
    assert (where.start, where.end, where.content_index) == (8, 13, 1)
    assert as_sdk_sees(body)[0][8:13] == "three"


def test_usage_counts_the_prompt_once():
    delivered = [*until(DIALECT, answer(), 1)]
    received = read(DIALECT, delivered).received
    received.usage.input = 7
    splicer = DIALECT.splicer(received, rung="prefill", facts=RequestFacts())
    last = decode(DIALECT, answer(usage=(9, 4))[-2])[0]
    (written,) = splicer.splice(last, [Finish("COMPLETE", "stop")], "")[-1:]
    assert read(DIALECT, written).received.usage.input == 7
    assert read(DIALECT, written).received.usage.output == 6


def test_healed_by_a_user_turn():
    text = "The sea is salt because rivers carry minerals from the rocks of the land into it."
    whole = frames(text, dialect="cohere")

    def goes_on(asked):
        said = asked.json["messages"][-1]["content"]
        anchor = said.split("Begin with exactly: ")[1].split("\n")[0]
        return frames(text[text.index(anchor) :], dialect="cohere", id="a2")

    run = play([Reply(whole[:20], end="reset"), Reply(goes_on)], request=ask("cohere"),
               dialect="cohere")  # fmt: skip
    assert run.rungs == ["first", "user-turn"]
    assert (run.outcome.text, run.outcome.status) == (text, "complete")
    assert as_sdk_sees(run.delivered)[0] == text
