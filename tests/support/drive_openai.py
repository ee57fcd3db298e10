"""Drives of the openai SDK: chat completions and responses, plain and by helper."""

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
)

# openai: chat completions


def _on_chat(watch: Watch, frame: Any) -> None:
    for choice in frame.choices or []:
        if choice.index:
            continue
        delta = choice.delta
        if delta is not None:
            watch.text(delta.content)
            watch.think(getattr(delta, "reasoning_content", None))
            for call in getattr(delta, "tool_calls", None) or []:
                function = call.function
                if function is not None:
                    watch.call(call.index, function.name, function.arguments)
        watch.drive.finish = choice.finish_reason or watch.drive.finish


def _on_chat_helper(watch: Watch, event: Any) -> None:
    if event.type == "content.delta":
        watch.text(event.delta)
    elif event.type == "chunk":
        for choice in event.chunk.choices or []:
            if choice.delta is not None:
                watch.think(getattr(choice.delta, "reasoning_content", None))
            watch.drive.finish = choice.finish_reason or watch.drive.finish
    elif event.type == "tool_calls.function.arguments.delta":
        watch.call(event.index, None, event.arguments_delta)


def _chat_final(watch: Watch, completion: Any) -> None:
    message = completion.choices[0].message
    watch.drive.final_text = message.content or ""
    final = [(call.function.name, call.function.arguments) for call in message.tool_calls or []]
    watch.drive.tools = [{"name": name, "arguments": arguments} for name, arguments in final]


def _openai(wire: Wire) -> Any:
    import openai

    settings = client_settings("openai", wire, is_async=False)
    return openai.OpenAI(base_url=f"{wire.base_url}/v1", **settings)


def _async_openai(wire: Wire) -> Any:
    import openai

    settings = client_settings("openai", wire, is_async=True)
    return openai.AsyncOpenAI(base_url=f"{wire.base_url}/v1", **settings)


@drive("openai-chat", "openai-chat", "openai")
def openai_chat(wire: Wire) -> Drive:
    """`chat.completions.create(stream=True)`."""
    watch = Watch("openai-chat", wire)
    client = _openai(wire)
    with Timed(watch.drive):
        stream = client.chat.completions.create(stream=True, **chat_request(wire))
        read_all(watch, stream, _on_chat)
    close(client, wire)
    return watch.drive


@drive("openai-chat-async", "openai-chat", "openai")
async def openai_chat_async(wire: Wire) -> Drive:
    watch = Watch("openai-chat-async", wire)
    client = _async_openai(wire)
    with Timed(watch.drive):
        stream = await client.chat.completions.create(stream=True, **chat_request(wire))
        await aread_all(watch, stream, _on_chat)
    await aclose(client, wire)
    return watch.drive


@drive("openai-chat-helper", "openai-chat", "openai")
def openai_chat_helper(wire: Wire) -> Drive:
    """`chat.completions.stream()` and its final completion."""
    watch = Watch("openai-chat-helper", wire)
    client = _openai(wire)
    with Timed(watch.drive), client.chat.completions.stream(**chat_request(wire)) as stream:
        if read_all(watch, stream, _on_chat_helper):
            _chat_final(watch, stream.get_final_completion())
    close(client, wire)
    return watch.drive


@drive("openai-chat-helper-async", "openai-chat", "openai")
async def openai_chat_helper_async(wire: Wire) -> Drive:
    watch = Watch("openai-chat-helper-async", wire)
    client = _async_openai(wire)
    with Timed(watch.drive):
        async with client.chat.completions.stream(**chat_request(wire)) as stream:
            if await aread_all(watch, stream, _on_chat_helper):
                _chat_final(watch, await stream.get_final_completion())
    await aclose(client, wire)
    return watch.drive


# openai: responses


def _on_response(watch: Watch, event: Any) -> None:
    drive = watch.drive
    match event.type:
        case "response.output_text.delta":
            watch.text(event.delta)
        case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
            watch.think(event.delta)
        case "response.output_item.added" if getattr(event.item, "type", "") == "function_call":
            watch.call(event.output_index, event.item.name, None)
        case "response.function_call_arguments.delta":
            watch.call(event.output_index, None, event.delta)
        case "response.completed" | "response.incomplete":
            drive.finish = event.response.status
            drive.final_text = event.response.output_text
        case "response.failed" | "error":
            drive.odd.append(event.type)


def _response_request(wire: Wire) -> dict[str, Any]:
    return {"model": "test-model", "input": list(wire.messages), **wire.request}


@drive("openai-responses", "openai-responses", "openai")
def openai_responses(wire: Wire) -> Drive:
    """`responses.create(stream=True)`."""
    watch = Watch("openai-responses", wire)
    client = _openai(wire)
    with Timed(watch.drive):
        stream = client.responses.create(stream=True, **_response_request(wire))
        read_all(watch, stream, _on_response)
    close(client, wire)
    return watch.drive


@drive("openai-responses-async", "openai-responses", "openai")
async def openai_responses_async(wire: Wire) -> Drive:
    watch = Watch("openai-responses-async", wire)
    client = _async_openai(wire)
    with Timed(watch.drive):
        stream = await client.responses.create(stream=True, **_response_request(wire))
        await aread_all(watch, stream, _on_response)
    await aclose(client, wire)
    return watch.drive


@drive("openai-responses-helper", "openai-responses", "openai")
def openai_responses_helper(wire: Wire) -> Drive:
    """`responses.stream()` and its final response."""
    watch = Watch("openai-responses-helper", wire)
    client = _openai(wire)
    with Timed(watch.drive), client.responses.stream(**_response_request(wire)) as stream:
        if read_all(watch, stream, _on_response):
            watch.drive.final_text = stream.get_final_response().output_text
    close(client, wire)
    return watch.drive


@drive("openai-responses-helper-async", "openai-responses", "openai")
async def openai_responses_helper_async(wire: Wire) -> Drive:
    watch = Watch("openai-responses-helper-async", wire)
    client = _async_openai(wire)
    with Timed(watch.drive):
        async with client.responses.stream(**_response_request(wire)) as stream:
            if await aread_all(watch, stream, _on_response):
                watch.drive.final_text = (await stream.get_final_response()).output_text
    await aclose(client, wire)
    return watch.drive
