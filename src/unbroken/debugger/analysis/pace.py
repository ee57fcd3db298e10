"""The times between events with content, over all attempts: gaps, and lumps."""

from __future__ import annotations

from unbroken.debugger.analysis.gaps import Gaps
from unbroken.debugger.facts import AttemptReport
from unbroken.telemetry.health.buffering import BufferingDetector

__all__ = ["Pace"]


class Pace:
    """Follow the content of one stream.

    Attributes:
        gaps: The times between.
    """

    def __init__(self) -> None:
        self.gaps = Gaps()
        self._buffering = BufferingDetector()
        self._last_s: float | None = None
        self._pings = 0
        self._own_s = 0.0

    @property
    def parcels(self) -> bool:
        """Whether it came in parcels; nothing may come after."""
        return self._buffering.end()

    def busy(self, own_s: float) -> None:
        """The reader took so long itself."""
        self._own_s += own_s

    def unseen(self) -> None:
        """Something was not kept here: the next gap is not known."""
        self._last_s = None

    def pinged(self, pings: int) -> None:
        """So many signs of life came without content."""
        self._pings += pings

    def came(self, facts: AttemptReport, content: int, at_s: float, *, phase: str) -> bool:
        """Content came; return whether it is the first of its attempt."""
        since, blind = self._last_s, phase == "body"
        first = facts.first_content_s == at_s or (since is None and blind)
        if first:
            began = facts.began_s if since is None else max(since, facts.began_s)
            self._buffering.came(content, max(0.0, at_s - began - self._own_s))
        elif since is not None:  # else it is behind a hole, and nobody knows how long it took
            lasted = at_s - since
            self._buffering.came(content, max(0.0, lasted - self._own_s))
            self.gaps.add(
                since,
                lasted,
                attempt=facts.number,
                phase=phase,
                pings=self._pings,
                own_s=self._own_s,
            )
        self.gaps.together(content - 1)
        self._last_s = at_s
        self._pings = 0
        self._own_s = 0.0
        return first

    def ended(self, facts: AttemptReport, at_s: float, *, phase: str) -> None:
        """An attempt is over; the time since its last content counts too."""
        if facts.quiet_s is not None:
            self.gaps.until_end(
                at_s - facts.quiet_s,
                facts.quiet_s,
                attempt=facts.number,
                phase=phase,
                pings=facts.quiet_pings,
            )
