"""What all commands share of the screen: consoles, one-line errors, harmless text."""

from __future__ import annotations

import contextlib
import sys

from rich.console import Console
from rich.text import Text

from unbroken.debugger.words import amount

__all__ = [
    "CliError",
    "amount",
    "for_terminal",
    "line",
    "say",
    "say_error",
    "stderr",
    "stdout",
    "why_of",
]

# What a terminal would act upon, of C0 and C1: a model, or a file, could send it.
_CONTROLS = {code: "\ufffd" for code in (*range(32), 127, *range(128, 160)) if code not in (9, 10)}


class CliError(Exception):
    """Wrong usage, or something that cannot be read: one line, and exit code 2."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Let the command end as all commands do then; rich would exit with 1."""
        raise BrokenPipeError


def stdout() -> Console:
    """Return a console for results."""
    return _Console(highlight=False, soft_wrap=True)


def stderr() -> Console:
    """Return a console for notices and errors."""
    return _Console(stderr=True, highlight=False, soft_wrap=True)


def for_terminal(text: str) -> str:
    """Return text without what would move the cursor or change the terminal."""
    return text.translate(_CONTROLS)


def line(*parts: str | tuple[str, str]) -> Text:
    """Join plain and styled parts into one line that holds no control characters."""
    clean = [
        for_terminal(part) if isinstance(part, str) else (for_terminal(part[0]), part[1])
        for part in parts
    ]
    return Text.assemble(*clean)


def say(*parts: str | tuple[str, str]) -> None:
    """Write one line to standard error."""
    stderr().print(line(*parts))


def say_error(message: str) -> None:
    """Write an error to standard error, on one line."""
    if sys.stdout is not None:
        with contextlib.suppress(OSError):  # told at the end, if it cannot be written
            sys.stdout.flush()
    say(("unbroken: ", "bold red"), " ".join(message.split()))


def why_of(error: OSError) -> str:
    """Return the system's words for an error, as the end of a sentence."""
    why = error.strerror or str(error)
    return f"{why[:1].lower()}{why[1:]}"
