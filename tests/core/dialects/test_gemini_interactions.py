"""Gemini Interactions: what frames mean, resuming, and spliced bodies in Google's SDK."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from google import genai

from tests.core.dialects.helpers import decode, proven, read, request, splice, until
from tests.core.scripted import Reply, ask, frames, play
from unbroken.core.dialects.base import (
    Answer,
    AnswerCall,
    Cursor,
    MalformedPayloadError,
    Place,
    RequestFacts,
)
from unbroken.core.dialects.gemini_interactions.dialect import GeminiInteractions
from unbroken.core.events import (
    Close,
    End,
    Event,
    Finish,
    Mark,
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
from unbroken.core.frames import Frame
from unbroken.core.request import Request

DIALECT = GeminiInteractions()
HOST = "https://generativelanguage.googleapis.com"
URL = f"{HOST}/v1beta/interactions"
WORDS = ("One ", "two ", "three, ", "four ", "five 🎈 ", "six.")
CALLS = (
    AnswerCall(name="weather", arguments=('{"city":', '"Paris"}'), id="fc_a"),
    AnswerCall(name="clock", arguments=("{}",), id="fc_b"),
)
KEPT, NOT_KEPT = RequestFacts(server_state=True), RequestFacts()


def frame(payload: Any, event: str = "message") -> Frame:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return Frame(event, data, "", None, b"data: " + data + b"\n\n", 0)


def ev(kind: str, **fields: Any) -> dict[str, Any]:
    return {"event_type": kind, **fields}


CREATED = ev("interaction.created", interaction={"id": "v1_a", "model": "m"})


def start(at: int, **step: Any) -> dict[str, Any]:
    return ev("step.start", index=at, step=step)


def delta(at: int, **fields: Any) -> dict[str, Any]:
    return ev("step.delta", index=at, delta=fields)


def stop(at: int) -> dict[str, Any]:
    return ev("step.stop", index=at)


def completed(**interaction: Any) -> dict[str, Any]:
    return ev("interaction.completed", interaction={"id": "v1_a", **interaction})


def meaning(*payloads: Any) -> list[Event]:
    reader = DIALECT.reader()
    return [event for payload in payloads for event in reader.read(frame(payload))]


def answer(**more: Any) -> list[bytes]:
    return DIALECT.encode(Answer(**{"text": WORDS, "usage": (7, 9), **more}))


def interact(body: bytes) -> list[Any]:
    """What the vendor's SDK gives out."""

    def handler(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=body, headers={"content-type": "text/event-stream"})

    client = genai.Client(
        api_key="k",
        http_options=genai.types.HttpOptions(
            httpx_client=httpx2.Client(transport=httpx2.MockTransport(handler))
        ),
    )
    return list(client.interactions.create(model="m", input="Hi", stream=True, store=False))


# Meanings ----------------------------------------------------------------------------------


def test_steps_of_an_answer():
    got = meaning(
        CREATED,
        ev("interaction.status_update", interaction_id="v1_a", status="in_progress"),
        start(0, type="thought"),
        delta(0, type="thought_summary", content={"type": "text", "text": "hm"}),
        delta(0, type="thought_signature", signature="c2k"),
        stop(0),
        start(1, type="model_output"),
        delta(1, type="text", text="Hi"),
        delta(1, type="text", text=""),
        stop(1),
        completed(status="completed", usage={"total_input_tokens": 3, "total_output_tokens": 2,
                                             "total_cached_tokens": 1, "total_thought_tokens": 4}),
        b"[DONE]",
    )  # fmt: skip
    assert got == [
        Start("v1_a", "m"), Ping(),
        Open("reasoning", 0, 0), Reasoning("hm", 0, 0), Reasoning("", 0, 0, sealed=True),
        Close(0, 0),
        Open("text", 0, 1), Text("Hi", 0, 1), Close(0, 1),
        UsageReport(3, 2, 1, 4), Finish("completed", "stop"), End("interaction.completed"),
        Other("[DONE]"),
    ]  # fmt: skip


