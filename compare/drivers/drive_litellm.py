"""litellm, to an address that is compatible with OpenAI.

Plain: ``litellm.completion(stream=True)``.

Configured: ``Router.acompletion``, as litellm documents it (docs: "Router - Load Balancing,
Fallbacks", "Fallbacks", "Timeouts"; docstring of ``Router``):

- ``num_retries`` and ``timeout``/``stream_timeout``,
- ``fallbacks`` to another deployment (here: the same model again), which also take over in
  mid-stream (``MidStreamFallbackError``) where the error came before the first content; litellm
  1.106 does not go on behind content that it has passed on,
- ``disable_cooldowns``, or the one deployment would be left out after a failure.

Unbroken: ``completion(client=OpenAI(http_client=unbroken.http_client(library="httpx")))``
(docs/how-to/litellm.md), with the same timeout.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it fetches one when imported

import litellm
from driver import Job, run

litellm.suppress_debug_info = True  # advice to report errors, on stdout


def drive(job: Job) -> None:
    request: dict[str, Any] = {"messages": job.messages, "stream": True}
    if job.tool:
        request["tools"] = [job.function_tool]
    if job.seed is not None:
        request["seed"] = job.seed
    if job.configured:
        asyncio.run(_router(job, request))
        return
    request |= {"model": f"openai/{job.model}", "api_base": job.env("OPENAI_BASE_URL")}
    if job.unbroken:
        import openai

        sdk = openai.OpenAI(http_client=job.http_client("httpx"), timeout=job.limit_s)
        request |= {"client": sdk, "timeout": job.limit_s}
    for part in litellm.completion(**request):
        _on_part(job, part)


async def _router(job: Job, request: dict[str, Any]) -> None:
    def deployment(name: str) -> dict[str, Any]:
        params = {
            "model": f"openai/{job.model}",
            "api_base": job.env("OPENAI_BASE_URL"),
            "api_key": job.env("OPENAI_API_KEY"),
            "max_retries": 0,  # those of the openai SDK, below the router's own
        }
        return {"model_name": name, "litellm_params": params}

    router = litellm.Router(
        model_list=[deployment("first"), deployment("second")],
        fallbacks=[{"first": ["second"]}],
        num_retries=1,
        timeout=job.limit_s,
        stream_timeout=job.limit_s,
        disable_cooldowns=True,
    )
    async for part in await router.acompletion(model="first", **request):
        _on_part(job, part)


def _on_part(job: Job, part: Any) -> None:
    for choice in part.choices or []:
        if choice.index or choice.delta is None:
            continue
        job.say(choice.delta.content)
        for call in choice.delta.tool_calls or []:
            if call.function is not None and not call.index:
                job.call(call.function.arguments)


run(drive)
