from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.real.plain import QUESTION, Answer, ask, client_of
from unbroken.lab import demo_parts
from unbroken.lab.builtin_server import BuiltinServer

pytestmark = pytest.mark.real


@pytest.fixture
def server() -> Iterator[BuiltinServer]:
    with BuiltinServer(words=60) as built_in:
        yield built_in


def test_text_is_whole_and_the_same_for_the_same_seed(server: BuiltinServer) -> None:
    answer = ask(server.base_url, tokens=1000)
    assert (answer.error, answer.finish, answer.text) == (None, "stop", server.text)
    assert len(answer.pieces) == 60
    with BuiltinServer(words=60) as again, BuiltinServer(words=60, seed=2) as other:
        assert again.text == server.text != other.text


def test_prefill_continues_exactly_from_any_character(server: BuiltinServer) -> None:
    for cut in (1, 4, 5, 33, 100, len(server.text) - 1):
        partial = server.text[:cut]
        assert partial + ask(server.base_url, prefill=partial, tokens=1000).text == server.text


def test_max_tokens_ends_the_answer_by_length(server: BuiltinServer) -> None:
    answer = ask(server.base_url, tokens=7)
    assert (len(answer.pieces), answer.finish) == (7, "length")
    assert server.text.startswith(answer.text)


def test_usage_and_whole_answers(server: BuiltinServer) -> None:
    messages: Any = [QUESTION]
    with client_of(server.base_url) as client:
        last = list(
            client.chat.completions.create(
                model="m", messages=messages, stream=True, stream_options={"include_usage": True}
            )
        )[-1]
        assert last.usage is not None
        assert (last.choices, last.usage.completion_tokens) == ([], 60)
        whole = client.chat.completions.create(model="m", messages=messages)
        assert whole.choices[0].message.content == server.text
        assert client.models.list().data[0].id == server.model
        with pytest.raises(openai.NotFoundError):
            client.embeddings.create(model="m", input="x")
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(model="m", messages=[])


def test_killed_in_mid_answer_and_started_again_on_its_port() -> None:
    with BuiltinServer(words=60, tokens_per_second=100) as server:
        reached = threading.Event()

        def kill() -> None:
            reached.wait(5)
            server.kill()

        killer = threading.Thread(target=kill)
        killer.start()

        def notice(answer: Answer) -> None:
            if len(answer.pieces) == 5:
                reached.set()

        answer = ask(server.base_url, on_piece=notice)
        killer.join()
        assert isinstance(answer.error, openai.APIConnectionError)
        server.restart()
        rest = ask(server.base_url, prefill=answer.text, tokens=1000)
        assert answer.text + rest.text == server.text


def test_pace() -> None:
    with BuiltinServer(words=11, tokens_per_second=100) as server:
        began = time.monotonic()
        ask(server.base_url)
        assert 0.09 < time.monotonic() - began < 1
    with pytest.raises(ValueError, match="tokens_per_second"):
        BuiltinServer(tokens_per_second=0)


@pytest.mark.parametrize("prefer_llama", [True, False])
def test_demo_gets_an_upstream_and_is_told_which(
    prefer_llama: bool, request: pytest.FixtureRequest
) -> None:
    if prefer_llama:
        request.getfixturevalue("llama_process")  # skips where llama.cpp is missing
    upstream, description = demo_parts.start_upstream(prefer_llama=prefer_llama)
    try:
        assert ("llama.cpp" in description) == prefer_llama
        assert ("built-in" in description) != prefer_llama
        assert len(ask(upstream.base_url, tokens=20).pieces) == 20
    finally:
        upstream.close()


def test_demo_falls_back_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_parts, "llama_available", lambda: False)
    upstream, description = demo_parts.start_upstream()
    upstream.close()
    assert description == "the built-in model server (xllamacpp or gguf is not installed)"