def test_calls_in_pieces_and_whole():
    got = meaning(
        CREATED,
        start(0, type="function_call", id="a", name="add", arguments={}),
        delta(0, type="arguments_delta", arguments='{"x":'),
        delta(0, type="arguments_delta", arguments="2}"),
        delta(0, type="arguments_delta"),
        stop(0),
        start(1, type="function_call", id="b", name="now", arguments={"zone": "CET"}),
        stop(1),
    )
    assert got[1:] == [
        Open("tool", 0, 0), ToolCall(0, block=0, id="a", name="add"),
        ToolCall(0, '{"x":', block=0), ToolCall(0, "2}", block=0),
        ToolCall(0, block=0, whole=True), Close(0, 0),
        Open("tool", 0, 1), ToolCall(1, block=1, id="b", name="now"),
        ToolCall(1, '{"zone":"CET"}', block=1, whole=True), Close(0, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("fast", [True, False])
def test_every_event_id_is_a_place(fast):
    more = {} if fast else {"metadata": {"x": 1}}
    got = meaning(CREATED, start(1, type="model_output") | {"event_id": "e1"},
                  delta(1, type="text", text="Hi") | {"event_id": "e2"} | more)  # fmt: skip
    assert got[1:] == [Open("text", 0, 1), Mark("e1"), Text("Hi", 0, 1), Mark("e2")]


def test_what_a_step_brings_with_its_opening():
    got = meaning(
        CREATED,
        start(0, type="thought", signature="c2k", summary=[{"type": "text", "text": "hm"}]),
        start(1, type="model_output", content=[{"type": "text", "text": "H"}, {"type": "image"}]),
        start(2, type="user_input"),
        start(3, type="google_search_call"),
        start(4, type="invented"),
    )
    assert got[1:] == [
        Open("reasoning", 0, 0), Reasoning("hm", 0, 0), Reasoning("", 0, 0, sealed=True),
        Open("text", 0, 1), Text("H", 0, 1), Other("image", content=True),
        Open("other", 0, 2), Other("user_input"),
        Open("other", 0, 3), Other("google_search_call", content=True),
        Open("other", 0, 4), Other("invented", content=True),
    ]  # fmt: skip


def test_an_output_may_fail_as_a_step():
    error = {"code": 13, "message": "m"}
    (_, event) = meaning(CREATED, start(0, type="model_output", error=error))[1:]
    assert type(event) is ProviderError
    assert (event.code, event.message) == ("13", "m")


@pytest.mark.parametrize("kind", ["text_annotation_delta", "image", "audio", "invented"])
def test_what_cannot_be_continued(kind):
    got = meaning(CREATED, start(0, type="model_output"), delta(0, type=kind))
    assert got[-1] == Other(kind, content=True)


@pytest.mark.parametrize(
    ("status", "expected"),
    [("completed", "stop"), ("requires_action", "tool-calls"), ("incomplete", "limit"),
     ("budget_exceeded", "limit"), ("requires_continuation", "pause"), ("failed", "fault"),
     ("cancelled", "fault"), ("a_new_one", "stop")],
)  # fmt: skip
def test_how_it_ended(status, expected):
    assert meaning(completed(status=status)) == [
        Finish(status, expected), End("interaction.completed")
    ]  # fmt: skip


@pytest.mark.parametrize("status", ["in_progress", "queued"])
def test_an_end_that_is_under_way_is_none(status):
    assert meaning(completed(status=status)) == [End("interaction.completed")]


def test_old_names_are_known():
    got = meaning(
        ev("interaction.start", interaction={"id": "a", "agent": "deep"}),
        ev("interaction.complete"),
    )
    assert got == [
        Start("a", "deep"), Finish("completed", "stop"), End("interaction.completed")
    ]  # fmt: skip


def test_a_checkpoint_is_more_than_a_sign_of_life():
    update = ev("interaction.status_update", status="in_progress", continuation_token="t")
    assert meaning(update) == [Other("interaction.status_update")]


@pytest.mark.parametrize(
    ("error", "code", "retryable", "refused"),
    [
        ({"code": "internal", "message": "m"}, "internal", True, False),
        ({"code": "https://x.example/errors/unavailable"}, "unavailable", True, False),
        ({"code": "https://x.example/errors/invalid_argument/"}, "invalid_argument", False, False),
        ({"code": "prohibited_content"}, "prohibited_content", False, True),
        ({}, "", True, False),
    ],
)
def test_errors(error, code, retryable, refused):
    (event,) = meaning(ev("error", error=error))
    assert type(event) is ProviderError
    assert (event.code, event.retryable, event.refused) == (code, retryable, refused)


def test_an_error_without_its_object_is_one():
    assert meaning(ev("error")) == [ProviderError()]
    assert type(meaning([{"error": {"code": 503, "message": "m"}}])[0]) is ProviderError


@pytest.mark.parametrize("payload", [b"{", b"7", b'"a"'])
def test_not_one_object_is_malformed(payload):
    with pytest.raises(MalformedPayloadError):
        meaning(payload)


@pytest.mark.parametrize(
    "kind",
    ["step.start", "step.delta", "step.stop", "interaction.created", "interaction.completed",
     "interaction.status_update"],
)  # fmt: skip
@pytest.mark.parametrize("rest", [{}, {"step": 7, "delta": 7, "interaction": 7, "index": "x"}])
def test_every_field_is_optional(kind, rest):
    meaning(CREATED, ev(kind, **rest))
    assert DIALECT.reader().read(frame(rest, kind)) == meaning(ev(kind, **rest))


def test_a_stream_asked_for_from_an_event_on_begins_inside_a_step():
    got = meaning(delta(2, type="text", text="a"), delta(2, type="text", text="b"), stop(2))
    assert got == [Open("other", 0, 2), Text("a", 0, 2), Text("b", 0, 2), Close(0, 2)]
    lost = meaning(CREATED, delta(2, type="text", text="a"))
    assert Open("other", 0, 2) not in lost


def test_short_cut_takes_text_of_its_step_without_an_event_id():
    reader = DIALECT.reader()

    def raw(value: Any) -> bytes:
        return json.dumps(value).encode()

    texts = [raw(delta(1, type="text", text=word)) for word in "bc"]
    assert reader.texts(texts, 0, 1) == ["b", "c"]
    for other in (
        delta(2, type="text", text="d"), delta(1, type="text", text=""),
        delta(1, type="text", text="d") | {"event_id": "e"}, stop(1), 7,
        delta(1, type="text", text="d", annotations=[{}]),
    ):  # fmt: skip
        assert reader.texts([*texts, raw(other)], 0, 1) is None


def test_fork_is_independent():
    reader = DIALECT.reader()
    reader.read(frame(CREATED))
    reader.read(frame(start(0, type="function_call", name="a")))
    copy = reader.fork()
    reader.read(frame(delta(0, type="arguments_delta", arguments="{}")))
    reader.read(frame(start(1, type="function_call", name="b")))
    assert ToolCall(1, block=1, name="c") in copy.read(
        frame(start(1, type="function_call", name="c"))
    )
    assert not copy._calls[0].pieces


# Recognition and requests -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "is_ours"),
    [
        ("/v1beta/interactions", True), ("/v1beta/interactions/v1_a", True),
        ("/v1beta1/projects/p/locations/global/interactions", True),
        ("/v1beta/interactions/v1_a/cancel", False), ("/v1beta/models/m:generateContent", False),
    ],
)  # fmt: skip
def test_paths(path, is_ours):
    assert DIALECT.recognises_path(path) == is_ours


def test_streams_are_asked_for():
    assert DIALECT.wants_stream(request(URL, {"input": "Hi", "stream": True}))
    assert not DIALECT.wants_stream(request(URL, {"input": "Hi"}))
    for query, wants in (("?stream=true", True), ("?stream=True&x=1", True), ("", False)):
        assert DIALECT.wants_stream(Request(method="GET", url=f"{URL}/v1_a{query}")) == wants


def test_frames():
    assert DIALECT.recognises_frame(frame(CREATED))
    assert DIALECT.recognises_frame(frame(stop(0)))
    for other in ({"type": "message_start"}, {"event_type": "x"}, {}, b"[DONE]", b"{"):
        assert not DIALECT.recognises_frame(frame(other))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"model": "m"}, {"model": "m", "server_state": True}),
        ({"agent": "a", "store": True}, {"model": "a", "server_state": True, "server_work": True}),
        ({"store": False}, {}),
        ({"store": False, "previous_interaction_id": "v1"}, {"server_state": True}),
        ({"store": False, "background": True}, {"server_work": True}),
        ({"store": False, "tools": [{"type": "function"}]}, {}),
        ({"store": False, "tools": [{"type": "google_search"}]}, {"server_work": True}),
        ({"store": False, "generation_config": {"temperature": 0}}, {"deterministic": True}),
        ({"store": False, "generation_config": {"seed": 3, "thinking_level": "low"}},
         {"deterministic": True, "thinking": True}),
        ({"store": False, "response_format": {"type": "text"}}, {}),
        ({"store": False, "response_format": [{"type": "text", "mime_type": "application/json"}]},
         {"structured": True}),
        ({"store": False, "response_format": {"type": "object"}}, {"structured": True}),
        ({"store": False, "response_mime_type": "application/json"}, {"structured": True}),
        ({"store": False, "generation_config": {"max_output_tokens": 7, "stop_sequences": ["x"]}},
         {"max_tokens": 7, "stop": ("x",)}),
    ],
)  # fmt: skip
def test_facts(body, expected):
    assert DIALECT.facts(request(URL, body)) == RequestFacts(**expected)


