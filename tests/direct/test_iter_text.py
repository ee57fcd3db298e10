"""`unbroken.iter_text`: events of every shape, and the real SDKs' own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import anthropic
import anyio
import ollama
import openai
import pytest
from google import genai

import unbroken
from tests.direct.helpers import asking, good
from tests.support.bodies import Answer, ToolCall, WireFrame, body, sse_frame
from tests.support.faults import STORY
from tests.support.faultserver import FaultServer, Reply
from tests.support.scene import hostile_frame

ANSWER = Answer(tokens=STORY.tokens, reasoning=("Let me", " think."))
PROMPT = [{"role": "user", "content": "Hi"}]


def chat(client: openai.OpenAI) -> Any:
    return client.chat.completions.create(model="m", messages=PROMPT, stream=True)


# each shape, as `dict` and as object

EVENTS: dict[str, tuple[Any, str]] = {
    "chat": ({"choices": [{"index": 0, "delta": {"content": "a"}}]}, "a"),
    "chat: no choices": ({"choices": [], "usage": {"total_tokens": 3}}, ""),
    "chat: choices null": ({"choices": None}, ""),
    "chat: no delta": ({"choices": [{"index": 0, "finish_reason": "stop"}]}, ""),
    "chat: delta null": ({"choices": [{"index": 0, "delta": None}]}, ""),
    "chat: only a role": ({"choices": [{"index": 0, "delta": {"role": "assistant"}}]}, ""),
    "chat: content null": ({"choices": [{"index": 0, "delta": {"content": None}}]}, ""),
    "chat: parts": (
        {"choices": [{"delta": {"content": [
            {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
            {"type": "text", "text": "a"}, {"type": "image_url"}, "b", None]}}]},
        "ab",
    ),
    "chat: another choice": ({"choices": [{"index": 1, "delta": {"content": "b"}}]}, ""),
    "chat: two choices": (
        {"choices": [{"index": 1, "delta": {"content": "b"}},
                     {"index": 0, "delta": {"content": "a"}}]},
        "a",
    ),
    "completions": ({"choices": [{"index": 0, "text": "a", "logprobs": None}]}, "a"),
    "chat helper": ({"type": "content.delta", "delta": "a", "snapshot": "xa"}, "a"),
    "chat helper: chunk": (
        {"type": "chunk", "chunk": {"choices": [{"delta": {"content": "a"}}]}}, ""),
    "responses": ({"type": "response.output_text.delta", "delta": "a"}, "a"),
    "responses: delta null": ({"type": "response.output_text.delta", "delta": None}, ""),
    "responses: done": ({"type": "response.output_text.done", "text": "xa"}, ""),
    "responses: completed": ({"type": "response.completed", "response": {"output": []}}, ""),
    "anthropic": (
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}}, "a"),
    "anthropic: thinking": (
        {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "a"}}, ""),
    "anthropic: json": (
        {"type": "content_block_delta",
         "delta": {"type": "input_json_delta", "partial_json": "a"}}, ""),
    "anthropic: delta null": ({"type": "content_block_delta", "delta": None}, ""),
    "anthropic: start": (
        {"type": "content_block_start", "content_block": {"type": "text", "text": "a"}}, "a"),
    "anthropic: message_start": ({"type": "message_start", "message": {"content": "x"}}, ""),
    "anthropic: ping": ({"type": "ping"}, ""),
    "anthropic helper: text": ({"type": "text", "text": "a", "snapshot": "xa"}, ""),
    "gemini": ({"candidates": [{"content": {"parts": [{"text": "a"}, {"text": "b"}]}}]}, "ab"),
    "gemini: thought": (
        {"candidates": [{"content": {"parts": [{"text": "hm", "thought": True}]}}]}, ""),
    "gemini: no parts": ({"candidates": [{"content": {"parts": None}}]}, ""),
    "gemini: no content": ({"candidates": [{"content": None, "finish_reason": "STOP"}]}, ""),
    "gemini: no candidates": ({"candidates": None, "prompt_feedback": {}}, ""),
    "gemini: a call": (
        {"candidates": [{"content": {"parts": [{"function_call": {"name": "f"}}]}}]}, ""),
    "ollama": ({"message": {"content": "a"}, "done": False}, "a"),
    "ollama: thinking": ({"message": {"content": "", "thinking": "hm"}, "done": False}, ""),
    "ollama: message null": ({"message": None, "done": True}, ""),
    "ollama: generate": ({"response": "a", "done": False}, "a"),
    "mistral": ({"data": {"choices": [{"index": 0, "delta": {"content": "a"}}]}}, "a"),
    "an SSE client": ({"data": "[DONE]", "event": "message"}, ""),
    "cohere": (
        {"type": "content-delta", "delta": {"message": {"content": {"text": "a"}}}}, "a"),
    "cohere: null": ({"type": "content-delta", "delta": None}, ""),
    "langchain": ({"type": "AIMessageChunk", "content": "a", "tool_call_chunks": []}, "a"),
    "langchain: parts": (
        {"type": "AIMessageChunk",
         "content": [{"type": "reasoning", "text": "hm"}, {"type": "text", "text": "a"}]},
        "a",
    ),
    "langchain: another's message": ({"type": "human", "content": "a"}, ""),
    "pydantic-ai": (
        {"event_kind": "part_delta", "index": 0,
         "delta": {"part_delta_kind": "text", "content_delta": "a"}},
        "a",
    ),
    "pydantic-ai: first words": (
        {"event_kind": "part_start", "part": {"part_kind": "text", "content": "a"}}, "a"),
    "pydantic-ai: said again": (
        {"event_kind": "part_end", "part": {"part_kind": "text", "content": "a"}}, ""),
    "pydantic-ai: thinking": (
        {"event_kind": "part_delta",
         "delta": {"part_delta_kind": "thinking", "content_delta": "hm"}},
        "",
    ),
    "text generation": ({"token": {"text": "a", "special": False}}, "a"),
    "text generation: special": ({"token": {"text": "</s>", "special": True}}, ""),
    "an error": ({"error": {"message": "overloaded"}}, ""),
    "nothing": ({}, ""),
}  # fmt: skip


def objects(value: Any) -> Any:
    """The same with attributes in place of keys."""
    if isinstance(value, dict):
        return SimpleNamespace(**{key: objects(each) for key, each in value.items()})
    return [objects(each) for each in value] if isinstance(value, list) else value


@pytest.mark.seed("002-cause-metadata-only", "002-dead-end-only-content", "002-robust-parsing")
@pytest.mark.parametrize("name", EVENTS)
@pytest.mark.parametrize("form", [dict, objects], ids=["dict", "object"])
def test_the_text_of_an_event(name: str, form: Callable[[Any], Any]) -> None:
    event, text = EVENTS[name]
    assert list(unbroken.iter_text([form(event)])) == ([text] if text else [])


def test_odd_things_have_no_text_and_strings_are_text() -> None:
    assert list(unbroken.iter_text([None, 3, b"x", [], "a", "", ("b",), "c"])) == ["a", "c"]


# the real SDKs


def openai_client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=url + "/v1", api_key="k", max_retries=0)


def from_openai_helper(url: str) -> Iterator[Any]:
    with openai_client(url).chat.completions.stream(model="m", messages=PROMPT) as stream:
        yield from unbroken.iter_text(stream)


def from_responses(url: str) -> Iterator[Any]:
    stream = openai_client(url).responses.create(model="m", input="Hi", stream=True)
    yield from unbroken.iter_text(stream)


def from_responses_helper(url: str) -> Iterator[Any]:
    with openai_client(url).responses.stream(model="m", input="Hi") as stream:
        yield from unbroken.iter_text(stream)


def from_anthropic(url: str) -> Iterator[Any]:
    client = anthropic.Anthropic(base_url=url, api_key="k", max_retries=0)
    stream = client.messages.create(model="m", max_tokens=9, messages=PROMPT, stream=True)
    yield from unbroken.iter_text(stream)


def from_anthropic_helper(url: str) -> Iterator[Any]:
    client = anthropic.Anthropic(base_url=url, api_key="k", max_retries=0)
    with client.messages.stream(model="m", max_tokens=9, messages=PROMPT) as stream:
        yield from unbroken.iter_text(stream)


def from_anthropic_text_stream(url: str) -> Iterator[Any]:
    client = anthropic.Anthropic(base_url=url, api_key="k", max_retries=0)
    with client.messages.stream(model="m", max_tokens=9, messages=PROMPT) as stream:
        yield from unbroken.iter_text(stream.text_stream)


def from_gemini(url: str) -> Iterator[Any]:
    client = genai.Client(api_key="k", http_options={"base_url": url})
    yield from unbroken.iter_text(client.models.generate_content_stream(model="m", contents="Hi"))


def from_ollama(url: str) -> Iterator[Any]:
    client = ollama.Client(host=url)
    yield from unbroken.iter_text(client.chat(model="m", messages=PROMPT, stream=True))


def from_ours(dialect: str) -> Callable[[str], Iterator[Any]]:
    def read(url: str) -> Iterator[Any]:
        with unbroken.stream(**asking(url, dialect)) as stream:
            yield from unbroken.iter_text(stream)

    return read


SDKS: dict[str, tuple[str, Callable[[str], Iterator[Any]]]] = {
    "openai-chat": (
        "openai-chat", lambda url: unbroken.iter_text(chat(openai_client(url)))),
    "openai-chat.stream()": ("openai-chat", from_openai_helper),
    "openai-responses": ("openai-responses", from_responses),
    "openai-responses.stream()": ("openai-responses", from_responses_helper),
    "anthropic": ("anthropic-messages", from_anthropic),
    "anthropic.stream()": ("anthropic-messages", from_anthropic_helper),
    "anthropic.text_stream": ("anthropic-messages", from_anthropic_text_stream),
    "google-genai": ("gemini", from_gemini),
    "ollama": ("ollama", from_ollama),
    "ours, chat": ("openai-chat", from_ours("openai-chat")),
    "ours, responses": ("openai-responses", from_ours("openai-responses")),
    "ours, gemini": ("gemini", from_ours("gemini")),
}  # fmt: skip


@pytest.mark.parametrize("sdk", SDKS)
def test_the_text_of_a_real_stream(sdk: str) -> None:
    dialect, read = SDKS[sdk]
    with FaultServer(good(dialect, ANSWER)) as server:
        assert tuple(read(server.url)) == ANSWER.tokens


@pytest.mark.seed("002-sdk-iterator")
@pytest.mark.parametrize("sdk", [name for name in SDKS if name.startswith("openai")])
def test_the_same_through_unbroken(sdk: str) -> None:
    dialect, _ = SDKS[sdk]
    with FaultServer(good(dialect, ANSWER)) as server:
        client = openai_client(server.url).with_options(http_client=unbroken.http_client())
        if dialect == "openai-chat":
            stream: Any = chat(client)
        else:
            stream = client.responses.create(model="m", input="Hi", stream=True)
        assert "".join(unbroken.iter_text(stream)) == ANSWER.text


@pytest.mark.seed("002-dead-end-wait-for-whole")
@pytest.mark.parametrize("sdk", ["openai-chat", "anthropic", "google-genai", "ollama"])
@pytest.mark.parametrize("what", ["no_content", "empty_choices"])
def test_odd_events_between_raise_nothing(sdk: str, what: str) -> None:
    dialect, read = SDKS[sdk]
    if (sdk, what) == ("ollama", "empty_choices"):
        return  # a line without a message is refused by the SDK itself
    frames = body(dialect, STORY)
    at = next(n for n, frame in enumerate(frames) if frame.role == "text")
    odd = hostile_frame(dialect, frames[at], what)
    pieces: list[WireFrame] = [*frames[: at + 1], odd, *frames[at + 1 :]]
    with FaultServer(Reply(headers=good(dialect).headers, pieces=pieces)) as server:
        assert "".join(read(server.url)) == STORY.text


def test_tool_calls_have_no_text() -> None:
    answer = Answer(tools=(ToolCall(name="f", fragments=("{}",)),))
    for dialect, read in (SDKS["openai-chat"], SDKS["anthropic.stream()"], SDKS["google-genai"]):
        with FaultServer(good(dialect, answer)) as server:
            assert "".join(read(server.url)) == ""


# leaving, and what cannot be read


def test_leaving_early_closes_the_stream() -> None:
    def pieces() -> Iterator[bytes]:
        yield from body("openai-chat", STORY)[:4]
        while True:
            yield sse_frame({"choices": []})

    with FaultServer(Reply(pieces=pieces)) as server:
        for _ in unbroken.iter_text(chat(openai_client(server.url))):
            break
        assert server.wait_for_open(0)


def test_what_the_stream_raises_is_raised() -> None:
    def broken() -> Iterator[Any]:
        yield {"choices": [{"delta": {"content": "a"}}]}
        raise ConnectionError

    texts = unbroken.iter_text(broken())
    assert next(texts) == "a"
    with pytest.raises(ConnectionError):
        next(texts)


def test_what_cannot_be_iterated_is_named() -> None:
    with pytest.raises(TypeError, match="int is no stream"):
        unbroken.iter_text(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="int is no stream"):
        unbroken.aiter_text(3)
    with pytest.raises(TypeError, match="is opened first: `with"):
        unbroken.iter_text(threading.Lock())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="is opened first: `async with"):
        unbroken.aiter_text(asyncio.Lock())
    with pytest.raises(TypeError, match=r"is for unbroken\.aiter_text"):
        unbroken.iter_text(unbroken.astream("Hi", model="m"))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"is for unbroken\.iter_text"):
        unbroken.aiter_text([])


def test_an_async_stream_awaited_or_not() -> None:
    async def main() -> None:
        client = openai.AsyncOpenAI(base_url=server.url, api_key="k")
        call: Any = client.chat.completions.create
        asked = {"model": "m", "messages": PROMPT, "stream": True}
        for stream in (call(**asked), await call(**asked), unbroken.astream(**asking(server))):
            texts = [text async for text in unbroken.aiter_text(stream)]
            assert tuple(texts) == ANSWER.tokens

    with FaultServer(good("openai-chat", ANSWER)) as server:
        anyio.run(main)
