"""All that follows from one configuration, made at once and replaced at once by a reload."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Self

from unbroken.gateway.callers import Callers
from unbroken.gateway.config import GatewayConfig
from unbroken.gateway.guard import Guard
from unbroken.gateway.routes import Route, Routes, Upstream
from unbroken.gateway.upstreams import Upstreams
from unbroken.relay.upstream import UpstreamClient, UpstreamOptions

__all__ = ["Setup"]


class Setup:
    """One configuration in force; an async context manager, bound to its loop.

    A request takes the one that is in force when it comes, and keeps it to its end: `users` counts
    them, so that connections are closed only when nobody is left.

    Args:
        config: The configuration, checked.
        page_token: What the live page shows with its requests.

    Attributes:
        users: Requests that run by it.

    Raises:
        ConfigError: If the configuration cannot be used.
    """

    def __init__(self, config: GatewayConfig, *, page_token: str) -> None:
        self.config = config
        self.routes = Routes(config)
        self.callers = Callers(config)
        named = self.routes.upstreams
        self.guard = Guard(
            hosts=config.hosts,
            origins=config.origins,
            page_token=page_token,
            injects_keys=any(each.key or each.headers for each in named.values()),
        )
        self.upstreams = Upstreams({name: _options(each) for name, each in named.items()})
        self.users = 0

    async def __aenter__(self) -> Self:
        await self.upstreams.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.upstreams.__aexit__(*exc)

    def client(self, route: Route) -> UpstreamClient:
        """Return what asks a route's upstream."""
        return self.upstreams.named(route.upstream.name)


def _options(upstream: Upstream, environment: Mapping[str, str] = os.environ) -> UpstreamOptions:
    return UpstreamOptions(
        url=upstream.url,
        connect_s=upstream.connect_s,
        cafile=upstream.cafile or None,
        proxy=upstream.proxy or "",
        # As every other client of the machine: HTTPS_PROXY, NO_PROXY.
        trust_env=any(name.lower().endswith("_proxy") for name in environment),
        reuse=upstream.reuse,
        hide=("x-unbroken-",),
    )
