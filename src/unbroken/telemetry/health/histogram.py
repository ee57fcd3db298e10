"""Histograms on fixed, log-spaced edges: small, mergeable, and good enough for percentiles.

All share one row of edges, ten a decade (1, 1.25, 1.6, 2, 2.5, 3.2, 4, 5, 6.4, 8), from 10 µs
to 10^10: for seconds and bytes alike. A value's bucket is at most a quarter wider than it, so
a percentile is right to about an eighth. Counts are sparse, since most streams fill few.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

import msgspec

__all__ = ["EDGES", "Histogram", "Spread", "bucket_of"]

_STEPS = (1.0, 1.25, 1.6, 2.0, 2.5, 3.2, 4.0, 5.0, 6.4, 8.0)
EDGES: tuple[float, ...] = tuple(
    float(f"{step}e{decade}") for decade in range(-5, 10) for step in _STEPS
)
"""Upper edges of the buckets, each one inclusive; one more bucket takes what is beyond."""


def bucket_of(value: float) -> int:
    """Return the number of a value's bucket."""
    return bisect_left(EDGES, value)


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """What a histogram says, in its unit; all 0 where nothing was measured.

    Attributes:
        count: How many values there are.
        average: Their exact mean.
        p50: The median, right to about an eighth, as the other percentiles are.
        p90: Nine of ten are not above it.
        p99: 99 of 100 are not above it.
        longest: The exact greatest value.
    """

    count: int = 0
    average: float = 0.0
    p50: float = 0.0
    p90: float = 0.0
    p99: float = 0.0
    longest: float = 0.0


class Histogram(msgspec.Struct, kw_only=True):
    """Counts of values by size.

    Attributes:
        counts: How many fell into each bucket, by the bucket's number.
        total: The sum of all values.
        longest: The greatest of them.
    """

    counts: dict[int, int] = {}
    total: float = 0.0
    longest: float = 0.0

    @property
    def count(self) -> int:
        """How many values there are."""
        return sum(self.counts.values())

    def add(self, value: float) -> None:
        """Count a value; one below 0 counts as 0."""
        value = max(0.0, value)
        bucket = bisect_left(EDGES, value)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1
        self.total += value
        self.longest = max(self.longest, value)

    def add_counts(self, counts: Mapping[int, int], total: float, longest: float) -> None:
        """Add values that were counted elsewhere."""
        mine = self.counts
        for bucket, count in counts.items():
            mine[bucket] = mine.get(bucket, 0) + count
        self.total += total
        self.longest = max(self.longest, longest)

    def merge(self, other: Histogram) -> None:
        """Add another histogram's values."""
        self.add_counts(other.counts, other.total, other.longest)

    def up_to(self, edge: float) -> int:
        """Return how many values are not above an edge (one of `EDGES`)."""
        last = bisect_left(EDGES, edge)
        return sum(count for bucket, count in self.counts.items() if bucket <= last)

    def percentile(self, share: float) -> float:
        """Return the value that this share (0 to 1) of all values is not above."""
        wanted = share * self.count
        seen = 0
        for bucket, count in sorted(self.counts.items()):
            if seen + count >= wanted:
                upper = EDGES[bucket] if bucket < len(EDGES) else self.longest
                lower = EDGES[bucket - 1] if bucket else 0.0
                inside = lower + (upper - lower) * (wanted - seen) / count
                return min(inside, self.longest)
            seen += count
        return self.longest

    def spread(self) -> Spread:
        """Return average and percentiles."""
        count = self.count
        if not count:
            return Spread()
        return Spread(
            count=count,
            average=self.total / count,
            p50=self.percentile(0.5),
            p90=self.percentile(0.9),
            p99=self.percentile(0.99),
            longest=self.longest,
        )
