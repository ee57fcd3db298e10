"""Drives of the SDKs of the second row that have a protocol client: mistralai, groq, cohere."""

from __future__ import annotations

from typing import Any

from tests.support.driving import (
    Drive,
    Timed,
    Watch,
    Wire,
    aclose,
    aread_all,
    chat_request,
    client_settings,
    close,
    drive,
    read_all,
    sdk_http_client,
)

__all__: list[str] = []

# mistralai


def _on_mistral(watch: Watch, event: Any) -> None:
    for choice in event.data.choices:
        content = choice.delta.content
        if isinstance(content, str):
            watch.text(content)
        for call in choice.delta.tool_calls or []:
            watch.call(call.index, call.function.name, str(call.function.arguments))
        watch.drive.finish = choice.finish_reason or watch.drive.finish


def _mistral(wire: Wire, *, is_async: bool) -> tuple[Any, dict[str, Any]]:
    """The client, and the arguments of the call."""
    from mistralai.client import Mistral

    settings: dict[str, Any] = {"api_key": "test-key", "server_url": wire.base_url}
    if wire.timeout_s is not None:
        settings["timeout_ms"] = int(wire.timeout_s * 1000)
    http_client = sdk_http_client("mistralai", wire, is_async=is_async)
    if http_client is not None:
        settings["async_client" if is_async else "client"] = http_client
    return Mistral(**settings), chat_request(wire) | {"http_headers": dict(wire.headers)}


@drive("mistralai", "openai-chat", "mistralai", row=2)
def mistral_stream(wire: Wire) -> Drive:
    """`chat.stream`; the SDK closes its stream only where `with` says so."""
    watch = Watch("mistralai", wire)
    client, request = _mistral(wire, is_async=False)
    with Timed(watch.drive), client.chat.stream(**request) as stream:
        read_all(watch, stream, _on_mistral)
    if wire.http_client is None:
        client.__exit__(None, None, None)
    return watch.drive


@drive("mistralai-async", "openai-chat", "mistralai", row=2)
async def mistral_stream_async(wire: Wire) -> Drive:
    watch = Watch("mistralai-async", wire)
    client, request = _mistral(wire, is_async=True)
    with Timed(watch.drive):
        async with await client.chat.stream_async(**request) as stream:
            await aread_all(watch, stream, _on_mistral)
    if wire.http_client is None:
        await client.__aexit__(None, None, None)
    return watch.drive


# groq


def _on_groq(watch: Watch, frame: Any) -> None:
    for choice in frame.choices or []:
        if choice.index:
            continue
        watch.text(choice.delta.content)
        watch.think(getattr(choice.delta, "reasoning_content", None))
        for call in choice.delta.tool_calls or []:
            if call.function is not None:
                watch.call(call.index, call.function.name, call.function.arguments)
        watch.drive.finish = choice.finish_reason or watch.drive.finish


@drive("groq", "openai-chat", "groq", row=2)
def groq_create(wire: Wire) -> Drive:
    """`chat.completions.create(stream=True)`."""
    import groq

    watch = Watch("groq", wire)
    client = groq.Groq(base_url=wire.base_url, **client_settings("groq", wire, is_async=False))
    with Timed(watch.drive):
        stream = client.chat.completions.create(stream=True, **chat_request(wire))
        read_all(watch, stream, _on_groq)
    close(client, wire)
    return watch.drive


@drive("groq-async", "openai-chat", "groq", row=2)
async def groq_create_async(wire: Wire) -> Drive:
    import groq

    watch = Watch("groq-async", wire)
    client = groq.AsyncGroq(base_url=wire.base_url, **client_settings("groq", wire, is_async=True))
    with Timed(watch.drive):
        stream = await client.chat.completions.create(stream=True, **chat_request(wire))
        await aread_all(watch, stream, _on_groq)
    await aclose(client, wire)
    return watch.drive


# cohere


def _on_cohere(watch: Watch, event: Any) -> None:
    delta = getattr(event, "delta", None)
    message = getattr(delta, "message", None)
    match event.type:
        case "content-delta" if message is not None and message.content is not None:
            watch.text(message.content.text)
            watch.think(message.content.thinking)
        case "tool-call-start":
            call = message.tool_calls
            watch.call(event.index, call.function.name, call.function.arguments)
        case "tool-call-delta":
            watch.call(event.index, None, message.tool_calls.function.arguments)
        case "message-end":
            watch.drive.finish = delta.finish_reason
            if delta.error is not None:
                watch.drive.odd.append("error")


def _cohere(wire: Wire, *, is_async: bool) -> tuple[Any, dict[str, Any]]:
    """The client, and the arguments of the call."""
    import cohere

    settings: dict[str, Any] = {"api_key": "test-key", "base_url": wire.base_url}
    if wire.timeout_s is not None:
        settings["timeout"] = wire.timeout_s
    http_client = sdk_http_client("cohere", wire, is_async=is_async)
    if http_client is not None:
        settings["httpx_client"] = http_client
    options: dict[str, Any] = {"additional_headers": dict(wire.headers)}
    if wire.max_retries is not None:
        options["max_retries"] = wire.max_retries
    client = (cohere.AsyncClientV2 if is_async else cohere.ClientV2)(**settings)
    return client, chat_request(wire) | {"request_options": options}


@drive("cohere", "cohere", "cohere", row=2)
def cohere_chat(wire: Wire) -> Drive:
    """`ClientV2.chat_stream`, a plain generator."""
    watch = Watch("cohere", wire)
    client, request = _cohere(wire, is_async=False)
    with Timed(watch.drive):
        read_all(watch, client.chat_stream(**request), _on_cohere)
    if wire.http_client is None:
        client._client_wrapper.httpx_client.httpx_client.close()
    return watch.drive


@drive("cohere-async", "cohere", "cohere", row=2)
async def cohere_chat_async(wire: Wire) -> Drive:
    watch = Watch("cohere-async", wire)
    client, request = _cohere(wire, is_async=True)
    with Timed(watch.drive):
        await aread_all(watch, client.chat_stream(**request), _on_cohere)
    if wire.http_client is None:
        await client._client_wrapper.httpx_client.httpx_client.aclose()
    return watch.drive
