"""``unbroken shrink``: the smallest recording that still fails, and a test that repeats it."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from unbroken.cli.screen import CliError, amount, line, say, stderr, stdout, why_of
from unbroken.core.recording import RecordingError

if TYPE_CHECKING:
    from unbroken.debugger.shrinking import Progress, Shrunk, Size

__all__ = ["shrink"]

_INTERRUPTED = 130  # what shells show for SIGINT
_EVERY_S = 0.1


def shrink(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A recording, or a browser's HAR.")],
    test: Annotated[
        str | None,
        typer.Option(
            "--test",
            "-t",
            metavar="COMMAND",
            envvar="UNBROKEN_TEST",
            help="Run against a replay of what is left; exit code 0: does not fail any more. It"
            " finds the replay in OPENAI_BASE_URL and its like, or as {url} in its words.",
        ),
    ] = None,
    fault: Annotated[
        str | None,
        typer.Option(
            "--fault",
            metavar="KIND",
            envvar="UNBROKEN_FAULT",
            help="In place of a command: shrink as long as check finds this kind of fault.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            envvar="UNBROKEN_OUT",
            help="Where to write the smallest; NAME.small.jsonl if not given.",
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            "-f",
            envvar="UNBROKEN_FORCE",
            help="Write over what is there under the names of --out and --pytest.",
        ),
    ] = False,
    pytest_file: Annotated[
        Path | None,
        typer.Option(
            "--pytest",
            metavar="FILE",
            envvar="UNBROKEN_PYTEST",
            help="Write a test that repeats it, such as test_stream.py.",
        ),
    ] = None,
    stream: Annotated[
        list[int] | None,
        typer.Option(
            "--stream",
            "-s",
            metavar="N",
            envvar="UNBROKEN_STREAM",
            help="Take only this stream; may be given again.",
        ),
    ] = None,
    expect: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            envvar="UNBROKEN_EXPECT",
            help="What the command's output must match to count as failing.",
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            envvar="UNBROKEN_SHRINK_TIMEOUT",
            min=0.1,
            metavar="SECONDS",
            help="After so long a run is killed.",
        ),
    ] = 60.0,
    hang_fails: Annotated[
        bool,
        typer.Option(
            "--hang-fails",
            envvar="UNBROKEN_HANG_FAILS",
            help="A run that is killed has failed; else it has not.",
        ),
    ] = False,
    speed: Annotated[
        float,
        typer.Option(envvar="UNBROKEN_SPEED", min=0.0, help="Of the replay; 0 waits for nothing."),
    ] = 1.0,
    repeat: Annotated[
        int,
        typer.Option(
            envvar="UNBROKEN_REPEAT",
            min=1,
            help="Run the command up to so often, for one that fails only now and then.",
        ),
    ] = 1,
    most_tries: Annotated[
        int | None,
        typer.Option(
            "--tries",
            metavar="N",
            envvar="UNBROKEN_TRIES",
            min=1,
            help="Stop after so many runs with the smallest so far.",
        ),
    ] = None,
    within: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            envvar="UNBROKEN_WITHIN",
            min=0.0,
            help="Stop after so long with the smallest so far.",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", envvar="UNBROKEN_JSON", help="Print one JSON object on one line."),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", envvar="UNBROKEN_QUIET", help="No progress.")
    ] = False,
) -> None:
    """Make a recording as small as it can be while a command still fails with it.

    Streams, attempts and frames are left out, reads joined, times zeroed, texts and headers
    dropped. Ctrl-C keeps the smallest so far.

    [bold]Examples[/bold]: unbroken shrink stream.jsonl --test "python client.py" --pytest
    test_stream.py

    unbroken shrink stream.jsonl --fault malformed-json -o small.jsonl
    """
    from unbroken.debugger.shrinking import shrink as run  # loads the dialects

    if (test is None) == (fault is None):
        msg = "say what is to go on failing: --test COMMAND or --fault KIND, one of them"
        raise CliError(msg)
    out = out or Path(_stem(file) + ".small.jsonl")
    for name in (out, pytest_file) if not force else ():
        if name is not None and name.exists():
            msg = f"{name} is there already: --force writes over it, or choose another name"
            raise CliError(msg)
    told = _Told(quiet=quiet or as_json)
    try:
        re.compile(expect or "")
        found = run(
            file,
            out,
            test=test,
            fault=fault,
            pytest_file=pytest_file,
            streams=stream or None,
            expect=expect,
            timeout_s=timeout,
            hang_fails=hang_fails,
            speed=speed,
            repeat=repeat,
            most_tries=most_tries,
            within_s=within,
            on_progress=told.tried,
        )
    except re.error as error:
        msg = f"--expect is no regular expression: {error}"
        raise CliError(msg) from None
    except (RecordingError, ValueError) as error:
        raise CliError(str(error)) from None
    except OSError as error:
        if error.filename is None:
            raise
        verb = "run" if test and error.filename in test else "use"
        msg = f"cannot {verb} {error.filename}: {why_of(error)}"
        raise CliError(msg) from None
    finally:
        told.clear()
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
    else:
        _show(found, tested=test is not None)
    if found.interrupted and most_tries is None and within is None:
        raise typer.Exit(_INTERRUPTED)


def _stem(file: str) -> str:
    return "recording" if file == "-" else str(Path(file).with_suffix(""))


class _Told:
    """Tells of each try: on a terminal in one line that is written over."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._console = stderr()
        self._live = self._console.is_terminal
        self._last_s = 0.0
        self._shown = False

    def tried(self, progress: Progress) -> None:
        now = time.monotonic()
        due = now - self._last_s >= _EVERY_S if self._live else progress.smaller
        if self._quiet or not due:
            return
        self._last_s = now
        text = f"{amount(progress.tries, 'try', 'tries')}, {progress.phase}: {_size(progress.size)}"
        if self._live:
            sys.stderr.write(f"\r\x1b[K{text[: self._console.width - 1]}")
            sys.stderr.flush()
            self._shown = True
        else:
            say(text)

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _size(size: Size) -> str:
    return (
        f"{amount(size.frames, 'frame')} in {amount(size.reads, 'read')},"
        f" {amount(size.body_bytes, 'byte')}, {_seconds(size.lasts_s)}"
    )


