"""``unbroken replay``: serve a recording again, for any client."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from unbroken.cli.recordings import reading
from unbroken.cli.screen import CliError, amount, line, say, stdout, why_of

if TYPE_CHECKING:
    from unbroken.debugger.replaying import ReplayServer, Served

__all__ = ["replay"]


def replay(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="A recording, a browser's HAR, or - for stdin."),
    ],
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[-- COMMAND]",
            help="Run it against the replay: it finds that in OPENAI_BASE_URL and its like. Its"
            " exit code is ours.",
        ),
    ] = None,
    stream: Annotated[
        list[int] | None,
        typer.Option(
            "--stream",
            "-s",
            metavar="N",
            envvar="UNBROKEN_STREAM",
            help="Serve only this stream; may be given again.",
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", envvar="UNBROKEN_ALL", help="Serve all streams: the default.")
    ] = False,
    speed: Annotated[
        float,
        typer.Option(
            envvar="UNBROKEN_SPEED",
            min=0.0,
            help="1 keeps the recorded times, 2 is twice as fast, 0 waits for nothing.",
        ),
    ] = 1.0,
    cut: Annotated[
        str,
        typer.Option(
            envvar="UNBROKEN_CUT",
            metavar="reads|frames|bytes|N",
            help="Send it as it was read, a frame at a time, a byte at a time, or every N bytes.",
        ),
    ] = "reads",
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            envvar="UNBROKEN_STRICT",
            help="404 for requests beyond the recorded ones, in place of the last answer again.",
        ),
    ] = False,
    port: Annotated[
        int,
        typer.Option(
            "--port",
            "-p",
            envvar="UNBROKEN_REPLAY_PORT",
            min=0,
            max=65535,
            help="The port; 0 takes a free one.",
        ),
    ] = 0,
    host: Annotated[
        str, typer.Option(envvar="UNBROKEN_REPLAY_HOST", help="Where to listen.")
    ] = "127.0.0.1",
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", envvar="UNBROKEN_JSON", help="One JSON object when it listens, one a request."
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", envvar="UNBROKEN_QUIET", help="Tell of no requests.")
    ] = False,
) -> None:
    """Serve a recording on its own path, with its own timing, bytes and end.

    Several attempts of a stream answer one request after the other; further requests get the last
    again. Ctrl-C ends it.

    [bold]Examples[/bold]: unbroken replay stream.jsonl --port 8080

    unbroken replay stream.jsonl --speed 0 --cut bytes -- python my_client.py
    """
    from unbroken.debugger.replaying import ReplayServer, read_cut  # loads the dialects

    if every and stream:
        msg = "--all and --stream contradict each other"
        raise CliError(msg)
    told = _Told(as_json=as_json, quiet=quiet, aside=bool(command))
    with reading():
        try:
            server = ReplayServer(
                file,
                streams=stream or None,
                speed=speed,
                cut=read_cut(cut),
                strict=strict,
                host=host,
                port=port,
                on_served=told.served,
            )
        except ValueError as error:  # a RecordingError is one
            raise CliError(str(error)) from None
    try:
        server.listen()
    except (OSError, OverflowError) as error:
        server.close()
        why = why_of(error) if isinstance(error, OSError) else str(error)
        msg = f"cannot listen on {host} port {port}: {why}; --port 0 takes a free one"
        raise CliError(msg) from None
    if command:
        raise typer.Exit(_run(server, command, told))
    try:
        asyncio.run(_serve(server, told))
    finally:
        server.close()
    if told.broken is not None:
        raise told.broken
    say(f"replay: stopped after {amount(told.count, 'request')}")


def _run(server: ReplayServer, command: list[str], told: _Told) -> int:
    """Run the command; what we say goes to standard error, since standard output is its own."""
    from unbroken.debugger.replaying.running import run_before

    with server:
        told.began(server)
        try:
            return run_before(command, server.environment)
        except OSError as error:
            msg = f"cannot run {command[0]}: {why_of(error)}"
            raise CliError(msg) from None


async def _serve(server: ReplayServer, told: _Told) -> None:
    loop = asyncio.get_running_loop()
    told.stop = server.close
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, server.close)
    await server.serve(lambda: told.began(server))


class _Told:
    """Tells where it listens, and a line a request.

    Args:
        as_json: As JSON.
        quiet: Tell of no requests.
        aside: On standard error.
    """

    def __init__(self, *, as_json: bool, quiet: bool, aside: bool) -> None:
        self._as_json = as_json
        self._quiet = quiet
        self._aside = aside
        self.count = 0
        self.broken: OSError | None = None  # standard output takes nothing more
        self.stop: Callable[[], None] = lambda: None

    def began(self, server: ReplayServer) -> None:
        variables = server.environment
        if self._as_json:
            routes = [msgspec.to_builtins(route) for route in server.routes]
            bases = {name: url for name, url in variables.items() if url.startswith("http")}
            self._json({"url": server.url, "routes": routes, "bases": bases, "notes": server.notes})
            return
        self._line(f"unbroken replay: {server.url}")
        for route in server.routes:
            times = amount(route.attempts, "answer")
            self._line(f"  {route.method} {route.path}  {times}")
        for note in server.notes:
            self._line(f"  note: {note}")
        if not self._aside:
            self._line(f"point a client at it: {_hint(server)}")
            self._line("Ctrl-C ends it")

    def served(self, served: Served) -> None:
        self.count += 1
        if self._quiet:
            return
        if self._as_json:
            self._json(msgspec.to_builtins(served))
            return
        what = (
            f"attempt {served.attempt} of stream {served.stream}{' again' * served.again}"
            if served.stream
            else "not recorded"
        )
        self._line(
            f"{served.method} {served.path} {served.status or '-'} {what}:"
            f" {amount(served.sent_bytes, 'byte')} in {amount(served.pieces, 'piece')},"
            f" {served.lasted_s:.2f} s, {served.ended}"
        )

    def _line(self, text: str) -> None:
        if self._aside:
            say(text)
        else:
            self._guarded(lambda: stdout().print(line(text)))

    def _json(self, value: object) -> None:
        text = msgspec.json.encode(value).decode()
        if self._aside:
            say(text)
        else:
            self._guarded(lambda: print(text))

    def _guarded(self, write: Callable[[], object]) -> None:
        if self.broken is not None:
            return
        try:
            write()
            sys.stdout.flush()
        except OSError as error:
            self.broken = error
            self.stop()


def _hint(server: ReplayServer) -> str:
    """Return the variables that the recorded paths concern."""
    from unbroken.debugger.replaying.environment import concerned

    named = concerned([route.path for route in server.routes])
    variables = server.environment
    return " ".join(f"{name}={variables[name]}" for name in named) or server.url
