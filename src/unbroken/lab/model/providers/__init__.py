"""The providers: which paths they have, and how each reads requests and answers whole.

One file a provider. To add one is to write its ``PROVIDERS`` and ``ROUTES``, and to name it
here.
"""

from __future__ import annotations

from unbroken.lab.model.asks import Route
from unbroken.lab.model.providers import (
    anthropic,
    around,
    assistants,
    bedrock,
    cohere,
    gemini,
    interactions,
    ollama,
    openai,
    responses,
)
from unbroken.lab.model.providers.base import Provider

__all__ = ["PROVIDERS", "ROUTES", "Provider"]

# The first path that fits is taken.
_MODULES = (
    openai,
    responses,
    anthropic,
    gemini,
    interactions,
    ollama,
    cohere,
    bedrock,
    assistants,
    around,
)

PROVIDERS: dict[str, Provider] = {
    provider.dialect: provider for module in _MODULES for provider in module.PROVIDERS
}
"""How each dialect is answered, by its name."""

ROUTES: tuple[Route, ...] = tuple(route for module in _MODULES for route in module.ROUTES)
"""All paths, in the order in which they are tried."""
