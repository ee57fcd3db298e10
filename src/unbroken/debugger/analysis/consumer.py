"""The reader's own time: how long it did not read although it could have.

Two things tell of it. Where the recorder stood beside the reader, a `Delivered` is followed by the
`Wanted` with which the reader came back. And where each read was measured, the time between two
reads less the wait for the second is time in which nobody read; if that read then returns at once
and brings much, the bytes had been there before.
"""

from __future__ import annotations

from unbroken.debugger.facts import Consumer

__all__ = ["ConsumerPass"]

_AT_ONCE_S = 0.005
_AWAY_S = 0.25
_LEAST_S = 0.002
"""Less than that is the cost of a read, not a delay."""


class ConsumerPass:
    """Add up the reader's own time."""

    def __init__(self) -> None:
        self._measured = False
        self._delivered_at: float | None = None
        self._busy = 0.0
        self._longest = self._longest_at = 0.0
        self._late = 0
        self._told_since_read = 0.0
        self._deliveries = self._returns = 0

    def delivered(self, at_s: float) -> None:
        """Something went to the reader."""
        self._delivered_at = at_s
        self._deliveries += 1

    def wanted(self, at_s: float) -> float:
        """The reader came back; return how long it was away."""
        since, self._delivered_at = self._delivered_at, None
        if since is None:
            return 0.0
        self._measured = True
        self._returns += 1
        own = max(0.0, at_s - since)
        self._told_since_read += own
        self._add(since, own)
        return own

    def away_s(self, at_s: float) -> float:
        """Return how long the reader has been away, where it is known to say when it comes back."""
        if self._delivered_at is None or 2 * self._returns < self._deliveries - 1:
            return 0.0
        return max(0.0, at_s - self._delivered_at) if self._returns else 0.0

    def read(
        self, at_s: float, *, gap_s: float | None, waited_s: float | None, much: bool
    ) -> float:
        """A read returned; return how much of the time since the last one was the reader's own."""
        told, self._told_since_read = self._told_since_read, 0.0
        if gap_s is None or waited_s is None:
            return min(told, gap_s) if gap_s is not None else told
        self._measured = True
        own = max(0.0, gap_s - waited_s)
        if own > told:
            self._add(at_s - gap_s, own - told)
        own = max(own, min(told, gap_s))
        if own >= _AWAY_S and waited_s <= _AT_ONCE_S and much:
            self._late += 1
        return own if own >= _LEAST_S else 0.0

    def _add(self, since_s: float, own: float) -> None:
        if own < _LEAST_S:
            return
        self._busy += own
        if own > self._longest:
            self._longest, self._longest_at = own, since_s

    def result(self, whole_s: float) -> Consumer:
        """Return what is known.

        Args:
            whole_s: From the first byte to the end.
        """
        return Consumer(
            measured=self._measured,
            busy_s=self._busy,
            longest_s=self._longest,
            longest_at_s=self._longest_at,
            late_reads=self._late,
            share=min(1.0, self._busy / whole_s) if whole_s > 0 else 0.0,
        )
