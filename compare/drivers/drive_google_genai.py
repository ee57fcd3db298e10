"""The google-genai SDK: ``generate_content_stream``.

Configured, as its types document it (``HttpRetryOptions``, ``HttpOptions.timeout``; nothing is
retried unless `retry_options` is given): 4 attempts from 0.5 s on, for 408, 429 and 5xx and for
failures to connect, and a ``timeout`` in milliseconds.

Unbroken: the plain client with ``httpx_client=unbroken.http_client()`` and the same ``timeout``.

Function calls come as parsed objects; they are written as JSON again.
"""

from __future__ import annotations

from typing import Any

from driver import RETRIES, TOOL, Job, run
from google import genai
from google.genai import types


def drive(job: Job) -> None:
    options: dict[str, Any] = {"base_url": job.env("GOOGLE_GEMINI_BASE_URL")}
    if job.configured:
        options["timeout"] = int(job.limit_s * 1000)
        options["retry_options"] = types.HttpRetryOptions(
            attempts=1 + RETRIES, initial_delay=0.5, max_delay=2.0, exp_base=2.0, jitter=0.2
        )
    elif job.unbroken:
        options["timeout"] = int(job.limit_s * 1000)
        options["httpx_client"] = job.http_client()
    client = genai.Client(
        api_key=job.env("GEMINI_API_KEY"), http_options=types.HttpOptions(**options)
    )
    config: dict[str, Any] = {}
    if job.tool:
        function = types.FunctionDeclaration(
            name=TOOL["name"],
            description=TOOL["description"],
            parameters_json_schema=TOOL["parameters"],
        )
        config["tools"] = [types.Tool(function_declarations=[function])]
    if job.seed is not None:
        config["seed"] = job.seed
    for part in client.models.generate_content_stream(
        model=job.model, contents=job.prompt, config=types.GenerateContentConfig(**config)
    ):
        for candidate in (part.candidates or [])[:1]:
            for piece in (candidate.content and candidate.content.parts) or []:
                if piece.function_call is not None:
                    job.call(piece.function_call.args)
                elif not piece.thought:
                    job.say(piece.text)


run(drive)
