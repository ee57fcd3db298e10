"""What stands around the answers: lists of models, health, and llama.cpp's kept streams."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from unbroken.lab.model.asks import Asked, BadRequestError, Call, Cursor, Kind, Route
from unbroken.lab.model.providers.base import Provider

__all__ = ["MODELS", "PROVIDERS", "ROUTES", "info", "model_entry", "models"]

PROVIDERS: tuple[Provider, ...] = ()

MODELS = ("lab/ok", "lab/cut@0.5", "lab/stall@0.5", "lab/cut.rst@30t,http.503*2")
"""A few names to choose from; a plan is a model's name, so there is no end of them."""


def _plain(dialect: str, kind: Kind, form: str = "") -> Callable[[Call], Asked]:
    return lambda call: Asked(dialect=dialect, kind=kind, form=form)


def _list(call: Call) -> Asked:
    # Anthropic's list is on the path of OpenAI's.
    anthropic = "anthropic-version" in call.headers
    return Asked(dialect="anthropic-messages" if anthropic else "openai-chat", kind="models")


def _one(call: Call) -> Asked:
    anthropic = "anthropic-version" in call.headers
    return Asked(
        dialect="anthropic-messages" if anthropic else "openai-chat",
        model=unquote(call.found["model"]),
        kind="model",
    )


def _one_of_gemini(call: Call) -> Asked:
    return Asked(dialect="gemini", model=unquote(call.found["model"]), kind="model")


def _show(call: Call) -> Asked:
    name = call.json.get("model") or call.json.get("name") or ""
    return Asked(dialect="ollama", model=str(name), kind="model")


def _kept(call: Call) -> Asked:
    """llama.cpp's resumable streams: ``conv_id``, and ``from`` a byte on."""
    id = call.query.get("conv_id", "")
    if not id:
        msg = "conv_id is required"
        raise BadRequestError(msg)
    begin = call.query.get("from", "0")
    if not begin.isdigit():
        msg = "from must be a byte's number"
        raise BadRequestError(msg)
    at = Cursor(service="llama", id=id, after=int(begin))
    if call.method == "DELETE":
        return Asked(dialect="openai-chat", kind="stop", form="stopped", cursor=at)
    return Asked(dialect="openai-chat", kind="cursor", stream=True, cursor=at)


# What is said -------------------------------------------------------------------------------


def model_entry(dialect: str, name: str) -> dict[str, Any]:
    """Return what a provider says of one model."""
    match dialect:
        case "anthropic-messages":
            return {
                "type": "model",
                "id": name,
                "display_name": name,
                "created_at": "2026-01-01T00:00:00Z",
            }
        case "gemini":
            methods = ["generateContent", "countTokens"]
            return {
                "name": f"models/{name}",
                "displayName": name,
                "supportedGenerationMethods": methods,
                "inputTokenLimit": 1_000_000,
                "outputTokenLimit": 1_000_000,
            }
        case "ollama":
            return {
                "name": name,
                "model": name,
                "modified_at": "2026-01-01T00:00:00Z",
                "size": 1,
                "digest": "lab",
                "details": {"family": "lab", "format": "lab", "families": ["lab"]},
                "capabilities": ["completion", "tools", "thinking"],
            }
        case _:
            return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "lab"}


def models(dialect: str) -> dict[str, Any]:
    """Return a provider's list of models."""
    entries = [model_entry(dialect, name) for name in MODELS]
    match dialect:
        case "anthropic-messages":
            ends = {"first_id": MODELS[0], "last_id": MODELS[-1], "has_more": False}
            return {"data": entries, **ends}
        case "gemini" | "ollama":
            return {"models": entries}
        case _:
            # `models` is for Cohere, whose list is on the same path.
            names = [{"name": name, "endpoints": ["chat"]} for name in MODELS]
            return {"object": "list", "data": entries, "models": names}


def info(form: str) -> tuple[str, bytes]:
    """Return content type and body of a page about the server."""
    match form:
        case "root":
            return "text/plain; charset=utf-8", b"Ollama is running"  # what its clients look for
        case "version":
            return "application/json", b'{"version":"0.99.0"}'
        case _:
            return "application/json", b'{"status":"ok"}'


def _get(pattern: str, dialect: str, read: Callable[[Call], Asked]) -> Route:
    return Route(methods=("GET", "HEAD"), pattern=re.compile(pattern), dialect=dialect, read=read)


ROUTES = (
    _get(r"^/$", "ollama", _plain("ollama", "info", "root")),
    _get(r"/(?:health|healthz)$", "openai-chat", _plain("openai-chat", "info", "health")),
    _get(r"/api/version$", "ollama", _plain("ollama", "info", "version")),
    _get(r"/api/(?:tags|ps)$", "ollama", _plain("ollama", "models")),
    Route(methods=("POST",), pattern=re.compile(r"/api/show$"), dialect="ollama", read=_show),
    Route(
        methods=("GET", "DELETE"),
        pattern=re.compile(r"/v1/stream$"),
        dialect="openai-chat",
        read=_kept,
    ),
    _get(r"/v1beta\d*/models$", "gemini", _plain("gemini", "models")),
    _get(r"/v1beta\d*/models/(?P<model>[^:]+)$", "gemini", _one_of_gemini),
    _get(r"/models$", "openai-chat", _list),
    _get(r"/models/(?P<model>[^:]+)$", "openai-chat", _one),
)
