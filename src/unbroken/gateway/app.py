"""The gateway as an ASGI application: who may come in, where a request goes, what is told of it.

    guard -> callers -> limits -> routes -> a stream (streaming), or anything else (pump)

What can change by a reload is in one `Setup`, which a request takes once and keeps to its end; what
outlives it (journal, health, limits) is the gateway's.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from starlette.applications import Starlette

from unbroken.core.dialects.base import Dialect
from unbroken.core.request import Request
from unbroken.gateway.answers import status_of
from unbroken.gateway.asgi import (
    ClientLeftError,
    FullError,
    Receive,
    Scope,
    Send,
    TooLargeError,
    announced_bytes,
    read_body,
)
from unbroken.gateway.asking import dialect_of, model_of, upstream_headers
from unbroken.gateway.chat import ChatSettings
from unbroken.gateway.config import GatewayConfig
from unbroken.gateway.control import control_app, owns
from unbroken.gateway.exchange import Exchange
from unbroken.gateway.limits import Allowance, AnyLimits, Held, Refusal
from unbroken.gateway.relaying import Asked
from unbroken.gateway.resume import ResumeService
from unbroken.gateway.routes import Route
from unbroken.gateway.secret import derived, process_secret
from unbroken.gateway.setup import Setup
from unbroken.gateway.shared_figures import SharedFigures
from unbroken.gateway.stores import open_journal, open_limits
from unbroken.gateway.streams import Streams
from unbroken.gateway.telling import Telling
from unbroken.relay.messages import Headers, RelayRequest, ResponseHead
from unbroken.relay.pump import pump
from unbroken.telemetry.page import asgi_app

__all__ = ["Gateway"]

_MODE = "x-unbroken-mode"
_STREAM = re.compile(r"/streams/([^/]+)")
_FIGURES_EVERY_S = 1.0


class Gateway:
    """The application. Belongs to one event loop: `startup` before, `shutdown` after.

    Args:
        config: What may be asked of whom.
        run_dir: Where the workers of one gateway leave their figures for each other; None where
            there is one worker.
        worker: This worker's number, from 0.

    Attributes:
        config: The configuration in force.
        draining: Set to be told as not ready; what runs goes on.
        monitor: The health of all streams of this worker.
    """

    def __init__(
        self, config: GatewayConfig, *, run_dir: Path | None = None, worker: int = 0
    ) -> None:
        self.config = config
        self.draining = False
        self._telling = Telling(config.telemetry)
        self.monitor = self._telling.monitor
        self._secret = process_secret(run_dir)
        self._page_token = derived(self._secret, "page").hex()
        self._setup: Setup
        self._streams: Streams
        self._limits: AnyLimits
        self._figures = None if run_dir is None else SharedFigures(run_dir, self.monitor)
        self._writing: asyncio.Task[None] | None = None
        self._page = self._make_page() if config.telemetry.page else None
        self._control = control_app(
            ready=lambda: "draining" if self.draining else "",
            active=lambda: self.active_streams,
            page=self._page,
            flights=lambda: self._telling.flights,
        )
        self._held = Allowance(config.limits.max_buffer_bytes)
        self._closing: set[asyncio.Future[None]] = set()  # the loop alone could forget them
        self._active = 0

    @property
    def active_streams(self) -> int:
        """Requests that run, and streams that nobody reads now."""
        return max(self._active, self._streams.unattended)

    def _make_page(self) -> Starlette:
        shared = self._figures
        return asgi_app(
            self.monitor,
            figures=None if shared is None else shared.figures,
            rows=None if shared is None else shared.active,
            faults=None if shared is None else shared.latest_faults,
            find=None if shared is None else shared.stream,
            workers=None if shared is None else shared.workers,
            chat=ChatSettings(),
            page_token=self._page_token,
        )

    # Life ---------------------------------------------------------------------------------

    async def startup(self) -> None:
        """Make what needs the event loop.

        Raises:
            ConfigError: If the configuration cannot be used.
        """
        config = self.config
        self._setup = Setup(config, page_token=self._page_token)
        await self._setup.__aenter__()
        journal = open_journal(config)
        secret = config.resume.secret
        service = ResumeService(
            journal,
            secrets=[
                derived(self._secret, "resume") if secret is None else secret.reveal().encode()
            ],
            enabled=config.resume.enabled,
            on_conflict=config.resume.on_conflict,
            token_s=config.resume.token_s,
        )
        self._streams = Streams(service, self._telling)
        self._limits = open_limits(config)
        if self._page is not None:
            self._page.state.feed.start()
        if self._figures is not None:
            self._writing = asyncio.create_task(self._write_figures(self._figures))

    async def shutdown(self) -> None:
        """Let go of everything; what still runs is cut."""
        if self._page is not None:
            self._page.state.feed.close()
        await self._streams.aclose()
        if self._writing is not None:
            self._writing.cancel()
        if self._figures is not None:
            self._figures.close()
        await self._setup.__aexit__()
        await self._limits.aclose()
        await asyncio.to_thread(self._telling.close)

    async def reload(self, config: GatewayConfig) -> None:
        """Serve new requests by another configuration; what runs goes on by its own.

        Raises:
            ConfigError: If it cannot be used; the old one stays in force.
        """
        made = Setup(config, page_token=self._page_token)
        await made.__aenter__()
        old, self._setup, self.config = self._setup, made, config
        self._telling.reload(config.telemetry)
        if not old.users:
            await old.__aexit__()

    async def _write_figures(self, figures: SharedFigures) -> None:
        while True:
            figures.write()
            await asyncio.sleep(_FIGURES_EVERY_S)

    def _hold(self, setup: Setup) -> Callable[[], None]:
        """Keep a configuration's connections open until what this returns is called."""
        setup.users += 1

        def release() -> None:
            setup.users -= 1
            if not setup.users and setup is not self._setup:
                closing = asyncio.ensure_future(setup.__aexit__())
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)

        return release

    # Requests -----------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, as ASGI has it."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            exchange = Exchange(scope, receive, send)
            with contextlib.suppress(ClientLeftError), self._telling.request(exchange):
                await self._serve(exchange)
        else:  # a WebSocket: refused before it is accepted, which is a 403
            await send({"type": "websocket.close", "code": 1008})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] != "lifespan.shutdown":
            if message["type"] == "lifespan.startup":
                try:
                    await self.startup()
                except Exception as error:  # noqa: BLE001 - said by the protocol's own words
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
        await self.shutdown()
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, exchange: Exchange) -> None:
        setup = self._setup
        guard = setup.guard
        server = (exchange.scope.get("server") or ("",))[0] or ""
        refusal = guard.check(exchange.method, exchange.path, exchange.headers, server=server)
        exchange.more += guard.cors(exchange.headers)
        if refusal is not None:
            await exchange.refuse(refusal.status, refusal.kind, refusal.message)
            return
        if (preflight := guard.preflight(exchange.method, exchange.headers)) is not None:
            exchange.more.clear()
            await exchange.answer(ResponseHead(status=204, headers=preflight, framing="none"))
            return
        if owns(exchange.path):
            await self._control(exchange.scope, exchange.receive, exchange.send)
            return
        dialect = dialect_of(exchange.method, exchange.target)
        exchange.dialect = "" if dialect is None else dialect.name
        stream = _STREAM.fullmatch(exchange.path)
        exchange.caller = setup.callers.who(exchange.scope["headers"])
        if exchange.caller is None and stream is None:
            await exchange.refuse(401, "key-refused", "no key of this gateway came with it")
            return
        self._active += 1
        try:
            with contextlib.ExitStack() as costs:
                costs.callback(self._hold(setup))
                if stream is not None:
                    await self._read_on(exchange, stream[1])
                else:
                    await self._admitted(exchange, setup, dialect, costs)
        finally:
            self._active -= 1

    async def _read_on(self, exchange: Exchange, stream_id: str) -> None:
        match exchange.method:
            case "GET":
                await self._streams.attach(exchange, stream_id)
            case "DELETE":
                await self._streams.stop(exchange, stream_id)
            case _:
                await exchange.refuse(405, "method-not-known", "a stream knows GET and DELETE")

    async def _admitted(
        self, exchange: Exchange, setup: Setup, dialect: Dialect | None, costs: ExitStack
    ) -> None:
        """Serve a request of somebody who may call, within the limits.

        Args:
            exchange: The request.
            setup: The configuration that it is served by.
            dialect: What its path speaks.
            costs: What is given back at its end, or at that of a stream that outlives it.
        """
        assert exchange.caller is not None
        announced = announced_bytes(exchange.headers)
        admission = await self._limits.aadmit(exchange.caller, announced, time.monotonic())
        if isinstance(admission, Refusal):
            wait: Headers = [("retry-after", admission.retry_after)]
            await exchange.refuse(429, "limit-reached", admission.reason, wait)
            return
        costs.callback(lambda: admission.release(exchange.downstream.sent_bytes, time.monotonic()))
        body = b""
        if dialect is not None:
            held = costs.enter_context(Held(self._held))
            limit = self.config.limits.max_request_bytes
            try:
                body = await read_body(
                    exchange.receive, exchange.headers, limit_bytes=limit, take=held.take
                )
            except TooLargeError:
                message = f"the request is larger than {limit} bytes (limits.max_request_bytes)"
                await exchange.refuse(413, "request-too-large", message)
                return
            except FullError:
                message = "too much is held for other requests (limits.max_buffer_bytes)"
                await exchange.refuse(503, "gateway-full", message, [("retry-after", "1")])
                return
        path = exchange.target.partition("?")[0]
        model = model_of(path, body)
        route = setup.routes.choose(exchange.method, path, model)
        exchange.facts.update(bytes_in=len(body), model=model)
        if route is None:
            message = f"no route of this gateway takes this path and model ({exchange.method})"
            if exchange.path == "/" and self._page is not None:
                message += "; the live page is at /_unbroken/"
            await exchange.refuse(404, "no-route", message)
        elif dialect is None:
            await self._pass(exchange, setup, route)
        else:
            await self._ask(exchange, setup, route, dialect, body, model or "", costs)

    async def _pass(
        self, exchange: Exchange, setup: Setup, route: Route, request: Request | None = None
    ) -> None:
        """Pass a request on that is no stream, and its answer back: bytes as they come.

        Args:
            exchange: The request.
            setup: The configuration that it is served by.
            route: Where it goes.
            request: As it goes upstream, if its body was read already.
        """
        exchange.facts.update(route=route.name, provider=route.provider)
        client = setup.client(route)
        path, _, query = exchange.target.partition("?")
        target = client.target_of(route.url_for(path, query))
        assert target is not None, "a route's URL is one of its upstream's"
        passes = request is None and exchange.has_body
        headers = (
            # Nothing of ours is done with the key of a request that we do not know.
            upstream_headers(
                exchange.scope["headers"], route, setup.callers, None, forward_key=True
            )
            if request is None
            else list(request.headers)
        )
        relayed = RelayRequest(
            method=exchange.method,
            target=target,
            headers=headers,
            body=b"" if request is None else request.body,
            reading=exchange.downstream.request_body() if passes else None,
        )
        passage = await pump(lambda: client.ask(relayed), exchange.downstream)
        if passage.ended == "unanswered" and passage.failure is not None:
            failure = passage.failure
            await exchange.refuse(status_of(failure), "connect-failed", str(failure))

    async def _ask(
        self,
        exchange: Exchange,
        setup: Setup,
        route: Route,
        dialect: Dialect,
        body: bytes,
        model: str,
        costs: ExitStack,
    ) -> None:
        """Serve a request in a dialect: a stream, unless it asks for none."""
        try:
            options = route.options
            if (named := exchange.header(_MODE)) is not None:
                options = options.with_mode(named)
        except ValueError as error:
            await exchange.refuse(400, "unknown-mode", f"{_MODE}: {error}")
            return
        path, _, query = exchange.target.partition("?")
        forward_key = self.config.resume.forward_key
        headers = upstream_headers(
            exchange.scope["headers"], route, setup.callers, dialect, forward_key=forward_key
        )
        request = Request(
            method=exchange.method,
            url=route.url_for(path, query),
            headers=tuple(headers),
            body=body,
        )
        if options.mode == "off" or not dialect.wants_stream(request):
            await self._pass(exchange, setup, route, request)
            return
        if options.mode == "heal" and len(body) > options.max_replay_bytes:
            options = options.with_mode("raise")
            exchange.more.append(("x-unbroken-healing", "off; the request is too large to keep"))
        asked = Asked(
            request=request,
            dialect=dialect,
            options=options,
            client=setup.client(route),
            heartbeat_s=route.heartbeat_s,
        )
        await self._streams.serve(exchange, asked, route, setup.upstreams, model=model, costs=costs)
