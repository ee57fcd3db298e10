"""The upstreams and routes that are there before anything is configured."""

from __future__ import annotations

from msgspec import structs

from unbroken.gateway.config.settings import GatewayConfig, RouteConfig, UpstreamConfig

__all__ = ["KNOWN", "routes_of", "upstreams_of"]

KNOWN: dict[str, str] = {
    "openai": "https://api.openai.com",
    "anthropic": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com",
    "ollama": "http://127.0.0.1:11434",
    "cohere": "https://api.cohere.com",
}
"""Upstreams that need no ``url``, with where they are."""

_BY_PATH: tuple[tuple[str, str], ...] = (
    ("/v1/messages*", "anthropic"),
    ("/v1/complete", "anthropic"),
    ("/v1beta/*", "gemini"),
    ("/v1alpha/*", "gemini"),
    ("/api/*", "ollama"),
    ("/v2/*", "cohere"),
    ("/v1/*", "openai"),
)


def upstreams_of(config: GatewayConfig) -> dict[str, UpstreamConfig]:
    """Return the configured upstreams and the known ones, each with its URL."""
    found = {name: UpstreamConfig(url=url) for name, url in KNOWN.items()}
    for name, each in config.upstreams.items():
        found[name] = each if each.url else structs.replace(each, url=KNOWN.get(name, ""))
    return found


def routes_of(config: GatewayConfig) -> tuple[RouteConfig, ...]:
    """Return the routes in force, which are made up where none are configured.

    One upstream takes everything; several known ones each take the paths of their API; with no
    upstream at all every known one does.
    """
    if config.routes:
        return config.routes
    named = list(config.upstreams)
    if len(named) == 1:
        return (RouteConfig(upstream=named[0]),)
    return tuple(
        RouteConfig(path=path, upstream=name)
        for path, name in _BY_PATH
        if not named or name in named
    )
