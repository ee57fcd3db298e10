"""The cohere SDK: ``ClientV2.chat_stream``.

Configured, as cohere-python documents it (README, "Retries" and "Timeouts"): ``max_retries=3`` (2
by default; seen in 7.3: not for streams), and ``timeout`` (300 s by default).

Unbroken: the plain client with ``httpx_client=unbroken.http_client(library="httpx")``, and the same
``timeout``.
"""

from __future__ import annotations

from typing import Any

import cohere
from driver import RETRIES, Job, run


def drive(job: Job) -> None:
    settings: dict[str, Any] = {}
    if job.configured:
        settings |= {"max_retries": RETRIES, "timeout": job.limit_s}
    elif job.unbroken:
        settings |= {"httpx_client": job.http_client("httpx"), "timeout": job.limit_s}
    client = cohere.ClientV2(
        base_url=job.env("CO_API_URL"), api_key=job.env("CO_API_KEY"), **settings
    )
    request: dict[str, Any] = {"model": job.model, "messages": job.messages}
    if job.tool:
        request["tools"] = [job.function_tool]
    if job.seed is not None:
        request["seed"] = job.seed
    for event in client.chat_stream(**request):
        if event is None:
            continue
        message = getattr(getattr(event, "delta", None), "message", None)
        if event.type == "content-delta":
            job.say(getattr(getattr(message, "content", None), "text", None))
        elif event.type in ("tool-call-start", "tool-call-delta"):
            function = getattr(getattr(message, "tool_calls", None), "function", None)
            job.call(getattr(function, "arguments", None))


run(drive)
