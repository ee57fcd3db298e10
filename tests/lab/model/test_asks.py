"""Reading requests: paths, names of models, and what a provider would refuse."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.lab.model.asking import MODEL, PATHS, WAYS, WHOLE_PATHS, ask, body_of, offered
from unbroken.lab.model import AnswerSettings, Asked, Memory, Refusal, read_request, reply_to
from unbroken.lab.model.asks import Tool
from unbroken.lab.plan import parse_plan

NO_TOOLS = ("openai-completions",)


def read(method: str, path: str, body: Any = None, **headers: str) -> Asked | Refusal | None:
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return read_request(method, path, headers, raw)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("stream", [True, False])
def test_model_and_stream(way: str, stream: bool) -> None:
    if not stream and way in ("gemini-array", "openai-assistants"):
        pytest.skip("it has no other form")
    asked = ask(way, stream=stream)
    assert asked.model == MODEL
    assert asked.stream is stream
    assert asked.prompt_chars > 10
    assert asked.streams_answer
    parse_plan(asked.model)  # the name came through whole


@pytest.mark.parametrize("way", [way for way in WAYS if way not in NO_TOOLS])
def test_first_tool_is_found(way: str) -> None:
    assert ask(way, **offered(way)).tools == (Tool(name="note"),)


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/chat/completions", "openai-chat"),
        ("/v1/chat/completions/", "openai-chat"),
        ("/api/v1/chat/completions", "openai-chat"),
        ("/openai/v1/chat/completions", "openai-chat"),
        ("/v1/fim/completions", "openai-chat"),
        ("/v1/agents/completions", "openai-chat"),
        ("/completions", "openai-completions"),
        ("/openai/deployments/x/completions?api-version=1", "openai-completions"),
        ("/responses", "openai-responses"),
        ("/v1/messages?beta=true", "anthropic-messages"),
        ("/anthropic/v1/messages", "anthropic-messages"),
        ("/v1/models/m:streamGenerateContent?alt=sse", "gemini"),
        ("/v1beta/tunedModels/m:streamGenerateContent", "gemini-array"),
        ("/v1/projects/p/locations/l/publishers/google/models/m:generateContent", "gemini"),
        ("/v1beta/interactions", "gemini-interactions"),
        ("/v1/threads/runs", "openai-assistants"),
        ("/v1/threads/t/runs/r/submit_tool_outputs", "openai-assistants"),
        ("/v2/chat", "cohere"),
    ],
)
def test_paths(path: str, dialect: str) -> None:
    body = {
        "model": "m", "messages": [{"role": "user", "content": "hi"}], "prompt": "hi",
        "input": "hi", "max_tokens": 5, "stream": True,
        "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
    }  # fmt: skip
    if dialect == "openai-assistants":
        body |= {"thread": {"messages": body.pop("messages")}}
    asked = read("POST", path, body)
    assert isinstance(asked, Asked), asked
    assert (asked.dialect, asked.model) == (dialect, "m")


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/openai/deployments/lab/cut@30t/chat/completions?api-version=1", "lab/cut@30t"),
        ("/openai/deployments/lab%2Fcut%4030t%3Bid%3D1/chat/completions", "lab/cut@30t;id=1"),
    ],
)
def test_azures_deployment_is_a_model(path: str, model: str) -> None:
    asked = read("POST", path, {"messages": [{"role": "user", "content": "hi"}]})
    assert isinstance(asked, Asked)
    assert asked.model == model


@pytest.mark.parametrize(
    "segment", ["lab/cut@50%;tokens=5", "lab%2Fcut%4050%25%3Btokens%3D5", "lab/cut@50%25;tokens=5"]
)
def test_model_in_a_path_quoted_in_any_way(segment: str) -> None:
    for path in (f"/v1beta/models/{segment}:streamGenerateContent", f"/model/{segment}/converse"):
        asked = read("POST", path, {"contents": [{"parts": []}], "messages": [{"role": "user"}]})
        assert isinstance(asked, Asked)
        assert asked.model == "lab/cut@50%;tokens=5"


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/chatter", "/api/chat/x", "/nothing"])
def test_unknown_paths_are_none_of_ours(path: str) -> None:
    assert read("POST", path, {}) is None or path == "/"


def test_method_that_is_not_taken() -> None:
    refused = read("GET", "/v1/chat/completions")
    assert isinstance(refused, Refusal)
    assert (refused.status, refused.headers["allow"]) == (405, "POST")


BAD: list[tuple[str, Any, str]] = [
    ("openai-chat", b"{", "not JSON"),
    ("openai-chat", [], "not an object"),
    ("openai-chat", {"model": "m"}, "messages"),
    ("openai-chat", {"messages": [{"role": "user"}]}, "model"),
    ("openai-chat", {"model": "m", "messages": "hi"}, "must be a list"),
    ("openai-chat", {"model": "m", "messages": ["hi"]}, "must be objects"),
    ("openai-chat", {"model": 7, "messages": []}, "model must be a string"),
    ("openai-chat", {"model": "m", "messages": [], "stream": "yes"}, "stream"),
    ("openai-chat", {"model": "m", "messages": [], "n": 2}, "n must be 1"),
    ("openai-chat", {"model": "m", "messages": [], "max_tokens": 0}, "at least 1"),
    ("openai-chat", {"model": "m", "messages": [], "temperature": "hot"}, "must be a number"),
    ("openai-completions", {"model": "m", "prompt": ["a", "b"]}, "one string"),
    ("openai-responses", {"model": "m"}, "input"),
    ("openai-responses", {"model": "m", "input": "a", "background": True, "store": False}, "store"),
    ("anthropic-messages", {"model": "m", "messages": [{"role": "user"}]}, "max_tokens"),
    ("gemini", {}, "contents"),
    ("cohere", {"model": "m"}, "messages"),
    ("ollama", {}, "model"),
    ("bedrock-converse", {}, "messages"),
    ("bedrock-invoke", {"messages": []}, "max_tokens"),
    ("gemini-interactions", {"model": "m"}, "input"),
    ("openai-assistants", {"assistant_id": "a"}, "stream"),
]


@pytest.mark.parametrize(("way", "body", "why"), BAD, ids=[f"{w}-{y}" for w, _, y in BAD])
def test_bad_requests_are_refused_in_the_providers_shape(way: str, body: Any, why: str) -> None:
    refused = read("POST", PATHS[way], body)
    assert isinstance(refused, Refusal)
    assert refused.status == 400
    assert why in refused.message
    assert refused.message in json.dumps(json.loads(refused.body))


def test_idempotency_key_and_fingerprint() -> None:
    one = ask("openai-chat", headers={"Idempotency-Key": "k"})
    same = ask("openai-chat", headers={"idempotency-key": "k"})
    other = ask("openai-chat", headers={"Idempotency-Key": "k"}, seed=1)
    assert one.idempotency_key == "k"
    assert one.fingerprint == same.fingerprint != other.fingerprint


# Beside the answers --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "headers", "told"),
    [
        ("GET", "/v1/models", {}, '"object": "list"'),
        ("GET", "/v1/models", {"anthropic-version": "2023-06-01"}, '"first_id"'),
        ("GET", "/v1/models/lab/cut@30t", {}, '"id": "lab/cut@30t"'),
        ("GET", "/v1beta/models", {}, '"models/lab/ok"'),
        ("GET", "/v1beta/models/lab%2Fok", {}, '"name": "models/lab/ok"'),
        ("GET", "/api/tags", {}, '"models"'),
        ("GET", "/api/version", {}, '"version"'),
        ("GET", "/health", {}, "ok"),
        ("GET", "/", {}, "Ollama is running"),
    ],
)
def test_lists_and_health(method: str, path: str, headers: dict[str, str], told: str) -> None:
    asked = read_request(method, path, headers, b"")
    assert isinstance(asked, Asked)
    assert not asked.streams_answer
    answered = reply_to(asked, AnswerSettings(), Memory())
    assert answered.way == "plain"
    assert told in b"".join(piece.data for piece in answered.pieces).decode()


@pytest.mark.parametrize(
    ("path", "way", "key"),
    [
        ("/v1/messages/count_tokens", "anthropic-messages", "input_tokens"),
        (WHOLE_PATHS["gemini"].replace("generateContent", "countTokens"), "gemini", "totalTokens"),
        ("/v1/responses/input_tokens", "openai-responses", "input_tokens"),
    ],
)
def test_tokens_are_counted(path: str, way: str, key: str) -> None:
    asked = read("POST", path, body_of(way))
    assert isinstance(asked, Asked)
    answered = reply_to(asked, AnswerSettings(), Memory())
    assert json.loads(answered.pieces[0].data)[key] > 1
