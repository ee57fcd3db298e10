"""Which route a request takes: to which upstream, under which options.

Everything is compiled once, from the configuration; for a request there are a few patterns to
match. A request never says where it is sent: it chooses among the configured upstreams by path
and model, and what it adds to an upstream's URL begins with a slash.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from unbroken.core.dialects import recognise_request
from unbroken.core.faults import FaultKind
from unbroken.core.options import Options
from unbroken.core.request import Request
from unbroken.core.target import Target
from unbroken.gateway.config import (
    ConfigError,
    GatewayConfig,
    OnDisconnect,
    RouteConfig,
    TargetConfig,
    UpstreamConfig,
    check,
)
from unbroken.gateway.config.known import routes_of, upstreams_of
from unbroken.gateway.config.policy import options_of

__all__ = ["Route", "Routes", "Upstream"]

# A path that means another one to whoever tidies it up: a route's pattern must not be passed by.
_DOTS = re.compile(
    r"(?:^|[/\\]|%2f|%5c)(?:\.|%2e){1,2}(?:[/\\;]|%2f|%5c|$)|\\|[\x00-\x20\x7f#?]", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """An upstream, ready to be asked.

    Attributes:
        name: Its name in the configuration.
        url: Where it is; requests are addressed by `Route.url_for`.
        dialect: What it speaks, or empty: each request's path tells it.
        key: Sent in place of the caller's, or None.
        headers: Further headers for it; they win.
        cafile: Certificates of its authority, or empty.
        proxy: The proxy to reach it through, or None; may hold a password.
        connect_s: Seconds to open a connection.
        reuse: Whether connections are used again.
    """

    name: str
    url: str
    dialect: str = ""
    key: str | None = field(default=None, repr=False)
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    cafile: str = ""
    proxy: str | None = field(default=None, repr=False)
    connect_s: float = 10.0
    reuse: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where a request goes, and how it is treated.

    Attributes:
        name: What metrics and the page call it.
        upstream: Who is asked.
        prefix: What is taken off the path.
        options: How its streams are treated; targets have their keys.
        on_disconnect: What happens when the client goes without Stop.
        on_disconnect_resumable: The same, where the client asked to be able to resume.
        heartbeat_s: Seconds of silence before a heartbeat; None sends none.
    """

    name: str
    upstream: Upstream
    prefix: str
    options: Options
    on_disconnect: OnDisconnect
    on_disconnect_resumable: OnDisconnect
    heartbeat_s: float | None
    _base: str = field(repr=False)
    _ends: tuple[str, ...] = field(repr=False)

    @property
    def provider(self) -> str:
        """A short label out of a bounded set: the upstream's name."""
        return self.upstream.name

    def url_for(self, path: str, query: str = "") -> str:
        """Return the URL to ask.

        Args:
            path: The request's own path, as it came, percent signs and all.
            query: Its query, as it came, without the question mark.
        """
        path = path[len(self.prefix) :]
        for end in self._ends:
            if path.startswith(end) and path[len(end) : len(end) + 1] in ("", "/"):
                path = path[len(end) :]
                break
        return f"{self._base}{path}?{query}" if query else self._base + path


@dataclass(frozen=True, slots=True)
class _Compiled:
    prefix: str
    path: re.Pattern[str]
    model: re.Pattern[str] | None
    route: Route
    for_openai: Route  # the same, with targets by OpenAI's habits


