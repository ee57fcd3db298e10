"""Tell a tape what a driver does: every attempt with its bytes, and what the consumer got when."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from unbroken.core.actions import Notice, StallNotice
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.outcome import Outcome
from unbroken.core.recording import BodyEndHow
from unbroken.core.request import Request
from unbroken.telemetry.recording.tape import Tape

__all__ = ["Taping"]

_log = logging.getLogger("unbroken")
_LATE_S = 0.005
"""A consumer that is back sooner was not busy."""
_TIMED_OUT = (FaultKind.STALLED, FaultKind.SLOW_DRIP)


class Taping:
    """One stream's tape, as its driver tells it.

    Args:
        tape: What is told. The first request is on it already where somebody else sent it.
        dialect: What the stream speaks.
        clock: The driver's.
    """

    def __init__(self, tape: Tape, dialect: str, clock: Callable[[], float]) -> None:
        self._tape: Tape | None = tape
        self._dialect = dialect
        self._clock = clock
        self._attempt = 1
        self._rung = "first"
        self._only_late = tape.only_late
        self._read_at: float | None = None
        self._since: float | None = None  # when the running read began
        self._handed = b""
        self._open = False  # the end of the attempt's body was not told yet
        self._over = False

    def sending(self, request: Request, attempt: int) -> None:
        """A request is about to be sent by the driver."""
        if self._tape is not None:
            self._attempt, self._open = attempt, True
            self._tell(
                self._tape.request, request, attempt, self._rung, self._dialect, self._clock()
            )

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        """The head of a response came."""
        if self._tape is not None:
            self._open = True
            self._since = now = self._clock()
            self._tell(self._tape.answered, self._attempt, status, headers.items(), now)

    def read(self, data: bytes, now: float) -> None:
        """Bytes of a body came."""
        since, self._since = self._since, now
        self._read_at = now
        if self._tape is not None:
            try:  # not by `_tell`: it is what happens most
                self._tape.read(self._attempt, data, now, None if since is None else now - since)
            except Exception as bug:  # noqa: BLE001 - as there
                self._failed(bug)

    def eof(self, now: float) -> None:
        """A body ended cleanly."""
        self._end("eof", "", now)

    def failed(self, error: Exception, fault: Fault, now: float) -> None:
        """Sending or reading failed."""
        self._end(_how(error, fault), fault.detail, now)

    def closed(self, fault: Fault | None) -> None:
        """An attempt is over, and its connection closed by us unless it had ended by itself."""
        how: BodyEndHow = "left" if fault is None else "given-up"
        if fault is not None and fault.kind in _TIMED_OUT:
            how = "deadline"
        self._end(how, "" if fault is None else fault.detail, self._clock())

    def delivered(self, data: bytes) -> None:
        """Bytes go to the consumer."""
        if self._only_late:
            self._handed = data
        elif self._tape is not None:
            self._tell(self._tape.delivered, data, self._clock())

    def wanted(self, now: float) -> None:
        """The consumer came back."""
        self._since = now
        tape = self._tape
        if tape is None:
            return
        if self._only_late:
            if self._read_at is None or now - self._read_at < _LATE_S:
                return
            # It was handed on as soon as it was read, or a little later.
            self._tell(tape.delivered, self._handed, self._read_at)
        self._tell(tape.wanted, now)

    def notice(self, notice: Notice) -> None:
        """A stall, or a further attempt."""
        if isinstance(notice, StallNotice):
            kind, detail = "stall", f"{notice.clock} in {notice.phase}"
        else:
            kind, detail = "reconnecting", f"{notice.rung} after {notice.fault.kind.value}"
            self._rung = notice.rung
        if self._tape is not None:
            self._tell(self._tape.notice, kind, detail, self._attempt, self._clock())

    def outcome(self, outcome: Outcome) -> None:
        """The stream is over."""
        if self._over:
            return
        self._over = True
        self.closed(outcome.fault)
        if self._tape is not None:
            self._tell(self._tape.outcome, outcome, self._clock())
        self.close()

    def close(self) -> None:
        """Nothing more comes."""
        if self._tape is not None:
            self._tell(self._tape.close, self._clock())
        self._tape = None

    def _end(self, how: BodyEndHow, detail: str, now: float) -> None:
        if self._tape is not None and self._open:
            self._open = False
            self._tell(self._tape.ended, self._attempt, how, detail, now)

    def _tell(self, function: Callable[..., None], *facts: Any) -> None:
        try:
            function(*facts)
        except Exception as bug:  # noqa: BLE001 - told; the stream goes on unrecorded
            self._failed(bug)

    def _failed(self, bug: Exception) -> None:
        self._tape = None
        _log.error(
            "a recorder raised %s; the stream goes on unrecorded", type(bug).__name__, exc_info=bug
        )


def _how(error: Exception, fault: Fault) -> BodyEndHow:
    if fault.kind in _TIMED_OUT:
        return "silent"
    if fault.kind is FaultKind.CONNECT_FAILED:
        return "unanswered"
    told = getattr(error, "how", "")  # of the relay's upstream
    if told in ("reset", "silent"):
        return "reset" if told == "reset" else "silent"
    # An orderly close inside the body's framing, as both libraries call it.
    return "incomplete" if told or type(error).__name__ == "RemoteProtocolError" else "reset"