TEXT_IN = {"type": "text", "text": "Hi"}
USER = {"type": "user_input", "content": [TEXT_IN]}


@pytest.mark.parametrize(
    ("given", "steps"),
    [
        ("Hi", [USER]), (TEXT_IN, [USER]), ([TEXT_IN], [USER]), ([USER], [USER]),
        ([USER, {"type": "google_search_call"}], [USER, {"type": "google_search_call"}]),
    ],
)  # fmt: skip
def test_turns(given, steps):
    asked = request(URL, {"input": given, "store": False})
    said = {"type": "model_output", "content": [{"type": "text", "text": "One"}]}
    begun = DIALECT.prefill(asked, "One", {"body": {"x": 1}})
    assert begun is not None
    assert (begun.json["input"], begun.json["x"]) == ([*steps, said], 1)
    turn = DIALECT.user_turn(asked, "One", "Go on")
    assert turn is not None
    last = {"type": "user_input", "content": [{"type": "text", "text": "Go on"}]}
    assert turn.json["input"] == [*steps, said, last]


def test_requests_without_a_place_for_a_turn():
    for body in ({}, {"input": []}, {"input": 7}):
        assert DIALECT.user_turn(request(URL, body), "One", "Go on") is None
    config = {"generation_config": {"temperature": 1}}
    fewer = DIALECT.with_max_tokens(request(URL, config), 5)
    assert fewer.json["generation_config"] == {"temperature": 1, "max_output_tokens": 5}
    assert DIALECT.url_for(HOST, "m") == DIALECT.url_for(f"{HOST}/v1beta/", "m") == URL
    assert DIALECT.key_headers("k") == {"x-goog-api-key": "k"}


