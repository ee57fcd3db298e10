"""``unbroken ask``: one answer to the terminal, healed, with an account of it."""

from __future__ import annotations

import logging
import os
import sys
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import typer

import unbroken
from unbroken.cli.ask_fields import fields_for
from unbroken.cli.ask_output import Format, IfExists, Output, Progress
from unbroken.cli.ask_view import account_line, notice_again, notice_stall
from unbroken.cli.screen import CliError, for_terminal, stderr
from unbroken.cli.sources import read_all
from unbroken.knowledge import records_for
from unbroken.sinks.base import SINK_FAILED

__all__ = ["Mode", "Profile", "ask"]

_INTERRUPTED = 130
_PROVEN = ("complete", "limited", "filtered", "paused")
_BASE_VARIABLES = {
    "openai-chat": "OPENAI_BASE_URL",
    "openai-responses": "OPENAI_BASE_URL",
}


class Mode(StrEnum):
    """What to do about faults."""

    HEAL = "heal"
    RAISE = "raise"
    OBSERVE = "observe"
    OFF = "off"


class Profile(StrEnum):
    """How patient to be."""

    DEFAULT = "default"
    INTERACTIVE = "interactive"


def ask(
    prompt: Annotated[
        str | None,
        typer.Argument(metavar="[PROMPT|-]", help="The question; - reads standard input."),
    ] = None,
    model: Annotated[
        str,
        typer.Option("--model", "-m", envvar="UNBROKEN_MODEL", help="The model."),
    ] = "",
    base_url: Annotated[
        str,
        typer.Option(
            envvar="UNBROKEN_BASE_URL",
            help="Where the API is; else OPENAI_BASE_URL, ANTHROPIC_BASE_URL,"
            " GOOGLE_GEMINI_BASE_URL, OLLAMA_HOST, else the vendor's address.",
        ),
    ] = "",
    dialect: Annotated[
        str,
        typer.Option(
            envvar="UNBROKEN_DIALECT",
            help="openai-chat, openai-responses, anthropic-messages, gemini or ollama.",
        ),
    ] = "openai-chat",
    file: Annotated[
        str | None,
        typer.Option("--file", "-f", envvar="UNBROKEN_FILE", help="Read the question from a file."),
    ] = None,
    system: Annotated[
        str | None, typer.Option(envvar="UNBROKEN_SYSTEM", help="A system prompt.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(envvar="UNBROKEN_MAX_TOKENS", min=1, help="Longest answer.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(envvar="UNBROKEN_TEMPERATURE", min=0, help="0 repeats itself.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(envvar="UNBROKEN_SEED", help="For providers that take one.")
    ] = None,
    mode: Annotated[
        Mode, typer.Option(envvar="UNBROKEN_MODE", help="What to do about faults.")
    ] = Mode.HEAL,
    profile: Annotated[
        Profile,
        typer.Option(
            envvar="UNBROKEN_PROFILE",
            help="[b]interactive[/b] gives up a silent stream sooner.",
        ),
    ] = Profile.INTERACTIVE,
    total_timeout: Annotated[
        float | None,
        typer.Option(
            envvar="UNBROKEN_TOTAL_TIMEOUT",
            min=0.001,
            metavar="SECONDS",
            help="Longest time for all of it; no limit unless set.",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            envvar="UNBROKEN_JSON",
            help="Print the outcome as one JSON line in place of the text.",
        ),
    ] = False,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            envvar="UNBROKEN_OUTPUT",
            metavar="FILE",
            help="Write the answer to a file too, while it comes.",
        ),
    ] = None,
    output_format: Annotated[
        Format | None,
        typer.Option(
            envvar="UNBROKEN_OUTPUT_FORMAT",
            help="What the file holds; else by its suffix: .jsonl is events, .sqlite or .db a"
            " database, any other text.",
        ),
    ] = None,
    if_exists: Annotated[
        IfExists,
        typer.Option(envvar="UNBROKEN_IF_EXISTS", help="What to do where the file is there."),
    ] = IfExists.FAIL,
) -> None:
    """Stream one answer, healed, and say at the end how it went.

    The text goes to standard output as it comes; notices, and one line of account, go to
    standard error. Keys come from OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY or
    GOOGLE_API_KEY. Exit code 0: the end is proven. 1: failed or incomplete; the text so far
    is printed. 2: wrong usage, or the output file cannot be written. 130: Ctrl-C.

    [bold]Examples[/bold]: unbroken ask "What is a token stream?" --model gpt-5

    unbroken ask "Hello" --base-url http://127.0.0.1:8080/v1

    cat question.txt | unbroken ask - --dialect anthropic-messages --model claude-sonnet-5
    """
    question = _question(prompt, file)
    reached = base_url or os.environ.get(_BASE_VARIABLES.get(dialect, ""), "")
    if not model and not base_url:
        message = "name a model: --model NAME, or set UNBROKEN_MODEL"
        raise CliError(message)
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": question})
    settings = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
    writer = _Writer(silent=as_json)
    file_out = None if output is None else Output(output, output_format, if_exists)
    try:
        stream = unbroken.stream(
            messages,
            model=model or "default",  # servers of one model take any name
            base_url=base_url or None,
            dialect=dialect,
            options=unbroken.Options(mode=mode.value, profile=profile.value),
            timeout_s=total_timeout,
            on_stall=lambda stall: writer.notice(notice_stall(stall)),
            on_reconnect=lambda again: writer.notice(notice_again(again)),
            sink=file_out,
            **fields_for(dialect, reached, settings),
        )
    except (TypeError, ValueError) as error:
        raise CliError(str(error)) from None
    if file_out is not None:
        file_out.open()
        # We say it ourselves, with what is in the file.
        logging.getLogger("unbroken").addFilter(lambda told: told.msg != SINK_FAILED)
    code = _show(stream, writer)
    writer.end_line()
    outcome = stream.outcome
    written_to = "" if file_out is None else file_out.written_to
    if as_json:
        told = _json_of(outcome) | ({"output": written_to} if file_out is not None else {})
        sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
        sys.stdout.buffer.flush()
    stderr().print(account_line(outcome, written_to=written_to))
    if outcome.sink_error:
        raise CliError(file_out.failed(outcome.sink_error) if file_out else outcome.sink_error)
    raise typer.Exit(code)


