"""What ``unbroken ask`` does for long answers: the file it writes, and signs of progress."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any

from unbroken import sinks
from unbroken.cli.screen import CliError
from unbroken.core.events import Event
from unbroken.core.outcome import Outcome

__all__ = ["Format", "IfExists", "Output", "Progress"]

_LIVE_S = 1.0
_LINE_S = 30.0


class Format(StrEnum):
    """What an output file holds."""

    TEXT = "text"
    EVENTS = "events"
    SQLITE = "sqlite"


class IfExists(StrEnum):
    """What to do where the output file is there already."""

    FAIL = "fail"
    APPEND = "append"
    OVERWRITE = "overwrite"


class Output:
    """The output file as a sink, opened when all else is known to be right.

    Args:
        path: Where.
        format: What it holds; None tells it by the suffix.
        if_exists: What to do where it is there already.
    """

    def __init__(self, path: str, format: Format | None, if_exists: IfExists) -> None:
        self._path = path
        self._format = format
        self._if_exists = if_exists
        self._sink: Any = None

    def open(self) -> None:
        """Open it; nothing was sent yet.

        Raises:
            CliError: If it cannot be written.
        """
        chosen: Any = self._if_exists.value
        if self._path == "-":
            message = (
                "the answer goes to standard output without -o: leave it out, or name a file"
                " (one that is called - is ./-)"
            )
            raise CliError(message)
        if not self._path:
            message = "-o has an empty name: name a file"
            raise CliError(message)
        try:
            self._sink = sinks.for_path(self._path, format=self._format, if_exists=chosen)
        except FileExistsError as error:
            found = str(error.filename)
            if found == self._path:
                message = f"{found} exists: --if-exists append or overwrite takes it"
            else:
                message = (
                    f"{found} holds an answer that is not whole: look at it, then remove it or"
                    " say --if-exists overwrite"
                )
            raise CliError(message) from None
        except FileNotFoundError:
            folder = os.path.dirname(self._path) or "."
            message = f"cannot write {self._path}: there is no folder {folder}"
            raise CliError(message) from None
        except OSError as error:
            message = f"cannot write {self._path}: {error.strerror or error}"
            raise CliError(message) from None
        except ValueError as error:
            raise CliError(str(error)) from None

    @property
    def written_to(self) -> str:
        """Where the answer is."""
        return str(self._sink.written_to) if self._sink is not None else ""

    def failed(self, why: str) -> str:
        """Say what is in which file, after it could not be written to its end."""
        place = self.written_to
        holds = getattr(self._sink, "holds", "nothing")
        if holds == "all" and place != self._path:
            return (
                f"{place} holds the whole answer, but could not be given its name, {self._path}"
                f" ({why})"
            )
        if holds == "all":
            return f"{place} holds the whole answer, but not how it ended ({why})"
        if holds == "part":
            return f"writing {place} failed ({why}): it has only the beginning of the answer"
        left = "it has nothing of the answer" if place else "no file is left"
        return f"writing {place or self._path} failed ({why}): {left}"

    def write(self, events: Sequence[Event]) -> None:
        """See `unbroken.sinks.Sink`."""
        self._sink.write(events)

    def close(self, outcome: Outcome | None) -> None:
        """See `unbroken.sinks.Sink`."""
        if self._sink is not None:
            self._sink.close(outcome)


class Progress:
    """Say how much has come, where the text itself cannot be seen.

    On a terminal one line is written over and over; else a line now and then.

    Args:
        wanted: Whether anything is said at all.
        live: Whether standard error is a terminal.
        clock: Seconds.
    """

    def __init__(
        self, *, wanted: bool, live: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._wanted = wanted
        self._live = live
        self._clock = clock
        self._began = self._said_at = clock()
        self._characters = 0
        self._shown = False

    def add(self, text: str) -> None:
        """More text came."""
        self._characters += len(text)
        if not self._wanted:
            return
        now = self._clock()
        if now - self._said_at >= (_LIVE_S if self._live else _LINE_S):
            self._said_at = now
            self._say(f"… {self._characters:,} characters in {now - self._began:.0f} s")

    def _say(self, words: str) -> None:
        self._shown = self._live
        sys.stderr.write(f"\r\x1b[K{words}" if self._live else f"{words}\n")
        sys.stderr.flush()

    def clear(self) -> None:
        """Something else is written to standard error."""
        if self._shown:
            self._shown = False
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
