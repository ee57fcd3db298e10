"""Text completions: what frames mean, and that openai takes a spliced body for one stream."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import openai
import pytest

from tests.core.dialects.helpers import decode, proven, read, request, splice, until
from tests.core.scripted import Reply, ask, frames, play
from unbroken.core.dialects.base import (
    Answer,
    AnswerCall,
    MalformedPayloadError,
    Place,
    RequestFacts,
)
from unbroken.core.dialects.openai_completions import OpenAICompletions
from unbroken.core.events import (
    End,
    Event,
    Finish,
    Open,
    ProviderError,
    Start,
    Text,
    UsageReport,
)
from unbroken.core.frames import Frame

DIALECT = OpenAICompletions()
URL = "http://127.0.0.1:8000/v1/completions"
WORDS = ("One ", "two ", "three, ", "four ", "five 🎈 ", "six.")


def frame(payload: Any, event: str = "message") -> Frame:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return Frame(event, data, "", None, b"data: " + data + b"\n\n", 0)


def said(text: str, finish: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    choice = {"text": text, "index": index, "finish_reason": finish}
    return {"id": "c1", "model": "m", "choices": [choice]} | more


def meaning(*payloads: Any) -> list[Event]:
    reader = DIALECT.reader()
    return [event for payload in payloads for event in reader.read(frame(payload))]


def answer(*words: str, **more: Any) -> list[bytes]:
    return DIALECT.encode(Answer(**{"text": words or WORDS, "usage": (7, 9), **more}))


def completions(body: bytes) -> list[Any]:
    """What the vendor's SDK gives out."""

    def handler(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=body, headers={"content-type": "text/event-stream"})

    with openai.OpenAI(
        api_key="k", base_url="http://test/v1",
        http_client=httpx2.Client(transport=httpx2.MockTransport(handler)),
    ) as client:  # fmt: skip
        return list(client.completions.create(model="m", prompt="p", stream=True))


# Meanings ----------------------------------------------------------------------------------


def test_text_finish_usage_and_end():
    used = {"prompt_tokens": 3, "completion_tokens": 2}
    assert meaning(said("Hi"), said(" you"), said("", "stop"), said("") | {"choices": [],
                   "usage": used}, b"[DONE]") == [
        Start("c1", "m"), Open("other"), Text("Hi"), Text(" you"), Finish("stop", "stop"),
        UsageReport(3, 2), End("[DONE]"),
    ]  # fmt: skip


def test_the_last_text_may_bring_the_finish():
    assert meaning(said("Hi", "length"))[2:] == [Text("Hi"), Finish("length", "limit")]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("stop", "stop"), ("length", "limit"), ("content_filter", "filter"), ("abort", "fault"),
     ("LENGTH", "limit"), ("a_new_one", "stop")],
)  # fmt: skip
def test_how_it_ended(reason, expected):
    assert meaning(said("x", reason))[3:] == [Finish(reason, expected)]


def test_choices_are_kept_apart():
    events = meaning(said("a"), said("b", index=1), said("c", "stop", 1))
    assert events[1:] == [
        Open("other", 0), Text("a"), Open("other", 1), Text("b", 1), Text("c", 1),
        Finish("stop", "stop", 1),
    ]  # fmt: skip
    assert not proven(DIALECT, events)


@pytest.mark.parametrize(
    "payload",
    [
        {"error": {"type": "server_error", "message": "m"}},
        {"error": "m"},
        {"object": "error", "message": "m", "code": 500},
        [{"error": {"message": "m"}}],
    ],
)
def test_errors_in_the_stream(payload):
    (event,) = meaning(said("x"), payload)[3:]
    assert type(event) is ProviderError
    assert (event.message, event.retryable) == ("m", True)


def test_llama_cpps_error_field():
    raw = b'error: {"code":500,"message":"m"}\n\n'
    (only,) = decode(DIALECT, raw)
    (event,) = DIALECT.reader().read(only)
    assert (event.code, event.message) == ("500", "m")


@pytest.mark.parametrize("payload", [b"{", b'{"choices":[]} x', b"7", b'"a"'])
def test_not_one_object_is_malformed(payload):
    with pytest.raises(MalformedPayloadError):
        meaning(payload)


@pytest.mark.parametrize(
    "payload", [{}, {"choices": None}, {"choices": [7]}, {"choices": [{}]}, said("") | {"x": 1}]
)
def test_odd_payloads_say_nothing(payload):
    assert not [e for e in meaning(said("a"), payload)[3:] if type(e) is not Open]


def test_short_cut_takes_text_of_its_choice_alone():
    reader = DIALECT.reader()
    reader.read(frame(said("a")))
    texts = [json.dumps(said(word)).encode() for word in "bc"]
    assert reader.texts(texts, 0, None) == ["b", "c"]
    for other in (said("d", index=1), said("d", "stop"), said(""), {"choices": []}, 7):
        assert reader.texts([*texts, json.dumps(other).encode()], 0, None) is None


def test_fork_is_independent():
    reader = DIALECT.reader()
    copy = reader.fork()
    reader.read(frame(said("a")))
    assert copy.read(frame(said("a")))[0] == Start("c1", "m")


# Recognition -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "is_ours"),
    [
        ("/v1/completions", True), ("/openai/deployments/d/completions", True),
        ("/v1/completions/", True), ("/v1/chat/completions", False),
        ("/v1/fim/completions", False), ("/v1/agents/completions", False),
        ("/completion", False), ("/v1/completions/c1", False),
    ],
)  # fmt: skip
def test_paths(path, is_ours):
    assert DIALECT.recognises_path(path) == is_ours


