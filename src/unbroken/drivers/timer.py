"""One daemon thread that wakes blocked reads of all streams of the process.

A read that blocks cannot look at a clock, and a read timeout of the HTTP library is fixed
before the first read. So one lazily started thread calls back at each stream's next time.
An alarm that is set costs a read nothing: when it rings, the stream says when to look again.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable

__all__ = ["Alarm", "shared_timer"]

_log = logging.getLogger("unbroken")


class Alarm:
    """One stream's wake-up. The callback runs on the thread.

    Attributes:
        planned: When it will run, or None while it is not set.

    Args:
        callback: A bound method, called at the time that was set; it returns the next, or None.
    """

    __slots__ = ("_callback", "planned")

    def __init__(self, callback: Callable[[], float | None]) -> None:
        # Weakly held: the plan must not keep an abandoned stream and its connection alive.
        self._callback = weakref.WeakMethod(callback)
        self.planned: float | None = None

    def ring(self) -> float | None:
        """Call back, unless the stream is gone."""
        callback = self._callback()
        return None if callback is None else callback()


class Timer:
    """The thread and its plan."""

    def __init__(self) -> None:
        self._plan: list[tuple[float, int, Alarm]] = []
        self._changed = threading.Condition()
        self._ids = itertools.count()
        self._thread: threading.Thread | None = None

    def arm(self, alarm: Alarm, at: float | None) -> None:
        """Have the alarm ring at a time (monotonic, seconds).

        If it is set for sooner, that stands; None changes nothing.
        """
        if at is None or (alarm.planned is not None and alarm.planned <= at):
            return
        with self._changed:
            alarm.planned = at
            heapq.heappush(self._plan, (at, next(self._ids), alarm))
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="unbroken-timer", daemon=True
                )
                self._thread.start()
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._plan:
                    self._changed.wait()
                when, _, alarm = self._plan[0]
                delay = when - time.monotonic()
                if delay > 0:
                    self._changed.wait(delay)
                    continue
                heapq.heappop(self._plan)
                if alarm.planned != when:
                    continue  # an earlier wake-up took its place
                alarm.planned = None
            try:
                self.arm(alarm, alarm.ring())
            except Exception as bug:  # noqa: BLE001 - told, see below
                # One stream loses its clocks; those of all others depend on this thread.
                _log.exception("unbroken failed (%s) at a deadline", type(bug).__name__)


_shared = Timer()


def shared_timer() -> Timer:
    """Return the process's timer."""
    return _shared


def _after_fork() -> None:
    global _shared  # noqa: PLW0603 - threads do not survive a fork
    _shared = Timer()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
