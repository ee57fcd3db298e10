"""Several workers behind one port: ``unbroken serve --workers N``.

    parent  binds the port, makes the run directory, starts the workers, and starts a dead one again
    worker  ``python -m unbroken.gateway.supervisor``: `serving.serve` on a socket it was given

A worker's standard input is its lifeline: the first line says what to serve, and its end says that
the parent has died, also by SIGKILL, so that no worker is left behind: it drains and leaves. The
workers are no part of the terminal's group, so Ctrl-C reaches them through the parent alone.

SIGTERM and SIGINT are passed on, SIGHUP after the configuration was found to be good. The run
directory (only ours to read) is where workers leave their figures for each other, and the secret
that signs what all of them must accept.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from unbroken.gateway.config import ConfigError, GatewayConfig, load
from unbroken.gateway.listening import bind_group, greeting
from unbroken.gateway.serving import own_line, serve

__all__ = ["GATEWAY", "Source", "supervise"]

GATEWAY = "unbroken.gateway.app:Gateway"
_QUICK_S = 5.0  # a worker that lived less long died at once
_QUICK_DEATHS = 5
_LONGEST_WAIT_S = 5.0
_KILL_AFTER_S = 10.0  # beyond the time to drain


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where the configuration comes from, for each worker to read by itself; holds no secret.

    Attributes:
        path: The configuration file, or None.
        flags: What flags say, by setting, as `config.load` takes them.
        app: The application's factory, as ``module:name``.
    """

    path: str | None = None
    flags: dict[str, Any] = {}
    app: str = GATEWAY

    def load(self) -> GatewayConfig:
        """Read the configuration.

        Raises:
            ConfigError: If it cannot be used.
        """
        return load(self.path, None, self.flags)

    def factory(self) -> Any:
        """Return the application's factory."""
        module, _, name = self.app.partition(":")
        return getattr(importlib.import_module(module), name)


class _Order(msgspec.Struct, frozen=True, kw_only=True):
    """The first line on a worker's lifeline."""

    source: Source
    worker: int
    run_dir: str
    listen_fd: int
    ready_fd: int


def supervise(
    config: GatewayConfig, source: Source, *, say: Callable[[str], None] = own_line
) -> int:
    """Serve with ``config.workers`` processes until a signal ends them; return the exit code.

    Args:
        config: What `source` says now.
        source: Where workers read it from.
        say: Gets lines for whoever started the gateway.

    Returns:
        As `serving.serve`; 1 too when workers died at once, again and again.

    Raises:
        ListenError: If the address cannot be listened on.
    """
    socks = bind_group(*config.address, config.workers)
    # In the order of who needs whom: nothing is in the directory before the socket is ours.
    run_dir = Path(tempfile.mkdtemp(prefix="unbroken-"))  # mode 0700
    try:
        with asyncio.Runner() as runner:
            return runner.run(_Supervisor(config, source, socks, run_dir, say).main())
    finally:
        for sock in socks:
            sock.close()
        shutil.rmtree(run_dir, ignore_errors=True)


