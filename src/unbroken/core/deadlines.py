"""The times of a whole stream; those of the attempt that is read are `checks.liveness`."""

from __future__ import annotations

from unbroken.core.conduct import Conduct
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.options import Options
from unbroken.core.outcome import AttemptRecord
from unbroken.core.recovery.machine import Recovery

__all__ = ["Deadlines", "earliest"]


def earliest(*times: float | None) -> float | None:
    """Return the first of the times that are set, or None."""
    return min((time for time in times if time is not None), default=None)


class Deadlines:
    """Say when a stream, or a request of it, has taken too long. Reads no clock.

    Args:
        options: The user's.
        conduct: What their mode does.
        recovery: Knows how long recovering may still take.
        owned: The first request is ours too, and not an SDK's, which has limits of its own.
        now: When the stream began.
        wall_time: The same in seconds since the epoch, or None where it is not known.
    """

    def __init__(
        self,
        options: Options,
        conduct: Conduct,
        recovery: Recovery,
        *,
        owned: bool,
        now: float,
        wall_time: float | None,
    ) -> None:
        timing = options.timing
        self._total_s = timing.total_s if conduct.bounds_time else None
        self._head_s = timing.first_event_s
        self._max_recovery_s = options.max_recovery_s
        self._recovery = recovery
        self._owned = owned
        self._started_at = now
        self._wall_offset = None if wall_time is None else wall_time - now

    def wall_time(self, now: float) -> float | None:
        """Return seconds since the epoch, where known."""
        return None if self._wall_offset is None else now + self._wall_offset

    def total(self) -> float | None:
        """Return when the stream must be over, recoveries included."""
        return None if self._total_s is None else self._started_at + self._total_s

    def overall(self) -> float | None:
        """Return when it is given up, whatever it is doing."""
        return earliest(self.total(), self._recovery.deadline())

    def overdue(self, now: float) -> Fault | None:
        """Return the fault of a stream that has taken too long, or None."""
        due, total = self.overall(), self.total()
        if due is None or now < due:
            return None
        if total is not None and now >= total:
            detail = f"the stream took longer than {self._total_s:g} s (clock total)"
        else:
            detail = f"recovery took longer than {self._max_recovery_s:g} s"
        return Fault.of(FaultKind.STALLED, detail)

    def head(self, record: AttemptRecord) -> float | None:
        """Return when the response head of an attempt must be there, or None."""
        ours = record.number > 1 or self._owned
        return record.started_at + self._head_s if ours and self._head_s is not None else None

    def unanswered(self, record: AttemptRecord, now: float) -> Fault | None:
        """Return the fault of a request that has waited too long for its response head."""
        due = self.head(record)
        if due is None or now < due:
            return None
        waited = now - record.started_at
        return Fault.of(
            FaultKind.STALLED, f"no response head for {waited:.1f} s (clock first-event)"
        )
