"""L0 (PyPI ai2070-l0) around the openai SDK.

Plain: ``l0.wrap(AsyncOpenAI())``, read as in the first example of its README; it retries as
shipped.

Configured, as its README ("With Configuration") and ADVANCED.md document it:

- ``guardrails=Guardrails.recommended()``; not for tool calls, since one of them calls an answer
  without text empty,
- ``retry``: 2 in all, so that they fit into the patience (6 by default); L0's waits are about a
  second, and the openai SDK below retries refused requests by itself,
- ``timeout``: milliseconds to the first token and between two,
- ``buffer_tool_calls=True``,
- the answer is taken at the end, as ``read()`` does, since a retry yields the tokens again from the
  start.

``continue`` adds what ADVANCED.md calls "Last-Known-Good Token Resumption":
``continue_from_last_good_token=True`` with ``build_continuation_prompt``, in the words of its
example. Not for tool calls, as "Important Limitations" there wants for structured output. It is a
row of its own because it does worse than a retry from the start wherever the model does not take
those words for what they are.
"""

from __future__ import annotations

import l0
from driver import Job, arun
from openai import AsyncOpenAI


async def drive(job: Job) -> None:
    client = AsyncOpenAI()  # OPENAI_BASE_URL, OPENAI_API_KEY
    request = {"model": job.model, "stream": True}
    if job.tool:
        request["tools"] = [job.function_tool]
    if job.seed is not None:
        request["seed"] = job.seed
    if job.configured:
        await _configured(job, client, request)
        return
    stream = await l0.wrap(client).chat.completions.create(messages=job.messages, **request)
    async for event in stream:
        _on_event(job, event)


async def _configured(job: Job, client: AsyncOpenAI, request: dict) -> None:
    prompt = job.prompt

    def continue_from(checkpoint: str) -> str:
        nonlocal prompt
        prompt = f"{job.prompt}\n\nContinue from where you left off:\n{checkpoint}"
        return prompt

    def ask():
        messages = [{"role": "user", "content": prompt}]
        return client.chat.completions.create(messages=messages, **request)

    limit_ms = int(job.limit_s * 1000)
    stream = await l0.run(
        stream=ask,
        guardrails=None if job.tool else l0.Guardrails.recommended(),
        retry=l0.Retry(attempts=2, max_retries=2, base_delay=0.5, max_delay=2.0),
        timeout=l0.Timeout(initial_token=limit_ms, inter_token=limit_ms),
        continue_from_last_good_token=job.kind == "continue" and not job.tool,
        build_continuation_prompt=continue_from,
        buffer_tool_calls=True,
    )
    try:
        async for event in stream:
            if event.is_tool_call or event.is_error:
                _on_event(job, event)
    finally:
        job.say(stream.state.content)  # what `read()` returns


def _on_event(job: Job, event: l0.Event) -> None:
    if event.is_token:
        job.say(event.text)
    elif event.is_tool_call:
        job.call((event.data or {}).get("arguments"))
    elif event.is_error and event.error is not None:
        raise event.error


arun(drive, "plain", "configured")
