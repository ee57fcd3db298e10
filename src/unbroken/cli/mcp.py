"""``unbroken mcp``: explain, check and report for coding agents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unbroken.cli.screen import CliError

__all__ = ["mcp"]


def mcp(
    root: Annotated[
        Path | None,
        typer.Option(
            envvar="UNBROKEN_MCP_ROOT",
            metavar="FOLDER",
            help="Read only files in this folder and below; anywhere if not given.",
        ),
    ] = None,
) -> None:
    """Serve explain, check and report to a coding agent, over MCP on standard input and output.

    It only reads, asks nobody, and puts no prompt or output into an answer. An agent starts it
    itself, as the command "unbroken" with the argument "mcp"; it ends with its input.

    [bold]Example[/bold]: unbroken mcp --root recordings
    """
    try:
        from unbroken.debugger.mcp import server  # with the SDK, so not above
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("mcp", "pydantic"):
            raise
        msg = "the MCP server needs its SDK, in version 2: pip install 'unbroken[mcp]'"
        raise CliError(msg) from None
    if root is not None and not root.is_dir():
        msg = f"{root} is no folder"
        raise CliError(msg)
    server(root).run("stdio")
