"""`unbroken.wrap`: SDK clients that are already built."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import anthropic
import anyio
import httpx2
import ollama
import openai
import pytest

import unbroken
from tests.direct.helpers import good, options
from tests.support.bodies import Answer, tokens_of
from tests.support.faults import Break, breaking, reply
from tests.support.faultserver import FaultServer
from tests.support.google import import_genai
from tests.support.model import Model

# Short, so that any dialect may send it again and compare.
SHORT = Answer(tokens=tokens_of("One two three four five six seven."))
PROMPT = [{"role": "user", "content": "Count."}]


def openai_text(client: Any) -> str:
    stream = client.chat.completions.create(model="m", messages=PROMPT, stream=True)
    return "".join(unbroken.iter_text(stream))


def anthropic_text(client: Any) -> str:
    with client.messages.stream(model="m", messages=PROMPT, max_tokens=100) as stream:
        return "".join(unbroken.iter_text(stream))


def gemini_text(client: Any) -> str:
    return "".join(
        unbroken.iter_text(client.models.generate_content_stream(model="m", contents="Count."))
    )


def ollama_text(client: Any) -> str:
    return "".join(unbroken.iter_text(client.chat(model="m", messages=PROMPT, stream=True)))


async def openai_atext(client: Any) -> str:
    stream = await client.chat.completions.create(model="m", messages=PROMPT, stream=True)
    return "".join([text async for text in unbroken.aiter_text(stream)])


async def anthropic_atext(client: Any) -> str:
    async with client.messages.stream(model="m", messages=PROMPT, max_tokens=100) as stream:
        return "".join([text async for text in unbroken.aiter_text(stream)])


async def gemini_atext(client: Any) -> str:
    call = client.aio.models.generate_content_stream(model="m", contents="Count.")
    return "".join([text async for text in unbroken.aiter_text(call)])


async def ollama_atext(client: Any) -> str:
    call = client.chat(model="m", messages=PROMPT, stream=True)
    return "".join([text async for text in unbroken.aiter_text(call)])


def gemini_client(url: str) -> Any:
    return import_genai().Client(api_key="k", http_options={"base_url": url})


SDKS = {
    "openai": ("openai-chat", lambda url: openai.OpenAI(base_url=url, api_key="k"), openai_text),
    "anthropic": (
        "anthropic-messages",
        lambda url: anthropic.Anthropic(base_url=url, api_key="k"),
        anthropic_text,
    ),
    "google-genai": ("gemini", gemini_client, gemini_text),
    "ollama": ("ollama", lambda url: ollama.Client(host=url), ollama_text),
}
ASYNC_SDKS = {
    "openai": (
        "openai-chat",
        lambda url: openai.AsyncOpenAI(base_url=url, api_key="k"),
        openai_atext,
    ),
    "anthropic": (
        "anthropic-messages",
        lambda url: anthropic.AsyncAnthropic(base_url=url, api_key="k"),
        anthropic_atext,
    ),
    "google-genai": ("gemini", gemini_client, gemini_atext),
    "ollama": ("ollama", lambda url: ollama.AsyncClient(host=url), ollama_atext),
}


def broken_once(dialect: str) -> FaultServer:
    return FaultServer(breaking(Model(dialect=dialect, answer=SHORT), Break("cut_clean", at=3)))


@pytest.mark.parametrize("sdk", SDKS)
def test_a_built_client_heals(sdk: str) -> None:
    dialect, build, read = SDKS[sdk]
    outcomes: list[unbroken.Outcome] = []
    with broken_once(dialect) as server:
        client = build(server.url)
        assert read(client) != SHORT.text, "without us it is short, and nobody says so"
        server.script = breaking(Model(dialect=dialect, answer=SHORT), Break("cut_clean", at=3))
        assert unbroken.wrap(client, options=options(), on_outcome=outcomes.append) is client
        assert read(client) == SHORT.text
    assert [outcome.recoveries for outcome in outcomes] == [1]


@pytest.mark.parametrize("sdk", ASYNC_SDKS)
def test_a_built_async_client_heals(sdk: str) -> None:
    dialect, build, read = ASYNC_SDKS[sdk]

    async def main() -> str:
        return await read(unbroken.wrap(build(server.url), options=options()))

    with broken_once(dialect) as server:
        assert anyio.run(main) == SHORT.text
        assert len(server.requests) == 2


def test_google_genai_is_protected_in_every_loop_also_in_one_that_was_used_before() -> None:
    client: list[Any] = []

    async def main() -> tuple[str, str]:
        before = await gemini_atext(client[0])
        server.script = breaking(Model(dialect="gemini", answer=SHORT), Break("cut_clean", at=3))
        unbroken.wrap(unbroken.wrap(client[0], options=options()))
        return before, await gemini_atext(client[0])

    with broken_once("gemini") as server:
        client.append(gemini_client(server.url))
        assert anyio.run(main) == ("One two three", SHORT.text)
        server.script = breaking(Model(dialect="gemini", answer=SHORT), Break("cut_clean", at=3))
        assert anyio.run(main)[0] == SHORT.text


def test_copies_are_protected_with_it() -> None:
    with broken_once("openai-chat") as server:
        client = unbroken.wrap(openai.OpenAI(base_url=server.url, api_key="k"), options=options())
        assert openai_text(client.with_options(max_retries=0)) == SHORT.text


@pytest.mark.seed("001-dead-end-no-streaming")
def test_settings_stay_and_twice_is_once() -> None:
    outcomes: list[unbroken.Outcome] = []
    inner = httpx2.Client(
        headers={"x-team": "blue"},
        timeout=7,
        mounts={"http://elsewhere": httpx2.HTTPTransport(), "all://direct": None},
    )
    client = openai.OpenAI(base_url="http://elsewhere/v1", api_key="k", http_client=inner)
    unbroken.wrap(client, on_outcome=outcomes.append)
    wrapped = inner._transport, dict(inner._mounts)
    unbroken.wrap(client, on_outcome=outcomes.append)
    unbroken.wrap(inner)
    assert (inner._transport, dict(inner._mounts)) == wrapped
    assert inner.timeout.read == 7
    kinds = {pattern.pattern: type(mount).__name__ for pattern, mount in inner._mounts.items()}
    assert kinds == {"http://elsewhere": "Transport", "all://direct": "NoneType"}
    with FaultServer(good("openai-chat", SHORT)) as server:
        assert openai_text(client.with_options(base_url=server.url)) == SHORT.text
        assert server.requests[0].headers["x-team"] == "blue"
    assert len(outcomes) == 1


@pytest.mark.parametrize(
    "what", [None, 3, "openai", openai, object()], ids=lambda w: type(w).__name__
)
def test_what_has_no_http_client_is_named(what: Any) -> None:
    with pytest.raises(TypeError, match=type(what).__qualname__):
        unbroken.wrap(what)


def test_async_calls_by_aiohttp_are_said_to_be_unprotected(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = gemini_client("http://nowhere")
    monkeypatch.setattr(client._api_client, "_use_aiohttp", lambda: True)
    with caplog.at_level(logging.WARNING, "unbroken"):
        unbroken.wrap(client)
    assert "aiohttp" in caplog.text
    assert "httpx_async_client" in caplog.text


@pytest.mark.parametrize("module", ["groq", "mistralai", "cohere"])
def test_other_sdks_are_found_too(module: str) -> None:
    sdk = pytest.importorskip(module)
    if module == "mistralai" and not hasattr(sdk, "Mistral"):
        sdk = pytest.importorskip("mistralai.client")
    build = {"groq": "Groq", "mistralai": "Mistral", "cohere": "ClientV2"}[module]
    unbroken.wrap(getattr(sdk, build)(api_key="k"))


def test_another_thread_may_close_the_sdks_stream_while_it_is_read() -> None:
    raised: list[BaseException] = []

    def read() -> None:
        try:
            for _ in stream:
                pass
        except openai.APIConnectionError as error:
            raised.append(error)

    with FaultServer(reply("stall", "openai-chat", at=3)) as server:
        client = unbroken.wrap(openai.OpenAI(base_url=server.url, api_key="k"))
        stream: Any = client.chat.completions.create(model="m", messages=PROMPT, stream=True)  # type: ignore[call-overload]
        reader = threading.Thread(target=read)
        reader.start()
        assert server.wait_for(lambda: server.exchanges[0].bytes_written > 0)
        time.sleep(0.05)  # until the other thread waits in its read
        started = time.monotonic()
        stream.close()
        reader.join(2)
        assert time.monotonic() - started < 1
        assert server.wait_for_open(0)
    outcome = unbroken.outcome_of(raised[0])
    assert outcome is not None
    assert outcome.status == "cancelled"
