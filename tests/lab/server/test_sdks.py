"""The vendors' own SDKs against the server, found by the variables of the client contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from unbroken.lab.model import AnswerSettings
from unbroken.lab.server.app import LabServer

ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "Tell me"}]}
Read = Callable[[str, str], Iterator[str]]
"""Takes the model's name and the server's root, and yields text; finds the rest by itself."""


def openai_chat(model: str, url: str) -> Iterator[str]:
    import openai

    with (
        openai.OpenAI(max_retries=0) as client,
        client.chat.completions.create(model=model, stream=True, **ASK) as stream,
    ):
        for frame in stream:
            yield (frame.choices[0].delta.content if frame.choices else "") or ""


def openai_responses(model: str, url: str) -> Iterator[str]:
    import openai

    with (
        openai.OpenAI(max_retries=0) as client,
        client.responses.create(model=model, stream=True, input="Tell me") as stream,
    ):
        for event in stream:
            if event.type == "response.output_text.delta":
                yield event.delta


def anthropic_messages(model: str, url: str) -> Iterator[str]:
    import anthropic

    with (
        anthropic.Anthropic(max_retries=0) as client,
        client.messages.stream(model=model, max_tokens=5000, **ASK) as stream,
    ):
        yield from stream.text_stream


def google_genai(model: str, url: str) -> Iterator[str]:
    from tests.support.google import import_genai

    client = import_genai().Client()
    for frame in client.models.generate_content_stream(model=model, contents="Tell me"):
        yield frame.text or ""
    client.close()


def ollama_chat(model: str, url: str) -> Iterator[str]:
    import ollama

    client = ollama.Client()
    for line in client.chat(model=model, stream=True, **ASK):
        yield line.message.content or ""
    client._client.close()


def cohere_chat(model: str, url: str) -> Iterator[str]:
    import cohere
    import httpx

    # It reads its variable once, when it is imported: another test may have done that.
    with httpx.Client() as http:
        client = cohere.ClientV2(base_url=url, httpx_client=http)
        for event in client.chat_stream(model=model, **ASK):
            if event.type == "content-delta":
                yield event.delta.message.content.text


def mistralai_chat(model: str, url: str) -> Iterator[str]:
    from mistralai.client import Mistral

    # The one SDK that reads no variable for its address.
    with (
        Mistral(api_key="lab-key", server_url=url) as client,
        client.chat.stream(model=model, **ASK) as stream,
    ):
        for event in stream:
            content = event.data.choices[0].delta.content
            yield content if isinstance(content, str) else ""


READS = [
    openai_chat, openai_responses, anthropic_messages, google_genai, ollama_chat, cohere_chat,
    mistralai_chat,
]  # fmt: skip


@pytest.fixture(scope="module")
def lab() -> Iterator[LabServer]:
    with LabServer(settings=AnswerSettings(tokens=60, delta="token")) as server:
        yield server


def read(lab: LabServer, plan: str, way: Read, patch: pytest.MonkeyPatch) -> tuple[str, str, Any]:
    """Return the text, the error's class or ``""``, and the session."""
    session = lab.session(plan)
    for name, value in lab.environment(session).items():
        patch.setenv(name, value)
    patch.delenv("GOOGLE_API_KEY", raising=False)
    got: list[str] = []
    error = ""
    try:
        for text in way(session.model, lab.url):
            got.append(text)  # noqa: PERF402 - what came before an error counts
    except Exception as failed:
        error = type(failed).__name__
    assert session.wait_idle()
    return "".join(got), error, session


@pytest.mark.parametrize("way", READS)
@pytest.mark.parametrize("pace", ["", ";tps=400;jitter=0.5;ttft=50ms;pings=20ms"])
def test_a_healthy_answer_is_read_whole(
    lab: LabServer, way: Read, pace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, error, session = read(lab, f"ok{pace}", way, monkeypatch)
    assert error == ""
    assert text == session.numbered.text
    assert [log.ended for log in session.attempts] == ["whole"]


@pytest.mark.parametrize("way", READS)
def test_a_clean_cut_shortens_it(
    lab: LabServer, way: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, _, session = read(lab, "cut@30t", way, monkeypatch)
    (log,) = session.attempts
    assert (log.ended, log.sent_tokens, len(log.strikes)) == ("clean", 30, 1)
    assert text == " ".join(session.numbered.text.split(" ")[:30])


@pytest.mark.parametrize("way", READS)
def test_a_reset_raises(lab: LabServer, way: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    text, error, session = read(lab, "cut.rst@30t", way, monkeypatch)
    (log,) = session.attempts
    assert (log.ended, log.sent_tokens, len(log.strikes)) == ("rst", 30, 1)
    assert error
    assert text == " ".join(session.numbered.text.split(" ")[:30])  # all that was sent
