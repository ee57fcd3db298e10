"""A client's request, made one for an upstream: its address, its keys, what it asks for."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from unbroken.core.dialects import by_name, recognise_request
from unbroken.core.dialects.base import Dialect
from unbroken.core.request import NO_JSON, Request
from unbroken.gateway.callers import KEY_HEADERS, Callers
from unbroken.gateway.routes import Route
from unbroken.relay.messages import Headers

__all__ = ["dialect_of", "model_of", "upstream_headers"]

_IN_PATH = re.compile(r"/models?/([^/:]+)")  # Gemini and Bedrock name it there


_KEY_AS = {"anthropic": "anthropic-messages", "gemini": "gemini"}
"""Known upstreams with a header of their own for the key, also where a path speaks nothing."""
_OF_BROWSERS = (b"cookie", b"origin", b"referer")
"""A browser sends what it has for this machine, other applications' sessions too."""
_OF_THE_WAY_HERE = (b"forwarded", b"via", b"x-real-ip")
"""With ``X-Forwarded-*``: who asks us, and by which proxies, is no business of the provider's."""


class _Model(msgspec.Struct):
    model: str | None = None


_model = msgspec.json.Decoder(_Model)


def dialect_of(method: str, target: str) -> Dialect | None:
    """Return the dialect that a path speaks, or None."""
    if method != "POST":
        return None
    return recognise_request(Request(method=method, url=f"http://gateway{target}"))


def model_of(target: str, body: bytes) -> str | None:
    """Return the model that a request asks for, or None if it names none."""
    try:
        named = _model.decode(body).model if body else None
    except NO_JSON:
        named = None
    if named is None and (found := _IN_PATH.search(target)) is not None:
        named = found[1]
    return named


def upstream_headers(
    headers: Iterable[tuple[bytes, bytes]],
    route: Route,
    callers: Callers,
    dialect: Dialect | None,
    *,
    forward_key: bool,
) -> Headers:
    """Return the headers that go upstream.

    What is meant for the gateway, or tells of the way to it, stays here; where the upstream has
    a key of the gateway's own, no key of the caller's goes with it.

    Args:
        headers: As ASGI has them: names in lower case.
        route: Where they go.
        callers: Whose keys are the gateway's.
        dialect: What the path speaks.
        forward_key: Whether Idempotency-Key goes too.
    """
    upstream = route.upstream
    headers = list(headers)
    from_browser = any(name in (b"origin", b"sec-fetch-site") for name, _ in headers)
    kept: Headers = []
    for name, value in callers.forwarded(headers):
        if name.startswith((b"x-unbroken-", b"x-forwarded-")) or name in _OF_THE_WAY_HERE:
            continue
        if from_browser and (name in _OF_BROWSERS or name.startswith(b"sec-")):
            continue
        if name == b"idempotency-key" and not forward_key:
            continue
        if name == b"last-event-id" and dialect is not None:
            continue  # a position in our journal; of a request that we do not know it is its own
        if upstream.key is not None and name in KEY_HEADERS:
            continue
        kept.append((name.decode("latin-1"), value.decode("latin-1")))
    if upstream.key is not None:
        named = upstream.dialect or _KEY_AS.get(upstream.name, "")
        speaks = dialect or (by_name(named) if named else None)
        key = (
            {"authorization": f"Bearer {upstream.key}"}
            if speaks is None
            else speaks.key_headers(upstream.key)
        )
        kept += key.items()
    if upstream.headers:
        kept = [pair for pair in kept if pair[0] not in upstream.headers]
        kept += upstream.headers.items()
    return kept
