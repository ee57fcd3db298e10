"""``unbroken demo``: the main job, with nothing but this machine."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from typing import Annotated, Any, NoReturn

import msgspec
import typer

import unbroken
from unbroken.cli.demo_view import LiveView, PlainView, Silent, View, account_of
from unbroken.cli.screen import CliError, say, stdout
from unbroken.lab.demo import Demo, Side

__all__ = ["demo"]

_INTERRUPTED = 130
_FRAME_S = 0.08

# For people who watch: the default waits 120 s before it gives up a stream that only pings.
_CLOCKS = unbroken.Clocks(notice_s=0.8, progress_text_s=1.6, progress_slow_s=10.0)


def demo(
    plain: Annotated[
        bool,
        typer.Option(
            "--plain", envvar="UNBROKEN_PLAIN", help="Write line after line, also on a terminal."
        ),
    ] = False,
    seed: Annotated[
        int, typer.Option(envvar="UNBROKEN_SEED", help="Chooses the answer and where it breaks.")
    ] = 1,
    as_json: Annotated[
        bool,
        typer.Option("--json", envvar="UNBROKEN_JSON", help="Print only the account, as JSON."),
    ] = False,
) -> None:
    """Watch one answer break again and again: without Unbroken, and with it.

    A model server, answers that break on their way, and the same code twice. Nothing leaves
    this machine; it takes about 20 seconds. Exit code 0 only if the healed answer is the
    uninterrupted one to the byte, and the plain one was short without a word.

    [bold]Example[/bold]: unbroken demo --seed 7
    """
    console = stdout()
    try:
        with _ended_by_signals():
            view: View = (
                Silent()
                if as_json
                else LiveView(console)
                if console.is_terminal and not console.is_dumb_terminal and not plain
                else PlainView(console)
            )
            view.preparing()
            with Demo(_protect, seed=seed) as running:
                report = _watch(running, view)
    except KeyboardInterrupt:
        say("stopped; server, proxies and files are gone")
        raise typer.Exit(_INTERRUPTED) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        message = f"the demo could not start: {error.strerror or error}"
        raise CliError(message) from None
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(report.to_dict()) + b"\n")
    else:
        for part in account_of(report):
            console.print(part, soft_wrap=not console.is_terminal)
    if not report.proven:
        raise typer.Exit(1)


def _watch(running: Demo, view: View) -> Any:
    with view.showing(running):
        running.start()
        while not running.wait(_FRAME_S):
            view.update()
        view.update()
    return running.report()


def _protect(side: Side, library: str) -> Any:
    """Make the client that heals: what anybody would write, and three ears."""
    return unbroken.http_client(
        library=library,
        options=unbroken.Options(clocks=_CLOCKS),
        on_stall=lambda stall: side.stalled(silent_s=stall.waited_s),
        on_reconnect=lambda again: side.reconnecting(
            attempt=again.attempt, kind=again.fault.kind.value, rung=again.rung
        ),
        on_outcome=lambda outcome: side.ended_as(
            status=outcome.status,
            guarantees={part.attempt: part.guarantee for part in outcome.provenance},
        ),
    )


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and a closed terminal clean up as Ctrl-C does."""

    def leave(number: int, frame: object) -> NoReturn:
        raise SystemExit(128 + number)

    numbers = [signal.SIGTERM, signal.SIGHUP]
    before = [signal.signal(number, leave) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
