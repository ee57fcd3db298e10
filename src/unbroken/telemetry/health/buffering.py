"""Notice that something in the path collects events and hands them over late.

A reverse proxy that buffers (nginx's default), a compressing middlebox or a virus scanner turns
a stream of tokens into a few parcels. Nothing is lost, so no check of the core sees it; but the
reader stares at a blank page. It shows in how events arrive:

* **in parcels**: again and again a long wait, and then many events within a few milliseconds;
* **all at once**: a long wait for the first event, and everything else right behind it.

What looks like it and is not: a fast model (no long waits), a provider that puts several tokens
into an event (few events a parcel) or flushes a handful of events at once, a short answer (it
says too little), a consumer that is slow itself (its time is not the wait of a read), and tool
calls that we held back ourselves (they are not counted).
"""

from __future__ import annotations

__all__ = ["BufferingDetector"]

_TOGETHER_S = 0.005
"""Events closer than this came in one parcel."""
_PARCEL_EVENTS = 8
"""The fewest events of a parcel; providers flush up to about five at once."""
_PARCELS = 4
_PARCELLED_EVENTS = 48
_PARCELLED_SHARE = 0.8
_PARCEL_WAIT_S = 0.12
"""The least wait before a parcel: one that a reader notices."""
_ALL_EVENTS = 100
_ALL_WAIT_S = 1.0
_ALL_SPREAD = 0.1
"""All at once: the rest took at most this share of the time to the first."""
_ALL_EVENTS_A_READ = 32


class BufferingDetector:
    """Watch how the text and thinking of one stream arrive. Reads no clock."""

    __slots__ = (
        "_events", "_first_wait_s", "_parcel", "_parcelled", "_parcels", "_reads", "_spread_s",
        "_wait_s", "found",
    )  # fmt: skip

    def __init__(self) -> None:
        self.found = False
        """Whether events are being held back. Once it was so, it stays so."""
        self._events = 0
        self._reads = 0
        self._first_wait_s = -1.0
        self._spread_s = 0.0
        self._parcel = 0  # events of the parcel that is coming
        self._wait_s = 0.0  # before it
        self._parcels = 0
        self._parcelled = 0

    def came(self, count: int, waited_s: float) -> None:
        """Events came in one read.

        Args:
            count: How many, of text or thinking.
            waited_s: How long the reader waited for them, its own time left out; for the
                first ones since the request.
        """
        self._reads += 1
        self._events += count
        if waited_s < _TOGETHER_S:
            self._parcel += count
            self._spread_s += waited_s
            return
        if self._parcel >= _PARCEL_EVENTS:
            self._close_parcel()
        self._parcel = count
        self._wait_s = waited_s
        if self._first_wait_s < 0.0:
            self._first_wait_s = waited_s
        else:
            self._spread_s += waited_s

    def end(self) -> bool:
        """The stream is over; return whether events were held back."""
        if self._parcel >= _PARCEL_EVENTS:
            self._close_parcel()
            self._parcel = 0
        all_at_once = (
            self._events >= _ALL_EVENTS
            and self._first_wait_s >= _ALL_WAIT_S
            and self._spread_s <= self._first_wait_s * _ALL_SPREAD
            and self._events >= self._reads * _ALL_EVENTS_A_READ
        )
        self.found = self.found or all_at_once
        return self.found

    def _close_parcel(self) -> None:
        if self._wait_s < _PARCEL_WAIT_S:
            return
        self._parcels += 1
        self._parcelled += self._parcel
        if (
            self._parcels >= _PARCELS
            and self._parcelled >= _PARCELLED_EVENTS
            and self._parcelled >= self._events * _PARCELLED_SHARE
        ):
            self.found = True
