"""``unbroken check``: the verdict on a body, recorded or read from an address."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import msgspec
import typer

from unbroken.cli import fetch
from unbroken.cli.kinds import better_for
from unbroken.cli.screen import CliError, for_terminal, stdout
from unbroken.cli.sources import is_url, read_all
from unbroken.cli.verdict_view import verdict_lines
from unbroken.core import verdict
from unbroken.core.dialects import DIALECTS
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.outcome import Outcome
from unbroken.knowledge import records_for

__all__ = ["End", "check"]


class End(StrEnum):
    """How a recorded body ended."""

    EOF = "eof"
    RESET = "reset"


def check(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|-|URL", help="A recorded body, - for standard input, or an address."
        ),
    ],
    dialect: Annotated[
        str,
        typer.Option(
            envvar="UNBROKEN_DIALECT",
            help=f"{', '.join(DIALECTS)}; [b]auto[/b] tells it from the first frames.",
        ),
    ] = "auto",
    end: Annotated[
        End,
        typer.Option(
            envvar="UNBROKEN_END",
            help="How the recording ended: [b]eof[/b] cleanly, [b]reset[/b] by a lost connection"
            " (curl: exit code 18 or 56). For an address we see it ourselves.",
        ),
    ] = End.EOF,
    as_json: Annotated[
        bool,
        typer.Option("--json", envvar="UNBROKEN_JSON", help="Print one JSON object on one line."),
    ] = False,
    show_text: Annotated[
        bool,
        typer.Option("--text", envvar="UNBROKEN_TEXT", help="Print the received text as well."),
    ] = False,
    method: Annotated[
        str | None,
        typer.Option(
            "-X",
            "--request",
            envvar="UNBROKEN_REQUEST",
            help="Address: the method (GET, or POST with -d).",
        ),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(
            "-H",
            "--header",
            envvar="UNBROKEN_HEADER",
            help="Address: 'Name: value', as often as you like.",
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "-d",
            "--data",
            envvar="UNBROKEN_DATA",
            help="Address: the request's body; @FILE reads it, @- from standard input.",
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            envvar="UNBROKEN_TIMEOUT",
            min=0.001,
            metavar="SECONDS",
            help="Address: give up after so long.",
        ),
    ] = 300.0,
) -> None:
    """Say whether a streamed answer is whole, and if not, what is wrong and where.

    Exit code 0: no fatal fault. 1: a fatal fault. 2: wrong usage, or it cannot be read.

    [bold]Examples[/bold]: unbroken check answer.sse

    curl -sN https://... | unbroken check --json -

    unbroken check https://HOST/v1/chat/completions -H "Authorization: Bearer $KEY" -d @ask.json
    """
    if not is_url(source) and (method or header or data):
        message = f"-X, -H and -d are for an address, and {source} is none (http:// or https://)"
        raise CliError(message)
    if is_url(source):
        outcome = _check_url(
            source,
            dialect,
            method or ("GET" if not data else "POST"),
            header or [],
            data or [],
            timeout,
        )
    else:
        body = read_all(source)
        if other := better_for(source, body, bodies=False):
            raise CliError(other)
        outcome = _judge(body, dialect, end.value)
    _print(source, outcome, as_json, show_text)
    if outcome.fault is not None:
        raise typer.Exit(1)


def _judge(body: bytes, dialect: str, end: str, **about: str) -> Outcome:
    try:
        return verdict.check(body, dialect, "reset" if end != "eof" else "eof", **about)
    except ValueError as error:
        raise CliError(str(error)) from None


def _check_url(
    url: str, dialect: str, method: str, headers: list[str], data: list[str], timeout_s: float
) -> Outcome:
    _judge(b"", dialect, "eof")  # a name that is none is better known before the request
    got = fetch.fetch(
        url,
        method=method,
        headers=fetch.headers_of(headers),
        data=fetch.data_of(data),
        timeout_s=timeout_s,
    )
    outcome = _judge(got.body, dialect, got.end, content_type=got.content_type)
    if got.status >= 300:
        detail = f"the answer is HTTP {got.status} {got.reason}".rstrip()
        outcome.faults.insert(
            0, Fault.of(FaultKind.HTTP_ERROR, detail, retryable=got.status >= 500)
        )
        outcome.status, outcome.complete = "failed", False
        outcome.recoverable = got.status >= 500 or got.status in (408, 429)
    elif got.end == "deadline":
        gave_up = f"not over after {timeout_s:g} s, when we left (--timeout changes that)"
        outcome.faults = [
            Fault.of(FaultKind.STALLED, gave_up, at_byte=fault.at_byte, frame=fault.frame)
            if fault.kind is FaultKind.CONNECTION_RESET
            else fault
            for fault in outcome.faults
        ]
    return outcome


def _print(source: str, outcome: Outcome, as_json: bool, show_text: bool) -> None:
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(outcome.to_dict(records_for)) + b"\n")
        return
    name = "standard input" if source == "-" else source.partition("?")[0]
    console = stdout()
    for text in verdict_lines(name, outcome):
        console.print(text)
    if show_text:
        shown = for_terminal(outcome.text) if console.is_terminal else outcome.text
        sys.stdout.write(f"\n{shown}\n")
