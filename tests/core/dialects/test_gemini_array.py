"""Gemini as a JSON array: recognised, read, ended by its bracket, and gone on with."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.core.dialects.helpers import calls_of, read, request, splice, until
from unbroken.core.attempt import Attempt
from unbroken.core.dialects import by_name, framed, recognise_request
from unbroken.core.dialects.base import Answer, AnswerCall
from unbroken.core.events import End, Finish
from unbroken.core.verdict import check, recognise

DIALECT, IN_SSE = by_name("gemini-array"), by_name("gemini")
URL = "https://generativelanguage.googleapis.com/v1beta/models/gemini-3:streamGenerateContent"
PIECES = ("One ", "two ", "three ", "four ", "five.")
WHOLE = "".join(PIECES)
CALL = AnswerCall(name="look", arguments=('{"at": ', '"it"}'), id="fc_1")


def answer(*pieces: str, **fields: Any) -> list[bytes]:
    return DIALECT.encode(Answer(text=pieces, **{"usage": (10, 5), **fields}))


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("", "gemini-array"),
        ("?key=k", "gemini-array"),
        ("?alt=json", "gemini-array"),
        ("?%24alt=json%3Benum-encoding%3Dint", "gemini-array"),
        ("?alt=sse", "gemini"),
        ("?$alt=sse", "gemini"),
        ("?key=k&alt=sse", "gemini"),
        ("?alt=proto", None),
        ("?alt=media", None),
    ],
)
def test_query_chooses_the_wire(query, name):
    asked = request(URL + query, {})
    found = recognise_request(asked)
    assert found is (by_name(name) if name else None)
    assert DIALECT.wants_stream(asked) == (name == "gemini-array")
    assert IN_SSE.wants_stream(asked) == (name == "gemini")


def test_only_the_streaming_method_is_recognised():
    for path in (URL.replace("streamGenerate", "generate"), URL.replace("models", "x") + "/y"):
        assert recognise_request(request(path, {})) is None
        assert not DIALECT.wants_stream(request(path, {}))


@pytest.mark.parametrize(
    ("head", "told", "name"),
    [
        (b'[{"candidates": []}]', "gemini", "gemini-array"),
        (b"\xef\xbb\xbf \n[", "gemini", "gemini-array"),
        (b'[{\n  "error": {}}]', "gemini", "gemini"),
        (b"data: {}\n\n", "gemini", "gemini"),
        (b"data: {}\n\n", "gemini-array", "gemini"),
        (b'{"error": {}}', "gemini-array", "gemini-array"),
        (b"", "gemini-array", "gemini-array"),
    ],
)
def test_first_bytes_tell_the_wire_of_a_recording(head, told, name):
    assert framed(by_name(told), head) is by_name(name)


def test_recording_is_read_on_its_wire_whatever_it_is_said_to_be():
    body = b"".join(answer(*PIECES))
    assert recognise(body) is DIALECT
    for told in ("auto", "gemini", "gemini-array"):
        outcome = check(body, told)
        assert (outcome.dialect, outcome.status) == ("gemini-array", "complete")
        assert (outcome.text, outcome.faults) == (WHOLE, [])


def test_elements_mean_what_frames_mean():
    said = Answer(text=PIECES, reasoning=("hm",), calls=(CALL,), finish="tool-calls", usage=(7, 3))
    one = read(DIALECT, DIALECT.encode(said))
    other = read(IN_SSE, IN_SSE.encode(said))
    assert one.events == [*other.events, End("]")]
    assert calls_of(one.received) == [("look", {"at": "it"})]
    assert json.loads(b"".join(DIALECT.encode(said)))[1]["candidates"]


@pytest.mark.parametrize(
    ("number", "meaning"),
    [
        (1, "stop"),
        (2, "limit"),
        (3, "filter"),
        (4, "filter"),
        (5, "fault"),
        (8, "filter"),
        (99, "stop"),
    ],
)
def test_reasons_as_numbers(number, meaning):
    value = {"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": number}],
             "usageMetadata": {"totalTokenCount": 3}}  # fmt: skip
    (finish,) = [e for e in read(DIALECT, json.dumps([value]).encode()).events
                 if type(e) is Finish]  # fmt: skip
    assert (finish.reason, finish.meaning, finish.final) == (str(number), meaning, True)


def test_number_zero_is_no_reason():
    value = {"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": 0}]}
    assert not any(type(e) is Finish for e in read(DIALECT, json.dumps([value]).encode()).events)


def test_the_bracket_is_the_end():
    frames = answer(*PIECES)
    attempt = Attempt(DIALECT)
    for raw in frames[:-1]:
        attempt.receive(raw)
    assert attempt.completeness.finished
    assert not attempt.completeness.ended
    cut = attempt.fork()
    cut.close("eof")
    assert [(f.kind, f.severity) for f in cut.faults] == [("missing-terminator", "warning")]
    assert "closing bracket" in cut.faults[0].detail
    attempt.receive(frames[-1])
    assert attempt.completeness.ended
    attempt.close("reset")
    assert attempt.faults == []


@pytest.mark.parametrize("cut", range(1, len(PIECES)))
@pytest.mark.parametrize("rung", ["replay", "prefill"])
def test_spliced_body_is_one_array(rung, cut):
    delivered = until(DIALECT, answer(*PIECES), cut)
    said = "".join(PIECES[:cut])
    later = answer(*(PIECES if rung == "replay" else PIECES[cut:]), id="answer-2",
                   reasoning=("again",))  # fmt: skip
    body = splice(DIALECT, delivered, later, rung=rung, repeated=len(said) * (rung == "replay"))
    values = json.loads(body)
    texts = [part.get("text", "") for value in values
             for part in value["candidates"][0]["content"]["parts"]]  # fmt: skip
    assert "".join(texts) == WHOLE
    assert {value["responseId"] for value in values} == {"answer-1"}
    seen = read(DIALECT, body)
    assert seen.received.text == WHOLE
    assert seen.kinds[-1] == "End"
    assert check(body).faults == []


def test_call_of_a_later_attempt_comes_whole():
    delivered = until(DIALECT, answer(*PIECES[:2]), 2)
    later = answer(*PIECES, calls=(CALL,), finish="tool-calls")
    body = splice(DIALECT, delivered, later, rung="replay", repeated=len("".join(PIECES[:2])))
    assert calls_of(read(DIALECT, body).received) == [("look", {"at": "it"})]
    json.loads(body)


def test_error_of_a_later_attempt_is_an_element_too():
    delivered = until(DIALECT, answer(*PIECES), 2)
    body = splice(DIALECT, delivered, [b'[{"error":{"code":503,"message":"x"}}'], rung="replay")
    assert json.loads(body + b"]")[-1] == {"error": {"code": 503, "message": "x"}}


def test_where_it_is_asked():
    assert DIALECT.url_for("https://h", "gemini-3") == (
        "https://h/v1beta/models/gemini-3:streamGenerateContent"
    )
    assert recognise_request(request(DIALECT.url_for("https://h", "g"), {})) is DIALECT
    assert DIALECT.family == "gemini"
    assert DIALECT.heartbeat is None
