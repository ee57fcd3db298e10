"""What a mode does to a stream, in one place.

| mode | makes attempts | ends attempts | ends the stream for time | raises |
|---|---|---|---|---|
| heal | yes | yes | yes | whatever fails it |
| raise | no | yes | yes | whatever fails it |
| observe, without an SDK | no | no | yes | what any reader would notice |
| observe, under an SDK | no | no | no | nothing: the SDK does |
"""

from __future__ import annotations

from dataclasses import dataclass

from unbroken.core.faults import Fault, FaultKind
from unbroken.core.options import Mode
from unbroken.core.recovery.machine import BEFORE_BODY

__all__ = ["Conduct"]

_SEEN_BY_ANYONE = (*BEFORE_BODY, FaultKind.CONNECTION_RESET, FaultKind.STALLED)


@dataclass(frozen=True, slots=True)
class Conduct:
    """What a mode lets us do to a stream.

    Attributes:
        heals: Make further attempts; and hold back what must not be seen if one fails.
        ends_attempts: End an attempt for what is found in it, or for its silence. Without
            it all bytes pass unread, and what they mean is only written down.
        bounds_time: End the stream when it takes too long.
    """

    heals: bool
    ends_attempts: bool
    bounds_time: bool

    @classmethod
    def of(cls, mode: Mode, *, owned: bool) -> Conduct:
        """Return what a mode does to a stream.

        Args:
            mode: The mode.
            owned: No SDK stands between us and the application.
        """
        ends = mode != "observe"
        return cls(heals=mode == "heal", ends_attempts=ends, bounds_time=ends or owned)

    def raised(self, fault: Fault | None) -> Fault | None:
        """Return the fault if the application hears of it as an exception."""
        if fault is None or self.ends_attempts:
            return fault
        # Without an SDK there is nobody else to say what any reader would have noticed.
        return fault if self.bounds_time and fault.kind in _SEEN_BY_ANYONE else None
