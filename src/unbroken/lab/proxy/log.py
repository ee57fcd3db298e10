"""What passed through the proxy and what was dealt out; never a body, a query or a key."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Entry", "Log", "Went"]

Went = Literal[
    "open", "whole", "clean", "fin", "rst", "left", "refused", "unanswered",
    "upstream-reset", "upstream-incomplete", "upstream-silent", "failed",
]  # fmt: skip
"""How an answer ended downstream: ``clean``, ``fin`` and ``rst`` by a fault; ``refused`` by us,
as its plan cannot be; ``upstream-*`` as the upstream did; ``failed`` is a bug of ours."""

_KEPT = 1000
_logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Entry:
    """One request.

    Attributes:
        number: Counted from 1.
        at: When it came, seconds since the epoch.
        method, path: Of the request, without the query.
        dialect: By its path, or by its answer's first frame; ``""`` where it is none we know.
        plan: The plan it went by; ``""`` where it passes untouched.
        attempt: Which attempt of its plan, from 0.
        faults: The faults of that attempt, as they are written.
        strikes: What was dealt out, and when, in seconds from `at`.
        status: Of the answer; None before it, and where there was none.
        first_byte_s: When the upstream's first byte of the body came, in seconds from `at`.
        read_bytes: Of the upstream's body.
        sent_bytes: Of the body that went downstream.
        went: How it ended.
        failure: What the upstream did, where it failed.
        lasted_s: Until the end.
        stopped: What its end is called, once that is known: a fault's, ours or the upstream's.
    """

    number: int
    method: str
    path: str
    at: float = field(default_factory=time.time)
    dialect: str = ""
    plan: str = ""
    attempt: int = 0
    faults: str = ""
    strikes: list[tuple[float, str]] = field(default_factory=list)
    status: int | None = None
    first_byte_s: float | None = None
    read_bytes: int = 0
    sent_bytes: int = 0
    went: Went = "open"
    failure: str = ""
    lasted_s: float | None = None
    stopped: Went | None = field(default=None, repr=False)
    _began: float = field(default_factory=time.monotonic, repr=False)

    def passed_s(self) -> float:
        """Return how long ago the request came."""
        return time.monotonic() - self._began

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        names = [
            name for name in type(self).__dataclass_fields__ if name[0] != "_" and name != "stopped"
        ]
        known = {name: getattr(self, name) for name in names}
        known["strikes"] = [{"at_s": round(at, 4), "what": what} for at, what in self.strikes]
        for name in ("at", "first_byte_s", "lasted_s"):
            known[name] = None if known[name] is None else round(known[name], 4)
        return known


class Log:
    """The last requests, and who wants to hear of the next ones."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=_KEPT)
        self._listeners: list[Callable[[Entry], None]] = []
        self.count = 0

    def begin(self, method: str, path: str) -> Entry:
        """Return the entry of a request that has just come."""
        self.count += 1
        entry = Entry(number=self.count, method=method, path=path)
        self._entries.append(entry)
        return entry

    def end(self, entry: Entry, went: Went) -> None:
        """Say how it ended, and tell the listeners."""
        entry.lasted_s = entry.passed_s()
        entry.went = went  # the last one: another thread may wait for it
        for tell in tuple(self._listeners):
            try:
                tell(entry)
            except Exception:  # somebody else's; the answer that ends here is not to suffer
                _logger.exception("a listener to the proxy's log failed")

    def entries(self) -> list[Entry]:
        """Return the entries that are kept, the oldest first."""
        return list(self._entries)

    def clear(self) -> None:
        """Forget all entries; requests are counted on."""
        self._entries.clear()

    def listen(self, listener: Callable[[Entry], None]) -> Callable[[], None]:
        """Call a function with each entry that ends; returns what stops that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)