def _question(prompt: str | None, file: str | None) -> str:
    if (prompt is None) == (file is None):
        message = 'ask one question: unbroken ask "PROMPT", or - for standard input, or --file FILE'
        raise CliError(message)
    if file is not None or prompt == "-":
        raw = read_all("-" if file is None else file)
        try:
            prompt = raw.decode()
        except UnicodeDecodeError as error:
            message = f"the question is not UTF-8 text (byte {error.start})"
            raise CliError(message) from None
    if not prompt or not prompt.strip():
        message = "the question is empty"
        raise CliError(message)
    return prompt


def _show(stream: unbroken.EventStream, writer: _Writer) -> int:
    """Write the answer as it comes; return the exit code."""
    try:
        with stream:
            for text in stream.iter_text():
                writer.text(text)
    except unbroken.StreamingError:
        return 1  # the account says what happened
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0 if stream.outcome.status in _PROVEN else 1


def _json_of(outcome: unbroken.Outcome) -> dict[str, Any]:
    return {
        **outcome.to_dict(records_for),
        "attempts": len(outcome.attempts),
        "provenance": msgspec.to_builtins(outcome.provenance),
        "first_content_s": outcome.first_content_s,
        "duration_s": outcome.duration_s,
        "overflowed": outcome.overflowed,
        "sink_error": outcome.sink_error,
    }


class _Writer:
    """The text on standard output, and notices that do not run into it."""

    def __init__(self, *, silent: bool) -> None:
        self._silent = silent
        self._terminal = sys.stdout.isatty()
        self._shared = _same_place(sys.stdout.fileno(), sys.stderr.fileno())
        self._mid_line = False
        self._progress = Progress(wanted=silent or not self._terminal, live=sys.stderr.isatty())

    def text(self, text: str) -> None:
        self._progress.add(text)
        if self._silent or not text:
            return
        sys.stdout.write(for_terminal(text) if self._terminal else text)
        sys.stdout.flush()
        self._mid_line = not text.endswith("\n")

    def notice(self, notice: Any) -> None:
        self._progress.clear()
        if self._mid_line and self._shared:
            stderr().print()
        stderr().print(notice)

    def end_line(self) -> None:
        self._progress.clear()
        if self._mid_line:
            sys.stdout.write("\n")
            sys.stdout.flush()


def _same_place(one: int, other: int) -> bool:
    """Whether two descriptors lead to the same terminal, pipe or file."""
    first, second = os.fstat(one), os.fstat(other)
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)