class Routes:
    """All routes of a configuration.

    Args:
        config: The configuration, checked or not.

    Raises:
        ConfigError: If it cannot be used.
    """

    def __init__(self, config: GatewayConfig) -> None:
        problems = check(config)
        if any(each.severity == "error" for each in problems):
            raise ConfigError(problems)
        self.upstreams: dict[str, Upstream] = {
            name: _upstream(name, each) for name, each in upstreams_of(config).items() if each.url
        }
        self._compiled = [
            self._compile(route, f"routes[{n}]", config.mode)
            for n, route in enumerate(routes_of(config))
        ]
        self.all: tuple[Route, ...] = tuple(each.route for each in self._compiled)

    def choose(self, method: str, path: str, model: str | None) -> Route | None:
        """Return the route of a request, or None if there is none for it.

        Args:
            method: Its method; every route takes any.
            path: Its path as it came, without the query. One that holds ``..`` or the like
                has no route, since an upstream may read it as another path.
            model: The model that it asks for, or None.
        """
        if path[:1] != "/" or _DOTS.search(path):
            return None
        for each in self._compiled:
            if each.prefix and not path.startswith(each.prefix):
                continue
            rest = path[len(each.prefix) :]
            if rest[:1] != "/" or not each.path.fullmatch(rest):
                continue
            if each.model is not None and (model is None or not each.model.fullmatch(model)):
                continue
            return each.route if each.route is each.for_openai else self._by_dialect(each, rest)
        return None

    @staticmethod
    def _by_dialect(each: _Compiled, path: str) -> Route:
        """Choose between two ways to address targets by what the request speaks."""
        url = f"http://upstream{path}"
        dialect = recognise_request(Request(method="POST", url=url))
        is_openai = dialect is not None and dialect.name.startswith("openai")
        return each.for_openai if is_openai else each.route

    def _compile(self, route: RouteConfig, at: str, mode: str) -> _Compiled:
        upstream = self.upstreams[route.upstream]
        parts = urlsplit(upstream.url)
        base = f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")
        steps = parts.path.strip("/").split("/") if parts.path.strip("/") else []
        ends = tuple("/" + "/".join(steps[n:]) for n in range(len(steps)))

        def made(*, openai: bool) -> Route:
            targets = tuple(self._target(each, upstream, openai=openai) for each in route.targets)
            options, _ = options_of(route, at, mode=mode, targets=targets)
            return Route(
                name=route.name or upstream.name,
                upstream=upstream,
                prefix=route.prefix,
                options=options,
                on_disconnect=OnDisconnect.read(route.on_disconnect),
                on_disconnect_resumable=OnDisconnect.read(route.on_disconnect, resumable=True),
                heartbeat_s=route.heartbeat_s,
                _base=base,
                _ends=ends,
            )

        plain, openai = made(openai=False), made(openai=True)
        return _Compiled(
            prefix=route.prefix,
            path=_pattern(route.path),
            model=None if route.model == "*" else _pattern(route.model),
            route=plain,
            for_openai=plain if plain.options == openai.options else openai,
        )

    def _target(self, target: TargetConfig, own: Upstream, *, openai: bool) -> Target:
        when: dict[str, Any] = (
            {"when": frozenset(FaultKind(kind) for kind in target.when)} if target.when else {}
        )
        if not target.upstream:
            return Target(model=target.model, mid_answer=target.mid_answer, **when)
        other = self.upstreams[target.upstream]
        is_openai = other.dialect.startswith("openai") if other.dialect else openai
        url = other.url.rstrip("/")
        if is_openai and not urlsplit(url).path:
            url += "/v1"  # where a host alone is given; the other dialects add theirs themselves
        return Target(
            name=f"{other.name} {target.model}".strip(),
            model=target.model or None,
            base_url=url,
            api_key=other.key,
            headers=other.headers,
            dialect=other.dialect or None,
            mid_answer=target.mid_answer,
            **when,
        )


def _upstream(name: str, config: UpstreamConfig) -> Upstream:
    return Upstream(
        name=name,
        url=config.url,
        dialect=config.dialect,
        key=config.key.reveal() if config.key else None,
        headers={header.lower(): value.reveal() for header, value in config.headers.items()},
        cafile=config.cafile,
        proxy=config.proxy.reveal() if config.proxy else None,
        connect_s=config.connect_s,
        reuse=config.reuse,
    )


def _pattern(glob: str) -> re.Pattern[str]:
    """Compile ``*`` and ``?``; everything else stands for itself."""
    parts = {"*": ".*", "?": "."}
    return re.compile("".join(parts.get(each) or re.escape(each) for each in glob), re.DOTALL)
