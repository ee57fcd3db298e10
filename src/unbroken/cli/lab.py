"""``unbroken lab``: break streams on purpose. ``serve`` and ``faults``; others stand beside."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import importlib.util
import os
import shlex
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from unbroken.cli.lab_view import Account, fault_lines, line_of
from unbroken.cli.screen import CliError, say, stdout, why_of

__all__ = ["faults", "lab_app", "serve"]

_OTHERS = ("proxy", "score")  # each a function of its name in cli/lab_<name>.py


def lab_app(help_of: Callable[[Callable[..., None]], str]) -> typer.Typer:
    """Return the commands below ``unbroken lab``.

    Args:
        help_of: Makes a command's help of its docstring.
    """
    lab = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
    commands: list[Callable[..., None]] = [serve]
    settings: dict[str, Any] = {}
    for name in _OTHERS:
        if importlib.util.find_spec(f"unbroken.cli.lab_{name}") is not None:
            module = importlib.import_module(f"unbroken.cli.lab_{name}")
            commands.append(getattr(module, name))
            settings[name] = getattr(module, "CONTEXT_SETTINGS", None)
    commands.append(faults)

    @lab.callback()
    def _lab() -> None:
        """Break streams on purpose, and see who survives: any client, in any language."""

    for command in commands:
        name = command.__name__
        lab.command(name, help=help_of(command), context_settings=settings.get(name))(command)
    return lab


def serve(
    host: Annotated[
        str, typer.Option(envvar="UNBROKEN_LAB_HOST", help="Where to listen.")
    ] = "127.0.0.1",
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
    ] = 4747,
    plan: Annotated[
        str,
        typer.Option(
            envvar="UNBROKEN_LAB_PLAN",
            metavar="PLAN",
            help="What goes wrong for models whose name does not begin with lab/.",
        ),
    ] = "",
    scenarios: Annotated[
        Path | None,
        typer.Option(
            envvar="UNBROKEN_LAB_SCENARIOS",
            metavar="FILE.toml",
            help='Plans by names, for the models lab/NAME: \\[scenarios] and name = "PLAN".',
        ),
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option(
            envvar="UNBROKEN_LAB_REPLAY",
            metavar="DIR",
            help="Play the recordings of a folder in place of written answers.",
        ),
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option(envvar="UNBROKEN_LAB_TOKENS", help="How long answers are.  [dim]200[/dim]"),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(envvar="UNBROKEN_LAB_SEED", help="Chooses words, sizes and chances."),
    ] = None,
    say_: Annotated[
        str | None,
        typer.Option(
            "--say",
            envvar="UNBROKEN_LAB_SAY",
            metavar="text|tool|thinking",
            help="What answers are: text, a tool call, or thinking before the text.",
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(
            envvar="UNBROKEN_LAB_TEXT", metavar="FILE|TEXT", help="Answer this, not numbered words."
        ),
    ] = None,
    tps: Annotated[
        float | None,
        typer.Option(
            envvar="UNBROKEN_LAB_TPS", help="Content frames a second; else as fast as it goes."
        ),
    ] = None,
    ttft: Annotated[
        str | None,
        typer.Option(
            envvar="UNBROKEN_LAB_TTFT", metavar="TIME", help="Time to the first token: 0.8s, 300ms."
        ),
    ] = None,
    jitter: Annotated[
        str | None,
        typer.Option(
            envvar="UNBROKEN_LAB_JITTER", metavar="SHARE", help="How much gaps vary: 0.3, 30%."
        ),
    ] = None,
    burst: Annotated[
        int | None,
        typer.Option(envvar="UNBROKEN_LAB_BURST", help="Content frames that come together."),
    ] = None,
    delta: Annotated[
        str | None,
        typer.Option(
            envvar="UNBROKEN_LAB_DELTA",
            metavar="provider|token|N",
            help="Size of a delta: as the provider cuts, a token, N characters.",
        ),
    ] = None,
    pings: Annotated[
        str | None,
        typer.Option(
            envvar="UNBROKEN_LAB_PINGS", metavar="TIME", help="Pings in gaps longer than this."
        ),
    ] = None,
    no: Annotated[
        str | None,
        typer.Option(
            envvar="UNBROKEN_LAB_NO",
            metavar="LIST",
            help="What not to honour: prefill, anchor, seed, cursor, idempotency.",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", envvar="UNBROKEN_LAB_JSON", help="One JSON object a line, the first the URLs."
        ),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", envvar="UNBROKEN_LAB_QUIET", help="No line a request."),
    ] = False,
) -> None:
    """Serve a scripted model that speaks every provider's API and breaks as it is told.

    Point any client at it and name the fault in the model: [bold]lab/cut.rst@30t[/bold] resets
    the first attempt after 30 tokens and answers the next one whole; ";id=17" keeps the attempts
    of one stream apart from those of another. [bold]unbroken lab faults[/bold] lists what can go
    wrong. Every word of an answer carries its number, so that what a client lost, doubled or made
    up can be told from its final text. A line is printed for each request when it has ended.
    Ctrl-C or SIGTERM ends it.

    [bold]Examples[/bold]: unbroken lab serve --tps 50 --ttft 0.5s

    unbroken lab serve --port 0 --plan "cut@0.5,http.503" --tokens 500

    curl -N http://127.0.0.1:4747/v1/chat/completions -d
    '{"model": "lab/stall@30t@3s", "stream": true, "messages": []}'
    """
    from unbroken.lab.injectors.base import FaultError
    from unbroken.lab.model.settings import AnswerSettings
    from unbroken.lab.server.app import LabServer
    from unbroken.lab.server.scenarios import read_scenarios

    words = {
        "tokens": tokens, "seed": seed, "say": say_, "tps": tps, "ttft": ttft, "jitter": jitter,
        "burst": burst, "delta": delta, "pings": pings, "no": no and no.replace(",", "-"),
    }  # fmt: skip
    given = {name: str(value) for name, value in words.items() if value is not None}
    watcher = _Watcher(as_json=as_json, quiet=quiet)
    try:
        settings = AnswerSettings.from_plan(given, AnswerSettings())
        if text is not None:
            settings = replace(settings, text=_text(text))
        server = LabServer(
            host=host,
            port=port,
            plan=plan,
            settings=settings,
            scenarios=None if scenarios is None else read_scenarios(scenarios),
            replay=None if replay is None else _recordings(replay),
            on_attempt=watcher.ended,
        )
    except FaultError as error:
        raise CliError(str(error)) from None
    except OSError as error:
        message = f"cannot read {error.filename}: {why_of(error)}"
        raise CliError(message) from None
    try:
        server.listen()
    except (OSError, OverflowError) as error:
        why = why_of(error) if isinstance(error, OSError) else str(error)
        message = f"cannot listen on {host} port {port}: {why}; --port 0 takes a free one"
        raise CliError(message) from None
    _more_files()
    _rarer_collections()
    asyncio.run(_serve(server, watcher))
    watcher.account()


def faults(
    as_json: Annotated[
        bool,
        typer.Option("--json", envvar="UNBROKEN_LAB_JSON", help="One JSON object with all."),
    ] = False,
) -> None:
    """List what can go wrong: each fault, its variants, what it takes, and its kind.

    A plan is written in a model's name: attempts by commas, the faults of one joined by +, values
    behind @. [bold]@120[/bold] bytes, [bold]@12f[/bold] frames, [bold]@30t[/bold] tokens,
    [bold]@0.5[/bold] half-way, [bold]@rand[/bold] anywhere; [bold]@3s[/bold] long;
    [bold]@x5[/bold] times. [bold]*3[/bold] behind an attempt: three such; [bold]*[/bold]: all.

    [bold]Examples[/bold]: unbroken lab faults

    unbroken lab faults --json | jq -r 'keys[]'
    """
    from unbroken.lab.injectors import INJECTORS

    if as_json:
        listed = {
            name: {
                "summary": cls.summary,
                "kind": cls.kind,
                "kinds": {how or "": cls.kinds.get(how, cls.kind) for how in cls.hows or ("",)},
                "variants": list(cls.hows),
                "takes": sorted(cls.takes),
                "dialects": None if cls.dialects is None else sorted(cls.dialects),
            }
            for name, cls in sorted(INJECTORS.items())
        }
        sys.stdout.buffer.write(msgspec.json.encode(listed) + b"\n")
        return
    console = stdout()
    for line in fault_lines(INJECTORS):
        console.print(line)


class _Watcher:
    """Tells what happens: a line a request, and the account at the end."""

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self._as_json = as_json
        self._quiet = quiet
        self._account = Account()
        self._console = stdout()
        self.broken: OSError | None = None  # standard output takes nothing more
        self.stop: Callable[[], None] = lambda: None

    def began(self, server: Any) -> None:
        from unbroken.lab.server.control import environment_of

        variables = environment_of(server.url, "lab/ok")
        if self._as_json:
            self._json({"url": server.url, "environment": variables})
            return
        lines = [
            f"export {name}={shlex.quote(value)}"
            for name, value in variables.items()
            if name != "LAB_SAY"
        ]
        if not self._quiet:
            title = f"unbroken lab: a scripted model at {server.url}; Ctrl-C ends it\n"
            lines = [title, *lines, ""]
        self._write("\n".join(lines))  # at once: whoever waits for one of them gets all

    def ended(self, session: Any, log: Any) -> None:
        self._account.add(log)
        if self._quiet:
            return
        if self._as_json:
            self._json({"session": getattr(session, "id", None), **log.to_dict()})
        else:
            self._write(line_of(log))

    def account(self) -> None:
        if self.broken is not None:
            raise self.broken
        say(self._account.line())

    def _json(self, value: Any) -> None:
        self._write(msgspec.json.encode(value).decode(), raw=True)

    def _write(self, line: Any, *, raw: bool = False) -> None:
        if self.broken is not None:
            return
        try:
            if raw:
                sys.stdout.write(line + "\n")
            else:
                self._console.print(line, markup=False)
            sys.stdout.flush()
        except OSError as error:
            self.broken = error
            self.stop()


async def _serve(server: Any, watcher: _Watcher) -> None:
    loop = asyncio.get_running_loop()
    watcher.stop = server.close
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, server.close)
    await server.serve(lambda: watcher.began(server))


def _more_files() -> None:
    """Take as many open files as we may: a thousand streams are a thousand sockets."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 10_240 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
        if soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _rarer_collections() -> None:
    """Have full garbage collections rarely.

    Among the frames of a thousand streams each takes hundreds of milliseconds, in which nothing
    is sent; and frames are in no cycles.
    """
    gc.freeze()
    gc.set_threshold(5_000, 10, 1_000)


def _text(said: str) -> str:
    if not os.path.isfile(said):
        return said
    try:
        return Path(said).read_bytes().decode()
    except UnicodeDecodeError as error:
        message = f"{said} is not UTF-8 text (byte {error.start})"
        raise CliError(message) from None


def _recordings(folder: Path) -> Any:
    from unbroken.lab.model import Recordings

    return Recordings(folder)
