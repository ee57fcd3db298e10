"""The clients of `soak.py`: SDKs behind Unbroken, and Unbroken alone.

Each gives the final text, or a tool call's arguments, piece by piece, and raises what the
application would see.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from functools import lru_cache
from typing import Any

import anthropic
import openai
from soak_cases import Case

import unbroken

__all__ = ["HONEST", "ask", "ask_async", "is_async"]

Opened = Callable[[Any], object]

HONEST = (unbroken.StreamingError, openai.APIError, anthropic.APIError)
"""What an application may see; anything else without an outcome of ours is a crash."""

_CLOCKS = unbroken.Clocks(
    connect_s=5.0, first_event_s=1.5, silence_s=1.0, progress_text_s=1.0, progress_slow_s=1.5,
    notice_s=0.3, total_s=45.0,
)  # fmt: skip
# Until the response head is there, only the SDK's own timeout ends a wait: ten minutes, if it is
# not told otherwise. Ours are shorter than this one, so they rule from the head on.
_SDK_TIMEOUT_S = 5.0
_POLICIES: dict[str, dict[str, Any]] = {
    "default": {},
    "stream-tools": {"tool_calls": "stream"},
    "spill": {"max_replay_bytes": 2048},
    "no-resend": {"allow_resend": False},
}
_PATHS = {"cohere": "/v2/chat", "ollama": "/api/chat"}  # asked with url= and json=
_PROMPT = [{"role": "user", "content": "Write a story of about two hundred words."}]
_WRITE = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}


@lru_cache
def options(policy: str) -> unbroken.Options:
    """Return the options of a policy; here nothing is rationed, since all streams fail."""
    return unbroken.Options(
        clocks=_CLOCKS,
        max_recovery_s=20.0,
        heal_share=1.0,
        heals_always=1_000_000_000,
        breaker_failures=1_000_000,
        **_POLICIES[policy],
    )


def is_async(case: Case) -> bool:
    """Whether a case is played in an event loop."""
    return case.drive in ("anthropic", "astream")


def ask(case: Case, url: str, model: str, opened: Opened) -> Iterator[str]:
    """Play a case of a sync client; `opened` is told of the stream, whose outcome it can read."""
    if case.drive == "openai":
        sdk = _openai(url, case.policy)
        play = _chat if case.dialect == "openai-chat" else _responses
        yield from play(sdk, case, model, opened)
        return
    with unbroken.stream(**_request(case, url, model)) as stream:
        opened(stream)
        for event in stream:
            yield _said(event, case.say)


async def ask_async(case: Case, url: str, model: str, opened: Opened) -> AsyncIterator[str]:
    """Play a case of an async client."""
    if case.drive == "anthropic":
        async for text in _messages(_anthropic(url, case.policy), case, model, opened):
            yield text
        return
    async with unbroken.astream(**_request(case, url, model)) as stream:
        opened(stream)
        async for event in stream:
            yield _said(event, case.say)


def _said(event: unbroken.events.Event, say: str) -> str:
    if say == "tool":
        return event.arguments if isinstance(event, unbroken.events.ToolCall) else ""
    return event.text if isinstance(event, unbroken.events.Text) else ""


def _sampling(case: Case) -> dict[str, Any]:
    return {"temperature": {"temperature": 0}, "seed": {"seed": 7}}.get(case.sampling, {})


# ---------------------------------------------------------------- SDKs, made once a policy


@lru_cache
def _openai(url: str, policy: str) -> openai.OpenAI:
    http: Any = unbroken.http_client(options=options(policy))
    return openai.OpenAI(
        base_url=f"{url}/v1",
        api_key="lab-key",
        http_client=http,
        max_retries=1,
        timeout=_SDK_TIMEOUT_S,
    )


@lru_cache
def _anthropic(url: str, policy: str) -> anthropic.AsyncAnthropic:
    http: Any = unbroken.async_http_client(options=options(policy))
    return anthropic.AsyncAnthropic(
        base_url=url, api_key="lab-key", http_client=http, max_retries=1, timeout=_SDK_TIMEOUT_S
    )


def _chat(sdk: openai.OpenAI, case: Case, model: str, opened: Opened) -> Iterator[str]:
    body: dict[str, Any] = {"model": model, "messages": _PROMPT, "stream": True, **_sampling(case)}
    if case.say == "tool":
        body["tools"] = [{"type": "function", "function": {"name": "write", "parameters": _WRITE}}]
    create: Callable[..., Any] = sdk.chat.completions.create
    with create(**body) as stream:
        opened(stream.response.extensions["unbroken"])
        for item in stream:
            for choice in item.choices[:1]:
                if case.say != "tool":
                    yield choice.delta.content or ""
                for call in choice.delta.tool_calls or () if case.say == "tool" else ():
                    yield call.function.arguments or ""


def _responses(sdk: openai.OpenAI, case: Case, model: str, opened: Opened) -> Iterator[str]:
    body: dict[str, Any] = {"model": model, "input": _PROMPT, "stream": True}
    if case.sampling == "temperature":
        body["temperature"] = 0
    if case.background:
        body["background"] = True
    if case.say == "tool":
        body["tools"] = [{"type": "function", "name": "write", "parameters": _WRITE}]
    tool = case.say == "tool"
    kind = "response.function_call_arguments.delta" if tool else "response.output_text.delta"
    create: Callable[..., Any] = sdk.responses.create
    with create(**body) as stream:
        opened(stream.response.extensions["unbroken"])
        for event in stream:
            if event.type == kind:
                yield event.delta


async def _messages(
    sdk: anthropic.AsyncAnthropic, case: Case, model: str, opened: Opened
) -> AsyncIterator[str]:
    body: dict[str, Any] = {"model": model, "messages": _PROMPT, "max_tokens": 4000}
    if case.sampling == "temperature":
        body["extra_body"] = {"temperature": 0}
    if case.say == "tool":
        body["tools"] = [{"name": "write", "input_schema": _WRITE}]
    kind = "input_json_delta" if case.say == "tool" else "text_delta"
    create: Callable[..., Any] = sdk.messages.create
    async with await create(**body, stream=True) as stream:
        opened(stream.response.extensions["unbroken"])
        async for event in stream:
            if event.type == "content_block_delta" and event.delta.type == kind:
                tool = case.say == "tool"
                yield event.delta.partial_json if tool else event.delta.text


# ---------------------------------------------------------------- without an SDK


def _request(case: Case, url: str, model: str) -> dict[str, Any]:
    given: dict[str, Any] = {"options": options(case.policy), "api_key": "lab-key"}
    body = _body(case)
    if path := _PATHS.get(case.dialect):
        body = {"model": model, "messages": _PROMPT, "stream": True, **body}
        return {"url": f"{url}{path}", "dialect": case.dialect, "json": body, **given}
    base = f"{url}/v1" if case.dialect.startswith("openai") else url
    model = f"models/{model}" if case.dialect == "gemini" else model  # a name with a slash
    messages = {"messages": _PROMPT, "model": model, "dialect": case.dialect, "base_url": base}
    return {**messages, **given, **body}


def _body(case: Case) -> dict[str, Any]:
    """Return further fields of the body, in the provider's words."""
    body: dict[str, Any] = {}
    tool = case.say == "tool"
    function = {"name": "write", "description": "Writes.", "parameters": _WRITE}
    match case.dialect:
        case "gemini":
            if case.sampling:
                body["generationConfig"] = _sampling(case)
            if tool:
                body["tools"] = [{"functionDeclarations": [function]}]
        case "ollama":
            if case.sampling:
                body["options"] = _sampling(case)
            if tool:
                body["tools"] = [{"type": "function", "function": function}]
        case "anthropic-messages" | "openai-responses":
            if case.sampling == "temperature":
                body["temperature"] = 0
            if case.background:
                body["background"] = True
            if tool and case.dialect == "openai-responses":
                body["tools"] = [{"type": "function", **function}]
            elif tool:
                body["tools"] = [{"name": "write", "input_schema": _WRITE}]
        case _:
            body.update(_sampling(case))
            if tool:
                body["tools"] = [{"type": "function", "function": function}]
    return body
