"""OpenAI Chat Completions, and the many services that speak it.

Sequence: a role delta, content deltas, a delta with ``finish_reason`` for each choice,
perhaps a usage frame without choices, ``[DONE]``. Every field is optional in real streams.
``[DONE]`` says "the server wrote its last line", not "success": vLLM, SGLang and TGI send it
after an error too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from unbroken.core.dialects._llama_stream import llama_cursor
from unbroken.core.dialects.ask import Ask, said
from unbroken.core.dialects.base import (
    Cursor,
    Dialect,
    Place,
    RequestFacts,
    Variant,
)
from unbroken.core.dialects.openai_chat.ask import read_chat, write_chat
from unbroken.core.dialects.openai_chat.read import ChatReader
from unbroken.core.dialects.openai_chat.splice import ChatSplicer
from unbroken.core.dialects.openai_chat.write import ChatWriter
from unbroken.core.dialects.payloads import (
    positive,
    string,
    strings,
    under,
)
from unbroken.core.frames import Frame
from unbroken.core.received import Received
from unbroken.core.request import Request

__all__ = ["OpenAIChat"]

_LIMITS = ("max_completion_tokens", "max_tokens")
# A form for the answer beside `response_format`: vLLM's, SGLang's and llama.cpp's own fields.
_GRAMMARS = (
    "guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs",
    "json_schema", "grammar", "regex", "ebnf",
)  # fmt: skip


_DEPLOYMENT = re.compile(r"(/openai/deployments/)[^/?]+")


class OpenAIChat(Dialect):
    """``POST /v1/chat/completions`` and its kin."""

    name = "openai-chat"
    wire = "sse"
    last_marker = "[DONE]"
    splices_choices = True
    variants = (
        Variant(name="azure", hosts=re.compile(r"\.azure\.com$"),
                marks=(b'"prompt_filter_results"',)),
        Variant(name="openai", hosts=re.compile(r"(^|\.)openai\.com$")),
        Variant(name="openrouter", hosts=re.compile(r"openrouter\.ai$"),
                marks=(b": OPENROUTER PROCESSING", b'"id":"gen-')),
        Variant(name="groq", hosts=re.compile(r"groq\.com$"), marks=(b'"x_groq"',)),
        Variant(name="deepseek", hosts=re.compile(r"deepseek\.com$")),
        Variant(name="mistral", hosts=re.compile(r"mistral\.ai$")),
        Variant(name="xai", hosts=re.compile(r"(^|\.)x\.ai$")),
        Variant(name="perplexity", hosts=re.compile(r"perplexity\.ai$"), missing_marker_legal=True),
        Variant(name="writer", hosts=re.compile(r"writer\.com$"), missing_marker_legal=True),
        # Success without a finish reason was recorded from Snowflake Cortex (corpus, 2026).
        Variant(name="snowflake", hosts=re.compile(r"snowflakecomputing\.com$"),
                marks=(b'"content_list"',), missing_finish_legal=True, missing_marker_legal=True),
        # Ollama's /v1 has sent finish_reason null on whole answers (pydantic-ai#2996).
        Variant(name="ollama-v1", marks=(b'"fp_ollama"',), missing_finish_legal=True),
        # transformers serve 5.23 ends with the finish frame and never sends [DONE].
        Variant(name="transformers", missing_marker_legal=True),
    )  # fmt: skip

    def recognises_path(self, path: str) -> bool:
        # The last two are Mistral's: agents, and fill-in-the-middle.
        return path.endswith(("/chat/completions", "/agents/completions", "/fim/completions"))

    def recognises_frame(self, frame: Frame) -> bool:
        head = frame.payload[:4096]
        return (
            b'"chat.completion.chunk"' in head
            or (b'"choices"' in head and b'"delta"' in head)
            or b'"prompt_filter_results"' in head
        )

    def reader(self) -> ChatReader:
        return ChatReader()

    def splicer(self, delivered: Received, *, rung: str, facts: RequestFacts) -> ChatSplicer:
        return ChatSplicer(delivered, rung=rung, several=facts.choices > 1)

    def facts(self, request: Request) -> RequestFacts:
        body = request.json
        form = body.get("response_format")
        form_type = form.get("type") if isinstance(form, dict) else None
        return RequestFacts(
            model=string(body.get("model")),
            choices=body["n"] if isinstance(body.get("n"), int) else 1,
            deterministic=body.get("temperature") == 0 or isinstance(body.get("seed"), int),
            structured=form_type not in (None, "text") or any(body.get(key) for key in _GRAMMARS),
            max_tokens=positive(body, *_LIMITS),
            stop=strings(body.get("stop")),
        )

    def with_max_tokens(self, request: Request, limit: int) -> Request:
        body = request.json
        return request.with_json({**body, **{key: limit for key in _LIMITS if body.get(key)}})

    def prefill(self, request: Request, text: str, extra: Mapping[str, Any]) -> Request | None:
        body = request.json
        messages = _with_answer(body, text, extra.get("message", {}))
        if messages is None:
            return None
        return request.with_json({**body, "messages": messages, **extra.get("body", {})})

    def user_turn(self, request: Request, text: str, instruction: str) -> Request | None:
        body = request.json
        messages = _with_answer(body, text, {})
        if messages is None:
            return None
        messages.append({"role": "user", "content": instruction})
        return request.with_json({**body, "messages": messages})

    def cursor(self, request: Request, place: Place) -> Cursor | str:
        return llama_cursor(request, place, endpoint="/chat/completions")

    def with_model(self, request: Request, model: str) -> Request:
        # Azure names its deployment in the path as well.
        url = _DEPLOYMENT.sub(lambda found: found[1] + quote(model, safe=""), request.url)
        changed = msgspec.structs.replace(request, url=url)
        return changed.with_json({**request.json, "model": model})

    def url_for(self, base_url: str, model: str) -> str:
        return under(base_url, "/chat/completions")

    def read_ask(self, request: Request) -> Ask | str:
        return said(read_chat, request)

    def write_ask(self, ask: Ask, model: str) -> dict[str, Any] | str:
        return said(write_chat, ask, model)

    def writer(
        self, *, id: str, model: str, created: int, asked: Request | None = None
    ) -> ChatWriter:
        return ChatWriter(id=id, model=model, created=created, asked=asked)


def _with_answer(
    body: dict[str, Any], text: str, fields: Mapping[str, Any]
) -> list[dict[str, Any]] | None:
    """Return the messages with the partial answer as the last turn.

    A request that already ends with an assistant's turn began the answer itself: then the
    text goes on in that turn, in its last text part if its content is a list.
    """
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return None
    last = messages[-1]
    content = last.get("content") if isinstance(last, dict) else None
    if content and last.get("role") == "assistant" and not last.get("tool_calls"):
        if isinstance(content, str):
            return [*messages[:-1], {**last, "content": content + text, **fields}]
        if isinstance(content, list) and isinstance(content[-1], dict):
            end = content[-1]
            if end.get("type") == "text" and isinstance(end.get("text"), str):
                joined = [*content[:-1], {**end, "text": end["text"] + text}]
            else:
                joined = [*content, {"type": "text", "text": text}]
            return [*messages[:-1], {**last, "content": joined, **fields}]
    return [*messages, {"role": "assistant", "content": text, **fields}]
