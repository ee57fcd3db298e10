"""Gemini over SSE: what frames mean, when a finish is one, and spliced bodies under the SDK."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from google import genai
from google.genai import errors

from tests.core.dialects.helpers import calls_of, decode, proven, read, request, splice, until
from unbroken.core.dialects import by_name, recognise_frame, recognise_request
from unbroken.core.dialects.base import Answer, AnswerCall, MalformedPayloadError
from unbroken.core.events import (
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
from unbroken.core.wire import SSEDecoder

DIALECT = by_name("gemini")
URL = (
    "https://generativelanguage.googleapis.com/v1beta/models/gemini-3:streamGenerateContent?alt=sse"
)
PIECES = ("One ", "two ", "three ", "four ", "five.")
WHOLE = "".join(PIECES)
CALL = AnswerCall(name="look", arguments=('{"at": ', '"it"}'), id="fc_1")
CODE = {"executableCode": {"language": "PYTHON", "code": "6*7"}}
RESULT = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "42"}}


def raw(value: dict[str, Any], eol: str = "\r\n") -> bytes:
    return f"data: {json.dumps(value)}{eol}{eol}".encode()


def said(
    *parts: dict[str, Any], finish: str | None = None, counted: bool = True, **more: Any
) -> bytes:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, **more}
    if finish:
        candidate["finishReason"] = finish
    value: dict[str, Any] = {"candidates": [candidate], "responseId": "r1", "modelVersion": "m"}
    if counted:
        value["usageMetadata"] = {"promptTokenCount": 3, "totalTokenCount": 5}
    return raw(value)


def only(*frames: bytes) -> list[Any]:
    return read(DIALECT, b"".join(frames)).events


def finishes(*frames: bytes) -> list[tuple[str, str, bool]]:
    return [(e.reason, e.meaning, e.final) for e in only(*frames) if type(e) is Finish]


def answer(*pieces: str, **fields: Any) -> list[bytes]:
    return DIALECT.encode(Answer(text=pieces, **{"usage": (10, 5), **fields}))


def sdk_reads(body: bytes) -> list[Any]:
    """Return the responses that the SDK yields for a body."""
    transport = httpx2.MockTransport(
        lambda _: httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)
    )
    with httpx2.Client(transport=transport) as http:
        client = genai.Client(api_key="k", http_options={"httpx_client": http})
        return list(client.models.generate_content_stream(model="gemini-3", contents="hi"))


def sdk_text(body: bytes) -> str:
    return "".join(
        part.text or ""
        for response in sdk_reads(body)
        for part in response.candidates[0].content.parts or ()
        if not part.thought
    )


def sdk_calls(body: bytes) -> list[tuple[str, Any]]:
    calls = [call for response in sdk_reads(body) for call in response.function_calls or ()]
    return [(call.name, call.args) for call in calls]


def check_wire(body: bytes, *, response_id: str = "answer-1") -> list[dict[str, Any]]:
    """Every frame CRLF, one id, one finish and it is last, and it is proven; return payloads."""
    assert body.count(b"\r") == body.count(b"\n")
    values = [json.loads(block.payload) for block in SSEDecoder().blocks(body)]
    assert {value["responseId"] for value in values} == {response_id}
    ends = [bool(value["candidates"][0].get("finishReason")) for value in values]
    assert ends == [False] * (len(ends) - 1) + [True]
    assert proven(DIALECT, read(DIALECT, body).events)
    return values


# Reading -----------------------------------------------------------------------------------


def test_a_whole_answer_means_this():
    body = DIALECT.encode(
        Answer(text=("Hi", "!"), reasoning=("hm",), calls=(CALL,), finish="tool-calls",
               usage=(7, 3), id="r", model="g")
    )  # fmt: skip
    usage = UsageReport(7, 3)
    assert only(*body) == [
        Start("r", "g"), Open("other", 0), Reasoning("hm"), usage,
        Text("Hi"), usage, Text("!"), usage,
        ToolCall(0, '{"at":"it"}', id="fc_1", name="look", whole=True), usage,
        Finish("STOP", "tool-calls"), usage,
    ]  # fmt: skip
    assert b"".join(body).count(b"\r\n\r\n") == len(body)


@pytest.mark.parametrize(
    ("reason", "meaning"),
    [("STOP", "stop"), ("MAX_TOKENS", "limit"), ("SAFETY", "filter"), ("RECITATION", "filter"),
     ("IMAGE_SAFETY", "filter"), ("MALFORMED_FUNCTION_CALL", "fault"), ("OTHER", "fault"),
     ("CONTINUATION", "pause"), ("BRAND_NEW", "stop")],
)  # fmt: skip
def test_finish_reasons(reason, meaning):
    assert finishes(said({"text": "x"}, finish=reason)) == [(reason, meaning, True)]


def test_a_reason_without_a_meaning_is_none():
    assert finishes(said({"text": "x"}, finish="FINISH_REASON_UNSPECIFIED")) == []


def test_a_blocked_prompt_is_a_filtered_end_and_ratings_alone_are_not():
    blocked = raw({"promptFeedback": {"blockReason": "SAFETY", "safetyRatings": []}})
    assert only(blocked) == [Start(None, ""), Finish("prompt:SAFETY", "filter")]
    assert proven(DIALECT, only(blocked))
    assert finishes(raw({"promptFeedback": {"safetyRatings": []}})) == []


def test_parts():
    events = only(
        said(
            {"text": "hm", "thought": True},
            {"text": "hi", "thoughtSignature": "c2ln"},
            {"functionCall": {"name": "f"}, "thoughtSignature": "c2ln"},
            {"functionCall": {"name": "f", "args": {"a": "é"}}},
            {"inlineData": {"mimeType": "image/png", "data": "eA=="}},
            {"text": "", "thoughtSignature": "c2ln"},
            {"text": ""},
            counted=False,
        )
    )
    sealed = Reasoning("", sealed=True)
    assert events[2:] == [
        Reasoning("hm"), Text("hi"), sealed,
        ToolCall(0, "{}", name="f", whole=True), sealed,
        ToolCall(1, '{"a":"é"}', name="f", whole=True),
        Other("inlineData", content=True), sealed,
    ]  # fmt: skip


def test_calls_in_pieces_are_whole_with_the_last():
    frames = [
        said({"functionCall": {"name": "f", "willContinue": True}}),
        said({"functionCall": {"partialArgs": [{"jsonPath": "$.a"}], "willContinue": True}}),
        said({"functionCall": {}}),
        said({"functionCall": {"name": "g", "args": {}}}),
    ]
    calls = [event for event in only(*frames) if type(event) is ToolCall]
    assert [(call.index, call.name, call.whole) for call in calls] == [
        (0, "f", False), (0, None, False), (0, None, True), (1, "g", True),
    ]  # fmt: skip
    assert Other("partialArgs", content=True) in only(*frames)


def test_candidates_are_choices_and_each_owes_its_finish():
    def both(first: str | None, second: str | None) -> bytes:
        candidates = [
            {"index": at, "content": {"parts": [{"text": f"t{at}"}]}, "finishReason": reason}
            for at, reason in enumerate((first, second))
        ]
        return raw({"candidates": candidates, "usageMetadata": {"totalTokenCount": 1}})

    assert read(DIALECT, both(None, None)).received.texts == {0: "t0", 1: "t1"}
    assert not proven(DIALECT, only(both("STOP", None)), choices=2)
    assert proven(DIALECT, only(both("STOP", None), both(None, "STOP")), choices=2)


# When a finish is one ----------------------------------------------------------------------


def test_a_stop_on_code_that_is_yet_to_run_is_not_final():
    frames = [said({"text": "a"}), said(CODE), said(RESULT), said(CODE, finish="STOP"),
              said(RESULT), said({"text": "b"}, finish="STOP")]  # fmt: skip
    assert finishes(*frames) == [("STOP", "stop", False), ("STOP", "stop", True)]
    for count in range(1, len(frames) + 1):
        assert proven(DIALECT, only(*frames[:count])) == (count == len(frames))


def test_an_empty_stop_while_the_code_runs_is_not_final_and_after_its_result_is():
    assert finishes(said(CODE), said({"text": ""}, finish="STOP"))[0][2] is False
    assert finishes(said(CODE), said(RESULT, finish="STOP"))[0][2] is False
    assert finishes(said(CODE), said(RESULT), said({"text": ""}, finish="STOP"))[0][2] is True


def test_text_says_that_the_server_is_done_though_it_showed_no_result():
    frames = [said(CODE), said({"text": "a"}), said({"text": ""}, finish="STOP")]
    assert finishes(*frames)[0][2] is True


def test_a_stop_with_ratings_is_final_only_where_tokens_are_counted():
    rated: dict[str, Any] = {"finish": "STOP", "safetyRatings": []}
    frames = [
        said({"text": "First "}, **rated, counted=False),
        said({"text": "Second "}, **rated, counted=False),
        said({"text": "Third."}, **rated),
    ]
    assert [final for *_, final in finishes(*frames)] == [False, False, True]


def test_a_bare_stop_is_final_once_something_was_said():
    assert finishes(said({"text": "x"}, finish="STOP", counted=False))[0][2] is True
    empty = said({"text": ""}, finish="STOP", counted=False)
    text = said({"text": "x"}, counted=False)
    assert [final for *_, final in finishes(empty, text, empty)] == [False, True]
    assert finishes(said({"text": ""}, finish="STOP"))[0][2] is True


def test_a_limit_is_final_wherever_it_comes():
    assert finishes(said(CODE, finish="MAX_TOKENS", counted=False))[0][2] is True


# Errors ------------------------------------------------------------------------------------

ERROR = {"error": {"code": 499, "message": "cancelled", "status": "CANCELLED", "details": []}}


@pytest.mark.parametrize("value", [ERROR, [ERROR]], ids=["object", "array"])
@pytest.mark.parametrize("end", ["", "\n", "\r\n\r\n"])
@pytest.mark.parametrize("eol", ["\n", "\r\n"])
def test_an_error_written_as_it_stands_is_found(value, end, eol):
    body = said({"text": "a"}) + json.dumps(value, indent=2).replace("\n", eol).encode()
    error = only(body + end.encode())[-1]
    assert error == ProviderError("CANCELLED", "499", "cancelled")


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [("RESOURCE_EXHAUSTED", 429, True), ("UNAVAILABLE", 503, True), ("INTERNAL", 500, True),
     ("INVALID_ARGUMENT", 400, False), ("PERMISSION_DENIED", 403, False),
     ("UNIMPLEMENTED", 501, False)],
)  # fmt: skip
def test_errors_in_a_frame(status, code, retryable):
    (event,) = only(raw({"error": {"code": code, "status": status, "message": "m"}}))
    assert (event.type, event.code, event.retryable) == (status, str(code), retryable)


def test_half_an_error_is_nothing():
    assert only(b'{\n  "error": {\n    "code": 499') == []


def test_payloads_that_are_not_one_object():
    with pytest.raises(MalformedPayloadError):
        only(b"data: {} {}\r\n\r\n")


def test_no_cut_of_a_whole_answer_is_proven_before_its_finish():
    whole = answer(*PIECES, calls=(CALL,), reasoning=("hm",), finish="tool-calls")
    body = b"".join(whole)
    for cut in range(len(body) - 1):  # a CR ends a line as well as CRLF does
        seen = read(DIALECT, body[:cut])
        assert WHOLE.startswith(seen.received.text)
        assert not proven(DIALECT, seen.events)
    assert proven(DIALECT, only(body))


# Recognition and requests --------------------------------------------------------------------


def test_recognition():
    vertex = "/v1/projects/p/locations/l/publishers/google/models/gemini-3:streamGenerateContent"
    assert DIALECT.recognises_path(vertex)
    assert DIALECT.recognises_path(vertex + "?alt=sse")
    assert not DIALECT.recognises_path(vertex + "?alt=json")
    assert recognise_request(request(URL, {})) is DIALECT
    assert recognise_request(request(URL.replace("alt=sse", "key=k&alt=sse"), {})) is DIALECT
    assert recognise_request(request(URL.removesuffix("?alt=sse"), {})) is by_name("gemini-array")
    assert recognise_request(request(URL.replace("alt=sse", "alt=proto"), {})) is None
    assert recognise_request(request(URL.replace("streamG", "g"), {})) is None
    assert DIALECT.wants_stream(request(URL, {}))
    assert not DIALECT.wants_stream(request(URL.removesuffix("?alt=sse"), {"stream": True}))
    (first,) = decode(DIALECT, said({"text": "x"}))
    assert recognise_frame(first) is DIALECT


@pytest.mark.parametrize(
    ("body", "field", "value"),
    [
        ({}, "model", "gemini-3"),
        ({"generationConfig": {"temperature": 0}}, "deterministic", True),
        ({"generationConfig": {"temperature": 0.0}}, "deterministic", True),
        ({"generation_config": {"seed": 7}}, "deterministic", True),
        ({"generationConfig": {"temperature": 1}}, "deterministic", False),
        ({"generationConfig": {"candidateCount": 2}}, "choices", 2),
        ({"generationConfig": {"responseMimeType": "application/json"}}, "structured", True),
        ({"generationConfig": {"responseMimeType": "text/plain"}}, "structured", False),
        ({"generationConfig": {"responseSchema": {"type": "OBJECT"}}}, "structured", True),
        ({"generationConfig": {"thinkingConfig": {"includeThoughts": True}}}, "thinking", True),
        ({"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}, "thinking", False),
        ({"tools": [{"functionDeclarations": []}]}, "server_work", False),
        ({"tools": [{"googleSearch": {}}]}, "server_work", True),
        ({"tools": [{"functionDeclarations": []}, {"codeExecution": {}}]}, "server_work", True),
        ({"tools": [{"urlContext": {}}]}, "server_work", True),
    ],
)
def test_facts(body, field, value):
    assert getattr(DIALECT.facts(request(URL, body)), field) == value


USER = {"role": "user", "parts": [{"text": "hi"}]}


@pytest.mark.parametrize(
    ("began", "expected"),
    [
        (None, [{"text": "part"}]),
        ([{"text": "{"}], [{"text": "{part"}]),
        (
            [{"text": "{", "thoughtSignature": "c2ln"}],
            [{"text": "{", "thoughtSignature": "c2ln"}, {"text": "part"}],
        ),
    ],
)
def test_prefill_and_user_turn_go_on_in_the_turn_that_the_request_began(began, expected):
    contents = [USER, *([{"role": "model", "parts": began}] if began else [])]
    asked = request(URL, {"contents": contents})
    turn = {"role": "model", "parts": expected}
    again = DIALECT.prefill(asked, "part", {"body": {"x": 1}})
    assert again is not None
    assert again.json == {"contents": [USER, turn], "x": 1}
    again = DIALECT.user_turn(asked, "part", "go on")
    assert again is not None
    instruction = {"role": "user", "parts": [{"text": "go on"}]}
    assert again.json["contents"] == [USER, turn, instruction]


def test_a_request_without_contents_cannot_be_continued():
    assert DIALECT.prefill(request(URL, {}), "x", {}) is None
    assert DIALECT.user_turn(request(URL, {"contents": []}), "x", "y") is None


# Splicing --------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", range(1, len(PIECES) + 1))
@pytest.mark.parametrize("thinks", [False, True])
def test_cut_in_text_and_continued(cut, thinks):
    first = until(DIALECT, answer(*PIECES), cut)
    later = answer(*PIECES[cut:], " More.", id="r2", reasoning=("secret",) if thinks else ())
    body = splice(DIALECT, first, later, rung="prefill")
    check_wire(body)
    assert body.startswith(b"".join(first))
    assert b"secret" not in body
    assert sdk_text(body) == WHOLE + " More."


@pytest.mark.parametrize("cut", range(1, len(PIECES) + 1))
@pytest.mark.parametrize("size", [1, 7, 100])
def test_cut_in_text_and_replayed_in_other_pieces(cut, size):
    first = until(DIALECT, answer(*PIECES, reasoning=("hm",)), cut)
    done = len("".join(PIECES[:cut]))
    pieces = [WHOLE[at : at + size] for at in range(0, len(WHOLE), size)]
    later = answer(*pieces, reasoning=("h", "m"), calls=(CALL,), finish="tool-calls", id="r2")
    body = splice(DIALECT, first, later, rung="replay", repeated=done)
    check_wire(body)
    assert sdk_text(body) == WHOLE
    assert sdk_calls(body) == [("look", {"at": "it"})]


def test_a_call_that_was_delivered_is_not_repeated_though_it_shares_a_frame():
    call = {"functionCall": {"name": "a", "args": {"x": 1}}}
    other = {"functionCall": {"name": "b", "args": {}}, "thoughtSignature": "c2ln"}
    first = [said({"text": "t"}), said(call)]
    later = [said({"text": "t"}), said(call, other, finish="STOP")]
    body = splice(DIALECT, first, later, rung="replay", repeated=1)
    assert sdk_calls(body) == [("a", {"x": 1}), ("b", {})]
    assert sdk_text(body) == "t"
    assert calls_of(read(DIALECT, body).received) == [("a", {"x": 1}), ("b", {})]
    values = check_wire(body, response_id="r1")
    assert other in values[-1]["candidates"][0]["content"]["parts"]


@pytest.mark.parametrize("delivered", [True, False])
def test_a_signature_on_text_goes_with_its_own_turn_only(delivered):
    first = [said({"text": "t"} if delivered else {"text": "hm", "thought": True})]
    later = [said({"text": "u", "thoughtSignature": "c2ln"}), said({"text": "v"}, finish="STOP")]
    body = splice(DIALECT, first, later, rung="prefill" if delivered else "retry")
    check_wire(body, response_id="r1")
    assert (b"thoughtSignature" in body) is not delivered
    assert sdk_text(body) == ("t" if delivered else "") + "uv"


def test_text_that_is_new_only_at_the_finish_is_written():
    first = until(DIALECT, answer(*PIECES), 5)
    received = read(DIALECT, first).received
    splicer = DIALECT.splicer(received, rung="prefill", facts=DIALECT.facts(request(URL, {})))
    for parts in ([{"text": ""}], [CODE]):
        (block,) = decode(DIALECT, said(*parts, finish="STOP"))
        out = b"".join([*first, *splicer.splice(block, [Finish("STOP", "stop")], "held")])
        assert sdk_text(out) == WHOLE + "held"
    (block,) = decode(DIALECT, raw({"candidates": [{"finishReason": "STOP"}]}))
    out = b"".join([*first, *splicer.splice(block, [Finish("STOP", "stop")], "held")])
    assert sdk_text(out) == WHOLE + "held"


def test_thinking_beside_text_in_a_frame_is_left_out():
    mixed = said({"text": "secret", "thought": True}, {"text": "u"}, finish="STOP")
    body = splice(DIALECT, [said({"text": "t"})], [mixed], rung="prefill")
    assert b"secret" not in body
    assert sdk_text(body) == "tu"
    thought = {"text": "secret", "thought": True}
    signed = said({**thought, "thoughtSignature": "c2ln"}, {"text": "u"}, finish="STOP")
    body = splice(DIALECT, [said(thought)], [signed], rung="retry")
    assert body.count(b"secret") == 1
    assert sdk_text(body) == "u"


def test_images_of_the_later_attempt_are_taken_over():
    image = {"inlineData": {"mimeType": "image/png", "data": "eA=="}}
    body = splice(DIALECT, [said({"text": "a"})], [said(image), said({"text": "b"}, finish="STOP")],
                  rung="user-turn")  # fmt: skip
    parts = [v["candidates"][0]["content"]["parts"] for v in check_wire(body, response_id="r1")]
    assert parts == [[{"text": "a"}], [image], [{"text": "b"}]]


def test_line_ends_are_those_of_the_provider():
    frame = said({"text": "b"}, finish="STOP").replace(b"\r\n", b"\n")
    body = splice(DIALECT, [], [frame], rung="prefill")
    assert b"\r" not in body
    assert sdk_text(body) == "b"


@pytest.mark.parametrize(
    ("rung", "later", "expected"),
    [("prefill", (14, 5), (10, 9, 19)), ("prefill", (8, 5), (8, 5, 13)),
     ("user-turn", (30, 5), (10, 5, 15))],
)  # fmt: skip
def test_usage_counts_the_prompt_once(rung, later, expected):
    first = until(DIALECT, answer(*PIECES), 3)
    usage = sdk_reads(splice(DIALECT, first, answer("x", usage=later), rung=rung))[
        -1
    ].usage_metadata
    got = (usage.prompt_token_count, usage.candidates_token_count, usage.total_token_count)
    assert got == expected


def test_the_sdk_takes_the_heartbeat_and_raises_the_bare_error():
    assert DIALECT.heartbeat is not None
    frames = answer(*PIECES)
    assert sdk_text(DIALECT.heartbeat.join([b"", *frames, b""])) == WHOLE
    with pytest.raises(errors.APIError):
        sdk_reads(frames[0] + json.dumps(ERROR, indent=2).encode())


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gemini-3", "models/gemini-3"),
        ("models/gemini-3", "models/gemini-3"),
        ("tunedModels/mine", "tunedModels/mine"),
        ("team/gemini-3", "models/team/gemini-3"),
    ],
)
def test_a_model_that_is_not_said_in_full_is_one_of_models(model, path):
    """As google-genai has it (t_model, version 3.4)."""
    url = by_name("gemini").url_for("https://h", model)
    assert url == f"https://h/v1beta/{path}:streamGenerateContent?alt=sse"
