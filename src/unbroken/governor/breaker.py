"""The circuit breaker: what a failing target is still asked for.

```
             failures in a row                after a while
   CLOSED ──────────────────────> OPEN ──────────────────────> HALF-OPEN
     ^                             ^                              │  │
     └──── an answer came whole ───┼──────────────────────────────┘  │
                                   └────────── it failed again ──────┘
```

While it is open, Unbroken sends the target nothing of its own: no retry, no continuation. The
application's own requests always go out, and one of them that ends whole closes it at once.
Half-open, one stream in `open_s` may try.

Fed by how streams end, not by status codes alone: a target that answers 200 and breaks off
every answer is as dead as one that answers 503. Three rules keep it from opening where healing
works: an answer that came whole ends the row; a break that the same target makes good is never
told (`unbroken.drivers.targets`); and a failure counts only if its request was made after the
failure before it, since when a gateway restarts a hundred streams break at one moment, and what
is asked next tells how it is now.

A target is scheme, host, port and model. Not the key: what breaks streams is a server or a
model, secrets stay out of shared state, and headers that are signed anew for each request would
make every request a target of its own.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from unbroken.core.faults import Fault, FaultKind
from unbroken.core.request import Request

__all__ = ["Breaker", "shared_breaker", "speaks_against", "target_of"]

State = Literal["closed", "open", "half-open"]

_ROW_S = 60.0
"""A row of failures is over when so long no request was made that failed."""
_MOST_TARGETS = 256
"""Failing targets remembered; beyond it the one that was quiet for longest is forgotten."""
_PORTS = {"http": 80, "https": 443}
_NOT_ITS_DOING = frozenset(
    {
        FaultKind.CANCELLED,
        FaultKind.INVALID_TOOL_ARGUMENTS,
        FaultKind.OVERSIZED_EVENT,  # the limit is the user's
    }
)


def target_of(request: Request) -> str:
    """Return the name under which a request's target is known here.

    The model stands in the body, or as with Gemini and Bedrock in the path.
    """
    try:
        url = urlsplit(request.url)
        port = url.port or _PORTS.get(url.scheme, 0)
    except ValueError:  # no such port, or half an IPv6 address
        return request.url[:256]
    model = request.json.get("model")
    place = model if isinstance(model, str) and model else url.path
    return f"{url.scheme}://{url.hostname}:{port} {place[:256]}"


def speaks_against(fault: Fault, status: int | None) -> bool:
    """Whether a fault that ended an attempt is the target's doing.

    Args:
        fault: Why the attempt ended.
        status: The HTTP status that it got, or None.
    """
    if not fault.fatal or fault.kind in _NOT_ITS_DOING:
        return False
    if fault.kind is FaultKind.HTTP_ERROR:
        return status is not None and (status in (408, 429) or status >= 500)
    if fault.kind in (FaultKind.MALFORMED_JSON, FaultKind.INVALID_UTF8):
        return True  # also where the user wants no retry for it
    return fault.retryable  # else it speaks against the request, or the key


@dataclass(slots=True)
class _Target:
    failures: int = 0
    failed_at: float = float("-inf")
    opened_at: float | None = None
    tried_by: object | None = None
    tried_at: float = 0.0


class Breaker:
    """Count failures in a row by target. Reads no clock: every input brings `now`."""

    def __init__(self) -> None:
        self._targets: OrderedDict[str, _Target] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def quiet(self) -> bool:
        """Whether no target is failing, so that a success says nothing new."""
        return not self._targets

    def __len__(self) -> int:
        return len(self._targets)

    def failed(self, target: str, now: float, *, began: float, after: int) -> None:
        """An attempt failed, and it was the target's doing.

        Args:
            target: See `target_of`.
            now: Monotonic, seconds.
            began: When the attempt's request was made.
            after: Failures in a row that open the breaker; 0 never does.
        """
        if after <= 0:
            return
        with self._lock:
            known = self._targets.get(target)
            if known is None:
                while len(self._targets) >= _MOST_TARGETS:
                    self._targets.popitem(last=False)
                known = self._targets[target] = _Target()
            self._targets.move_to_end(target)
            if began < known.failed_at:
                return
            known.failures = known.failures + 1 if began - known.failed_at <= _ROW_S else 1
            known.failed_at = now
            if known.opened_at is not None or known.failures >= after:
                known.opened_at, known.tried_by = now, None

    def succeeded(self, target: str, *, began: float) -> None:
        """An attempt ended whole. While the breaker is open, one that began since counts."""
        with self._lock:
            known = self._targets.get(target)
            if known is not None and (known.opened_at is None or began >= known.opened_at):
                del self._targets[target]

    def blocked(self, target: str, now: float, *, open_s: float, who: object) -> str | None:
        """Return why nothing should be sent to the target now, or None.

        Args:
            target: See `target_of`.
            now: Monotonic, seconds.
            open_s: Seconds for which it stays open, and between one try and the next.
            who: The stream that asks. If it is the one to try, it may ask again.
        """
        with self._lock:
            known = self._targets.get(target)
            if known is None or known.opened_at is None:
                return None
            row = f"failures in a row: {known.failures}"
            left_s = known.opened_at + open_s - now
            if left_s > 0:
                return f"the circuit breaker is open for {left_s:.0f} s more ({row})"
            free = known.tried_by is None or now >= known.tried_at + open_s
            if not free and known.tried_by is not who:
                return f"the circuit breaker is half-open ({row}): another stream tries first"
            if free:
                known.tried_by, known.tried_at = who, now
            return None

    def release(self, who: object) -> None:
        """A stream is over: what it was to try and did not, another may."""
        if self.quiet:
            return
        with self._lock:
            for known in self._targets.values():
                if known.tried_by is who:
                    known.tried_by = None

    def state(self, target: str, now: float, *, open_s: float) -> State:
        """Return the state of one target's breaker."""
        with self._lock:
            known = self._targets.get(target)
            if known is None or known.opened_at is None:
                return "closed"
            return "open" if now < known.opened_at + open_s else "half-open"


_shared = Breaker()


def shared_breaker() -> Breaker:
    """Return the process's breaker."""
    return _shared


def _after_fork() -> None:
    global _shared  # noqa: PLW0603 - the parent's lock may be held for ever in the child
    _shared = Breaker()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
