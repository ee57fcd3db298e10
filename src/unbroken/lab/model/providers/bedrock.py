"""Amazon Bedrock: Converse, and InvokeModel with Anthropic's messages inside."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from unbroken.core.dialects.answer import Answer
from unbroken.lab.model.asks import Asked, Call, Route, Tool, conversation
from unbroken.lab.model.providers.anthropic import messages_fields, whole_message
from unbroken.lab.model.providers.base import (
    Provider,
    arguments_of,
    as_list,
    as_object,
    chat_tools,
    integer,
    joined,
    need,
    number,
    text_of,
    turns_of,
)

__all__ = ["PROVIDERS", "ROUTES"]

_REASONS = {"stop": "end_turn", "tool-calls": "tool_use", "limit": "max_tokens"}


def _tools(body: dict[str, Any]) -> tuple[Tool, ...]:
    given = as_list(as_object(body.get("toolConfig")), "tools")
    specs = [as_object(as_object(tool).get("toolSpec")) for tool in given]
    plain = [
        {"name": spec.get("name"), "parameters": as_object(spec.get("inputSchema")).get("json")}
        for spec in specs
    ]
    return chat_tools({"tools": plain})


def _converse(call: Call) -> Asked:
    body = call.json
    need(body, "messages")
    config = as_object(body.get("inferenceConfig"))
    turns = turns_of(as_list(body, "messages"))
    return Asked(
        dialect="bedrock-converse",
        model=unquote(call.found["model"]),
        stream=call.found["call"] == "converse-stream",
        temperature=number(config, "temperature"),
        max_tokens=integer(config, "maxTokens", least=1),
        tools=_tools(body),
        **conversation([("system", text_of(body.get("system"))), *turns]),
        **call.fields,
    )


def _invoke(call: Call) -> Asked:
    return Asked(
        dialect="bedrock-invoke",
        model=unquote(call.found["model"]),
        stream=call.found["call"] != "invoke",
        **messages_fields(call.json),
        **call.fields,
    )


def _whole_converse(answer: Answer, asked: Asked) -> dict[str, Any]:
    text, thinking, calls = joined(answer)
    content: list[dict[str, Any]] = []
    if thinking:
        known = {"text": thinking, "signature": "c2lnbmVk"}
        content.append({"reasoningContent": {"reasoningText": known}})
    if text:
        content.append({"text": text})
    content += [
        {
            "toolUse": {
                "toolUseId": call["id"],
                "name": call["name"],
                "input": arguments_of(call),
            }
        }
        for call in calls
    ]
    given, made = answer.usage or (0, 0)
    return {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": _REASONS[answer.finish],
        "usage": {"inputTokens": given, "outputTokens": made, "totalTokens": given + made},
        "metrics": {"latencyMs": 500},
    }


PROVIDERS = (
    Provider(
        dialect="bedrock-converse",
        whole=_whole_converse,
        call_prefix="tooluse_",
        request_id="x-amzn-requestid",
    ),
    Provider(
        dialect="bedrock-invoke",
        whole=whole_message,
        prefix="msg_",
        call_prefix="toolu_",
        request_id="x-amzn-requestid",
    ),
)

ROUTES = (
    Route(
        methods=("POST",),
        pattern=re.compile(r"/model/(?P<model>.+)/(?P<call>converse|converse-stream)$"),
        dialect="bedrock-converse",
        read=_converse,
    ),
    Route(
        methods=("POST",),
        pattern=re.compile(r"/model/(?P<model>.+)/(?P<call>invoke|invoke-with-response-stream)$"),
        dialect="bedrock-invoke",
        read=_invoke,
    ),
)
