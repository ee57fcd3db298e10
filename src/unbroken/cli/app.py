"""The command line's frame: global options, and the one place where errors become text.

Exit codes of all commands: 0 fine; 1 the stream (or demo) is not; 2 wrong usage, or
something could not be read or written; 130 Ctrl-C; 141 whoever read our output has left.
"""

from __future__ import annotations

import errno
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from unbroken.cli.ask import ask
from unbroken.cli.check import check
from unbroken.cli.decode import decode
from unbroken.cli.demo import demo
from unbroken.cli.diff import diff
from unbroken.cli.doctor import doctor
from unbroken.cli.explain import explain
from unbroken.cli.knowledge import knowledge_app
from unbroken.cli.lab import lab_app
from unbroken.cli.mcp import mcp
from unbroken.cli.record import record
from unbroken.cli.replay import replay
from unbroken.cli.report import report
from unbroken.cli.screen import CliError, say_error
from unbroken.cli.serve import serve
from unbroken.cli.shrink import shrink

__all__ = ["app", "run"]

_INTERRUPTED, _NO_READER = 130, 141  # what shells show for SIGINT and SIGPIPE
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)

# typer brings its own click from some version on; by this way both are the same to us.
_ClickError: type[Exception] = typer.BadParameter.__mro__[2]


class _Group(TyperGroup):
    """The commands; turns what goes wrong in one into a line and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except CliError as error:
            say_error(str(error))
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            raise typer.Exit(_INTERRUPTED) from None
        except MemoryError:
            say_error("not enough memory for this input: check a part of it")
            raise typer.Exit(2) from None


def _forget(stream: Any) -> None:
    """Point a stream at nothing, or Python complains once more when it ends."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, stream.fileno())
    finally:
        os.close(nothing)


def _show_version(wanted: bool) -> None:
    if wanted:
        try:
            number = version("unbroken")
        except PackageNotFoundError:
            number = "(not installed)"
        typer.echo(f"unbroken {number}")
        raise typer.Exit


def _no_color(wanted: bool) -> None:
    if wanted:
        os.environ["NO_COLOR"] = "1"  # rich reads it, in all that is made later
        os.environ.pop("FORCE_COLOR", None)


def _help(command: Callable[..., None]) -> str:
    """Return a docstring with each paragraph on one line, for typer to wrap anew."""
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _global(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and leave."
        ),
    ] = False,
    no_color: Annotated[
        bool,
        typer.Option(
            "--no-color",
            envvar="UNBROKEN_NO_COLOR",
            callback=_no_color,
            is_eager=True,
            help="Write without colours (as NO_COLOR=1 does).",
        ),
    ] = False,
) -> None:
    """LLM token streams that do not break: see it, ask through it, judge a recording.

    In Python it is one line: [bold]openai.OpenAI(http_client=unbroken.http_client())[/bold]

    Every option can also come from the environment: each command's help says how.
    """


for _command in (
    demo, ask, check, explain, record, report, replay, shrink, diff, decode, doctor, mcp, serve,
):  # fmt: skip
    app.command(_command.__name__, help=_help(_command))(_command)
app.add_typer(lab_app(_help), name="lab")
app.add_typer(knowledge_app(_help), name="knowledge")


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code.

    Args:
        arguments: The words after the program's name; None takes those of the process.
    """
    if sys.stderr is None:  # 2>&-: there is nobody to tell, and nothing may break by it
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - as long as the process
    if sys.stdout is None:  # >&-
        say_error("cannot write standard output: it is closed")
        return 2
    try:
        code = _run(arguments)
        sys.stdout.flush()  # here, where what is wrong with it can still be told
    except OSError as error:
        return _unwritten(error)
    except SystemExit as end:  # typer's and rich's answer to a reader that left
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        return _unwritten(end.__context__)
    return code


def _run(arguments: Sequence[str] | None) -> int:
    try:
        code = app(args=arguments, prog_name="unbroken", standalone_mode=False)
    except _ClickError as error:
        return _usage_error(error)
    except (typer.Abort, KeyboardInterrupt):
        return _INTERRUPTED
    return code if isinstance(code, int) else 0


def _unwritten(error: OSError) -> int:
    """Tell that a standard stream takes nothing more; any other error is a bug of ours."""
    if not _takes(sys.stderr):
        _forget(sys.stderr)  # so there is nobody to tell
        if _takes(sys.stdout):
            return 2
    elif (
        # What could not be written is not kept in every case, so that all may seem well again.
        _takes(sys.stdout)
        and not isinstance(error, BrokenPipeError)
        and (error.errno not in _UNWRITABLE or error.filename is not None)
    ):
        raise error
    _forget(sys.stdout)
    if isinstance(error, BrokenPipeError):
        return _NO_READER
    why = error.strerror or str(error)
    try:
        say_error(f"cannot write standard output: {why[:1].lower()}{why[1:]}")
    except OSError:  # it was standard error itself
        _forget(sys.stderr)
    return 2


def _takes(stream: Any) -> bool:
    """Whether a stream takes what still waits to be written."""
    try:
        stream.flush()
    except OSError:
        return False
    return True


def _usage_error(error: Any) -> int:
    context = getattr(error, "ctx", None)
    where = context.command_path if context is not None else "unbroken"
    message = error.format_message().strip().rstrip(".")
    if not message:  # no arguments at all: the help was shown
        return 2
    say_error(f"{message[0].lower()}{message[1:]} (see: {where} --help)")
    return 2
