"""``unbroken doctor``: what is installed, what is protected by which line, what models can do."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table

from unbroken.api.diagnosis import Diagnosis, ModelWays, diagnose
from unbroken.cli.screen import CliError, line, stdout

__all__ = ["doctor"]


def doctor(
    context: typer.Context,
    model: Annotated[
        str | None,
        typer.Option("-m", "--model", envvar="UNBROKEN_MODEL", help="A model to look up."),
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option(
            envvar="UNBROKEN_BASE_URL", help="Where it is; by default at its vendor's address."
        ),
    ] = None,
    dialect: Annotated[
        str | None,
        typer.Option(
            envvar="UNBROKEN_DIALECT",
            help="What it speaks; by default openai-chat, for claude-* and gemini-* their own.",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", envvar="UNBROKEN_JSON", help="Print one JSON object on one line."),
    ] = False,
) -> None:
    """Show which SDKs are here and the line that protects each, and what models can do.

    Nothing is sent, and no key is shown. Exit code 0: nothing to mend. 1: a warning. 2: wrong
    usage.

    [bold]Examples[/bold]: unbroken doctor

    unbroken doctor --model claude-sonnet-4-5
    """
    if model is None:  # set for other commands, they are no question
        base_url = None if _from_environment(context, "base_url") else base_url
        dialect = None if _from_environment(context, "dialect") else dialect
    try:
        found = diagnose(
            model=model,
            base_url=base_url,
            dialect=dialect,
            known_variables=_variables(context.find_root().command),
        )
    except ValueError as error:
        raise CliError(str(error)) from None
    if as_json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    else:
        _show(found)
    if any(finding.severity == "warning" for finding in found.findings):
        raise typer.Exit(1)


def _from_environment(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "ENVIRONMENT"


def _variables(group: Any) -> set[str]:
    """Return the environment variables that our commands read."""
    commands = [group, *getattr(group, "commands", {}).values()]
    return {
        name
        for command in commands
        for option in command.params
        for name in (
            [option.envvar] if isinstance(option.envvar, str) else list(option.envvar or ())
        )
    }


def _show(found: Diagnosis) -> None:
    screen = stdout()
    screen.print(
        line(("unbroken ", "bold"), f"{found.unbroken or '(not installed)'} on Python"
             f" {found.python}, {found.platform}; mode ", (found.mode, "bold"))
    )  # fmt: skip
    here = [f"{package.name} {package.version}" for package in found.packages if package.version]
    screen.print(line("with " + ", ".join(here)))
    screen.print()
    if found.sdks:
        for sdk in found.sdks:
            screen.print(line((f"{sdk.name} {sdk.version}", "bold"), f"  on {sdk.library}"))
            screen.print(line("    " + sdk.line))
            if sdk.async_line != sdk.line:
                screen.print(line("    " + sdk.async_line))
    else:
        screen.print(line("No SDK that we know is installed here; unbroken.stream needs none."))
    screen.print()
    _show_settings(found)
    screen.print(_models_table(found.models))
    if len(found.models) == 1 and found.models[0].closed:
        screen.print(line("closed in mid-text:"))
        for rung, why in found.models[0].closed.items():
            screen.print(line(f"  {rung}: ", (why, "dim")))
    for finding in found.findings:
        style = "yellow" if finding.severity == "warning" else "dim"
        screen.print(line((f"{finding.severity}: ", style), finding.text))


def _show_settings(found: Diagnosis) -> None:
    screen = stdout()
    for name, value in {**found.proxies, **found.base_urls}.items():
        screen.print(line(f"{name}={value}"))
    keys = ", ".join(f"{name} {'yes' if there else 'no'}" for name, there in found.keys.items())
    screen.print(line(f"keys set: {keys}"))
    screen.print()


def _models_table(models: list[ModelWays]) -> Table:
    table = Table(
        title="What heals an answer (ladder order)", title_justify="left", box=None, pad_edge=False
    )
    for heading in ("model", "speaks", "before content", "in mid-text"):
        table.add_column(heading, overflow="fold")
    for each in models:
        table.add_row(
            line(each.model),
            line(f"{each.dialect} at {each.host}"),
            line(", ".join(each.before) or "nothing"),
            line(", ".join(each.within) or "nothing: an honest error"),
        )
    return table
