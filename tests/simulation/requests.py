"""The requests of a world, and what the upstream reads in those that it gets."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.simulation.settings import HOME_KEY
from unbroken.core.request import Request

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["STOP", "Resume", "asked", "first_request", "resume_in"]

STOP = "END OF PART"
_KEYED = {
    "anthropic-messages": "x-api-key",
    "gemini": "x-goog-api-key",
    "gemini-array": "x-goog-api-key",
    "gemini-interactions": "x-goog-api-key",
}


def first_request(world: World) -> Request:
    """Return what the application sends."""
    name, body = world.dialect.name, {"model": world.target.model, "stream": True}
    turn = "What is a river? " * world.draw.choice((1, 1, 20))
    writers = {
        "openai-chat": _chat, "openai-completions": _completions, "openai-responses": _responses,
        "anthropic-messages": _anthropic, "gemini": _gemini, "gemini-array": _gemini,
        "ollama": _ollama, "cohere": _cohere, "gemini-interactions": _interactions,
        "bedrock-converse": _converse, "bedrock-invoke": _invoke,
    }  # fmt: skip
    body = writers[name](world, body, turn)
    headers = [("content-type", "application/json"), ("user-agent", "an-sdk/1.0")]
    keyed = _KEYED.get(name)
    headers.append((keyed, HOME_KEY) if keyed else ("authorization", f"Bearer {HOME_KEY}"))
    if world.keeps and name in ("openai-chat", "openai-completions"):
        headers.append(("X-Conversation-Id", "conv-1"))
    raw = json.dumps(body).encode()
    return Request(method="POST", url=world.target.url, headers=tuple(headers), body=raw)


def _chat(world: World, body: dict[str, Any], turn: str) -> dict[str, Any]:
    body["messages"] = [{"role": "user", "content": turn}]
    if world.deterministic:
        body |= world.draw.choice(({"temperature": 0}, {"seed": 7}, {"temperature": 0.0}))
    if world.structured:
        body["response_format"] = {"type": "json_object"}
    if world.choices > 1:
        body["n"] = world.choices
    if world.max_tokens:
        body["max_tokens"] = world.max_tokens
    if world.stops:
        body["stop"] = [STOP]
    return body


def _completions(world: World, body: dict[str, Any], turn: str) -> dict[str, Any]:
    body["prompt"] = turn
    if world.deterministic:
        body["temperature"] = 0
    if world.structured:
        body["grammar"] = "root ::= object"
    if world.max_tokens:
        body["max_tokens"] = world.max_tokens
    if world.stops:
        body["stop"] = STOP
    return body


def _responses(world: World, body: dict[str, Any], turn: str) -> dict[str, Any]:
    body["input"] = turn if world.draw.random() < 0.5 else [{"role": "user", "content": turn}]
    body["store"] = world.kept
    if world.keeps:
        body |= {"background": True, "store": True}
    if world.deterministic:
        body["temperature"] = 0
    if world.structured:
        body["text"] = {"format": {"type": "json_object"}}
    if world.max_tokens:
        body["max_output_tokens"] = world.max_tokens
    return body


def _anthropic(world: World, body: dict[str, Any], turn: str) -> dict[str, Any]:
    body["messages"] = [{"role": "user", "content": turn}]
    body["max_tokens"] = world.max_tokens or 999
    if world.deterministic:
        body["temperature"] = 0
    if world.thinking:
        body["thinking"] = {"type": "enabled", "budget_tokens": 1024}
    if world.structured:
        body["output_format"] = {"type": "json_schema", "schema": {}}
    if world.stops:
        body["stop_sequences"] = [STOP]
    return body


def _gemini(world: World, body: dict[str, Any], turn: str) -> dict[str, Any]:
    config: dict[str, Any] = {"temperature": 0} if world.deterministic else {}
    if world.structured:
        config["responseMimeType"] = "application/json"
    if world.thinking:
        config["thinkingConfig"] = {"includeThoughts": True}
    if world.max_tokens:
        config["maxOutputTokens"] = world.max_tokens
    contents = [{"role": "user", "parts": [{"text": turn}]}]
    return {"contents": contents, "generationConfig": config}


def _ollama(world: World, body: dict[str, Any], turn: str) -> dict[str, Any]:
    body["messages"] = [{"role": "user", "content": turn}]
    body["options"] = {"temperature": 0} if world.deterministic else {}
    if world.max_tokens:
        body["options"]["num_predict"] = world.max_tokens
    if world.structured:
        body["format"] = "json"
    return body


def _cohere(world: World, body: dict[str, Any], turn: str) -> dict[str, Any]:
    body["messages"] = [{"role": "user", "content": turn}]
    if world.deterministic:
        body["temperature"] = 0
    if world.structured:
        body["response_format"] = {"type": "json_object"}
    if world.thinking:
        body["thinking"] = {"type": "enabled"}
    return body


def _interactions(world: World, body: dict[str, Any], turn: str) -> dict[str, Any]:
    body["input"] = turn
    body["store"] = world.kept or world.keeps
    if world.deterministic:
        body["generation_config"] = {"temperature": 0}
    if world.structured:
        body["response_mime_type"] = "application/json"
    return body


def _converse(world: World, body: dict[str, Any], turn: str) -> dict[str, Any]:
    config: dict[str, Any] = {"temperature": 0} if world.deterministic else {}
    if world.max_tokens:
        config["maxTokens"] = world.max_tokens
    given: dict[str, Any] = {
        "messages": [{"role": "user", "content": [{"text": turn}]}],
        "inferenceConfig": config,
    }
    if world.structured:
        given["outputConfig"] = {"textFormat": {"type": "json_schema"}}
    if world.thinking:
        thinking = {"type": "enabled", "budget_tokens": 1024}
        given["additionalModelRequestFields"] = {"thinking": thinking}
    return given


def _invoke(world: World, body: dict[str, Any], turn: str) -> dict[str, Any]:
    body = _anthropic(world, {"anthropic_version": "bedrock-2023-05-31"}, turn)
    world.stops = False  # its own place for them is that of Messages; see there
    body.pop("stop_sequences", None)
    return body


# What is asked ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Resume:
    """What a request for the rest of an answer names."""

    id: str
    after: str


def resume_in(request: Request) -> Resume | None:
    """Return what a request for the rest of a kept answer asks for; None if it is none."""
    if request.method != "GET":
        return None
    parts = urlsplit(request.url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    if parts.path.endswith("/v1/stream"):
        return Resume(query["conv_id"], query["from"])
    id_ = unquote(parts.path.rpartition("/")[2])
    if query.get("stream") != "true":
        return None
    return Resume(id_, query.get("starting_after") or query.get("last_event_id") or "")


def asked(dialect: str, body: bytes, prompt: str = "") -> tuple[str | None, str]:
    """Return the begun answer that a request shows, or None, and the anchor it asks for.

    Args:
        dialect: What it speaks.
        body: The request's.
        prompt: The prompt of a text completion, which the answer so far is put behind.
    """
    value = json.loads(body)
    if dialect == "openai-completions":
        given = value["prompt"]
        return (given[len(prompt) :] if len(given) > len(prompt) else None), ""
    turns = value.get("messages") or value.get("contents") or value.get("input")
    if not isinstance(turns, list):
        return None, ""
    said = [(_role(turn), _words_of(turn)) for turn in turns]
    if said[-1][0] in ("assistant", "model"):
        return said[-1][1], ""
    if len(said) > 1 and said[-2][0] in ("assistant", "model"):
        _, _, quoted = said[-1][1].partition("Begin with exactly: ")
        anchor = quoted.partition("\nThose are the last words")[0]
        if anchor.startswith("<cut>") and anchor.endswith("</cut>"):
            anchor = anchor[5:-6]
        return said[-2][1], anchor
    return None, ""


def _role(turn: dict[str, Any]) -> str:
    kinds = {"model_output": "model", "user_input": "user"}
    return turn.get("role") or kinds.get(turn.get("type", ""), "")


def _words_of(turn: dict[str, Any]) -> str:
    content = turn.get("content", turn.get("parts"))
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content or ())
