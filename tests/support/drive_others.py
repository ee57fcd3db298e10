"""Drives of the google-genai and ollama SDKs."""

from __future__ import annotations

import json
from typing import Any

from tests.support.driving import (
    Drive,
    Timed,
    Watch,
    Wire,
    aclose,
    aread_all,
    chat_request,
    close,
    drive,
    read_all,
    sdk_http_client,
)
from tests.support.google import import_genai

# google-genai


def _on_gemini(watch: Watch, frame: Any) -> None:
    for candidate in frame.candidates or []:
        if candidate.index:
            continue
        for part in (candidate.content and candidate.content.parts) or []:
            if part.function_call is not None:
                call = part.function_call
                watch.call(len(watch.drive.tools), call.name, json.dumps(call.args))
            elif part.thought:
                watch.think(part.text)
            else:
                watch.text(part.text)
        if candidate.finish_reason is not None:
            watch.drive.finish = candidate.finish_reason.value


def _gemini(wire: Wire, http_client: Any, *, is_async: bool) -> tuple[Any, dict[str, Any]]:
    """The client (which must stay referenced while it streams) and the call's arguments."""
    genai = import_genai()
    from google.genai import types

    options: dict[str, Any] = {"base_url": wire.base_url, "headers": dict(wire.headers)}
    if http_client is not None:
        options["httpx_async_client" if is_async else "httpx_client"] = http_client
    if wire.timeout_s is not None:
        options["timeout"] = int(wire.timeout_s * 1000)
    client = genai.Client(api_key="test-key", http_options=types.HttpOptions(**options))
    contents = [
        types.Content(
            role="model" if turn["role"] == "assistant" else "user",
            parts=[types.Part(text=turn["content"])],
        )
        for turn in wire.messages
    ]
    return client, {"model": "test-model", "contents": contents, **wire.request}


@drive("google-genai", "gemini", "google-genai")
def google_genai(wire: Wire) -> Drive:
    """`models.generate_content_stream`."""
    watch = Watch("google-genai", wire)
    http_client = sdk_http_client("google-genai", wire, is_async=False)
    client, request = _gemini(wire, http_client, is_async=False)
    with Timed(watch.drive):
        read_all(watch, client.models.generate_content_stream(**request), _on_gemini)
    close(client, wire)
    if wire.http_client is None and http_client is not None:
        http_client.close()  # the SDK leaves a client that it was given open
    return watch.drive


@drive("google-genai-async", "gemini", "google-genai")
async def google_genai_async(wire: Wire) -> Drive:
    watch = Watch("google-genai-async", wire)
    http_client = sdk_http_client("google-genai", wire, is_async=True)
    client, request = _gemini(wire, http_client, is_async=True)
    with Timed(watch.drive):
        stream = await client.aio.models.generate_content_stream(**request)
        await aread_all(watch, stream, _on_gemini)
    if wire.http_client is None:
        await client.aio.aclose()
        if http_client is not None:  # the SDK leaves a client that it was given open
            await http_client.aclose()
    return watch.drive


# ollama


def _on_ollama(watch: Watch, line: Any) -> None:
    message = line.message
    watch.think(getattr(message, "thinking", None))
    watch.text(message.content)
    for call in message.tool_calls or []:
        arguments = json.dumps(dict(call.function.arguments))
        watch.call(len(watch.drive.tools), call.function.name, arguments)
    if line.done:
        watch.drive.finish = line.done_reason


def _ollama_settings(wire: Wire) -> dict[str, Any]:
    if wire.http_client is not None:
        raise ValueError("ollama takes no http_client; pass a transport")
    settings: dict[str, Any] = {"host": wire.base_url, "headers": dict(wire.headers)}
    if wire.transport is not None:
        settings["transport"] = wire.transport
    if wire.timeout_s is not None:
        settings["timeout"] = wire.timeout_s
    return settings


@drive("ollama", "ollama", "ollama")
def ollama_chat(wire: Wire) -> Drive:
    """`chat(stream=True)`."""
    import ollama

    watch = Watch("ollama", wire)
    client = ollama.Client(**_ollama_settings(wire))
    with Timed(watch.drive):
        read_all(watch, client.chat(stream=True, **chat_request(wire)), _on_ollama)
    close(client, wire)
    return watch.drive


@drive("ollama-async", "ollama", "ollama")
async def ollama_chat_async(wire: Wire) -> Drive:
    import ollama

    watch = Watch("ollama-async", wire)
    client = ollama.AsyncClient(**_ollama_settings(wire))
    with Timed(watch.drive):
        stream = await client.chat(stream=True, **chat_request(wire))
        await aread_all(watch, stream, _on_ollama)
    await aclose(client, wire)
    return watch.drive