def test_frames():
    for ours in (said("x"), {"object": "text_completion"}, {"value": "x"}):
        assert DIALECT.recognises_frame(frame(ours))
    chat = {"choices": [{"delta": {"content": "x"}, "text": "x"}]}
    for other in (chat, {"value": "x", "a": 1}, {}, b"[DONE]"):
        assert not DIALECT.recognises_frame(frame(other))


def test_writers_answers_cannot_be_told_from_cut_ones_so_its_requests_are_left_alone():
    body = {"prompt": "p", "stream": True}
    assert DIALECT.wants_stream(request(URL, body))
    assert not DIALECT.wants_stream(request("https://api.writer.com/v1/completions", body))
    assert not DIALECT.wants_stream(request(URL, {"prompt": "p"}))


# Requests ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"model": "m"}, RequestFacts(model="m")),
        ({"n": 2}, RequestFacts(choices=2)),
        ({"prompt": ["a", "b"], "n": 2}, RequestFacts(choices=4)),
        ({"prompt": [1, 2, 3]}, RequestFacts()),
        ({"prompt": [[1, 2], [3]]}, RequestFacts(choices=2)),
        ({"temperature": 0}, RequestFacts(deterministic=True)),
        ({"seed": 0}, RequestFacts(deterministic=True)),
        ({"guided_json": {"type": "object"}}, RequestFacts(structured=True)),
        ({"max_tokens": 5, "stop": "x"}, RequestFacts(max_tokens=5, stop=("x",))),
    ],
)
def test_facts(body, expected):
    assert DIALECT.facts(request(URL, body)) == expected


def test_the_answer_goes_on_behind_the_prompt():
    for prompt in ("Count: ", ["Count: "]):
        asked = request(URL, {"prompt": prompt, "max_tokens": 9})
        changed = DIALECT.prefill(asked, "One two", {"body": {"x": 1}})
        assert changed is not None
        assert changed.json == {"prompt": "Count: One two", "max_tokens": 9, "x": 1}


@pytest.mark.parametrize(
    "body",
    [{}, {"prompt": [1, 2]}, {"prompt": ["a", "b"]}, {"prompt": [[1]]},
     {"prompt": "p", "suffix": "s"}, {"prompt": "p", "echo": True}],
)  # fmt: skip
def test_prompts_that_cannot_be_gone_on_with(body):
    assert DIALECT.prefill(request(URL, body), "One", {}) is None
    assert DIALECT.user_turn(request(URL, body), "One", "Go on") is None


def test_fewer_tokens_can_be_asked_for():
    asked = DIALECT.with_max_tokens(request(URL, {"prompt": "p", "max_tokens": 9}), 4)
    assert asked.json == {"prompt": "p", "max_tokens": 4}


def test_llama_cpp_resumes_where_a_conversation_was_named():
    assert DIALECT.cursor(request(URL, {}), Place(bytes=9)) == ""


# Splicing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", range(1, len(WORDS) + 1))
@pytest.mark.parametrize("rung", ["replay", "prefill"])
def test_the_sdk_takes_a_spliced_body_for_one_stream(cut, rung):
    delivered = until(DIALECT, answer(), cut)
    have = "".join(WORDS[:cut])
    words = WORDS if rung == "replay" else WORDS[cut:]
    later = DIALECT.encode(Answer(text=words, usage=(7, 9), id="c2", created=5))
    body = splice(DIALECT, delivered, later, rung=rung,
                  repeated=len(have) if rung == "replay" else 0)  # fmt: skip
    chunks = completions(body)
    assert "".join(c.choices[0].text for c in chunks if c.choices) == "".join(WORDS)
    assert {(c.id, c.created) for c in chunks} == {("answer-1", 1_700_000_000)}
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert proven(DIALECT, read(DIALECT, body).events)


def test_usage_counts_the_prompt_once():
    used = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":1}}\n\n'
    first = [*answer("One ")[:1], used]
    body = splice(DIALECT, first, answer("two", usage=(9, 4)), rung="prefill")
    assert read(DIALECT, body).received.usage.input == 7
    assert read(DIALECT, body).received.usage.output == 6


def test_probabilities_of_a_text_that_was_cut_into_are_left_out():
    choice = {"text": "two three", "index": 0, "logprobs": {"tokens": ["two", " three"]}}
    later = [b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n", *answer()[-3:]]
    body = splice(DIALECT, answer("One ")[:1], later, rung="replay", repeated=3)
    written = json.loads(decode(DIALECT, body)[1].payload)["choices"][0]
    assert (written["text"], written["logprobs"]) == (" three", None)


# Healing -----------------------------------------------------------------------------------


def test_a_cut_is_healed_from_the_prompt_and_the_text_so_far():
    text = "The sea is salt because rivers carry minerals from the rocks of the land into it."
    whole = frames(text, dialect="openai-completions")
    asked = ask("openai-completions")

    def goes_on(again):
        prompt = asked.json["prompt"]
        assert again.json["prompt"].startswith(prompt)
        rest = text[len(again.json["prompt"]) - len(prompt) :]
        return frames(rest, dialect="openai-completions", id="c2")

    run = play([Reply(whole[:18], end="reset"), Reply(goes_on)], request=asked,
               dialect="openai-completions")  # fmt: skip
    assert run.rungs == ["first", "prefill"]
    assert run.outcome.text == text
    assert "".join(c.choices[0].text for c in completions(run.delivered)) == text


def test_tool_calls_have_no_place():
    with pytest.raises(ValueError, match="no tool calls"):
        answer(calls=(AnswerCall(name="a", arguments=("{}",)),))