def _seconds(value_s: float) -> str:
    """Return a time with as many digits as somebody cares for."""
    digits = 0 if value_s >= 100 else 1 if value_s >= 10 else 2 if value_s >= 0.1 else 4
    shown = f"{value_s:,.{digits}f}"
    return (shown.rstrip("0").rstrip(".") if "." in shown else shown) + " s"


def _show(found: Shrunk, *, tested: bool) -> None:
    console = stdout()
    if found.flaky:
        say(
            ("warning: ", "yellow"),
            "the test failed on the whole recording once, and not when it was run again: it is"
            " flaky, and what is left may be too much or too little; --repeat N runs it more often",
        )
    if found.before.frames and not found.after.frames and tested:
        say(
            ("warning: ", "yellow"),
            "no frame is left: the command fails without any of the stream, so this shows nothing;"
            " --expect REGEX keeps to the failure that you mean",
        )
    if found.interrupted:
        say(("stopped before nothing more could be left out", "yellow"))
    for name, size, style in (("was", found.before, ""), ("now", found.after, "bold")):
        file = amount(size.file_bytes, "byte")
        console.print(line((f"{name}:  {_size(size)}; the file: {file}", style)))
    console.print(line(f"{amount(found.tries, 'try', 'tries')} in {found.lasted_s:.1f} s"))
    if found.said:
        console.print(line(f"it says: {found.said}"))
    if _kind(found.said) != _kind(found.said_before):
        say(
            ("warning: ", "yellow"),
            f"the whole recording made it say something else ({found.said_before}): --expect REGEX"
            " keeps to one failure",
        )
    for name in found.written:
        console.print(line(f"wrote {name}"))


def _kind(said: str) -> str:
    """Return a message without its figures and details."""
    return re.sub(r"\d+", "0", said.partition(":")[0])
