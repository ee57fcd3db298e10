"""Requests that reached the lab, and not the scenario that was played: what a set-up got wrong.

A client that asks for a model of its own choice gets a healthy answer, of another model; one that
asks on a path that no provider has gets a 404. Both have made a request, and are told so.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

__all__ = ["Strays"]

_KEPT = 100
_SHOWN = 60


class Strays:
    """Notes such requests; give it to `LabServer` as ``on_attempt``. Safe in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logs: deque[Any] = deque(maxlen=_KEPT)

    def __call__(self, session: Any, log: Any) -> None:
        """Note a request if it is of no session that the scorecard has made."""
        if session is None or not session.named:
            with self._lock:
                self._logs.append(log)

    def told_since(self, at_s: float, *, model: str, where: str) -> str:
        """Return what was asked for in place of a model, by the latest request; "" for none.

        Args:
            at_s: Since when, by `time.monotonic`.
            model: What should have been asked for.
            where: What to call that model, such as ``the model in LAB_MODEL``.
        """
        with self._lock:
            since = [log for log in self._logs if log.at_s >= at_s]
        if not since:
            return ""
        log = since[-1]
        if log.model and log.model != model:
            asked = log.model if len(log.model) <= _SHOWN else f"{log.model[:_SHOWN]}..."
            return f"it asked for {asked!r}, not for {where}"
        path = log.path.partition("?")[0][:_SHOWN]
        return f"it asked for {log.method} {path}, and the lab refused: {log.error or log.status}"
