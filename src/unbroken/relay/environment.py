"""The environment variables by which SDKs are told whom to ask."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BASE_URLS", "BaseUrl", "base_urls"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseUrl:
    """One variable.

    Attributes:
        name: Of the variable.
        usual: Whom its SDK asks where it is not set.
        path: What SDKs expect in it behind the host.
    """

    name: str
    usual: str
    path: str = ""


BASE_URLS = (
    BaseUrl(name="OPENAI_BASE_URL", usual="https://api.openai.com/v1", path="/v1"),
    BaseUrl(name="ANTHROPIC_BASE_URL", usual="https://api.anthropic.com"),
    BaseUrl(name="GOOGLE_GEMINI_BASE_URL", usual="https://generativelanguage.googleapis.com"),
    BaseUrl(name="OLLAMA_HOST", usual="http://127.0.0.1:11434"),
    BaseUrl(name="CO_API_URL", usual="https://api.cohere.com"),
    BaseUrl(name="MISTRAL_SERVER_URL", usual="https://api.mistral.ai"),
)
"""The variables, each read by at least one official SDK."""


def base_urls(root: str) -> dict[str, str]:
    """Return the variables with which every SDK asks one server.

    Args:
        root: Its address, without a slash at the end.
    """
    return {variable.name: root + variable.path for variable in BASE_URLS}