# Resuming ----------------------------------------------------------------------------------


AT = Place(id="v1_a/b", mark="e 9")


def asked(url: str = URL, method: str = "POST", **body: Any) -> Request:
    headers = (
        ("x-goog-api-key", "k"), ("Content-Type", "application/json"), ("Content-Length", "9"),
        ("accept", "text/event-stream"),
    )  # fmt: skip
    return Request(method=method, url=url, headers=headers, body=json.dumps(body).encode())


@pytest.mark.parametrize(
    ("url", "method", "expected"),
    [
        (URL, "POST", f"{URL}/v1_a%2Fb?stream=true&last_event_id=e+9"),
        (f"{URL}?key=k&x=1", "POST", f"{URL}/v1_a%2Fb?key=k&x=1&stream=true&last_event_id=e+9"),
        (f"{URL}/v1_x?stream=true&last_event_id=e1", "GET",
         f"{URL}/v1_a%2Fb?stream=true&last_event_id=e+9"),
    ],
)  # fmt: skip
def test_it_goes_on_behind_the_last_event(url, method, expected):
    cursor = DIALECT.cursor(asked(url, method, input="Hi"), AT)
    assert isinstance(cursor, Cursor)
    assert not cursor.mid_frame
    again = cursor.request
    assert (again.method, again.url, again.body) == ("GET", expected, b"")
    assert again.headers == (("x-goog-api-key", "k"), ("accept", "text/event-stream"))


