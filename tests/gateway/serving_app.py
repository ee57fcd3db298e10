"""A small application for the tests of serving, and the program that serves it.

    python -m tests.gateway.serving_app FILE.toml

``/stream?s=2`` streams for two seconds; ``/pid``, ``/mode``, ``/worker`` tell; ``/feed`` never
ends and is nothing to wait for; ``/die`` ends the process.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from unbroken.gateway.config import GatewayConfig, Problem
from unbroken.gateway.config.problems import ConfigError


class App:
    def __init__(
        self, config: GatewayConfig, *, run_dir: Path | None = None, worker: int = 0
    ) -> None:
        self.config = config
        self.run_dir = run_dir
        self.worker = worker
        self.draining = False
        self.active_streams = 0

    async def startup(self) -> None:
        if "dies-at-once" in self.config.hosts:
            os._exit(7)
        if "no-start" in self.config.hosts:
            raise ConfigError([Problem(key="hosts", text="no start", remedy="take it out")])

    async def shutdown(self) -> None:
        print("shut down", file=sys.stderr, flush=True)

    def reload(self, config: GatewayConfig) -> None:
        self.config = config

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        if path == "/die":
            os._exit(9)
        if path == "/feed":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"feed", "more_body": True})
            await asyncio.sleep(3600)
        if path == "/stream":
            self.active_streams += 1
            try:
                await self._stream(float(scope["query_string"].partition(b"=")[2]), send)
            finally:
                self.active_streams -= 1
            return
        told = {
            "/pid": str(os.getpid()),
            "/mode": self.config.mode,
            "/listen": self.config.listen,
            "/worker": str(self.worker),
            "/run_dir": str(self.run_dir),
        }.get(path, "")
        status = 503 if self.draining else 200
        headers = [(b"content-length", str(len(told)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": told.encode()})

    async def _stream(self, seconds: float, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(round(seconds * 20)):
            await send({"type": "http.response.body", "body": b".", "more_body": True})
            await asyncio.sleep(0.05)
        await send({"type": "http.response.body", "body": b"end"})


def main() -> int:
    from unbroken.gateway.serving import serve
    from unbroken.gateway.supervisor import Source, supervise

    source = Source(path=sys.argv[1], app="tests.gateway.serving_app:App")
    config = source.load()
    if config.workers > 1:
        return supervise(config, source)
    return serve(config, App, reload=source.load)


if __name__ == "__main__":
    sys.exit(main())