class _Supervisor:
    def __init__(
        self,
        config: GatewayConfig,
        source: Source,
        socks: list[socket.socket],
        run_dir: Path,
        say: Callable[[str], None],
    ) -> None:
        self._config = config
        self._source = source
        self._socks = socks
        self._run_dir = run_dir
        self._say = say
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._ready: set[int] = set()
        self._greeted = False
        self._code: int | None = None  # what a worker's trouble made of it
        self._signals = 0

    async def main(self) -> int:
        loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        keepers = [asyncio.create_task(self._keep(n)) for n in range(len(self._socks))]
        killer = asyncio.create_task(self._kill_leftovers())
        try:
            codes = await asyncio.gather(*keepers)
        finally:
            killer.cancel()
            for process in self._processes.values():
                _signal(process, signal.SIGKILL)
        if self._code is not None:
            return self._code
        return 1 if any(codes) else 0

    # ------------------------------------------------------------ signals

    def _end(self) -> None:
        self._signals += 1
        self._stop.set()
        for sock in self._socks:
            sock.close()  # the workers' own are closed by them
        for process in self._processes.values():
            _signal(process, signal.SIGTERM)

    def _reload(self) -> None:
        try:
            new = self._source.load()
        except ConfigError as error:
            self._say(f"the configuration was not reloaded, the old one stays:\n{error}")
            return
        self._config = msgspec.structs.replace(new, workers=self._config.workers)
        for number in self._ready:
            _signal(self._processes[number], signal.SIGHUP)

    async def _kill_leftovers(self) -> None:
        await self._stop.wait()
        await asyncio.sleep(self._config.drain_s + _KILL_AFTER_S)
        for number, process in self._processes.items():
            if process.returncode is None:
                self._say(f"worker {number} did not end: killed")
                _signal(process, signal.SIGKILL)

    # ------------------------------------------------------------ workers

    async def _keep(self, number: int) -> int:
        """Keep one worker alive until the end; return its exit code."""
        deaths = 0
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            code = await self._run_worker(number)
            if self._stop.is_set():
                return code
            if code in (0, 2) and deaths == 0 and not self._greeted:
                self._give_up(code)  # it has told why
                return code
            deaths = deaths + 1 if loop.time() - began < _QUICK_S else 1
            how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
            if deaths >= _QUICK_DEATHS:
                self._say(f"worker {number} ended {how}, the {deaths}th time at once: giving up")
                self._give_up(1)
                return code
            self._say(f"worker {number} ended {how}; starting another")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), min(0.1 * 2**deaths, _LONGEST_WAIT_S))
            if self._stop.is_set():
                return 0

    def _give_up(self, code: int) -> None:
        if self._code is None:
            self._code = code
        if not self._stop.is_set():
            self._end()

    async def _run_worker(self, number: int) -> int:
        ready_end, worker_end = os.pipe()
        try:
            listen_fd = self._socks[number].fileno()
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # the folder we were started in is nobody's package
                "-m",
                "unbroken.gateway.supervisor",
                stdin=asyncio.subprocess.PIPE,
                pass_fds=(listen_fd, worker_end),
                process_group=0,
            )
        except OSError as error:
            os.close(ready_end)
            self._say(f"worker {number} cannot be started: {error.strerror}")
            return 1
        finally:
            os.close(worker_end)
        self._processes[number] = process
        order = _Order(
            source=self._source,
            worker=number,
            run_dir=str(self._run_dir),
            listen_fd=listen_fd,
            ready_fd=worker_end,
        )
        assert process.stdin is not None
        with contextlib.suppress(ConnectionError):
            process.stdin.write(msgspec.json.encode(order) + b"\n")
            await process.stdin.drain()
        loop = asyncio.get_running_loop()
        loop.add_reader(ready_end, self._is_ready, number, ready_end)
        if self._stop.is_set():
            _signal(process, signal.SIGTERM)
        try:
            return await process.wait()
        finally:
            loop.remove_reader(ready_end)
            os.close(ready_end)
            self._ready.discard(number)

    def _is_ready(self, number: int, ready_end: int) -> None:
        asyncio.get_running_loop().remove_reader(ready_end)
        if not os.read(ready_end, 1):
            return
        self._ready.add(number)
        if len(self._ready) == len(self._socks) and not self._greeted:
            self._greeted = True
            self._say(f"{greeting(self._socks[0], self._config)}, {len(self._socks)} workers")


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)


# The worker --------------------------------------------------------------------------------


def _work() -> int:
    line = b""
    while not line.endswith(b"\n"):  # not through a buffer, which would take what comes later
        byte = os.read(0, 1)
        if not byte:
            return 1  # the parent died before it said anything
        line += byte
    order = msgspec.json.decode(line, type=_Order)
    # What this process starts must not hold the lifeline, nor read from it.
    lifeline = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.set_inheritable(order.listen_fd, False)
    os.set_inheritable(order.ready_fd, False)

    def ready() -> None:
        os.write(order.ready_fd, b"1")
        os.close(order.ready_fd)

    try:
        config = order.source.load()
    except ConfigError as error:
        own_line(str(error))
        return 2
    return serve(
        config,
        order.source.factory(),
        reload=order.source.load,
        sock=socket.socket(fileno=order.listen_fd),
        run_dir=Path(order.run_dir),
        worker=order.worker,
        on_ready=ready,
        lifeline=lifeline,
    )


if __name__ == "__main__":
    sys.exit(_work())
