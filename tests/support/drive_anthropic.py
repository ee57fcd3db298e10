"""Drives of the anthropic SDK: `create(stream=True)` and the `.stream()` helper."""

from __future__ import annotations

from typing import Any

from tests.support.driving import (
    Drive,
    Timed,
    Watch,
    Wire,
    aclose,
    aread_all,
    client_settings,
    close,
    drive,
    read_all,
)


def _on_message(watch: Watch, event: Any) -> None:
    match event.type:
        case "content_block_start" if event.content_block.type == "tool_use":
            watch.call(event.index, event.content_block.name, None)
        case "content_block_delta":
            delta = event.delta
            if delta.type == "text_delta":
                watch.text(delta.text)
            elif delta.type == "thinking_delta":
                watch.think(delta.thinking)
            elif delta.type == "input_json_delta":
                watch.call(event.index, None, delta.partial_json)
        case "message_delta":
            watch.drive.finish = event.delta.stop_reason or watch.drive.finish


def _message_final(watch: Watch, message: Any) -> None:
    texts = [block.text for block in message.content if block.type == "text"]
    watch.drive.final_text = "".join(texts)
    watch.drive.finish = message.stop_reason


def _message_request(wire: Wire) -> dict[str, Any]:
    turns = list(wire.messages)
    return {"model": "test-model", "max_tokens": 1000, "messages": turns, **wire.request}


def _anthropic(wire: Wire) -> Any:
    import anthropic

    settings = client_settings("anthropic", wire, is_async=False)
    return anthropic.Anthropic(base_url=wire.base_url, **settings)


def _async_anthropic(wire: Wire) -> Any:
    import anthropic

    settings = client_settings("anthropic", wire, is_async=True)
    return anthropic.AsyncAnthropic(base_url=wire.base_url, **settings)


@drive("anthropic", "anthropic-messages", "anthropic")
def anthropic_create(wire: Wire) -> Drive:
    """`messages.create(stream=True)`."""
    watch = Watch("anthropic", wire)
    client = _anthropic(wire)
    with Timed(watch.drive):
        stream = client.messages.create(stream=True, **_message_request(wire))
        read_all(watch, stream, _on_message)
    close(client, wire)
    return watch.drive


@drive("anthropic-async", "anthropic-messages", "anthropic")
async def anthropic_create_async(wire: Wire) -> Drive:
    watch = Watch("anthropic-async", wire)
    client = _async_anthropic(wire)
    with Timed(watch.drive):
        stream = await client.messages.create(stream=True, **_message_request(wire))
        await aread_all(watch, stream, _on_message)
    await aclose(client, wire)
    return watch.drive


@drive("anthropic-helper", "anthropic-messages", "anthropic")
def anthropic_helper(wire: Wire) -> Drive:
    """`messages.stream()` and its final message."""
    watch = Watch("anthropic-helper", wire)
    client = _anthropic(wire)
    with Timed(watch.drive), client.messages.stream(**_message_request(wire)) as stream:
        if read_all(watch, stream, _on_message):
            _message_final(watch, stream.get_final_message())
    close(client, wire)
    return watch.drive


@drive("anthropic-helper-async", "anthropic-messages", "anthropic")
async def anthropic_helper_async(wire: Wire) -> Drive:
    watch = Watch("anthropic-helper-async", wire)
    client = _async_anthropic(wire)
    with Timed(watch.drive):
        async with client.messages.stream(**_message_request(wire)) as stream:
            if await aread_all(watch, stream, _on_message):
                _message_final(watch, await stream.get_final_message())
    await aclose(client, wire)
    return watch.drive
