"""``unbroken lab proxy``: the lab's faults between a real client and a real provider."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.text import Text

from unbroken.cli.screen import CliError, amount, line, say, stdout

if TYPE_CHECKING:
    from unbroken.lab.proxy.app import FaultProxy
    from unbroken.lab.proxy.log import Entry

__all__ = ["proxy"]


def proxy(
    upstream: Annotated[
        str,
        typer.Option(
            "--upstream",
            "-u",
            envvar="UNBROKEN_LAB_UPSTREAM",
            metavar="URL",
            help="Whom to ask, such as https://api.openai.com (no /v1).",
        ),
    ],
    plan: Annotated[
        str,
        typer.Option(
            envvar="UNBROKEN_LAB_PLAN",
            help="What goes wrong with requests that say nothing themselves, such as cut@30t.",
        ),
    ] = "",
    port: Annotated[
        int,
        typer.Option(
            "--port",
            "-p",
            envvar="UNBROKEN_LAB_PORT",
            min=0,
            max=65535,
            help="The port; 0 takes a free one.",
        ),
    ] = 4748,
    host: Annotated[
        str, typer.Option(envvar="UNBROKEN_LAB_HOST", help="Where to listen.")
    ] = "127.0.0.1",
    scenarios: Annotated[
        Path | None,
        typer.Option(
            envvar="UNBROKEN_LAB_SCENARIOS",
            metavar="FILE.toml",
            help='Plans by names, which may stand for them: \\[scenarios] and name = "PLAN".',
        ),
    ] = None,
    cafile: Annotated[
        Path | None,
        typer.Option(envvar="UNBROKEN_LAB_CAFILE", help="Certificates to trust, in PEM form."),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure",
            envvar="UNBROKEN_LAB_INSECURE",
            help="Take any certificate of the upstream.",
        ),
    ] = False,
    use_env_proxy: Annotated[
        bool,
        typer.Option(
            "--env-proxy",
            envvar="UNBROKEN_LAB_ENV_PROXY",
            help="Reach the upstream as HTTPS_PROXY and its like say.",
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", envvar="UNBROKEN_LAB_JSON", help="Log as JSON, one line a request."),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", envvar="UNBROKEN_LAB_QUIET", help="Do not log.")
    ] = False,
) -> None:
    """Break a real provider's streams on purpose: a proxy that passes all but the planned faults.

    Point a client's base URL at it. A plan comes from --plan, from a header x-lab-plan, or from
    the model's name: lab/cut@30t/gpt-4o asks gpt-4o and cuts its answer after 30 deltas. What
    goes wrong is logged on standard output; never bodies or keys. Ctrl-C ends it.

    [bold]Example[/bold]: unbroken lab proxy --upstream https://api.openai.com --plan stall@20t
    """
    if find_spec("aiohttp") is None:
        msg = "the proxy needs aiohttp: pip install 'unbroken[lab]'"
        raise CliError(msg)
    from unbroken.lab.proxy.app import FaultProxy  # with aiohttp, so not above
    from unbroken.lab.server.scenarios import read_scenarios

    watcher = _Watcher(as_json=as_json, quiet=quiet)
    try:
        running = FaultProxy(
            upstream,
            plan,
            host=host,
            port=port,
            scenarios=None if scenarios is None else read_scenarios(scenarios),
            verify=not insecure,
            cafile=cafile,
            trust_env=use_env_proxy,
            on_request=watcher.ended,
        )
        running.listen()
    except ValueError as error:  # a FaultError is one
        raise CliError(str(error)) from None
    except (OSError, OverflowError) as error:
        number = getattr(error, "errno", None)  # its text may repeat the address
        why = (os.strerror(number) if number and number > 0 else str(error)).lower()
        file = getattr(error, "filename", None)
        where = f"read {file}" if file else f"listen on {host} port {port}"
        hint = "" if file else "; --port 0 takes a free one"
        msg = f"cannot {where}: {why}{hint}"
        raise CliError(msg) from None
    try:
        asyncio.run(_run(running, watcher))
    except ValueError as error:  # a file of certificates that holds none
        raise CliError(str(error)) from None
    finally:
        running.close()
    if watcher.broken is not None:
        raise watcher.broken
    say(f"lab proxy: stopped after {amount(running.log.count, 'request')}")


async def _run(running: FaultProxy, watcher: _Watcher) -> None:
    loop = asyncio.get_running_loop()
    watcher.stop = running.close
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, running.close)
    await running.serve(lambda: watcher.began(running))


class _Watcher:
    """Tells what happens: where it listens, and a line a request."""

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self._as_json = as_json
        self._quiet = quiet
        self._console = stdout()
        self.broken: OSError | None = None  # standard output takes nothing more
        self.stop: Callable[[], None] = lambda: None

    def began(self, running: FaultProxy) -> None:
        if self._as_json:
            known = {"url": running.url, "upstream": running.upstream, "plan": running.plan}
            self._write(msgspec.json.encode(known).decode())
            return
        plan = f"plan {running.plan}" if running.plan else "no plan of its own"
        self._show(line(f"unbroken lab proxy: {running.url} -> {running.upstream}, {plan}"))
        if not self._quiet:
            self._show(line("Ctrl-C ends it; other plans: header x-lab-plan, or a model's name"))
            self._show(line("such as lab/cut@30t/gpt-4o"))

    def ended(self, entry: Entry) -> None:
        if self._quiet:
            return
        if self._as_json:
            self._write(msgspec.json.encode(entry.to_dict()).decode())
        else:
            self._show(_line(entry))

    def _show(self, text: Text) -> None:
        self._guarded(lambda: self._console.print(text))

    def _write(self, text: str) -> None:
        self._guarded(lambda: sys.stdout.write(text + "\n"))

    def _guarded(self, write: Callable[[], object]) -> None:
        if self.broken is not None:
            return
        try:
            write()
            sys.stdout.flush()
        except OSError as error:
            self.broken = error
            self.stop()


_STYLES = {
    "whole": "green", "failed": "bold red", "refused": "yellow", "left": "yellow",
    "unanswered": "red",
}  # fmt: skip


def _line(entry: Entry) -> Text:
    """Return the log's line: time, what was asked, what was dealt out, how it ended."""
    clock = time.strftime("%H:%M:%S", time.localtime(entry.at))
    struck = ", ".join(f"{what} at {at:.2f}s" for at, what in entry.strikes[:3])
    if len(entry.strikes) > 3:
        struck += f" and {len(entry.strikes) - 3:,} more"
    parts: list[str | tuple[str, str]] = [
        (f"{clock} ", "dim"),
        f"{entry.method} {entry.path} {entry.status or '-'} ",
    ]
    if entry.faults:
        parts.append((f"[{struck or 'not struck: ' + entry.faults}] ", "magenta"))
    parts.append(f"{amount(entry.sent_bytes, 'byte')} in {entry.lasted_s or 0:.2f}s ")
    parts.append((entry.went, _STYLES.get(entry.went, "magenta")))
    if entry.failure:
        parts.append(f": {entry.failure}")
    return line(*parts)
