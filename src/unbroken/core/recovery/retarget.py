"""The same question to another target: another model, key, provider or dialect.

**Keys.** What authenticates a request is for one host alone. For another origin (scheme, host,
port) a request is built from nothing, and takes over only headers that are known to say nothing
of an account. For the same origin under another key, the headers stay, but for those that
authenticate, and any that hold a key of the request.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import msgspec

from unbroken.core.dialects import by_name
from unbroken.core.dialects.base import Dialect
from unbroken.core.request import Request, origin_of
from unbroken.core.target import Target

__all__ = ["retarget"]

_Headers = tuple[tuple[str, str], ...]

_KNOWN_HARMLESS = frozenset(
    {
        "accept", "accept-encoding", "accept-language", "anthropic-beta", "anthropic-version",
        "content-type", "openai-beta", "user-agent",
    }
)  # fmt: skip
_HARMLESS_FAMILIES = ("x-stainless-",)
"""What the vendors' SDKs tell of themselves."""
_OF_ONE_DIALECT = ("anthropic-", "openai-", "x-goog-", "x-stainless-")
_AUTHENTICATES = re.compile(
    r"auth|api-?key|apikey|token|cookie|secret|credential|signature"
    r"|^x-amz-|^x-goog-user-project$|^openai-(organization|project)$"
    r"|^anthropic-(organization|workspace|account)"
)
_OF_THE_MESSAGE = frozenset(
    {
        "connection", "content-length", "host", "idempotency-key", "keep-alive", "te",
        "transfer-encoding", "upgrade", "x-idempotency-key",
    }
)  # fmt: skip
"""Of the request that was sent: the HTTP library writes them anew, and the key of a request
that is to be carried out once belongs to its own body."""
_KEY_PARAMETERS = frozenset(
    {"access_token", "api-key", "api_key", "apikey", "auth", "code", "key", "sig", "token"}
)
_TOKENS = frozenset(
    {"api_key", "apikey", "auth", "authorization", "authorization_token", "headers", "token"}
)
_WORDS = re.compile(r"[A-Za-z0-9_-]+")
_LEAST_KEY = 8
"""Characters of a value that may be a key: shorter ones would be found everywhere."""


def retarget(request: Request, dialect: Dialect, target: Target) -> Request | str:
    """Return the request to a target, or why there is none.

    Args:
        request: The first attempt's request.
        dialect: What it speaks.
        target: Who is to be asked instead.

    Returns:
        A streamed request with the target's model, URL, key and headers. No header, no
        parameter and no token of the first request goes to another origin.
    """
    other = dialect if target.dialect in (None, dialect.name) else by_name(target.dialect or "")
    model = target.model or dialect.facts(request).model
    url = request.url
    if target.base_url is not None:
        if not model:
            return "the request names no model"
        try:
            url = other.url_for(target.base_url, model)
        except NotImplementedError:
            return f"where {other.name} is asked is not known"
    leaves = origin_of(url) != request.origin
    if other is not dialect:
        ask = dialect.read_ask(request)
        if isinstance(ask, str):
            return f"the request cannot be said in {other.name}: {ask}"
        body = other.write_ask(ask, model)
        if isinstance(body, str):
            return f"the request cannot be said in {other.name}: {body}"
        asked = msgspec.structs.replace(request, url=url).with_json(body)
    else:
        closed = _of_one_account(request, dialect, target, leaves=leaves)
        if closed is not None:
            return closed
        asked = msgspec.structs.replace(request, url=url)
        if target.model is not None or target.base_url is not None:
            asked = dialect.with_model(asked, model)
    return _addressed(asked, request, dialect, other, target, leaves=leaves)


def _of_one_account(
    request: Request, dialect: Dialect, target: Target, *, leaves: bool
) -> str | None:
    """Return why a body means nothing to another account, or must not be shown to it."""
    if not leaves and target.api_key is None:
        return None
    named = sorted(dialect.of_the_account & {k for k, v in request.json.items() if v})
    if named:
        return f"the request refers to what its own provider keeps ({', '.join(named)})"
    if leaves and any(key.encode() in request.body for key in _keys_of(request)):
        return "the request holds its key in its body"
    tools = (request.json.get("tools"), request.json.get("mcp_servers"))
    if leaves and any(_hands_over_a_token(part) for part in tools):
        return "the request hands over a token for a tool server, which is meant for its provider"
    return None


