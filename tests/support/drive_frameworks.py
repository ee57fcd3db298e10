"""Drives of what sits on the openai SDK: langchain-openai, pydantic-ai, instructor, litellm."""

from __future__ import annotations

import importlib
import os
from typing import Any

from tests.support.driving import (
    Drive,
    Timed,
    Watch,
    Wire,
    aread_all,
    chat_request,
    client_settings,
    drive,
    read_all,
    sdk_http_client,
)

__all__: list[str] = []

# langchain-openai


def _on_langchain(watch: Watch, message: Any) -> None:
    watch.text(message.text)  # a str; of list contents, the text blocks
    for call in message.tool_call_chunks:
        watch.call(call["index"], call["name"], call["args"])
    watch.drive.finish = message.response_metadata.get("finish_reason") or watch.drive.finish


def _langchain(wire: Wire, *, is_async: bool) -> Any:
    from langchain_openai import ChatOpenAI

    settings: dict[str, Any] = {
        "model": "test-model",
        "api_key": "test-key",
        "base_url": f"{wire.base_url}/v1",
        "default_headers": dict(wire.headers),
    }
    if wire.timeout_s is not None:
        settings["timeout"] = wire.timeout_s
    if wire.max_retries is not None:
        settings["max_retries"] = wire.max_retries
    http_client = sdk_http_client("openai", wire, is_async=is_async)
    if http_client is not None:
        settings["http_async_client" if is_async else "http_client"] = http_client
    return ChatOpenAI(**settings)


@drive("langchain-openai", "openai-chat", "langchain-openai", row=2)
def langchain_stream(wire: Wire) -> Drive:
    """`ChatOpenAI.stream`."""
    watch = Watch("langchain-openai", wire)
    model = _langchain(wire, is_async=False)
    with Timed(watch.drive):
        read_all(watch, model.stream(list(wire.messages), **wire.request), _on_langchain)
    if wire.http_client is None:
        model.root_client.close()
    return watch.drive


@drive("langchain-openai-async", "openai-chat", "langchain-openai", row=2)
async def langchain_stream_async(wire: Wire) -> Drive:
    watch = Watch("langchain-openai-async", wire)
    model = _langchain(wire, is_async=True)
    with Timed(watch.drive):
        await aread_all(watch, model.astream(list(wire.messages), **wire.request), _on_langchain)
    if wire.http_client is None:
        await model.root_async_client.close()
    return watch.drive


# pydantic-ai: async only; its sync calls run the async ones


@drive("pydantic-ai-async", "openai-chat", "pydantic-ai-slim", row=2)
async def pydantic_ai_stream(wire: Wire) -> Drive:
    """`Agent.run_stream`, of which the text is read."""
    import openai
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    watch = Watch("pydantic-ai-async", wire)
    settings = client_settings("openai", wire, is_async=True)
    sdk = openai.AsyncOpenAI(base_url=f"{wire.base_url}/v1", **settings)
    model = OpenAIChatModel("test-model", provider=OpenAIProvider(openai_client=sdk))
    agent = Agent(model, model_settings=dict(wire.request))  # type: ignore[arg-type]
    prompt = str(wire.messages[-1]["content"])
    with Timed(watch.drive):
        async with agent.run_stream(prompt) as result:
            texts = result.stream_text(delta=True, debounce_by=None)
            if await aread_all(watch, texts, Watch.text):
                details = result.response.provider_details or {}
                watch.drive.finish = details.get("finish_reason")
    if wire.http_client is None:
        await sdk.close()
    return watch.drive


# instructor: structured output; the text that is compared is the one field of the object


def _story_model() -> type:
    from pydantic import BaseModel

    class Story(BaseModel):
        text: str

    return Story


@drive("instructor", "openai-chat", "instructor", row=2, as_json=True)
def instructor_partial(wire: Wire) -> Drive:
    """`create_partial` in JSON mode: the object as it grows."""
    import instructor
    import openai

    watch = Watch("instructor", wire)
    sdk = openai.OpenAI(
        base_url=f"{wire.base_url}/v1", **client_settings("openai", wire, is_async=False)
    )
    client = instructor.from_openai(sdk, mode=instructor.Mode.JSON)
    with Timed(watch.drive):
        request = chat_request(wire) | {"response_model": _story_model(), "max_retries": 0}
        read_all(watch, client.chat.completions.create_partial(**request), _grown)
        watch.drive.finish = "stop"  # its users are told no reason
    if wire.http_client is None:
        sdk.close()
    return watch.drive


@drive("instructor-async", "openai-chat", "instructor", row=2, as_json=True)
async def instructor_partial_async(wire: Wire) -> Drive:
    import instructor
    import openai

    watch = Watch("instructor-async", wire)
    sdk = openai.AsyncOpenAI(
        base_url=f"{wire.base_url}/v1", **client_settings("openai", wire, is_async=True)
    )
    client = instructor.from_openai(sdk, mode=instructor.Mode.JSON)
    with Timed(watch.drive):
        request = chat_request(wire) | {"response_model": _story_model(), "max_retries": 0}
        await aread_all(watch, client.chat.completions.create_partial(**request), _grown)
        watch.drive.finish = "stop"
    if wire.http_client is None:
        await sdk.close()
    return watch.drive


def _grown(watch: Watch, story: Any) -> None:
    watch.text((story.text or "")[len(watch.drive.text) :])


# litellm


def _on_litellm(watch: Watch, frame: Any) -> None:
    for choice in frame.choices or []:
        watch.text(choice.delta.content)
        watch.think(getattr(choice.delta, "reasoning_content", None))
        for call in choice.delta.tool_calls or []:
            watch.call(call.index, call.function.name, call.function.arguments)
        watch.drive.finish = choice.finish_reason or watch.drive.finish


def _litellm_request(wire: Wire) -> dict[str, Any]:
    request = chat_request(wire) | {"model": "openai/test-model", "stream": True}
    request |= {"api_key": "test-key", "api_base": f"{wire.base_url}/v1"}
    request |= {"extra_headers": dict(wire.headers)}
    if wire.timeout_s is not None:
        request["timeout"] = wire.timeout_s
    if wire.max_retries is not None:
        request["max_retries"] = wire.max_retries
    return request


def _litellm() -> Any:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it fetches one when imported
    litellm = importlib.import_module("litellm")
    litellm.suppress_debug_info = True
    return litellm


@drive("litellm", "openai-chat", "litellm", row=2)
def litellm_completion(wire: Wire) -> Drive:
    """`completion(client=OpenAI(...), stream=True)`."""
    import openai

    watch = Watch("litellm", wire)
    sdk = openai.OpenAI(
        base_url=f"{wire.base_url}/v1", **client_settings("openai", wire, is_async=False)
    )
    litellm = _litellm()
    with Timed(watch.drive):
        read_all(watch, litellm.completion(client=sdk, **_litellm_request(wire)), _on_litellm)
    if wire.http_client is None:
        sdk.close()
    return watch.drive


@drive("litellm-async", "openai-chat", "litellm", row=2)
async def litellm_completion_async(wire: Wire) -> Drive:
    import openai

    watch = Watch("litellm-async", wire)
    sdk = openai.AsyncOpenAI(
        base_url=f"{wire.base_url}/v1", **client_settings("openai", wire, is_async=True)
    )
    litellm = _litellm()
    with Timed(watch.drive):
        stream = await litellm.acompletion(client=sdk, **_litellm_request(wire))
        await aread_all(watch, stream, _on_litellm)
    if wire.http_client is None:
        await sdk.close()
    return watch.drive
