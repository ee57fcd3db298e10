"""``unbroken diff``: what differs between two recordings."""

from __future__ import annotations

import sys
from typing import Annotated

import msgspec
import typer

from unbroken.cli.recordings import reading
from unbroken.cli.screen import stdout

__all__ = ["diff"]


def diff(
    a: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="A recording or HAR; the one from before a middlebox, if there is one.",
        ),
    ],
    b: Annotated[
        str | None,
        typer.Argument(
            metavar="[B]", help="Another, from behind it. Without it: two streams of the first."
        ),
    ] = None,
    stream_a: Annotated[
        int | None,
        typer.Option(
            "--stream-a",
            metavar="N",
            envvar="UNBROKEN_STREAM_A",
            help="Which stream of A; the first if not given.",
        ),
    ] = None,
    stream_b: Annotated[
        int | None,
        typer.Option(
            "--stream-b",
            metavar="N",
            envvar="UNBROKEN_STREAM_B",
            help="Which stream of B; the first if not given, or of A the next.",
        ),
    ] = None,
    exact: Annotated[
        bool,
        typer.Option(
            "--bytes", envvar="UNBROKEN_BYTES", help="Compare byte for byte: ids and padding too."
        ),
    ] = False,
    show_text: Annotated[
        bool,
        typer.Option(
            "--text", envvar="UNBROKEN_TEXT", help="Show a few characters of what differs."
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", envvar="UNBROKEN_JSON", help="Print one JSON object on one line."),
    ] = False,
) -> None:
    """Say where two recorded streams first differ, and how they were paced and ended.

    Ids, times and padding are left out of account, and how the bytes were cut into reads. If A was
    recorded before a proxy or load balancer and B behind it, the end says what that one did.

    Exit code 0: equal. 1: different. 2: wrong usage, or it cannot be read.

    [bold]Example[/bold]: unbroken diff upstream.jsonl downstream.jsonl
    """
    from unbroken.cli.diff_view import diff_lines
    from unbroken.debugger.comparing import diff as compare  # loads much

    with reading():
        found = compare(a, b, stream_a=stream_a, stream_b=stream_b, exact=exact, contents=show_text)
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
    else:
        console = stdout()
        for text in diff_lines(found):
            console.print(text)
    if not found.equal:
        raise typer.Exit(1)
