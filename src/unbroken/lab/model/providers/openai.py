"""OpenAI Chat Completions and text completions, Azure's and Mistral's paths among them."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from unbroken.core.dialects.answer import Answer
from unbroken.lab.model.asks import Asked, BadRequestError, Call, Route, completion, conversation
from unbroken.lab.model.providers.base import (
    Provider,
    as_list,
    as_object,
    chat_tools,
    flag,
    integer,
    joined,
    need,
    number,
    turns_of,
    words,
)

__all__ = ["PROVIDERS", "ROUTES", "sampling"]

_DEPLOYMENT = re.compile(r"/openai/deployments/(.+?)/(?:chat/)?completions$")
_REASONS = {"stop": "stop", "tool-calls": "tool_calls", "limit": "length"}


def sampling(body: dict[str, Any]) -> dict[str, Any]:
    """Return what makes an answer the same again, and how long it may be."""
    return {
        # `random_seed` is Mistral's.
        "seed": integer(body, "seed", "random_seed"),
        "temperature": number(body, "temperature"),
        "max_tokens": integer(body, "max_completion_tokens", "max_tokens", least=1),
    }


def _model(call: Call) -> str:
    named = words(call.json, "model") or words(call.json, "agent_id")
    deployment = _DEPLOYMENT.search(call.path)
    if not named and deployment is not None:
        named = unquote(deployment[1])
    if not named:
        msg = "you must provide a model parameter"
        raise BadRequestError(msg)
    return named


def _keep(call: Call) -> str:
    """Return under which id llama.cpp keeps the body."""
    known = call.headers.get("x-conversation-id", "")
    return f"conversation:{known}" if known else ""


def _one_answer(body: dict[str, Any]) -> None:
    if (integer(body, "n") or 1) > 1:
        msg = "this model gives one answer: n must be 1"
        raise BadRequestError(msg)


def _chat(call: Call) -> Asked:
    body = call.json
    if call.path.endswith("/fim/completions"):
        turns = [("user", words(body, "prompt"))]
    else:
        need(body, "messages")
        turns = turns_of(as_list(body, "messages"))
    _one_answer(body)
    stream = flag(body, "stream")
    return Asked(
        dialect="openai-chat",
        model=_model(call),
        stream=stream,
        tools=chat_tools(body),
        wants_usage=not stream
        or as_object(body.get("stream_options")).get("include_usage") is True,
        keep=_keep(call) if stream else "",
        **sampling(body),
        **conversation(turns),
        **call.fields,
    )


def _completions(call: Call) -> Asked:
    body = call.json
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
        prompt = prompt[0]
    if not isinstance(prompt, str):
        msg = "prompt must be one string"
        raise BadRequestError(msg)
    _one_answer(body)
    stream = flag(body, "stream")
    return Asked(
        dialect="openai-completions",
        model=_model(call),
        stream=stream,
        wants_usage=not stream
        or as_object(body.get("stream_options")).get("include_usage") is True,
        keep=_keep(call) if stream else "",
        **sampling(body),
        **completion(prompt),
        **call.fields,
    )


# Whole answers ----------------------------------------------------------------------------


def _usage(answer: Answer) -> dict[str, Any]:
    if answer.usage is None:
        return {}
    given, made = answer.usage
    return {
        "usage": {
            "prompt_tokens": given,
            "completion_tokens": made,
            "total_tokens": given + made,
        }
    }


def _whole_chat(answer: Answer, asked: Asked) -> dict[str, Any]:
    text, thinking, calls = joined(answer)
    message: dict[str, Any] = {"role": "assistant", "content": text or (None if calls else "")}
    if thinking:
        message["reasoning_content"] = thinking
    if calls:
        message["tool_calls"] = [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": call["arguments"]},
            }
            for call in calls
        ]
    choice = {"index": 0, "message": message, "finish_reason": _REASONS[answer.finish]}
    return {
        "id": answer.id,
        "object": "chat.completion",
        "created": answer.created,
        "model": answer.model,
        "choices": [choice],
        **_usage(answer),
    }


def _whole_completion(answer: Answer, asked: Asked) -> dict[str, Any]:
    choice = {
        "text": "".join(answer.text),
        "index": 0,
        "logprobs": None,
        "finish_reason": _REASONS[answer.finish],
    }
    return {
        "id": answer.id,
        "object": "text_completion",
        "created": answer.created,
        "model": answer.model,
        "choices": [choice],
        **_usage(answer),
    }


PROVIDERS = (
    Provider(dialect="openai-chat", whole=_whole_chat, prefix="chatcmpl-"),
    Provider(
        dialect="openai-completions",
        whole=_whole_completion,
        prefix="cmpl-",
        thinks=False,
        calls=False,
    ),
)

ROUTES = (
    Route(
        methods=("POST",),
        pattern=re.compile(r"/(?:chat|agents|fim)/completions$"),
        dialect="openai-chat",
        read=_chat,
    ),
    Route(
        methods=("POST",),
        pattern=re.compile(r"/completions$"),
        dialect="openai-completions",
        read=_completions,
    ),
)
