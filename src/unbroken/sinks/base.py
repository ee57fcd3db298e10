"""What a sink is, and what keeps one that fails away from the stream."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from unbroken.core.events import Event, Text, TextRun
from unbroken.core.outcome import Outcome
from unbroken.core.pieces import ends_in_half, mended

__all__ = ["PROVEN", "SINK_FAILED", "GuardedSink", "Halves", "Sink", "must_make_sinks", "text_in"]

_log = logging.getLogger("unbroken")
PROVEN = ("complete", "limited", "filtered", "paused")
"""How an answer that is whole may have ended."""
SINK_FAILED = "the sink of a stream failed (%s); the stream goes on"
"""What is logged then."""


@runtime_checkable
class Sink(Protocol):
    """Takes what a stream delivers. Write your own with these two methods.

    Both are called in the thread or event loop that reads the stream, so they should return
    soon. What they raise is logged once, and shown in `Outcome.sink_error`; the sink then gets
    nothing more but `close(None)`, and the stream goes on.
    """

    def write(self, events: Sequence[Event]) -> None:
        """Take the events of one delivery, before the application has them."""
        ...

    def close(self, outcome: Outcome | None) -> None:
        """The stream is over. None: its end is not known, since something failed."""
        ...


class GuardedSink:
    """A sink that cannot harm the stream.

    Args:
        sink: The sink, or a function that makes it.

    Attributes:
        error: Why it failed, or ``""``.
    """

    def __init__(self, sink: Sink | Callable[[], Sink]) -> None:
        self.error = ""
        self._sink: Sink | None = None
        try:
            given: Any = sink
            self._sink = given if _is_sink(given) else given()
        except Exception as error:  # noqa: BLE001 - told; the stream goes on without it
            self._fail(error)

    def write(self, events: Sequence[Event]) -> None:
        """Hand over the events of one delivery."""
        if self._sink is None:
            return
        try:
            self._sink.write(events)
        except Exception as error:  # noqa: BLE001 - told; the stream goes on without it
            self._fail(error)

    def close(self, outcome: Outcome | None) -> None:
        """Hand over the outcome; it says what went wrong with the sink."""
        sink, self._sink = self._sink, None
        if sink is not None:
            try:
                sink.close(outcome)
            except Exception as error:  # noqa: BLE001 - told; the stream is over anyway
                self._fail(error)
        if outcome is not None:
            outcome.sink_error = self.error

    def abandon(self, why: str) -> None:
        """The stream goes on, but not through here."""
        self.error = self.error or why
        self.close(None)

    def _fail(self, error: Exception) -> None:
        self.error = _words(error)
        _log.warning(SINK_FAILED, self.error)
        sink, self._sink = self._sink, None
        if sink is not None:
            with contextlib.suppress(Exception):  # it has failed already
                sink.close(None)


def _words(error: Exception) -> str:
    """Say what went wrong, never quoting what was to be written."""
    name = type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        return f"{name}: {error.strerror}"
    sqlite3 = sys.modules.get("sqlite3")
    if sqlite3 is not None and isinstance(error, sqlite3.OperationalError):
        return f"{name}: {error}"
    return name


def _is_sink(given: object) -> bool:
    """Tell a sink from what makes one: a class has the methods too."""
    return isinstance(given, Sink) and not isinstance(given, type)


def must_make_sinks(sink: object) -> None:
    """Refuse one sink where each stream needs its own.

    Raises:
        TypeError: If it is not a function that makes sinks.
    """
    if sink is not None and (not callable(sink) or _is_sink(sink)):
        msg = (
            "sink must be a function that makes a sink, since each stream has its own:"
            f" sink=lambda: ..., not {type(sink).__name__}"
        )
        raise TypeError(msg)


def text_in(events: Sequence[Event], choice: int) -> str:
    """Return the text of one choice in the events."""
    if type(events) is TextRun:
        return "".join(events.texts) if events.choice == choice else ""
    return "".join([e.text for e in events if type(e) is Text and e.choice == choice])


class Halves:
    """Puts surrogate pairs together that were cut over two deliveries."""

    def __init__(self) -> None:
        self._half = ""

    def whole(self, text: str) -> str:
        """Return what can be encoded now, with what waited before it."""
        if not self._half and text.isascii():
            return text
        text = self._half + text
        self._half = text[-1:] if ends_in_half(text) else ""
        return mended(text)
