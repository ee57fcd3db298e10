"""Recovery: after each failure, whether there is another attempt, which, and when.

It keeps what the ladder must know from one failure to the next: what was tried at this place,
what a provider refused, and what recovering has cost so far.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from unbroken.core.actions import Reconnecting
from unbroken.core.dialects.base import Dialect
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.options import Options
from unbroken.core.outcome import Skipped
from unbroken.core.received import Received
from unbroken.core.recovery.backoff import backoff_s
from unbroken.core.recovery.ladder import choose
from unbroken.core.recovery.situation import Broken, Plan, Situation
from unbroken.core.request import Request

__all__ = ["BEFORE_BODY", "Decision", "Recovery"]

BEFORE_BODY = (FaultKind.HTTP_ERROR, FaultKind.CONNECT_FAILED)
"""Faults of a request that got no stream."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do about a failure.

    Attributes:
        plan: The next attempt, or None: fail.
        skipped: Rungs that were passed over, and why.
        wait_s: Seconds before the attempt.
    """

    plan: Plan | None
    skipped: list[Skipped]
    wait_s: float = 0.0

    def told(self, fault: Fault, *, attempt: int) -> Reconnecting:
        """Return what observers hear of the next attempt.

        Args:
            fault: What ended the one before.
            attempt: Its number.
        """
        plan = self.plan
        assert plan is not None
        return Reconnecting(
            attempt=attempt,
            rung=plan.rung,
            fault=fault,
            wait_s=self.wait_s,
            added_bytes=len(plan.request.body),
            skipped=self.skipped,
        )


class Recovery:
    """Decide what follows a failure. Reads no clock: every input brings `now`.

    Attributes:
        active: Something failed, and nothing new was delivered since.

    Args:
        request: The first attempt's request.
        dialect: What it speaks.
        options: The user's.
        received: What the consumer has.
        jitter: Draws a number from 0 to 1.
        permit: Whether the process may make one more heal now.
        blocked: Why a request should not be sent now, or None (a circuit breaker).
    """

    def __init__(
        self,
        request: Request,
        dialect: Dialect,
        options: Options,
        received: Received,
        *,
        jitter: Callable[[], float],
        permit: Callable[[float], bool],
        blocked: Callable[[float, Request], str | None] = lambda now, request: None,
    ) -> None:
        self._request = request
        self._dialect = dialect
        self._options = options
        self._received = received
        self._jitter = jitter
        self._permit = permit
        self._blocked = blocked
        self._tries: dict[str, int] = {}
        self._refused: set[str] = set()
        self._arrived = False
        self._added_bytes = 0
        self._last_bytes = 0
        self._failures = 0
        self._refusals = 0
        self._asked_wait_s: float | None = None
        self.active = False
        self._since = 0.0  # while active
        self._spent_s = 0.0

    def deadline(self) -> float | None:
        """Return when the recovery that is under way has taken too long."""
        if not self.active:
            return None
        return self._since + self._options.max_recovery_s - self._spent_s

    def answered(self, plan: Plan) -> None:
        """The attempt on this plan got a stream."""
        self._tries[plan.key] = self._tries.get(plan.key, 0) + 1

    def refuse(self, plan: Plan) -> None:
        """This way leads nowhere in this stream."""
        self._refused.add(plan.key)

    def ask_to_wait(self, seconds: float | None) -> None:
        """The provider wants no request before so many seconds."""
        self._asked_wait_s = seconds

    def progressed(self, now: float) -> None:
        """Something new was delivered: this place in the answer is behind us."""
        if self.active:
            self._spent_s += now - self._since
            self.active = False
            self._tries.clear()
            self._failures = 0

    def release(self) -> None:
        """The stream is over: let go of the driver's functions.

        The driver holds the stream; with the stream holding the driver, both would stay until
        Python looks for cycles, which a busy server does seldom.
        """
        self._permit, self._blocked = _never, _nothing

    def decide(
        self,
        fault: Fault,
        *,
        now: float,
        attempts: int,
        arrived: bool,
        open_call_delivered: bool,
        polite: bool,
        until: float | None,
        broken: Broken | None = None,
        wall_time: float | None = None,
    ) -> Decision:
        """Return what to do about a failure.

        Args:
            fault: Why the attempt failed.
            now: The driver's clock.
            attempts: Upstream requests so far.
            arrived: Whether the failed attempt sent more than a status.
            open_call_delivered: Part of a tool call is with the consumer.
            polite: Wait before the next attempt if they keep failing; no need where the
                server did nothing wrong.
            until: When the stream must be over, or None.
            broken: The attempt that broke, where an answer had begun.
            wall_time: Seconds since the epoch, where known.
        """
        options = self._options
        self._arrived = self._arrived or arrived
        self._refusals = self._refusals + 1 if fault.kind in BEFORE_BODY else 0
        if self._refusals:
            self._added_bytes -= self._last_bytes  # nobody bills a request that got no stream
        self._last_bytes = 0
        plan, skipped = choose(
            Situation(
                request=self._request,
                dialect=self._dialect,
                options=options,
                delivered=self._received,
                fault=fault,
                open_call_delivered=open_call_delivered,
                anything_arrived=self._arrived,
                tries=self._tries,
                refused=self._refused,
                attempts=attempts,
                added_bytes=self._added_bytes,
                refusals=self._refusals,
                broken=broken,
                wall_time=wall_time,
                blocked=partial(self._blocked, now),
            )
        )
        if plan is None:
            return Decision(None, skipped)
        if options.mode != "heal":
            why = f"mode {options.mode}: would have sent {len(plan.request.body)} bytes more"
            return Decision(None, [*skipped, Skipped(rung=plan.rung, why=why)])
        self._failures += polite
        wait_s = self._wait_s(fault, polite=polite)
        if not self.active:
            self.active, self._since = True, now
        deadlines = [each for each in (self.deadline(), until) if each is not None]
        if deadlines and now + wait_s >= min(deadlines):
            why = f"the wait of {wait_s:.1f} s would pass the time allowed for recovery"
        elif not self._permit(now):
            why = "the process's share of heals is used up"
        else:
            self._last_bytes = len(plan.request.body)
            self._added_bytes += self._last_bytes
            return Decision(plan, skipped, wait_s)
        return Decision(None, [*skipped, Skipped(rung=plan.rung, why=why)])

    def _wait_s(self, fault: Fault, *, polite: bool) -> float:
        """A stream that broke off is taken up at once; a server that refused gets a pause."""
        wait_s = 0.0
        if polite and (self._failures > 1 or fault.kind in BEFORE_BODY):
            wait_s = backoff_s(self._failures, jitter=self._jitter())
        asked_s, self._asked_wait_s = self._asked_wait_s, None
        return wait_s if asked_s is None else max(wait_s, asked_s)


def _never(now: float) -> bool:
    return False


def _nothing(now: float, request: Request) -> str | None:
    return None