def test_a_get_knows_its_id():
    cursor = DIALECT.cursor(asked(f"{URL}/v1_x?stream=true", "GET"), Place(mark="e2"))
    assert isinstance(cursor, Cursor)
    assert cursor.request.url == f"{URL}/v1_x?stream=true&last_event_id=e2"


@pytest.mark.parametrize(
    ("request_", "place", "why"),
    [
        (asked(), Place(id="v1_a"), "no event_id"),
        (asked(), Place(mark="e1"), "id had not arrived"),
        (asked(), Place(id="v1_a", mark="e1", content_since_mark=True), "after the last event_id"),
        (asked(store=False), AT, "store"),
        (asked("https://aiplatform.googleapis.com/v1beta1/projects/p/locations/l/interactions"),
         AT, "Vertex"),
    ],
)  # fmt: skip
def test_why_it_cannot_go_on(request_, place, why):
    cursor = DIALECT.cursor(request_, place)
    assert isinstance(cursor, str)
    assert why in cursor


# Splicing ----------------------------------------------------------------------------------


def as_sdk_sees(body: bytes) -> tuple[str, list[str], Any]:
    """Text, calls' arguments and the end; and that every step is opened and closed once."""
    text, calls, last, open_, seen = "", {}, None, set(), 0
    for each in interact(body):
        match each.event_type:
            case "step.start":
                assert each.index == seen, "steps are numbered on"
                assert not open_, "a step is left open before another"
                seen += 1
                open_.add(each.index)
                if each.step.type == "function_call":
                    calls[each.index] = ""
            case "step.delta":
                assert each.index in open_
                if each.delta.type == "text":
                    text += each.delta.text
                elif each.delta.type == "arguments_delta":
                    calls[each.index] += each.delta.arguments
            case "step.stop":
                open_.remove(each.index)
            case "interaction.completed":
                last = each.interaction
            case _:
                pass
    assert not open_
    return text, list(calls.values()), last


@pytest.mark.parametrize("cut", range(1, len(WORDS) + 1))
@pytest.mark.parametrize("rung", ["replay", "user-turn"])
@pytest.mark.parametrize("thinking", [(), ("hm",)])
def test_the_sdk_takes_a_spliced_body_for_one_stream(cut, rung, thinking):
    calls = CALLS if thinking else ()
    delivered = until(DIALECT, answer(reasoning=thinking), cut)
    have = "".join(WORDS[:cut])
    words = WORDS if rung == "replay" else WORDS[cut:]
    later = answer(text=words, reasoning=("Other ", "thoughts"), calls=calls, id="answer-2",
                   finish="tool-calls" if calls else "stop")  # fmt: skip
    kept = rung == "replay"
    body = splice(DIALECT, delivered, later, rung=rung, facts=KEPT if kept else NOT_KEPT,
                  repeated=len(have) if kept else 0)  # fmt: skip
    text, arguments, last = as_sdk_sees(body)
    assert text == "".join(WORDS)
    assert arguments == ["".join(call.arguments) for call in calls]
    assert last.status == ("requires_action" if calls else "completed")
    assert last.id == ("answer-2" if kept else "answer-1")
    assert proven(DIALECT, read(DIALECT, body).events)


