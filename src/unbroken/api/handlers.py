"""The callbacks of a stream without an SDK."""

from __future__ import annotations

import weakref
from collections.abc import Callable

from unbroken.core.actions import Notice, Reconnecting, StallNotice
from unbroken.core.errors import StreamingError, error_class
from unbroken.core.outcome import Outcome
from unbroken.drivers.base import Driver
from unbroken.telemetry import Callbacks
from unbroken.telemetry.observer import must_be_plain

__all__ = ["Handlers"]


class Handlers(Callbacks):
    """What a user wants to hear of one stream. See `unbroken.stream`.

    Raises:
        TypeError: If one of them is not a plain function: nothing would await a coroutine.
    """

    def __init__(
        self,
        *,
        on_token: Callable[[str], object] | None = None,
        on_error: Callable[[StreamingError], object] | None = None,
        on_stall: Callable[[StallNotice], object] | None = None,
        on_reconnect: Callable[[Reconnecting], object] | None = None,
        on_complete: Callable[[str], object] | None = None,
        on_outcome: Callable[[Outcome], object] | None = None,
    ) -> None:
        must_be_plain(on_token=on_token, on_error=on_error, on_complete=on_complete)
        super().__init__(on_stall=on_stall, on_reconnect=on_reconnect, on_outcome=on_outcome)
        self.hears_tokens = on_token is not None
        self._on_token = on_token
        self._on_error = on_error
        self._on_complete = on_complete
        self._driver: weakref.ref[Driver] | None = None

    def watch(self, driver: Driver) -> None:
        """Take the account for errors from this driver. It is not kept alive by that."""
        self._driver = weakref.ref(driver)

    def notice(self, notice: Notice) -> None:
        driver = self._driver() if self._driver is not None else None
        if isinstance(notice, Reconnecting) and self._on_error is not None and driver is not None:
            outcome = driver.stream.account(driver.clock())
            self.failed(error_class(notice.fault)(outcome=outcome, fault=notice.fault))
        super().notice(notice)

    def token(self, text: str) -> None:
        """A piece of the answer's text came."""
        self._call("on_token", self._on_token, text)

    def failed(self, error: StreamingError) -> None:
        """An attempt failed, or the stream."""
        self._call("on_error", self._on_error, error)

    def ended(self, outcome: Outcome) -> None:
        """The stream ended without an exception."""
        if outcome.status == "failed" and outcome.fault is not None:
            kind = error_class(outcome.fault)  # in `observe`, where it is not raised
            self.failed(kind(outcome=outcome, fault=outcome.fault))
        elif outcome.status not in ("failed", "cancelled"):
            self._call("on_complete", self._on_complete, outcome.text)
