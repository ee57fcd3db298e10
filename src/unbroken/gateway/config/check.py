"""What only the whole configuration can tell: whether its parts fit together, and are safe."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from unbroken.core.dialects import by_name
from unbroken.core.faults import FaultKind
from unbroken.gateway.config.known import KNOWN, routes_of, upstreams_of
from unbroken.gateway.config.policy import OnDisconnect, options_of
from unbroken.gateway.config.problems import Problem, did_you_mean, shown
from unbroken.gateway.config.settings import GatewayConfig, RouteConfig, UpstreamConfig

__all__ = ["check", "is_loopback"]

_HOST = re.compile(r"[A-Za-z0-9_.-]+(?::\d+)?|\[[0-9a-fA-F:.]+\](?::\d+)?")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_KEY_HEADERS = frozenset({"authorization", "proxy-authorization", "x-api-key", "api-key",
                          "x-goog-api-key", "cookie"})  # fmt: skip
_ENCODED_SECRET_BYTES = 32


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine, for this machine only."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check(config: GatewayConfig) -> list[Problem]:
    """Return what is wrong with a configuration as a whole.

    Each setting by itself was looked at when it was read; this is for a configuration that
    was built in code too. Nothing is opened, asked or resolved, but for certificate files,
    which must exist.
    """
    problems = [*_serving(config), *_callers(config)]
    for name, upstream in config.upstreams.items():
        problems += _upstream(name, upstream)
    problems += _routes(config)
    problems += _journal(config)
    problems += _passing_keys(config)
    return problems


def _warning(key: str, text: str, remedy: str) -> Problem:
    return Problem(key=key, text=text, remedy=remedy, severity="warning")


def _serving(config: GatewayConfig) -> Iterator[Problem]:
    try:
        host, _ = config.address
    except ValueError:
        remedy = "write host:port, as 127.0.0.1:8411 or [::1]:8411"
        yield Problem(key="listen", text=f"found {shown(config.listen)}", remedy=remedy)
    else:
        if not is_loopback(host) and not config.callers and not config.allow_anonymous:
            yield Problem(
                key="listen",
                text=f"{host} is reached from other machines, and callers need no key",
                remedy="add [[callers]] (unbroken serve --new-key TEAM makes a key), or set "
                "allow_anonymous = true if something in front of the gateway keeps others out",
            )
    for n, name in enumerate(config.hosts):
        if not _HOST.fullmatch(name):
            remedy = "write a host name, with its port or without, and no pattern"
            yield Problem(key=f"hosts[{n}]", text=f"found {shown(name)}", remedy=remedy)
    for n, origin in enumerate(config.origins):
        parts = _split(origin)
        whole = parts is not None and parts.scheme in ("http", "https") and parts.hostname
        if parts is None or not whole or f"{parts.scheme}://{parts.netloc}" != origin:
            remedy = "write scheme and host alone, as https://chat.example.com"
            yield Problem(key=f"origins[{n}]", text=f"found {shown(origin)}", remedy=remedy)


def _callers(config: GatewayConfig) -> Iterator[Problem]:
    teams = Counter(each.team for each in config.callers)
    hashes: dict[str, str] = {}
    for n, caller in enumerate(config.callers):
        at = f"callers[{n}]"
        if not caller.team.strip():
            yield Problem(key=f"{at}.team", text="it is empty", remedy="name the team")
        elif teams[caller.team] > 1:
            remedy = "list all of a team's keys in one entry: key_sha256 = [...]"
            text = f"the team {caller.team!r} stands here {teams[caller.team]} times"
            yield Problem(key=f"{at}.team", text=text, remedy=remedy)
            teams[caller.team] = 0  # told once
        if not caller.hashes and caller.key is None:
            remedy = "make one with unbroken serve --new-key TEAM"
            yield Problem(key=at, text="it has no key", remedy=remedy)
        if caller.key is not None and len(caller.key.reveal()) < _ENCODED_SECRET_BYTES:
            yield Problem(
                key=f"{at}.key",
                text="it has fewer than 32 characters, and could be guessed",
                remedy="make one with unbroken serve --new-key TEAM",
            )
        for each in caller.hashes:
            where = f"{at}.key_sha256"
            if not _SHA256.fullmatch(each):
                text = "it is not a SHA-256 in hex, which has 64 digits"
                yield Problem(key=where, text=text, remedy="write the key's hash, not the key")
            elif hashes.setdefault(each.lower(), caller.team) != caller.team:
                text = f"the same key belongs to {hashes[each.lower()]!r}"
                yield Problem(key=where, text=text, remedy="give each team a key of its own")


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # it is only here that a port that is no number is noticed
    except ValueError:
        return None
    return parts


def _upstream(name: str, upstream: UpstreamConfig) -> Iterator[Problem]:
    at = f"upstreams.{name}"
    url = upstream.url or KNOWN.get(name, "")
    if not url:
        remedy = f'add url = "https://..."; only {", ".join(KNOWN)} need none'
        yield Problem(key=f"{at}.url", text="it is missing", remedy=remedy)
    else:
        yield from _url(f"{at}.url", url, keyed=upstream.key is not None)
    if upstream.dialect:
        yield from _dialect(f"{at}.dialect", upstream.dialect)
    for header, value in upstream.headers.items():
        where = f"{at}.headers.{header}"
        written = value.source == "the file" or value.source == "code"
        if header.lower() in _KEY_HEADERS and written:
            remedy = 'write { env = "NAME" } or { file = "/path" }'
            yield Problem(key=where, text="found a secret written out", remedy=remedy)
        if re.search(r"[\r\n\0]", header + value.reveal()) or not header.isascii():
            text = "it holds a line end, or its name is not ASCII"
            yield Problem(key=where, text=text, remedy="write it on one line")
    if upstream.cafile and not Path(upstream.cafile).expanduser().is_file():
        remedy = "write the path of a file of certificates (PEM)"
        yield Problem(key=f"{at}.cafile", text="there is no such file", remedy=remedy)
    if upstream.proxy is not None:
        proxy = _split(upstream.proxy.reveal())
        if proxy is None or proxy.scheme not in ("http", "https") or not proxy.hostname:
            remedy = "write http://host:port"
            yield Problem(key=f"{at}.proxy", text="it is not the URL of a proxy", remedy=remedy)
        elif proxy.password and upstream.proxy.source in ("the file", "code"):
            remedy = 'write the whole URL as { env = "NAME" } or { file = "/path" }'
            yield Problem(key=f"{at}.proxy", text="found a password written out", remedy=remedy)


def _url(key: str, url: str, *, keyed: bool) -> Iterator[Problem]:
    parts = _split(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        remedy = "write an absolute URL, as https://api.openai.com/v1"
        yield Problem(key=key, text=f"found {shown(url)}", remedy=remedy)
        return
    if parts.username is not None or parts.password is not None:
        yield Problem(key=key, text="it holds a name or password", remedy="use key or headers")
    if parts.query or parts.fragment or "?" in url or "#" in url:
        remedy = "leave that out: a request's own query is passed on"
        yield Problem(key=key, text="it holds a query or fragment", remedy=remedy)
    if parts.scheme == "http" and keyed and not is_loopback(parts.hostname):
        text = f"the key is sent to {parts.hostname} without encryption"
        yield _warning(key, text, "use https, unless that network is yours alone")


def _dialect(key: str, name: str) -> Iterator[Problem]:
    try:
        by_name(name)
    except ValueError:
        from unbroken.core.dialects import DIALECTS

        text = f"no dialect is called {name!r:.60}"
        yield Problem(key=key, text=text, remedy=did_you_mean(name, DIALECTS))


def _routes(config: GatewayConfig) -> Iterator[Problem]:
    upstreams = upstreams_of(config)
    unknown = [name for name in config.upstreams if name not in KNOWN]
    if not config.routes and len(config.upstreams) > 1 and unknown:
        text = f"no route leads to {', '.join(map(repr, unknown))}"
        yield Problem(key="routes", text=text, remedy="say with [[routes]] what goes where")
    for n, route in enumerate(config.routes):
        yield from _route(route, f"routes[{n}]", upstreams, config.mode)
    names = Counter(each.name for each in config.routes if each.name)
    for n, route in enumerate(config.routes):
        if names[route.name] > 1:
            names[route.name] = 0
            remedy = "give each its own name, so that metrics can tell them apart"
            text = f"several routes are called {route.name!r}"
            yield _warning(f"routes[{n}].name", text, remedy)
    whole = [n for n, each in enumerate(config.routes) if _takes_all(each)]
    if whole and whole[0] < len(config.routes) - 1:
        text = f"nothing reaches it, since routes[{whole[0]}] takes every request"
        yield _warning(f"routes[{whole[0] + 1}]", text, "put it before that one")


def _takes_all(route: RouteConfig) -> bool:
    return (route.path, route.prefix, route.model) in (("*", "", "*"), ("/*", "", "*"))


def _route(
    route: RouteConfig, at: str, upstreams: dict[str, UpstreamConfig], mode: str
) -> Iterator[Problem]:
    yield from _named(f"{at}.upstream", route.upstream, upstreams)
    if route.prefix and (not route.prefix.startswith("/") or route.prefix.endswith("/")):
        remedy = "begin it with a slash, and end it without, as /groq"
        yield Problem(key=f"{at}.prefix", text=f"found {shown(route.prefix)}", remedy=remedy)
    if route.path and route.path[0] not in "/*":
        remedy = "begin it with a slash or a star, as /v1/chat/*"
        yield Problem(key=f"{at}.path", text=f"found {shown(route.path)}", remedy=remedy)
    try:
        OnDisconnect.read(route.on_disconnect)
    except ValueError as problem:
        text = f"found {shown(route.on_disconnect)}"
        yield Problem(key=f"{at}.on_disconnect", text=text, remedy=str(problem))
    yield from options_of(route, at, mode=mode)[1]
    kinds = [str(kind) for kind in FaultKind]
    for n, target in enumerate(route.targets):
        where = f"{at}.targets[{n}]"
        if target.upstream:
            yield from _named(f"{where}.upstream", target.upstream, upstreams)
        elif not target.model:
            text = "it names neither an upstream nor a model"
            yield Problem(key=where, text=text, remedy="add one, or both")
        for kind in target.when:
            if kind not in kinds:
                text = f"no fault is called {kind!r:.60}"
                yield Problem(key=f"{where}.when", text=text, remedy=did_you_mean(kind, kinds))


def _named(key: str, name: str, upstreams: dict[str, UpstreamConfig]) -> Iterator[Problem]:
    if name not in upstreams:
        text = f"no upstream is called {name!r:.60}"
        yield Problem(key=key, text=text, remedy=did_you_mean(name, upstreams))


def _journal(config: GatewayConfig) -> Iterator[Problem]:
    journal = config.journal
    if journal.kind == "memory":
        if config.workers > 1:
            yield Problem(
                key="workers",
                text=f"{config.workers} workers cannot share a journal in memory",
                remedy='set journal.kind = "redis" with its url and key, or workers = 1',
            )
        if journal.url:
            text = "it is not used by a journal in memory"
            yield Problem(key="journal.url", text=text, remedy='set journal.kind = "redis"')
        return
    parts = _split(journal.url)
    if parts is None or parts.scheme not in ("redis", "rediss", "unix"):
        remedy = "write redis://host:6379/0"
        text = f"found {shown(journal.url)}" if journal.url else "it is missing"
        yield Problem(key="journal.url", text=text, remedy=remedy)
    elif parts.password:
        remedy = 'take it out, and set journal.password = { env = "NAME" }'
        yield Problem(key="journal.url", text="found a password written out", remedy=remedy)
    make = "make one with: openssl rand -base64 32"
    if journal.key is None:
        text = "it is missing, and nothing is kept in Redis unencrypted"
        yield Problem(key="journal.key", text=text, remedy=make)
    else:
        yield from _cipher_key("journal.key", journal.key.reveal(), make)
    for n, key in enumerate(journal.old_keys):
        yield from _cipher_key(f"journal.old_keys[{n}]", key.reveal(), make)
    if config.resume.enabled and config.resume.secret is None:
        text = "it is missing, and replicas must know each other's tokens"
        yield Problem(key="resume.secret", text=text, remedy=make)


def _cipher_key(key: str, text: str, remedy: str) -> Iterator[Problem]:
    try:
        size = len(base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True))
    except (binascii.Error, ValueError):
        size = -1
    if size != _ENCODED_SECRET_BYTES:
        found = "it is not base64" if size < 0 else f"it holds {size} bytes"
        yield Problem(key=key, text=f"{found}, and must be 32 bytes in base64", remedy=remedy)


def _passing_keys(config: GatewayConfig) -> Iterator[Problem]:
    secret = config.resume.secret
    if secret is not None and len(secret.reveal()) < _ENCODED_SECRET_BYTES:
        remedy = "make one with: openssl rand -base64 32"
        yield Problem(key="resume.secret", text="it has fewer than 32 characters", remedy=remedy)
    if not config.callers:
        return
    upstreams = upstreams_of(config)
    for name in dict.fromkeys(each.upstream for each in routes_of(config)):
        each = upstreams.get(name)
        parts = _split(each.url) if each else None
        if each is None or each.key or parts is None or is_loopback(parts.hostname or ""):
            continue
        if not any(header.lower() in _KEY_HEADERS for header in each.headers):
            text = "it has no key, and the keys of callers are not sent to it"
            remedy = "add key, or let callers send its key as ever and theirs in x-unbroken-key"
            yield _warning(f"upstreams.{name}.key", text, remedy)
