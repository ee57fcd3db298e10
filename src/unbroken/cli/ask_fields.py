"""What common settings are called in each dialect's request."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from unbroken.cli.screen import CliError

__all__ = ["fields_for"]

# Which setting is called what; a name with a dot lies one level down.
_NAMES: dict[str, dict[str, str]] = {
    "openai-chat": {"max_tokens": "max_tokens", "temperature": "temperature", "seed": "seed"},
    "openai-responses": {"max_tokens": "max_output_tokens", "temperature": "temperature"},
    "anthropic-messages": {"max_tokens": "max_tokens", "temperature": "temperature"},
    "gemini": {
        "max_tokens": "generationConfig.maxOutputTokens",
        "temperature": "generationConfig.temperature",
        "seed": "generationConfig.seed",
    },
    "ollama": {
        "max_tokens": "options.num_predict",
        "temperature": "options.temperature",
        "seed": "options.seed",
    },
}
# Token counts come in a chat stream only where they are asked for, and not every server that
# speaks the dialect takes the question: only these are asked.
_COUNTS_ON_DEMAND = re.compile(r"(^|\.)openai\.(com|azure\.com)$|^localhost$|^127\.|^\[?::1\]?$")


def fields_for(dialect: str, base_url: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the request's further fields.

    Args:
        dialect: A dialect's name; of an unknown one nothing is known here.
        base_url: Where the request goes; ``""`` for the vendor's own address.
        settings: ``max_tokens``, ``temperature`` and ``seed``; None where not set.

    Raises:
        CliError: If the dialect has no such setting.
    """
    names = _NAMES.get(dialect, {})
    host = (urlsplit(base_url).hostname or "") if base_url else "openai.com"
    fields: dict[str, Any] = {}
    for setting, value in settings.items():
        if value is None:
            continue
        if setting not in names:
            option = setting.replace("_", "-")
            message = f"{dialect} has no setting for --{option}: leave it out"
            raise CliError(message)
        outer, dot, inner = names[setting].partition(".")
        if dot:
            fields.setdefault(outer, {})[inner] = value
        else:
            fields[outer] = value
    if dialect == "openai-chat":
        if host.endswith("openai.com") and "max_tokens" in fields:
            fields["max_completion_tokens"] = fields.pop("max_tokens")  # newer models refuse it
        if _COUNTS_ON_DEMAND.search(host):
            fields["stream_options"] = {"include_usage": True}
    return fields
