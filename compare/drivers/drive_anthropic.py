"""The anthropic SDK: ``messages``.

Configured, as anthropic-sdk-python documents it (README, "Retries", "Timeouts" and "Streaming
helpers"; helpers.md): ``max_retries=3`` (2 by default), ``timeout`` as the longest silence, and
``messages.stream()`` read to its end and asked for ``get_final_message()``.

Unbroken: the plain client with ``http_client=unbroken.http_client()``, and the same ``timeout``.
"""

from __future__ import annotations

from typing import Any

import anthropic
from driver import RETRIES, TOOL, Job, run


def drive(job: Job) -> None:
    settings: dict[str, Any] = {}
    if job.configured:
        settings |= {"max_retries": RETRIES, "timeout": job.limit_s}
    elif job.unbroken:
        settings |= {"http_client": job.http_client(), "timeout": job.limit_s}
    client = anthropic.Anthropic(**settings)  # ANTHROPIC_BASE_URL, ANTHROPIC_API_KEY
    request: dict[str, Any] = {"model": job.model, "max_tokens": 8192, "messages": job.messages}
    if job.tool:
        schema = TOOL["parameters"]
        request["tools"] = [{**TOOL, "input_schema": schema}]
        del request["tools"][0]["parameters"]
    if not job.configured:
        for event in client.messages.create(stream=True, **request):
            _on_event(job, event)
        return
    with client.messages.stream(**request) as stream:
        for event in stream:
            _on_event(job, event)
        stream.get_final_message()


def _on_event(job: Job, event: Any) -> None:
    if event.type != "content_block_delta":
        return
    if event.delta.type == "text_delta":
        job.say(event.delta.text)
    elif event.delta.type == "input_json_delta":
        job.call(event.delta.partial_json)


run(drive)
