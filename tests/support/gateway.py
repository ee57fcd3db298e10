"""The real gateway in a thread of the test's, on a free port, as `unbroken serve` runs it."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unbroken.gateway.app import Gateway
from unbroken.gateway.config import GatewayConfig, LimitsConfig, RouteConfig, UpstreamConfig
from unbroken.gateway.listening import bind
from unbroken.gateway.serving import serve

__all__ = ["Serving", "config_for", "serving"]

# The budget of heals is the process's: here it is that of the whole test run.
PLENTY = {"heals_always": 1_000_000, "breaker_failures": 0}


@dataclass
class Serving:
    """A gateway that runs.

    Attributes:
        url: Its root.
        app: The application; to be looked at, not to be called from here.
        loop: Its event loop.
        said: What it told whoever started it.
    """

    url: str
    port: int
    said: list[str] = field(default_factory=list)
    app: Any = None
    loop: Any = None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"


def config_for(
    upstream: str, *, options: dict[str, Any] | None = None, **more: Any
) -> GatewayConfig:
    """Return a configuration that sends everything to one upstream.

    Args:
        upstream: Its root.
        options: Of the route.
        more: Fields of the configuration, or of the one route.
    """
    own = {name: more.pop(name) for name in list(more) if name in RouteConfig.__struct_fields__}
    # A field that both have is the route's, which is what a test means.
    route = RouteConfig(upstream="lab", options={**PLENTY, **(options or {})}, **own)
    more.setdefault("upstreams", {"lab": UpstreamConfig(url=upstream)})
    more.setdefault("routes", (route,))
    more.setdefault("limits", LimitsConfig())
    return GatewayConfig(listen="127.0.0.1:0", **more)


@contextmanager
def serving(config: GatewayConfig, *, run_dir: Path | None = None) -> Iterator[Serving]:
    """Serve until the block ends; what runs then is cut."""
    sock = bind("127.0.0.1", 0)
    port = sock.getsockname()[1]
    running = Serving(url=f"http://127.0.0.1:{port}", port=port)
    lifeline, end = os.pipe()
    ready = threading.Event()
    before = gc.get_threshold()

    def factory(config: GatewayConfig, **more: Any) -> Gateway:
        running.app = Gateway(config, **more)
        running.loop = asyncio.get_running_loop()
        return running.app

    def run() -> None:
        try:
            serve(
                config,
                factory,
                sock=sock,
                say=running.said.append,
                on_ready=ready.set,
                lifeline=lifeline,
                run_dir=run_dir,
            )
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="gateway", daemon=True)
    thread.start()
    try:
        assert ready.wait(20), "the gateway did not start"
        assert thread.is_alive(), f"the gateway did not start: {running.said}"
        yield running
    finally:
        os.close(end)
        thread.join(20)
        os.close(lifeline)
        gc.unfreeze()
        gc.set_threshold(*before)
        assert not thread.is_alive(), f"the gateway does not end: {running.said}"
