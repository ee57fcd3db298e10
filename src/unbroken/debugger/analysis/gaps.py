"""The times between events with content: all counted, the longest remembered."""

from __future__ import annotations

import heapq

from unbroken.debugger.facts import Gap, Histogram
from unbroken.telemetry.health.histogram import EDGES
from unbroken.telemetry.health.histogram import Histogram as Counts

__all__ = ["Gaps"]

_MOST_GAPS = 24
_LONG_S, _LONG_TIMES = 0.1, 3.0
"""A gap is told if it is so long, and so many times the usual one."""


class Gaps:
    """Collect the gaps of one stream."""

    def __init__(self) -> None:
        self._longest: list[tuple[float, int, Gap]] = []
        self._counts = Counts()
        self._together = 0
        self._number = 0
        self._open: list[Gap] = []

    def together(self, events: int) -> None:
        """So many events came in one read with the one before."""
        self._together += events

    def add(
        self, at_s: float, lasted_s: float, *, attempt: int, phase: str, pings: int, own_s: float
    ) -> None:
        """Take in a gap; see `Gap`."""
        self._counts.add(lasted_s)
        self._number += 1
        full = len(self._longest) >= _MOST_GAPS
        if full and lasted_s <= self._longest[0][0]:
            return
        gap = Gap(
            at_s=at_s, lasted_s=lasted_s, attempt=attempt, phase=phase, pings=pings, own_s=own_s
        )
        put = heapq.heapreplace if full else heapq.heappush
        put(self._longest, (lasted_s, self._number, gap))

    def until_end(
        self, at_s: float, lasted_s: float, *, attempt: int, phase: str, pings: int
    ) -> None:
        """Take in a gap that no content ended."""
        self._open.append(
            Gap(at_s=at_s, lasted_s=lasted_s, attempt=attempt, phase=phase, pings=pings, open=True)
        )

    @property
    def usual_s(self) -> float:
        """The usual one; 0 where there is none."""
        return self._counts.percentile(0.5) if self._counts.counts else 0.0

    @property
    def longest_s(self) -> float:
        """The longest, those included that no content ended."""
        return max(self._counts.longest, *(gap.lasted_s for gap in self._open), 0.0)

    def told(self) -> list[Gap]:
        """Return those that stand out, in order of time."""
        least = max(_LONG_S, _LONG_TIMES * self.usual_s)
        found = [gap for _, _, gap in self._longest] + self._open
        found = [gap for gap in found if gap.lasted_s >= least]
        return sorted(found, key=lambda gap: gap.at_s)

    def histogram(self) -> Histogram:
        """Return how often which length was seen."""
        counts = self._counts.counts
        if not counts:
            return Histogram(together=self._together)
        buckets = range(min(counts), max(counts) + 1)
        return Histogram(
            edges_s=list(EDGES[buckets.start : buckets.stop]),
            counts=[counts.get(bucket, 0) for bucket in buckets],
            together=self._together,
            spread=self._counts.spread(),
        )
