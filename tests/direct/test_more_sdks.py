"""`unbroken.wrap` and `iter_text` with the SDKs of the second row, one short answer that breaks."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anyio
import pytest

import unbroken
from tests.direct.helpers import options
from tests.support.bodies import Answer, tokens_of
from tests.support.environments import environment
from tests.support.faults import Break, breaking
from tests.support.faultserver import FaultServer
from tests.support.model import Model

# Short, so that any dialect may send it again and compare.
SHORT = Answer(tokens=tokens_of("One two three four five six seven."))
PROMPT: Any = [{"role": "user", "content": "Count."}]


def _mistral(url: str) -> Any:
    return pytest.importorskip("mistralai.client").Mistral(api_key="k", server_url=url)


def _langchain(url: str) -> Any:
    kind = pytest.importorskip("langchain_openai").ChatOpenAI
    return kind(model="m", api_key="k", base_url=url, max_retries=0)


def _cohere(url: str) -> Any:
    return pytest.importorskip("cohere").ClientV2(api_key="k", base_url=url)


def _acohere(url: str) -> Any:
    return pytest.importorskip("cohere").AsyncClientV2(api_key="k", base_url=url)


def _groq(url: str) -> Any:
    return pytest.importorskip("groq").Groq(api_key="k", base_url=url)


def _agroq(url: str) -> Any:
    return pytest.importorskip("groq").AsyncGroq(api_key="k", base_url=url)


def _chat(client: Any) -> Any:
    return client.chat.completions.create(model="m", messages=PROMPT, stream=True)


SYNC: dict[str, tuple[str, Callable[[str], Any], Callable[[Any], Any]]] = {
    "mistralai": ("openai-chat", _mistral, lambda c: c.chat.stream(model="m", messages=PROMPT)),
    "groq": ("openai-chat", _groq, _chat),
    "cohere": ("cohere", _cohere, lambda c: c.chat_stream(model="m", messages=PROMPT)),
    "langchain-openai": ("openai-chat", _langchain, lambda model: model.stream(PROMPT)),
}
ASYNC: dict[str, tuple[str, Callable[[str], Any], Callable[[Any], Any]]] = {
    "mistralai": (
        "openai-chat",
        _mistral,
        lambda c: c.chat.stream_async(model="m", messages=PROMPT),
    ),
    "groq": ("openai-chat", _agroq, _chat),
    "cohere": ("cohere", _acohere, lambda c: c.chat_stream(model="m", messages=PROMPT)),
    "langchain-openai": ("openai-chat", _langchain, lambda model: model.astream(PROMPT)),
}


def _broken_once(dialect: str) -> FaultServer:
    return FaultServer(breaking(Model(dialect=dialect, answer=SHORT), Break("cut_clean", at=3)))


@pytest.mark.parametrize("sdk", SYNC)
def test_a_built_client_heals(sdk: str) -> None:
    dialect, build, ask = SYNC[sdk]
    outcomes: list[unbroken.Outcome] = []
    with _broken_once(dialect) as server:
        client = build(server.url)
        assert unbroken.wrap(client, options=options(), on_outcome=outcomes.append) is client
        assert "".join(unbroken.iter_text(ask(client))) == SHORT.text
    assert [outcome.recoveries for outcome in outcomes] == [1]


@pytest.mark.parametrize("sdk", ASYNC)
def test_a_built_async_client_heals(sdk: str) -> None:
    dialect, build, ask = ASYNC[sdk]

    async def main() -> str:
        client = unbroken.wrap(build(server.url), options=options())
        return "".join([text async for text in unbroken.aiter_text(ask(client))])

    with _broken_once(dialect) as server:
        assert anyio.run(main) == SHORT.text
        assert len(server.requests) == 2


def _agent(url: str) -> Any:
    pytest.importorskip("pydantic_ai")
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    provider = OpenAIProvider(base_url=url, api_key="k")
    return Agent(OpenAIChatModel("m", provider=provider))


def test_an_agent_heals_and_its_events_are_read() -> None:
    outcomes: list[unbroken.Outcome] = []

    async def main() -> str:
        agent = unbroken.wrap(_agent(server.url), options=options(), on_outcome=outcomes.append)
        async with agent.run_stream_events("Count.") as events:
            return "".join([text async for text in unbroken.aiter_text(events)])

    with _broken_once("openai-chat") as server:
        assert anyio.run(main) == SHORT.text
    assert [outcome.recoveries for outcome in outcomes] == [1]


def test_an_agent_s_texts_are_read() -> None:
    async def main() -> str:
        agent = unbroken.wrap(_agent(server.url), options=options())
        async with agent.run_stream("Count.") as result:
            texts = result.stream_text(delta=True, debounce_by=None)
            return "".join([text async for text in unbroken.aiter_text(texts)])

    with _broken_once("openai-chat") as server:
        assert anyio.run(main) == SHORT.text


_INSTRUCTOR = """
import sys, instructor, openai, unbroken
from pydantic import BaseModel
class Story(BaseModel):
    text: str
outcomes = []
sdk = openai.OpenAI(base_url=sys.argv[1], api_key="k")
client = instructor.from_openai(sdk, mode=instructor.Mode.JSON)
assert unbroken.wrap(client, on_outcome=outcomes.append) is client
asked = {"model": "m", "messages": [{"role": "user", "content": "?"}], "response_model": Story}
*_, last = client.chat.completions.create_partial(**asked, temperature=0)
assert [outcome.recoveries for outcome in outcomes] == [1]
print(last.text)
"""


def test_an_instructor_client_heals() -> None:
    whole = tokens_of(json.dumps({"text": SHORT.text}))
    model = Model(dialect="openai-chat", answer=Answer(tokens=whole))
    with FaultServer(breaking(model, Break("cut_clean", at=3))) as server:
        said = environment("instructor").run("-c", _INSTRUCTOR, server.url)
    assert said.strip() == SHORT.text
