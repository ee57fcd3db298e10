"""The shared retry budget: heals must stay a small part of the traffic.

When a provider is down for everybody, healing every stream would multiply the load and the
bill. So heals are limited to a share of the last minute's streams, and never fewer than a few.
"""

from __future__ import annotations

import os
import threading
from collections import deque

__all__ = ["HealBudget", "shared_budget"]

_WINDOW_S = 60.0


class HealBudget:
    """Count streams and heals over the last minute."""

    def __init__(self) -> None:
        self._streams: deque[float] = deque()
        self._heals: deque[float] = deque()
        self._lock = threading.Lock()

    def started(self, now: float) -> None:
        """A stream began."""
        with self._lock:
            self._forget(self._streams, now)
            self._streams.append(now)

    def permit(self, now: float, *, share: float, least: int) -> bool:
        """Whether one more heal fits; if so, it is counted.

        Args:
            now: Monotonic, seconds.
            share: Heals allowed for each stream of the last minute.
            least: Heals a minute that are always allowed.
        """
        with self._lock:
            self._forget(self._streams, now)
            self._forget(self._heals, now)
            if len(self._heals) >= max(least, share * len(self._streams)):
                return False
            self._heals.append(now)
            return True

    @staticmethod
    def _forget(times: deque[float], now: float) -> None:
        while times and times[0] <= now - _WINDOW_S:
            times.popleft()


_shared = HealBudget()


def shared_budget() -> HealBudget:
    """Return the process's budget."""
    return _shared


def _after_fork() -> None:
    global _shared  # noqa: PLW0603 - the parent's lock may be held for ever in the child
    _shared = HealBudget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
