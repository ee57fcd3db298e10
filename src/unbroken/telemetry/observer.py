"""Observers hear of stalls, reconnections and outcomes. They cannot harm a stream."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Protocol, TypeVar

from unbroken.core.actions import Notice, Reconnecting, StallNotice
from unbroken.core.outcome import Outcome

__all__ = ["Beside", "Callbacks", "Observer", "must_be_plain"]

_T = TypeVar("_T")
_log = logging.getLogger("unbroken")


class Observer(Protocol):
    """What a driver tells, in the order in which it happens."""

    def notice(self, notice: Notice) -> None:
        """Something is going on that needs no action of the application."""

    def outcome(self, outcome: Outcome) -> None:
        """The stream is over."""

    def internal_error(self, error: Exception) -> None:
        """Unbroken itself failed; the stream goes on as if it were not there."""


def must_be_plain(**functions: object) -> None:
    """Refuse what cannot be called, and coroutine functions: nothing would await them."""
    for name, function in functions.items():
        if inspect.iscoroutinefunction(function):
            msg = f"{name} must be a plain function: a coroutine would not be awaited"
            raise TypeError(msg)
        if function is not None and not callable(function):
            msg = f"{name} must be a function or None, not {type(function).__name__}"
            raise TypeError(msg)


class Callbacks:
    """An observer made of plain functions.

    A function that raises is logged once and not the stream's concern.

    Args:
        on_stall: Hears of each stall notice.
        on_reconnect: Hears of each further attempt.
        on_outcome: Hears how the stream ended.

    Raises:
        TypeError: If one is not a plain function: nothing would await a coroutine.
    """

    def __init__(
        self,
        *,
        on_stall: Callable[[StallNotice], object] | None = None,
        on_reconnect: Callable[[Reconnecting], object] | None = None,
        on_outcome: Callable[[Outcome], object] | None = None,
    ) -> None:
        must_be_plain(on_stall=on_stall, on_reconnect=on_reconnect, on_outcome=on_outcome)
        self._on_stall = on_stall
        self._on_reconnect = on_reconnect
        self._on_outcome = on_outcome
        self._told: set[str] = set()

    def notice(self, notice: Notice) -> None:
        if isinstance(notice, StallNotice):
            self._call("on_stall", self._on_stall, notice)
        else:
            self._call("on_reconnect", self._on_reconnect, notice)

    def outcome(self, outcome: Outcome) -> None:
        self._call("on_outcome", self._on_outcome, outcome)

    def internal_error(self, error: Exception) -> None:
        _log.error(
            "unbroken failed (%s) and stepped aside; the stream goes on unprotected."
            " Please report this",
            type(error).__name__,
            exc_info=error,
        )

    def _call(self, name: str, function: Callable[[_T], object] | None, value: _T) -> None:
        if function is None:
            return
        try:
            function(value)
        except Exception as error:  # noqa: BLE001 - a callback must not end a stream
            if name not in self._told:
                self._told.add(name)
                _log.warning("%s raised %s; the stream goes on", name, type(error).__name__)


class Beside:
    """Tell a second observer what the first is told. The second cannot harm the stream.

    Args:
        observer: Hears of everything first.
        beside: Hears of it then; if it raises, that is logged once.
    """

    def __init__(self, observer: Observer, beside: Observer) -> None:
        self._observer = observer
        self._beside = beside
        self._told = False

    def notice(self, notice: Notice) -> None:
        self._observer.notice(notice)
        self._call(self._beside.notice, notice)

    def outcome(self, outcome: Outcome) -> None:
        self._observer.outcome(outcome)
        self._call(self._beside.outcome, outcome)

    def internal_error(self, error: Exception) -> None:
        self._observer.internal_error(error)
        self._call(self._beside.internal_error, error)

    def _call(self, function: Callable[[_T], object], value: _T) -> None:
        try:
            function(value)
        except Exception as error:  # noqa: BLE001 - who only watches must not end a stream
            if not self._told:
                self._told = True
                _log.exception("telemetry raised %s; the stream goes on", type(error).__name__)
