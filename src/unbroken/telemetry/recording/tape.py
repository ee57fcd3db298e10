"""What drivers and proxies tell of a stream that is recorded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from unbroken.core.outcome import Outcome
from unbroken.core.recording import BodyEndHow
from unbroken.core.request import Request

__all__ = ["Tape", "Tapes"]


class Tape(Protocol):
    """Hears of one stream, in order.

    Times are seconds on the teller's monotonic clock. What fails in a tape is told by the tape
    itself, once; it never raises.

    Attributes:
        only_late: It need not hear of deliveries whose consumer is back at once.
    """

    @property
    def only_late(self) -> bool:
        """See above."""

    def request(self, request: Request, attempt: int, rung: str, dialect: str, now: float) -> None:
        """A request is about to be sent; see `unbroken.core.recording.RequestSent`."""

    def answered(
        self,
        attempt: int,
        status: int,
        headers: Iterable[tuple[str, str]],
        now: float,
        reason: str = "",
        framing: str = "",
    ) -> None:
        """The head of its response came."""

    def read(self, attempt: int, data: bytes, now: float, waited_s: float | None = None) -> None:
        """Bytes of its body came.

        Args:
            attempt: The attempt.
            data: They.
            now: When.
            waited_s: How long they were waited for, where that is known.
        """

    def ended(self, attempt: int, how: BodyEndHow, detail: str, now: float) -> None:
        """The attempt is over."""

    def delivered(self, data: bytes, now: float) -> None:
        """Bytes went to the consumer."""

    def wanted(self, now: float) -> None:
        """The consumer came back for more."""

    def notice(self, kind: str, detail: str, attempt: int, now: float) -> None:
        """Something was going on; see `unbroken.core.recording.NoticeSeen`."""

    def outcome(self, outcome: Outcome, now: float) -> None:
        """The stream is over, and this is what came of it."""

    def close(self, now: float) -> None:
        """Nothing more comes. May be called twice."""


class Tapes(Protocol):
    """Where tapes come from: `Recorder` and `FlightRecorder` are both."""

    def stream(self, *, name: str = "") -> Tape:
        """Return the tape of a stream that begins.

        Args:
            name: What it is called elsewhere, such as in the access log.
        """
