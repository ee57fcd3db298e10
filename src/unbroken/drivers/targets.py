"""What one stream tells the process's circuit breaker, and what it is told."""

from __future__ import annotations

from unbroken.core.actions import Ended
from unbroken.core.options import Options
from unbroken.core.request import Request
from unbroken.governor import shared_breaker, speaks_against, target_of
from unbroken.telemetry import log_raw_frames

__all__ = ["Targets"]


class Targets:
    """The targets of one stream, as the breaker sees them.

    A break that the same target then makes good counts for nothing: where every answer is cut
    and every continuation comes whole, healing is just what should go on. So a failure is told
    only once the next attempt has failed as well, or there is none.

    Args:
        options: The user's.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._me = object()
        self._open_failure: Ended | None = None

    def why_not(self, now: float, request: Request) -> str | None:
        """Return why nothing of ours should be sent where this request goes, or None."""
        breaker = shared_breaker()
        if not self._options.breaker_failures or breaker.quiet:
            return None
        open_s = self._options.breaker_open_s
        return breaker.blocked(target_of(request), now, open_s=open_s, who=self._me)

    def ended(self, ended: Ended) -> None:
        """An attempt is over."""
        record = ended.record
        if record.raw:
            log_raw_frames(record)
        if ended.blameless:
            return
        earlier = self._open_failure
        self._open_failure = None
        if record.fault is None:
            healed = earlier is not None and target_of(earlier.request) == target_of(ended.request)
            if earlier is not None and not healed:
                self._failed(earlier)
            if not shared_breaker().quiet:  # else a large body would be parsed for nothing
                shared_breaker().succeeded(target_of(ended.request), began=record.started_at)
            return
        if earlier is not None:
            self._failed(earlier)
        if speaks_against(record.fault, record.status):
            self._open_failure = ended

    def over(self) -> None:
        """The stream is over."""
        if self._open_failure is not None:
            self._failed(self._open_failure)
            self._open_failure = None
        shared_breaker().release(self._me)

    def _failed(self, ended: Ended) -> None:
        record = ended.record
        shared_breaker().failed(
            target_of(ended.request),
            record.started_at if record.ended_at is None else record.ended_at,
            began=record.started_at,
            after=self._options.breaker_failures,
        )
