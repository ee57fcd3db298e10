"""``unbroken serve``: the gateway."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from unbroken.cli.screen import CliError, amount, say, say_error

if TYPE_CHECKING:
    from unbroken.gateway.config import GatewayConfig, Problem

__all__ = ["serve"]

_PACKAGES = ("aiohttp", "cryptography", "httptools", "plotly", "prometheus_client", "starlette",
             "uvicorn")  # fmt: skip


def serve(
    ctx: typer.Context,
    upstream: Annotated[
        str | None,
        typer.Option(
            "--upstream",
            "-u",
            envvar="UNBROKEN_GATEWAY_UPSTREAM",
            metavar="URL",
            help="Send every request there, such as https://api.groq.com/openai/v1. Without it "
            "a request's path says which provider is meant.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            envvar="UNBROKEN_GATEWAY_CONFIG",
            metavar="FILE.toml",
            help="Upstreams, routes, keys of callers, limits: all that can be set.",
        ),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen",
            "-l",
            envvar="UNBROKEN_GATEWAY_LISTEN",
            metavar="HOST:PORT",
            help="Where to listen; port 0 takes a free one.  \\[default: 127.0.0.1:8411]",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            "-w",
            envvar="UNBROKEN_GATEWAY_WORKERS",
            min=1,
            help="Processes; more than one need a journal in Redis.  \\[default: 1]",
        ),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            "--mode",
            envvar="UNBROKEN_GATEWAY_MODE",
            metavar="heal|raise|observe|off",
            help="What is done about broken streams, where no route says otherwise.  "
            "\\[default: heal]",
        ),
    ] = None,
    access_log: Annotated[
        str | None,
        typer.Option(
            "--access-log",
            envvar="UNBROKEN_GATEWAY_TELEMETRY_ACCESS_LOG",
            metavar="-|FILE",
            help="One JSON line a request, without contents and keys; - is standard output.",
        ),
    ] = None,
    check_config: Annotated[
        bool,
        typer.Option("--check-config", help="Tell what is wrong with the configuration; 0 or 2."),
    ] = False,
    print_schema: Annotated[
        bool,
        typer.Option("--print-schema", help="Print the JSON Schema of the file, for editors."),
    ] = False,
    new_key: Annotated[
        str | None,
        typer.Option(
            "--new-key", metavar="TEAM", help="Make a key for a caller, with its lines of the file."
        ),
    ] = None,
) -> None:
    """Serve the gateway: point base_url of any SDK at it, and its streams do not break.

    With nothing set it asks the provider that a request's path means, with the caller's own
    key, and serves this machine only. Live page: /_unbroken/ - metrics: /_unbroken/metrics -
    probes: /healthz, /readyz.

    SIGTERM or Ctrl-C lets running streams end (drain_s), a second one ends them; SIGHUP reads
    the configuration again. Exit codes: 0 all streams ended, 1 some were cut, 2 it cannot start.

    [bold]Examples[/bold]: unbroken serve

    unbroken serve --upstream http://127.0.0.1:8000/v1 --listen 127.0.0.1:9000

    unbroken serve --config gateway.toml --check-config
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing and not (print_schema or new_key or check_config):
        listed = ", ".join(name.replace("_", "-") for name in missing)
        msg = f"the gateway needs {listed}: pip install 'unbroken[gateway]'"
        raise CliError(msg)
    if print_schema:
        _print_schema()
        return
    if new_key is not None:
        _print_key(new_key)
        return
    flags = {
        "listen": listen,
        "workers": workers,
        "mode": mode,
        "telemetry.access_log": access_log,
        "upstream": upstream,
    }
    # The configuration reads the environment itself, and can then say what came from it.
    given = {path: path.rpartition(".")[2] for path in flags}
    flags = {p: v for p, v in flags.items() if v is not None and _was_typed(ctx, given[p])}
    found = _read(config, flags)
    if check_config:
        say(f"the configuration is fine: {_in_short(found)}")
        return
    raise typer.Exit(_serve(found, config, flags))


def _was_typed(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _read(path: Path | None, flags: dict[str, Any]) -> GatewayConfig:
    """Return the configuration; tell what is wrong with it, and worth a second look.

    Raises:
        typer.Exit: With code 2, if it cannot be used.
    """
    from unbroken.gateway.config import read

    loaded = read(path, None, flags)
    errors = [each for each in loaded.problems if each.severity == "error"]
    for problem in loaded.problems:
        _tell(problem)
    if loaded.config is None:
        say_error(f"{len(errors) or 'some'} of the above must be put right first")
        raise typer.Exit(2)
    return loaded.config


def _tell(problem: Problem) -> None:
    if problem.severity == "error":
        say_error(str(problem))
    else:
        say(("unbroken: ", "yellow"), str(problem))


def _in_short(config: GatewayConfig) -> str:
    upstreams = ", ".join(sorted(config.upstreams)) or "the built-in ones"
    callers = ", ".join(sorted({each.team for each in config.callers}))
    if not callers:
        callers = "anyone" if config.allow_anonymous else "anyone on this machine"
    return (
        f"{amount(config.workers, 'worker')} on {config.listen}; upstreams: {upstreams}; "
        f"who may call: {callers}"
    )


def _serve(config: GatewayConfig, path: Path | None, flags: dict[str, Any]) -> int:
    from unbroken.gateway.listening import ListenError
    from unbroken.gateway.supervisor import Source, supervise

    where = None if path is None else os.path.abspath(path)
    source = Source(path=where, flags=flags)
    try:
        if config.workers > 1:
            return supervise(config, source)
        from unbroken.gateway.serving import serve as serve_one

        return serve_one(config, source.factory(), reload=source.load)
    except ListenError as error:
        raise CliError(str(error)) from None


def _print_schema() -> None:
    from unbroken.gateway.config import schema

    text = msgspec.json.format(msgspec.json.encode(schema()), indent=2)
    sys.stdout.buffer.write(text + b"\n")


def _print_key(team: str) -> None:
    from unbroken.gateway.callers import new_key

    made = new_key(team)
    # Apart, so that `>> gateway.toml` adds the hash, and the key is in no file.
    sys.stdout.write(made.toml)
    sys.stdout.flush()
    say(f"the key, shown this once: {made.key}")
