"""pydantic-ai on the openai SDK: ``Agent.run_stream``; a tool call by ``model_request_stream``.

Configured, as pydantic-ai documents it ("HTTP Request Retries", "Fallback Model"):

- ``AsyncHTTPX2TenacityTransport``: 2 attempts for 429, 5xx and failures of the connection, waiting
  as Retry-After says or 0.5 to 2 s,
- the client's ``timeout``,
- ``FallbackModel`` of the same model twice, for what fails before the first event.

Unbroken: ``OpenAIProvider(http_client=unbroken.async_http_client())``, with the same timeout, which
pydantic-ai takes in its model settings.
"""

from __future__ import annotations

from typing import Any

from driver import TOOL, Job, arun
from pydantic_ai import Agent
from pydantic_ai.direct import model_request_stream
from pydantic_ai.messages import ModelRequest, ToolCallPart
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition


async def drive(job: Job) -> None:
    settings = ModelSettings()
    if job.seed is not None:
        settings["seed"] = job.seed
    model: Any
    if job.configured:
        model = _configured(job)
    elif job.unbroken:
        settings["timeout"] = job.limit_s
        model = _model(job, http_client=job.async_http_client())
    else:
        model = _model(job)
    if job.tool:
        await _tool(job, model, settings)
        return
    async with Agent(model, model_settings=settings).run_stream(job.prompt) as result:
        async for text in result.stream_text(delta=True, debounce_by=None):
            job.say(text)


async def _tool(job: Job, model: Any, settings: ModelSettings) -> None:
    tool = ToolDefinition(
        name=TOOL["name"],
        description=TOOL["description"],
        parameters_json_schema=TOOL["parameters"],
    )
    asked = ModelRequestParameters(function_tools=[tool], allow_text_output=True)
    async with model_request_stream(
        model,
        [ModelRequest.user_text_prompt(job.prompt)],
        model_settings=settings,
        model_request_parameters=asked,
    ) as stream:
        async for _ in stream:
            pass
        response = stream.get()
    for part in response.parts:
        if isinstance(part, ToolCallPart):
            job.call(part.args)
            break


def _model(job: Job, **settings: Any) -> OpenAIChatModel:
    provider = OpenAIProvider(
        base_url=job.env("OPENAI_BASE_URL"), api_key=job.env("OPENAI_API_KEY"), **settings
    )
    return OpenAIChatModel(job.model, provider=provider)


def _configured(job: Job) -> Any:
    import httpx2
    import openai
    from pydantic_ai.models.fallback import FallbackModel
    from pydantic_ai.retries import AsyncHTTPX2TenacityTransport, RetryConfig, wait_retry_after
    from tenacity import retry_if_exception_type, stop_after_attempt, wait_exponential

    def refuse(response: httpx2.Response) -> None:
        if response.status_code in (429, 500, 502, 503, 504, 529):
            response.raise_for_status()

    transport = AsyncHTTPX2TenacityTransport(
        config=RetryConfig(
            retry=retry_if_exception_type((httpx2.HTTPStatusError, httpx2.TransportError)),
            wait=wait_retry_after(
                fallback_strategy=wait_exponential(multiplier=0.5, max=2), max_wait=2
            ),
            stop=stop_after_attempt(2),
            reraise=True,
        ),
        validate_response=refuse,
    )

    def model() -> OpenAIChatModel:
        client = httpx2.AsyncClient(transport=transport, timeout=job.limit_s)
        sdk = openai.AsyncOpenAI(http_client=client, max_retries=0, timeout=job.limit_s)
        return OpenAIChatModel(job.model, provider=OpenAIProvider(openai_client=sdk))

    return FallbackModel(model(), model())


arun(drive)
