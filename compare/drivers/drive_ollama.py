"""The ollama SDK: ``Client.chat``.

Configured, as ollama-python documents it (README, "Custom client": whatever else the client is
given goes to httpx): ``timeout`` (none by default), and a transport that connects again up to 3
times. It has no retries of its own.

Unbroken: ``unbroken.wrap(ollama.Client(timeout=...))``, since it takes no HTTP client.

Tool calls come as parsed objects; they are written as JSON again.
"""

from __future__ import annotations

from typing import Any

import httpx
import ollama
from driver import RETRIES, Job, run


def drive(job: Job) -> None:
    settings: dict[str, Any] = {}
    if job.configured:
        settings["transport"] = httpx.HTTPTransport(retries=RETRIES)
    if job.variant != "plain":
        settings["timeout"] = job.limit_s
    client = ollama.Client(host=job.env("OLLAMA_HOST"), **settings)
    if job.unbroken:
        import unbroken

        client = unbroken.wrap(client, options=job.options())
    request: dict[str, Any] = {"model": job.model, "messages": job.messages}
    if job.tool:
        request["tools"] = [job.function_tool]
    if job.seed is not None:
        request["options"] = {"seed": job.seed}
    for part in client.chat(stream=True, **request):
        job.say(part.message.content)
        for call in part.message.tool_calls or []:
            job.call(dict(call.function.arguments))


run(drive)
