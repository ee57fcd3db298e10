"""One process that serves: listens, says where, reloads, and drains before it ends.

SIGTERM or Ctrl-C: nothing new is taken, and what runs has ``drain_s`` seconds to end; a second
one ends all at once. SIGHUP: the configuration is read again, and holds for what comes from then
on; one that cannot be used is reported, and the old one stays.

The server is uvicorn's, with `HttpProtocol` instead of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import msgspec
import uvicorn

from unbroken.gateway.config import ConfigError, GatewayConfig
from unbroken.gateway.http import HttpProtocol, protocol_factory
from unbroken.gateway.http_limits import HttpLimits, Sweeper
from unbroken.gateway.listening import BACKLOG, bind, greeting

__all__ = ["App", "AppFactory", "own_line", "serve"]

_SAY_EVERY_S = 10.0
_FEW = 2000  # connections; fewer may surprise
_CUT_S = 1.0  # for what is cancelled to end
_FIXED = ("listen", "workers", "journal")  # settings that a reload does not change


class App(Protocol):
    """What is served: an ASGI application that can be reloaded and drained.

    Attributes:
        draining: Set when nothing new is taken any more.
    """

    draining: bool

    @property
    def active_streams(self) -> int:
        """What a drain waits for; those that nobody reads now too."""
        ...

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...
    async def startup(self) -> None: ...
    async def shutdown(self) -> None: ...
    def reload(self, config: GatewayConfig) -> Awaitable[None] | None: ...


class AppFactory(Protocol):
    """Makes the application; `unbroken.gateway.app.Gateway` is one."""

    def __call__(
        self, config: GatewayConfig, *, run_dir: Path | None = None, worker: int = 0
    ) -> App: ...


def own_line(text: str) -> None:
    """Say something to whoever started the gateway, on standard error."""
    with contextlib.suppress(OSError, ValueError):  # nobody may be there any more
        for line in text.splitlines():
            sys.stderr.write(f"unbroken: {line}\n")
        sys.stderr.flush()


# Serving -----------------------------------------------------------------------------------


def serve(
    config: GatewayConfig,
    app_factory: AppFactory,
    *,
    reload: Callable[[], GatewayConfig] | None = None,
    say: Callable[[str], None] = own_line,
    sock: socket.socket | None = None,
    run_dir: Path | None = None,
    worker: int | None = None,
    on_ready: Callable[[], None] | None = None,
    lifeline: int | None = None,
) -> int:
    """Serve until a signal ends it, and return the exit code.

    Args:
        config: The configuration.
        app_factory: Makes the application.
        reload: Reads the configuration again at SIGHUP; raises `ConfigError`.
        say: Gets lines for whoever started the gateway.
        sock: Listens already; None binds the configured address.
        run_dir: What the workers of one gateway share; None where there is one.
        worker: This worker's number, where there are several.
        on_ready: Called when requests are taken.
        lifeline: A file descriptor whose end means that the parent has died: drain and leave.

    Returns:
        0 when all that ran ended well; 1 when something had to be cut, or did not start; 2 when
        the configuration cannot be used.

    Raises:
        ListenError: If the address cannot be listened on.
    """
    if sock is None:
        sock = bind(*config.address)
    prefix = "" if worker is None else f"worker {worker}: "
    running = _Running(
        config,
        app_factory,
        sock=sock,
        reload=reload,
        say=lambda text: say("\n".join(prefix + line for line in text.splitlines())),
        run_dir=run_dir,
        worker=worker,
        on_ready=on_ready,
        lifeline=lifeline,
    )
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(running.main())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # Windows
        return None
    return uvloop.new_event_loop


class _Server(uvicorn.Server):
    """uvicorn's server without its signals, and with our way to end."""

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        stop: asyncio.Event,
        ready: Callable[[], None],
        drain: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(config)
        self._stop, self._ready, self._drain = stop, ready, drain

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def main_loop(self) -> None:
        while not self._stop.is_set():
            await self.on_tick(0)  # renews the Date header
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), 1.0)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for sock in sockets or []:
            sock.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self._drain()