def test_event_ids_of_a_later_attempt_are_left_out():
    delivered = until(DIALECT, answer(), 2)
    later = [raw.replace(b'"event_type"', b'"event_id":"e","event_type"') for raw in answer()]
    body = splice(DIALECT, delivered, later, rung="replay", repeated=8)
    assert b"event_id" in b"".join(later)
    assert b"event_id" not in body


def test_text_that_is_new_only_at_the_end_gets_its_place():
    delivered = until(DIALECT, answer(), 2)
    splicer = DIALECT.splicer(read(DIALECT, delivered).received, rung="user-turn", facts=NOT_KEPT)
    out, reader = list(delivered), DIALECT.reader()
    for each in decode(DIALECT, b"".join(answer(id="a2"))):
        events = [e for e in reader.read(each) if type(e) not in (Start, Text)]
        finishing = any(type(e) is Finish for e in events)
        out += splicer.splice(each, events, "three." if finishing else "")
    assert as_sdk_sees(b"".join(out))[0] == "One two three."


def test_usage_and_steps_are_those_of_the_whole():
    received = read(DIALECT, until(DIALECT, answer(), 1)).received
    received.usage.input = 7
    splicer = DIALECT.splicer(received, rung="prefill", facts=NOT_KEPT)
    usage = {"total_input_tokens": 9, "total_output_tokens": 4}
    last = frame(completed(status="completed", usage=usage, steps=[{"type": "thought"}]))
    (*_, written) = splicer.splice(last, [Finish("completed", "stop")], "")
    said = json.loads(decode(DIALECT, written)[0].payload)["interaction"]
    assert said["usage"] == {"total_input_tokens": 7, "total_output_tokens": 6}
    assert "steps" not in said


# Healing -----------------------------------------------------------------------------------

TEXT = "The sea is salt because rivers carry minerals from the rocks of the land into it."


def with_ids(sent: list[bytes]) -> list[bytes]:
    return [
        raw.replace(b'"event_type"', f'"event_id":"e{at}","event_type"'.encode())
        for at, raw in enumerate(sent)
    ]


def test_healed_by_reading_it_again_from_the_last_event():
    whole = with_ids(frames(TEXT, dialect="gemini-interactions"))

    def rest(request_: Request) -> list[bytes]:
        assert request_.method == "GET"
        assert request_.url.endswith("/interactions/answer-1?stream=true&last_event_id=e11")
        return whole[12:]

    run = play([Reply([*whole[:12], whole[12][:30]], end="reset"), Reply(rest)],
               request=ask("gemini-interactions"), dialect="gemini-interactions")  # fmt: skip
    assert run.rungs == ["first", "cursor"]
    assert run.delivered == b"".join(whole)
    assert (run.outcome.text, run.outcome.status) == (TEXT, "complete")


def test_healed_by_a_user_turn_where_google_keeps_nothing():
    whole = frames(TEXT, dialect="gemini-interactions")

    def goes_on(request_: Request) -> list[bytes]:
        said = request_.json["input"][-1]["content"][0]["text"]
        anchor = said.split("Begin with exactly: ")[1].split("\n")[0]
        return frames(TEXT[TEXT.index(anchor) :], dialect="gemini-interactions", id="a2")

    run = play([Reply(whole[:22], end="reset"), Reply(goes_on)],
               request=ask("gemini-interactions", store=False),
               dialect="gemini-interactions")  # fmt: skip
    assert run.rungs == ["first", "user-turn"]
    assert run.outcome.text == as_sdk_sees(run.delivered)[0] == TEXT


def test_an_open_call_is_never_closed_by_us():
    """It would look like a whole one."""
    delivered = answer(text=(), calls=CALLS[:1], finish="tool-calls")[:4]
    assert read(DIALECT, delivered).received.open_blocks == {0: "tool"}
    body = splice(DIALECT, delivered, answer(), rung="retry")
    assert b'"step.stop","index":0' not in body
    assert b'"step.stop","index":1' in body