def _hands_over_a_token(value: Any) -> bool:
    """Whether a tool server's token is in the declaration of tools; schemas are not looked at."""
    servers = value if isinstance(value, list) else [value]
    return any(isinstance(each, dict) and bool(_TOKENS & each.keys()) for each in servers)


def _addressed(
    asked: Request,
    request: Request,
    dialect: Dialect,
    other: Dialect,
    target: Target,
    *,
    leaves: bool,
) -> Request:
    """Return the request with the target's key and headers, and none that it must not see."""
    url, headers = asked.url, _without(request.headers, _OF_THE_MESSAGE)
    keys = _keys_of(request)
    key = (target.api_key or "").strip()  # pasted keys end in a line end
    if not key and not leaves and other is not dialect:
        key = _key_of(request)  # under the name that the other dialect has for it
    if leaves:
        headers = tuple(each for each in headers if _is_harmless(*each, keys))
    elif key:
        headers = tuple(
            (name, value)
            for name, value in headers
            if not _AUTHENTICATES.search(name.lower()) and not _holds(value, keys)
        )
        if target.base_url is None:
            url = _without_keys(url)
    if other is not dialect:
        headers = tuple(
            (name, value) for name, value in headers if not name.lower().startswith(_OF_ONE_DIALECT)
        )
        accepts = {"accept": ", ".join(other.content_types)}
        headers = _with(headers, {"content-type": "application/json", **accepts, **other.headers})
    if leaves:
        plain = {"content-type": "application/json", "accept-encoding": "identity"}
        headers = _with(headers, plain)
    if key:
        azure = other.variant(urlsplit(url).hostname or "").name == "azure"
        same = not leaves and other is dialect and request.header("api-key") is not None
        keyed = {"api-key": key} if azure or same else other.key_headers(key)
        headers = _with(headers, keyed)
    return msgspec.structs.replace(asked, url=url, headers=_with(headers, target.headers))


def _key_of(request: Request) -> str:
    """Return the key of a request, or ``""``."""
    for name in ("x-api-key", "api-key", "x-goog-api-key"):
        if key := request.header(name):
            return key
    scheme, _, key = (request.header("authorization") or "").partition(" ")
    if scheme.lower() == "bearer":
        return key.strip()
    return dict(parse_qsl(urlsplit(request.url).query)).get("key", "")


def _is_harmless(name: str, value: str, keys: set[str]) -> bool:
    name = name.lower()
    known = name in _KNOWN_HARMLESS or name.startswith(_HARMLESS_FAMILIES)
    return known and not _holds(value, keys)


def _holds(value: str, keys: set[str]) -> bool:
    return any(key in value for key in keys)


def _keys_of(request: Request) -> set[str]:
    """Return what may be keys: values of what authenticates, and their words."""
    return {key for key in _candidates(request) if len(key) >= _LEAST_KEY}


def _candidates(request: Request) -> Iterator[str]:
    for name, value in request.headers:
        if _AUTHENTICATES.search(name.lower()):
            yield value
            yield from _WORDS.findall(value)
    parts = urlsplit(request.url)
    for name, value in parse_qsl(parts.query):
        if name.lower() in _KEY_PARAMETERS:
            yield value
    for part in (parts.username, parts.password):
        if part:
            yield unquote(part)


def _without_keys(url: str) -> str:
    """Return a URL without the keys in its query, and without a user."""
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    kept = [(name, value) for name, value in pairs if name.lower() not in _KEY_PARAMETERS]
    query = parts.query if len(kept) == len(pairs) else urlencode(kept)
    return parts._replace(query=query, netloc=parts.netloc.rpartition("@")[2]).geturl()


def _without(headers: _Headers, names: frozenset[str]) -> _Headers:
    return tuple((name, value) for name, value in headers if name.lower() not in names)


def _with(headers: _Headers, more: Mapping[str, str]) -> _Headers:
    """Return the headers with further ones, which win."""
    kept = _without(headers, frozenset(name.lower() for name in more))
    return (*kept, *more.items())
