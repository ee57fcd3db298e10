"""What the conventions call an operation and a provider, and which names may be shown."""

from __future__ import annotations

import re

from unbroken.telemetry.health import Labels

__all__ = ["operation_of", "plain", "provider_of"]

_NAME = re.compile(r"[\w.:/@+=-]{1,100}")
_OPERATIONS = {
    "openai-completions": "text_completion",
    "gemini": "generate_content",
    "gemini-array": "generate_content",
    "gemini-interactions": "generate_content",
}
_PROVIDERS = {
    "openai-chat": "openai",
    "openai-responses": "openai",
    "openai-completions": "openai",
    "openai-assistants": "openai",
    "anthropic-messages": "anthropic",
    "gemini": "gcp.gemini",
    "gemini-array": "gcp.gemini",
    "gemini-interactions": "gcp.gemini",
    "cohere": "cohere",
    "bedrock-converse": "aws.bedrock",
    "bedrock-invoke": "aws.bedrock",
}
_HOSTS = {
    "api.openai.com": "openai",
    "openai.azure.com": "azure.ai.openai",
    "services.ai.azure.com": "azure.ai.inference",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "aiplatform.googleapis.com": "gcp.vertex_ai",
    "amazonaws.com": "aws.bedrock",
    "api.cohere.com": "cohere",
    "api.deepseek.com": "deepseek",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
    "api.perplexity.ai": "perplexity",
    "api.x.ai": "x_ai",
}
_KNOWN = frozenset(_HOSTS.values()) | {"ibm.watsonx.ai"}


def operation_of(labels: Labels) -> str:
    """Return what is asked for, in the conventions' words."""
    return _OPERATIONS.get(labels.dialect, "chat")


def provider_of(labels: Labels) -> str:
    """Return the conventions' name of a provider, or who is asked as we know it."""
    named = labels.provider.lower()
    for host, provider in _HOSTS.items():
        if named == host or named.endswith((f".{host}", f"-{host}")):
            return provider
    if named in _KNOWN:
        return named
    return _PROVIDERS.get(labels.dialect) or named or "_OTHER"


def plain(text: str | None) -> str | None:
    """Return a name that a peer gave, if it is one: nothing that could be a sentence."""
    return text if text and _NAME.fullmatch(text) else None
