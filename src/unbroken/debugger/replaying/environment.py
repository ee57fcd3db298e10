"""The variables by which SDKs find a server that stands in for their provider."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from unbroken.relay.environment import base_urls

__all__ = ["LOOPBACK", "concerned", "environment_of", "own_with"]

LOOPBACK = "127.0.0.1,localhost,::1"
"""Hosts before which no proxy may stand."""

_KEY = "none-needed"
_KEYS = (
    "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "CO_API_KEY",
    "MISTRAL_API_KEY", "GROQ_API_KEY", "AZURE_OPENAI_API_KEY", "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY", "AWS_BEARER_TOKEN_BEDROCK",
)  # fmt: skip
# Each variable, what it has where nothing was recorded for it, and the end that its SDK puts
# behind it: what stands before that in a recorded path is the base.
_BASES: tuple[tuple[str, str, re.Pattern[str]], ...] = tuple(
    (name, usual, re.compile(rf"(?P<base>.*?){behind}"))
    for name, usual, behind in (
        ("OPENAI_BASE_URL", "/v1", r"/(?:chat/completions|responses|completions|threads)\b"),
        ("ANTHROPIC_BASE_URL", "", r"/v1/(?:messages|complete)\b"),
        ("GOOGLE_GEMINI_BASE_URL", "", r"/v1(?:beta|alpha)?/(?:models/|interactions|projects/)"),
        ("OLLAMA_HOST", "", r"/api/(?:chat|generate)\b"),
        ("CO_API_URL", "", r"/v[12]/chat\b"),
        ("COHERE_BASE_URL", "", r"/v[12]/chat\b"),
        ("MISTRAL_SERVER_URL", "", r"/v1/(?:chat|fim)/completions\b"),
        ("GROQ_BASE_URL", "", r"/openai/v1/(?:chat/completions|responses)\b"),
        ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "", r"/model/"),
    )
)


def environment_of(url: str, paths: Iterable[str] = ()) -> dict[str, str]:
    """Return what a command's environment needs so that its SDK asks this server.

    Variables of providers that the paths do not speak of point to it as well: a request that was
    not meant gets an error here, and never goes out to whom it would cost something.

    Args:
        url: The server's root.
        paths: The paths that it answers: where an SDK's base is not at the root, they tell.
    """
    paths = list(paths)
    found = {**base_urls(url), "UNBROKEN_REPLAY_URL": url}
    for name, usual, pattern in _BASES:
        bases = [match["base"] for path in paths if (match := pattern.match(path))]
        found[name] = url + (bases[0] if bases else usual)
    return {**found, **dict.fromkeys(_KEYS, _KEY), "AWS_DEFAULT_REGION": "us-east-1"}


def concerned(paths: Iterable[str]) -> list[str]:
    """Return the variables of those SDKs that would ask these paths."""
    paths = list(paths)
    return [name for name, _, pattern in _BASES if any(pattern.match(path) for path in paths)]


def _with_loopback(environment: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """Return an environment with more in it, in which no proxy stands before this machine."""
    joined = {**environment, **more}
    for name in ("NO_PROXY", "no_proxy"):
        joined[name] = ",".join(filter(None, (environment.get(name), LOOPBACK)))
    return joined


def own_with(more: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of this process with more in it."""
    return _with_loopback(os.environ, more)
