"""The mistralai SDK: ``chat.stream``.

Configured, as client-python documents it (README, "Retries" and "Timeouts"; nothing is retried
unless a `RetryConfig` is given): backoff from 0.5 s on for at most half of the patience, also for
failures of the connection, and ``timeout_ms``.

Unbroken: the plain client with ``client=unbroken.http_client()`` and the same ``timeout_ms``.
"""

from __future__ import annotations

from typing import Any

from driver import Job, run
from mistralai.client import Mistral


def drive(job: Job) -> None:
    settings: dict[str, Any] = {
        "server_url": job.env("MISTRAL_SERVER_URL"),
        "api_key": job.env("MISTRAL_API_KEY"),
    }
    if job.configured:
        from mistralai.client.utils import BackoffStrategy, RetryConfig

        backoff = BackoffStrategy(
            initial_interval=500,
            max_interval=2000,
            exponent=2.0,
            max_elapsed_time=int(job.patience_s * 500),
            jitter_ms=200,
        )
        settings["retry_config"] = RetryConfig("backoff", backoff, retry_connection_errors=True)
        settings["timeout_ms"] = int(job.limit_s * 1000)
    elif job.unbroken:
        settings["client"] = job.http_client()
        settings["timeout_ms"] = int(job.limit_s * 1000)
    request: dict[str, Any] = {"model": job.model, "messages": job.messages}
    if job.tool:
        request["tools"] = [job.function_tool]
    if job.seed is not None:
        request["random_seed"] = job.seed
    client = Mistral(**settings)
    with client.chat.stream(**request) as stream:
        for event in stream:
            for choice in event.data.choices[:1]:
                content = choice.delta.content
                if isinstance(content, str):
                    job.say(content)
                elif content:
                    for part in content:
                        job.say(getattr(part, "text", None))
                for call in choice.delta.tool_calls or []:
                    job.call(call.function.arguments)


run(drive)
