"""``unbroken report``: what a recording shows, and where the fault lies."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from unbroken.cli.screen import CliError, say, stderr, stdout, why_of

if TYPE_CHECKING:
    from unbroken.debugger.reporting import Report

__all__ = ["report"]

_SAID_AFTER_S = 2.0
_SAID_EVERY_S = 0.5
_WIDEST = 100


def report(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE|-",
            help="A recording (see: unbroken record), a browser's HAR export, or - for standard"
            " input.",
        ),
    ],
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            envvar="UNBROKEN_REPORT_HTML",
            metavar="OUT.html",
            help="Write one file with charts, which needs no network and no other file.",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", envvar="UNBROKEN_JSON", help="Print one JSON object on one line."),
    ] = False,
    stream: Annotated[
        int | None,
        typer.Option(
            envvar="UNBROKEN_REPORT_STREAM", min=1, metavar="N", help="Tell of this stream alone."
        ),
    ] = None,
    previews: Annotated[
        bool,
        typer.Option(
            "--previews",
            envvar="UNBROKEN_REPORT_PREVIEWS",
            help="Show the first characters of requests and reads: prompts and outputs.",
        ),
    ] = False,
    gap: Annotated[
        float | None,
        typer.Option(
            "--gap-s",
            envvar="UNBROKEN_REPORT_GAP_S",
            min=0.0,
            metavar="SECONDS",
            help="A pause of so long has a line of its own. By default one of a second or more"
            " that is long for its stream.",
        ),
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            envvar="UNBROKEN_REPORT_FULL",
            help="A line for every read, and every line of the timeline.",
        ),
    ] = False,
    dialect: Annotated[
        str,
        typer.Option(
            envvar="UNBROKEN_DIALECT",
            help="What bodies are read as; [b]auto[/b] tells it from requests and bodies.",
        ),
    ] = "auto",
) -> None:
    """Say what a recording shows: what came when, what broke, and where the fault lies.

    With no option it prints a summary and a timeline. Contents are shown only with --previews.
    Exit code 0: reported. 2: it cannot be read, or is no recording.

    [bold]Examples[/bold]: unbroken report run.jsonl

    unbroken report run.jsonl --html run.html

    unbroken report run.jsonl --json --stream 2
    """
    progress = _Progress()
    try:
        found = _read(
            file, stream=stream, dialect=dialect, previews=previews, pause_s=gap, full=full,
            progress=progress,
        )  # fmt: skip
    finally:
        progress.end()
    if html is not None:
        _write(found, html)
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(found.to_dict()) + b"\n")
        return
    if html is not None:
        say(f"report: written to {html}")
        return
    _show(found, full=full, only=stream)


def _read(
    file: str,
    *,
    stream: int | None,
    dialect: str,
    previews: bool,
    pause_s: float | None,
    full: bool,
    progress: _Progress,
) -> Report:
    from unbroken.debugger.reading import RecordingError
    from unbroken.debugger.reporting import report as make

    try:
        return make(
            file,
            stream=stream,
            dialect=dialect,
            previews=previews,
            pause_s=pause_s,
            every_read=full,
            on_progress=progress,
        )
    except RecordingError as error:
        raise CliError(str(error)) from None
    except OSError as error:
        message = f"cannot read {file}: {why_of(error)}"
        raise CliError(message) from None
    except ValueError as error:  # no such dialect or stream; a NUL in the name
        raise CliError(str(error)) from None


def _write(found: Report, path: Path) -> None:
    try:
        page = found.html()
    except ImportError as error:
        raise CliError(str(error)) from None
    try:
        path.write_text(page, "utf-8")
    except OSError as error:
        message = f"cannot write {path}: {why_of(error)}"
        raise CliError(message) from None


def _show(found: Report, *, full: bool, only: int | None) -> None:
    from unbroken.debugger.view_text import report_lines

    columns = min(_WIDEST, shutil.get_terminal_size((96, 24)).columns)
    console = stdout()
    for line in report_lines(found, width=columns, full=full, only=only):
        console.print(line)


class _Progress:
    """A line on standard error, for files that take a while."""

    def __init__(self) -> None:
        self._began = self._said = time.monotonic()
        self._shown = False
        self._live = sys.stderr is not None and sys.stderr.isatty()

    def __call__(self, read: int, size: int) -> None:
        now = time.monotonic()
        if now - self._began < _SAID_AFTER_S or now - self._said < _SAID_EVERY_S:
            return
        if not self._live and now - self._said < 10 * _SAID_EVERY_S:
            return
        self._said = now
        whole = f" of {size / 1e6:,.0f}" if size else ""
        share = f" ({read / size:.0%})" if size else ""
        text = f"reading: {read / 1e6:,.0f}{whole} MB{share}"
        if self._live:
            stderr().print(f"\r{text}", end="", style="dim")
            self._shown = True
        else:
            say(text)

    def end(self) -> None:
        """Take the line away."""
        if self._shown:
            stderr().print("\r" + " " * 60 + "\r", end="")
