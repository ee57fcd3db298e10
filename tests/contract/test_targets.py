"""Rung 7 through real SDKs: another provider takes over, and learns nothing that is not its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import anthropic
import httpx2
import openai
import pytest

import unbroken
from unbroken.core.dialects import by_name
from unbroken.core.dialects.base import Answer

TEXT = "The sea is salt because rivers carry dissolved minerals into it, year after year."
FIRST, SECOND = "api.first.example", "api.second.example"
ASKED = [{"role": "user", "content": "Why is the sea salt?"}]


def body(dialect: str, text: str = TEXT, *, frames: int | None = None) -> bytes:
    """Return an answer of the dialect, or so many frames of it."""
    pieces = tuple(text[at : at + 5] for at in range(0, len(text), 5))
    whole = by_name(dialect).encode(Answer(text=pieces, usage=(9, 16)))
    return b"".join(whole[:frames])


class Providers:
    """Two providers behind one transport, and all that they were sent."""

    def __init__(self, first: bytes, second: Callable[[httpx2.Request], bytes]) -> None:
        self.requests: list[httpx2.Request] = []
        self._first, self._second = first, second

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        data = self._first if request.url.host == FIRST else self._second(request)
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=data)


def options(**target: Any) -> unbroken.Options:
    given = {"base_url": f"https://{SECOND}/v1", "model": "other", "api_key": "key-two", **target}
    return unbroken.Options(rungs=("target",), targets=(unbroken.Target(**given),))


def client_of(providers: Providers, outcomes: list[Any], **target: Any) -> openai.OpenAI:
    http = unbroken.http_client(
        options=options(**target), on_outcome=outcomes.append,
        transport=httpx2.MockTransport(providers),
    )  # fmt: skip
    return openai.OpenAI(
        base_url=f"https://{FIRST}/v1", api_key="key-one", organization="org-one", http_client=http
    )


def said(stream: Any) -> str:
    return "".join(c.delta.content or "" for event in stream for c in event.choices)


def going_on(request: httpx2.Request) -> bytes:
    turn = json.loads(request.content)["messages"][-1]["content"]
    anchor = turn.split("exactly: ")[1].split("\n")[0]
    return body("openai-chat", TEXT[TEXT.rindex(anchor) :])


def test_the_same_protocol_goes_on_in_mid_answer() -> None:
    providers = Providers(body("openai-chat", frames=12), going_on)
    outcomes: list[unbroken.Outcome] = []
    client = client_of(providers, outcomes)
    stream = client.chat.completions.create(
        model="one", messages=ASKED, stream=True, extra_headers={"X-Own-Token": "key-three"}
    )  # type: ignore[call-overload]
    assert said(stream) == TEXT
    second = providers.requests[-1]
    assert second.url.host == SECOND
    assert second.headers["authorization"] == "Bearer key-two"
    sent = repr(second.headers.raw) + second.content.decode()
    assert not [word for word in ("key-one", "org-one", "key-three") if word in sent]
    assert outcomes[0].provenance[-1].target == f"{SECOND} other"


def test_the_name_that_was_set_for_the_first_host_is_not_given_to_another() -> None:
    providers = Providers(b"", lambda request: body("openai-chat"))
    client = client_of(providers, [])
    request = client._client.build_request(
        "POST", f"https://{FIRST}/v1/chat/completions",
        json={"model": "one", "messages": ASKED, "stream": True},
        extensions={"sni_hostname": "inner.first.example"},
    )  # fmt: skip
    response = client._client.send(request, stream=True)
    response.read()
    assert [each.extensions.get("sni_hostname") for each in providers.requests] == [
        "inner.first.example", None,
    ]  # fmt: skip


def test_another_protocol_answers_in_the_sdk_s_own() -> None:
    providers = Providers(body("openai-chat")[:20], lambda request: body("anthropic-messages"))
    outcomes: list[unbroken.Outcome] = []
    client = client_of(
        providers, outcomes, base_url=f"https://{SECOND}", dialect="anthropic-messages"
    )
    with client.chat.completions.stream(model="one", messages=ASKED) as stream:  # type: ignore[arg-type]
        done = stream.get_final_completion()
    assert done.choices[0].message.content == TEXT
    assert done.choices[0].finish_reason == "stop"
    second = providers.requests[-1]
    assert (second.url.path, second.headers["x-api-key"]) == ("/v1/messages", "key-two")
    assert "authorization" not in second.headers
    assert outcomes[0].complete


@pytest.mark.parametrize("after", range(0, 900, 150))
def test_a_target_that_breaks_too_is_an_exception(after: int) -> None:
    theirs = body("anthropic-messages")[:after]
    providers = Providers(body("openai-chat")[:20], lambda request: theirs)
    client = client_of(providers, [], base_url=f"https://{SECOND}", dialect="anthropic-messages")
    with pytest.raises(openai.APIConnectionError) as caught:
        said(client.chat.completions.create(model="one", messages=ASKED, stream=True))  # type: ignore[arg-type]
    outcome = unbroken.outcome_of(caught.value)
    assert outcome is not None
    assert TEXT.startswith(outcome.text)


def test_the_async_anthropic_sdk_has_targets_too() -> None:
    providers = Providers(body("anthropic-messages")[:300], lambda request: body("openai-chat"))

    async def run() -> str:
        http = unbroken.async_http_client(
            options=options(dialect="openai-chat"), transport=httpx2.MockTransport(providers)
        )
        async with (
            anthropic.AsyncAnthropic(
                base_url=f"https://{FIRST}", api_key="key-one", http_client=http
            ) as client,
            client.messages.stream(model="one", messages=ASKED, max_tokens=99) as stream,
        ):  # type: ignore[arg-type]
            return await stream.get_final_text()

    assert asyncio.run(run()) == TEXT
    second = providers.requests[-1]
    assert (second.url.path, second.headers["authorization"]) == (
        "/v1/chat/completions", "Bearer key-two",
    )  # fmt: skip
    assert "key-one" not in repr(second.headers.raw)
