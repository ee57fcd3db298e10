"""langchain-openai: ``ChatOpenAI``.

Configured, as LangChain documents it (reference of ``ChatOpenAI``; "How to add fallbacks to a
runnable"):

- ``timeout`` and ``max_retries`` (before a stream, done by the openai SDK),
- ``stream_chunk_timeout``, which finds a silence behind pings too; async only: hence `astream`,
- ``with_fallbacks([...])`` to the same model, which covers all up to the first part of an answer.

``with_retry`` is left out: it does not cover streams.

Unbroken: ``unbroken.wrap(ChatOpenAI(...))`` with the same ``timeout``.
"""

from __future__ import annotations

import asyncio
from typing import Any

from driver import TOOL, Job, run
from langchain_openai import ChatOpenAI


def drive(job: Job) -> None:
    settings: dict[str, Any] = {
        "model": job.model,
        "base_url": job.env("OPENAI_BASE_URL"),
        "api_key": job.env("OPENAI_API_KEY"),
    }
    if job.seed is not None:
        settings["seed"] = job.seed
    if job.configured:
        asyncio.run(_configured(job, settings))
        return
    if job.unbroken:
        import unbroken

        model = unbroken.wrap(ChatOpenAI(timeout=job.limit_s, **settings), options=job.options())
    else:
        model = ChatOpenAI(**settings)
    for message in _with_tool(job, model).stream(job.prompt):
        _on_message(job, message)


async def _configured(job: Job, settings: dict[str, Any]) -> None:
    limits = {"timeout": job.limit_s, "stream_chunk_timeout": job.limit_s}
    # Twice two attempts of a sixth of the patience each: it must be done before it counts as hung.
    first, second = (
        _with_tool(job, ChatOpenAI(max_retries=1, **limits, **settings)) for _ in range(2)
    )
    async for message in first.with_fallbacks([second]).astream(job.prompt):
        _on_message(job, message)


def _with_tool(job: Job, model: Any) -> Any:
    if not job.tool:
        return model
    return model.bind_tools([{"type": "function", "function": TOOL}])


def _on_message(job: Job, message: Any) -> None:
    job.say(message.text)
    for call in message.tool_call_chunks:
        job.call(call["args"])


run(drive)