class _Running:
    """One serving process, from its start to its exit code."""

    def __init__(
        self,
        config: GatewayConfig,
        app_factory: AppFactory,
        *,
        sock: socket.socket,
        reload: Callable[[], GatewayConfig] | None,
        say: Callable[[str], None],
        run_dir: Path | None,
        worker: int | None,
        on_ready: Callable[[], None] | None,
        lifeline: int | None,
    ) -> None:
        self._config = config
        self._app_factory = app_factory
        self._sock = sock
        self._read_config = reload
        self._say = say
        self._run_dir = run_dir
        self._worker = worker
        self._on_ready = on_ready
        self._lifeline = lifeline
        self._code = 0
        self._reloading: asyncio.Task[None] | None = None
        self._again = False

    async def main(self) -> int:
        self._stop, self._force = asyncio.Event(), asyncio.Event()
        limits = _within_open_files(HttpLimits.of(self._config.limits), self._say)
        self._sweeper = Sweeper(limits)
        self._listen_to_signals()
        try:
            self._app = self._app_factory(
                self._config, run_dir=self._run_dir, worker=self._worker or 0
            )
            await self._app.startup()
        except ConfigError as error:
            self._say(f"the configuration cannot be used:\n{error}")
            return 2
        except OSError as error:
            self._say(f"cannot start: {error}")
            return 1
        self._server = _Server(
            uvicorn.Config(
                self._app,
                http=protocol_factory(self._sweeper),  # type: ignore[arg-type]
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                proxy_headers=False,  # who connects is who it is; Host and Origin count
                server_header=False,
                backlog=BACKLOG,
            ),
            stop=self._stop,
            ready=self._ready,
            drain=self._drain,
        )
        try:
            await self._server.serve(sockets=[self._sock])
        finally:
            await self._app.shutdown()
        return self._code

    def _ready(self) -> None:
        gc.collect()
        gc.freeze()  # what is there now stays: nothing to look through at each collection
        # Of thousands of streams a full collection takes 100 ms and more. But each stream leaves
        # some 170 objects in cycles, 15 KiB, which only that frees: one in about 3,000 streams.
        gc.set_threshold(5_000, 10, 10)
        if self._worker is None:
            self._say(greeting(self._sock, self._config))
        if self._on_ready is not None:
            self._on_ready()

    # ------------------------------------------------------------ signals

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(
            NotImplementedError, RuntimeError, ValueError
        ):  # Windows, a thread
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._end)
            loop.add_signal_handler(signal.SIGHUP, self._start_reload)
        if self._lifeline is not None:
            loop.add_reader(self._lifeline, self._parent_spoke)

    def _parent_spoke(self) -> None:
        """The parent never speaks again after the start, so this is its end."""
        assert self._lifeline is not None
        if os.read(self._lifeline, 4096):
            return
        asyncio.get_running_loop().remove_reader(self._lifeline)
        if not self._stop.is_set():
            self._say("the process that started this worker has died: draining")
            self._end()

    def _end(self) -> None:
        if self._stop.is_set():
            self._force.set()
        self._stop.set()
        app = getattr(self, "_app", None)
        if app is not None:
            app.draining = True

    # ------------------------------------------------------------ reload

    def _start_reload(self) -> None:
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.create_task(self._reload())
        else:
            self._again = True

    async def _reload(self) -> None:
        while True:
            self._again = False
            await self._reload_once()
            if not self._again:
                return

    async def _reload_once(self) -> None:
        if self._read_config is None or not hasattr(self, "_server"):
            return
        try:
            new = self._read_config()
            kept = [name for name in _FIXED if getattr(new, name) != getattr(self._config, name)]
            new = msgspec.structs.replace(new, **{n: getattr(self._config, n) for n in kept})
            answer = self._app.reload(new)
            if inspect.isawaitable(answer):
                await answer
        except (ConfigError, OSError) as error:
            self._say(f"the configuration was not reloaded, the old one stays:\n{error}")
            return
        except Exception as error:  # noqa: BLE001 - a bug of ours must not end what runs
            self._say(f"the configuration was not reloaded, the old one stays: {error!r:.200}")
            return
        self._config = new
        self._sweeper.limits = _within_open_files(HttpLimits.of(new.limits), self._say)
        stays = f"; {', '.join(kept)} will change with the next start" if kept else ""
        self._say(f"the configuration was reloaded{stays}")

    # ------------------------------------------------------------ the end

    async def _drain(self) -> None:
        """Wait for what runs; then cut what is left."""
        self._app.draining = True
        loop = asyncio.get_running_loop()
        began = loop.time()
        due, next_word = began + self._config.drain_s, began
        while (left := self._left()) and not self._force.is_set():
            now = loop.time()
            if now >= due:
                break
            if now >= next_word:
                self._say(
                    f"draining: {left} {'stream' if left == 1 else 'streams'} left, "
                    f"for up to {due - now:.0f} s more; a second signal ends at once"
                )
                next_word = now + _SAY_EVERY_S
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._force.wait(), min(0.1, due - now))
        if left:
            self._code = 1
            why = "at a second signal" if self._force.is_set() else "after the time to drain"
            self._say(f"cut {left} {'stream' if left == 1 else 'streams'} {why}")
        else:
            await asyncio.sleep(0.05)  # an answer that has just ended is still on its way
        await self._cut()

    def _left(self) -> int:
        """What still runs: streams, and answers that a slow client has not taken yet."""
        unsent = sum(
            1 for each in self._connections() if each.transport.get_write_buffer_size() > 0
        )
        return max(self._app.active_streams, unsent)

    def _connections(self) -> list[HttpProtocol]:
        return [c for c in self._server.server_state.connections if isinstance(c, HttpProtocol)]

    async def _cut(self) -> None:
        """End what is left: streams that were too long, and the feeds of live pages."""
        tasks = list(self._server.server_state.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CUT_S)
        for connection in self._connections():
            connection.transport.abort()


def _within_open_files(limits: HttpLimits, say: Callable[[str], None]) -> HttpLimits:
    """Take as many open files as we may, and no more connections than they allow.

    A stream takes two: its client's connection and its upstream's.
    """
    try:
        import resource
    except ImportError:  # Windows
        return limits
    wanted = 2 * limits.max_connections + 256
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft != unlimited and soft < wanted:
        top = wanted if hard == unlimited else min(hard, wanted)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (top, hard))
            soft = top
    if soft == unlimited or soft >= wanted:
        return limits
    fits = max(16, (soft - 256) // 2)
    if fits < _FEW or limits.max_connections != HttpLimits().max_connections:  # else nobody asked
        say(
            f"this process may open {soft} files, so it takes {fits} connections at once, "
            f"not {limits.max_connections}; raise the limit (ulimit -n) or limits.max_connections"
        )
    return msgspec.structs.replace(limits, max_connections=fits)
