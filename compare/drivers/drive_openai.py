"""The openai SDK: ``chat`` completions or ``responses``; ``again`` is chat by a LiteLLM proxy.

Configured, as openai-python documents it (README, "Retries" and "Timeouts"; helpers.md, "Chat
Completions Events" and "Responses Streaming"):

- ``max_retries=3`` (2 by default, with exponential backoff; only for failures before a stream),
- ``timeout``: the longest silence between two reads (600 s by default),
- the ``.stream()`` helpers, read to their end and asked for the final object. For Responses that
  raises without a ``response.completed``; for chat it does not look for a finish reason.

Unbroken: the plain client with ``http_client=unbroken.http_client()``, and the same ``timeout``,
which rules while the SDK waits for a response. Responses are sent with ``store=False``, as
docs/how-to/sdks.md says: an answer that the provider keeps is not continued by another request.

``again`` sends ``fallbacks`` with the request, as LiteLLM documents it ("Client Side Fallbacks");
the proxy of ../settings/litellm-proxy.yaml knows the same model by a second name.
"""

from __future__ import annotations

from typing import Any

import openai
from driver import RETRIES, TOOL, Job, ProviderError, run


def drive(job: Job) -> None:
    settings: dict[str, Any] = {}
    if job.configured:
        settings |= {"max_retries": RETRIES, "timeout": job.limit_s}
    elif job.unbroken:
        settings |= {"http_client": job.http_client(), "timeout": job.limit_s}
    client = openai.OpenAI(**settings)  # address and key: OPENAI_BASE_URL, OPENAI_API_KEY
    if job.kind == "responses":
        (_responses_helper if job.configured else _responses)(client, job)
    else:
        (_chat_helper if job.configured else _chat)(client, job)


def _chat_request(job: Job) -> dict[str, Any]:
    request: dict[str, Any] = {"model": job.model, "messages": job.messages}
    if job.tool:
        request["tools"] = [job.function_tool]
    if job.seed is not None:
        request["seed"] = job.seed
    if job.kind == "again":
        request["extra_body"] = {"fallbacks": [f"again/{job.model}"]}
    return request


def _chat(client: openai.OpenAI, job: Job) -> None:
    for part in client.chat.completions.create(stream=True, **_chat_request(job)):
        for choice in part.choices or []:
            if choice.index or choice.delta is None:
                continue
            job.say(choice.delta.content)
            for call in choice.delta.tool_calls or []:
                if call.function is not None and not call.index:
                    job.call(call.function.arguments)


def _chat_helper(client: openai.OpenAI, job: Job) -> None:
    request = _chat_request(job)
    if job.tool:  # the helper takes strict tools only
        request["tools"] = [{"type": "function", "function": {**TOOL, "strict": True}}]
    with client.chat.completions.stream(**request) as stream:
        for event in stream:
            if event.type == "content.delta":
                job.say(event.delta)
        final = stream.get_final_completion()
    for call in final.choices[0].message.tool_calls or []:
        job.call(call.function.arguments)
        break


def _responses_request(job: Job) -> dict[str, Any]:
    request: dict[str, Any] = {"model": job.model, "input": job.prompt}
    if job.tool:
        request["tools"] = [{"type": "function", "strict": True, **TOOL}]
    if job.unbroken:
        request["store"] = False
    return request


def _on_response(job: Job, event: Any) -> None:
    match event.type:
        case "response.output_text.delta":
            job.say(event.delta)
        case "response.function_call_arguments.delta":
            job.call(event.delta)
        case "error":
            raise ProviderError(event.message)
        case "response.failed":
            failure = event.response.error
            raise ProviderError(failure.message if failure else "the response failed")


def _responses(client: openai.OpenAI, job: Job) -> None:
    for event in client.responses.create(stream=True, **_responses_request(job)):
        _on_response(job, event)


def _responses_helper(client: openai.OpenAI, job: Job) -> None:
    with client.responses.stream(**_responses_request(job)) as stream:
        for event in stream:
            _on_response(job, event)
        stream.get_final_response()


run(drive)
