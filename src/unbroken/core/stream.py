"""The stream: all attempts together, as one machine that drivers drive.

```
            connected            fault, and the ladder has a rung
 CONNECTING ─────────> READING ──────────────────────────────────> WAITING
     ^   │                │ end proven, or no rung left                │
     │   └── refused ──>──┤                                            │
     └────────────────────┼──────────────── time ──────────────────────┘
                          v
                         OVER
```

Facts come in with their time, actions go out; nothing here sleeps, reads a clock or raises on
what a peer sends. Attempts never interleave: the connection of one is closed before the next
is opened, and what arrives late of it is not taken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from enum import Enum, auto
from functools import partial

import msgspec

from unbroken.core.account import Account
from unbroken.core.actions import (
    Action,
    Connect,
    Deliver,
    Disconnect,
    Ended,
    FinishStream,
    Notice,
    Receive,
    Wait,
)
from unbroken.core.checks.liveness import StallNotice
from unbroken.core.conduct import Conduct
from unbroken.core.course import Broke, Course, Whole
from unbroken.core.deadlines import Deadlines, earliest
from unbroken.core.dialects.base import Dialect
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.options import Options
from unbroken.core.outcome import Outcome
from unbroken.core.outlet import Onlooker, Outlet
from unbroken.core.received import Received
from unbroken.core.recovery.ladder import may_replay
from unbroken.core.recovery.machine import Decision, Recovery
from unbroken.core.recovery.situation import Plan
from unbroken.core.request import Request
from unbroken.core.spill import Spill

__all__ = ["Stream"]


class _State(Enum):
    CONNECTING = auto()
    READING = auto()
    WAITING = auto()
    OVER = auto()


class Stream:
    """One stream, from its request to its outcome.

    Inputs are `connected`, `receive`, `receive_eof`, `failed`, `handle_timer`, `resume` and
    `cancel`; outputs are `next_action`, `next_timer` and `take_notices`.

    Args:
        request: The first attempt's request.
        dialect: What it speaks.
        options: The user's.
        now: The driver's clock, seconds.
        wall_time: Seconds since the epoch, for dates in ``Retry-After``.
        jitter: Draws a number from 0 to 1.
        permit: Whether the process may make one more heal now (a shared budget); asked
            before every attempt after the first.
        blocked: Why a request should not be sent now, or None (a circuit breaker).
        sent: The request was sent already, by the SDK: no `Connect` for it is asked.
        spill: Makes what takes the text that memory may not, where it will be compared with.
    """

    def __init__(
        self,
        request: Request,
        dialect: Dialect,
        *,
        options: Options,
        now: float,
        wall_time: float | None = None,
        jitter: Callable[[], float] = lambda: 0.0,
        permit: Callable[[float], bool] = lambda now: True,
        blocked: Callable[[float, Request], str | None] = lambda now, request: None,
        sent: bool = False,
        spill: Callable[[], Spill | None] | None = None,
    ) -> None:
        self.request = request
        self.dialect = dialect
        self.options = options
        self._make_spill = spill
        self.received = Received(limit_bytes=options.max_replay_bytes, spill=self._new_spill)
        self._account = Account(dialect.name, self.received, now=now)
        self._recovery = Recovery(
            request, dialect, options, self.received, jitter=jitter, permit=permit, blocked=blocked
        )
        self._state = _State.CONNECTING
        self._retry_at: float | None = None  # while waiting
        self._actions: deque[Action] = deque()
        self._notices: list[Notice] = []
        self._ended: list[Ended] = []
        self._conduct = Conduct.of(options.mode, owned=not sent)
        self._deadlines = Deadlines(
            options, self._conduct, self._recovery, owned=not sent, now=now, wall_time=wall_time
        )
        self._outlet = (Outlet if self._conduct.ends_attempts else Onlooker)(
            request,
            dialect,
            options=options,
            conduct=self._conduct,
            received=self.received,
            account=self._account,
            recovery=self._recovery,
            actions=self._actions,
        )
        self._new_course = partial(
            Course,
            request=request,
            dialect=dialect,
            options=options,
            conduct=self._conduct,
            received=self.received,
            outlet=self._outlet,
        )
        self._course = self._new_course(None, now)
        if not sent:
            self._actions.append(Connect(self._course.signed(now), 1))

    @property
    def outcome(self) -> Outcome:
        """The outcome; final once the stream is over."""
        return self._account.outcome

    # Outputs ------------------------------------------------------------------------------

    def next_action(self) -> Action | None:
        """Return what to do next; None when the driver owes an answer or the stream is over."""
        if self._actions:
            return self._actions.popleft()
        if self._state is _State.READING:
            return _RECEIVE
        if self._state is _State.WAITING:
            assert self._retry_at is not None
            return Wait(self._retry_at)
        return None

    @property
    def queued(self) -> list[Deliver]:
        """What will be delivered yet of what was decided."""
        return [action for action in self._actions if isinstance(action, Deliver)]

    @property
    def over(self) -> bool:
        """Whether the outcome is final."""
        return self._state is _State.OVER

    @property
    def reading(self) -> bool:
        """Whether the machine waits for bytes of the running attempt."""
        return self._state is _State.READING

    @property
    def spliced(self) -> bool:
        """Whether a continuation was written onto the wire."""
        splice = self._outlet.splice
        return splice is not None and splice.proven

    @property
    def connecting(self) -> bool:
        """Whether the machine waits for a response head."""
        return self._state is _State.CONNECTING

    @property
    def attempt_number(self) -> int:
        """The attempt that runs, from 1."""
        return self._account.number

    def take_notices(self) -> list[Notice]:
        """Return what observers should hear, once."""
        notices, self._notices = self._notices, []
        return notices

    def take_ended(self) -> list[Ended]:
        """Return the attempts that are over, once; not one that the consumer left."""
        ended, self._ended = self._ended, []
        return ended

    def next_timer(self) -> float | None:
        """Return when to call `handle_timer`, or None if nothing is awaited."""
        if self._state is _State.OVER:
            return None
        if self._state is _State.READING:
            due = self._course.next_timer()
        elif self._state is _State.WAITING:
            due = self._retry_at
        else:
            due = self._deadlines.head(self._account.records[-1])
        return earliest(due, self._deadlines.overall())

    def next_deadline(self) -> float | None:
        """Return when the running attempt will be ended if nothing moves.

        For drivers that cannot look at the time without ending a read: of `next_timer`,
        the part that is worth it. Where only observed, nothing is.
        """
        if not self._conduct.bounds_time:
            return None
        return earliest(self._deadlines.overall(), self._course.deadline())

    def account(self, now: float) -> Outcome:
        """Return the outcome, or while the stream runs a copy of what is known so far.

        Its status is ``unconfirmed`` then: no end was proven.
        """
        if self._state is _State.OVER:
            return self.outcome
        return self._account.so_far(now)

    # Inputs -------------------------------------------------------------------------------

    def connected(
        self, status: int, headers: Mapping[str, str], now: float, problem: bytes = b""
    ) -> None:
        """The response head of the current attempt came.

        Args:
            status: HTTP status.
            headers: With lower-case names.
            now: The driver's clock.
            problem: The body, or its beginning, where the status is not 2xx.
        """
        if self._state is not _State.CONNECTING:
            return
        self._account.answered(status, headers)
        if not 200 <= status < 300:
            self._refused(status, headers, problem, now)
            return
        self._state = _State.READING
        if self._course.plan is not None:
            self._recovery.answered(self._course.plan)
        if self._course.opened(headers, now):
            self._account.goes_on()

    def _refused(self, status: int, headers: Mapping[str, str], problem: bytes, now: float) -> None:
        """The answer is no stream."""
        course = self._course
        refusal = course.refused(status, headers, problem, self._deadlines.wall_time(now))
        if refusal.refused and course.plan is not None:
            self._recovery.refuse(course.plan)
        self._recovery.ask_to_wait(refusal.wait_s)
        self._account.refused(refusal.error, course.shown(problem))
        self._fail(Broke(fault=refusal.fault), now)

    def resume(self, now: float) -> None:
        """Reading goes on; the time that the consumer took does not count."""
        self._course.liveness.resume(now)

    def receive(self, data: bytes, now: float) -> None:
        """Body bytes came."""
        if self._state is _State.READING:
            broke = self._course.receive(data, now)
            if broke is not None:
                self._fail(broke, now)

    def receive_eof(self, now: float) -> None:
        """The body ended cleanly."""
        if self._state is _State.READING:
            self._body_ended(self._course.close("eof", now), now)

    def failed(self, fault: Fault, now: float) -> None:
        """Connecting or reading failed; the fault says how the transport saw it."""
        if self._state is _State.READING:
            self._body_ended(self._course.close("reset", now, transport=fault), now)
        elif self._state is _State.CONNECTING:
            self._fail(Broke(fault=fault), now)

    def handle_timer(self, now: float) -> None:
        """A time that `next_timer` gave has come; or not yet, which is harmless."""
        if self._state is _State.OVER:
            return
        late = self._deadlines.overdue(now)
        if late is not None:
            self._too_long(late, now)
        elif self._state is _State.WAITING:
            self._connect_if_due(now)
        elif self._state is _State.READING:
            self._reading_timer(now)
        else:
            late = self._deadlines.unanswered(self._account.records[-1], now)
            if late is not None:
                self._fail(Broke(fault=late), now)

    def _reading_timer(self, now: float) -> None:
        match self._course.handle_timer(now):
            case StallNotice() as notice:
                self._notices.append(msgspec.structs.replace(notice, attempt=self.attempt_number))
            case Fault() as told:
                self._account.add(told)
            case None:
                pass
            case end:
                self._body_ended(end, now)

    def cancel(self, now: float, why: str = "the consumer left") -> None:
        """The consumer left. What it had seen decides whether that was the end."""
        if self._state is _State.OVER:
            return
        attempt = self._course.attempt
        self._take_back()
        for fault in self._course.leave(why):
            self._account.add(fault)
        if attempt is not None:
            self._account.take_faults(attempt)
        self._actions.clear()
        self._actions.append(Disconnect(self.attempt_number))
        self._finish(None, now)
        if attempt is None:  # the last fault is that of an attempt that was given up
            self.outcome.status = "cancelled"
        elif self.outcome.complete and self.outcome.status != "failed":
            # openai, for one, leaves at the last marker and reads no end of the body.
            self._tell_ended()

    def salvage(self, data: bytes | None) -> bytes | None:
        """Return all bytes that the consumer has not got, for a driver that steps aside.

        Args:
            data: The read during which Unbroken failed, if it was one.

        Returns:
            None if they cannot be told for certain, or frames of ours are on the wire.
        """
        rest = self._course.undelivered(data) if self.attempt_number == 1 else None
        if rest is not None:
            rest = b"".join([*(delivery.data for delivery in self.queued), rest])
            self._actions.clear()
        return rest

    # Ends ---------------------------------------------------------------------------------

    def _body_ended(self, end: Broke | Whole, now: float) -> None:
        if isinstance(end, Broke):
            self._fail(end, now)
            return
        assert self._course.attempt is not None
        self._account.take_faults(self._course.attempt)
        self._actions.append(Disconnect(self.attempt_number))
        self._tell_ended()
        self._finish(None, now)

    def _fail(self, broke: Broke, now: float) -> None:
        """The attempt cannot go on, or got no stream: recover, or fail."""
        course, attempt, fault = self._course, self._course.attempt, broke.fault
        self._account.fail_attempt(attempt, fault, now)
        if attempt is not None:
            self._account.records[-1].raw = course.last_frames()
            self.received.holed = self.received.holed or attempt.holed
        self._tell_ended(blameless=broke.diverged)
        self._actions.append(Disconnect(self.attempt_number))
        self._outlet.close_calls()
        plan, began = course.plan, course.began
        if broke.diverged and began is not None and began.rung == "replay":
            self._recovery.refuse(began)
        if plan is not None and plan.target is not None and fault.elsewhere and not fault.retryable:
            # A target's key or model is no good: that says nothing of the others.
            self._recovery.refuse(plan)
            fault = msgspec.structs.replace(fault, retryable=True)
        course.broke_off(broke.kept)
        decision = self._recovery.decide(
            fault,
            now=now,
            attempts=len(self._account.records),
            arrived=attempt is not None and attempt.bytes > 0,
            open_call_delivered=self._outlet.open_call_delivered,
            polite=not broke.diverged,
            until=self._deadlines.total(),
            broken=course.broken,
            wall_time=self._deadlines.wall_time(now),
        )
        self._account.skip(decision.skipped)
        if decision.plan is None:
            self._give_up(fault, now)
        else:
            self._recover(decision.plan, decision, fault, now)

    def _recover(self, plan: Plan, decision: Decision, fault: Fault, now: float) -> None:
        if plan.cursor is not None:
            self._course.goes_on(plan)
        else:
            self._outlet.begin(plan, self._deadlines.wall_time(now))
            self._course = self._new_course(plan, now)
        self._retry_at = now + decision.wait_s
        self._state = _State.WAITING
        self._notices.append(decision.told(fault, attempt=self.attempt_number + 1))
        self._connect_if_due(now)

    def _connect_if_due(self, now: float) -> None:
        if self._retry_at is None or now < self._retry_at:
            return
        plan = self._course.plan
        assert plan is not None
        self._retry_at = None
        self._state = _State.CONNECTING
        number = self._account.begin_attempt(plan, now)
        try:
            request = self._course.signed(now)
        except Exception as error:  # noqa: BLE001 - a function of the user's
            detail = f"options.authorize raised {type(error).__name__}; nothing was sent"
            fault = Fault.of(FaultKind.CONNECT_FAILED, detail, retryable=False)
            self._fail(Broke(fault=fault), now)
        else:
            self._actions.append(Connect(request, number))

    def _take_back(self) -> None:
        """Forget a request that was decided on and has not been sent yet."""
        unsent = [action for action in self._actions if type(action) is Connect]
        for action in unsent:
            self._actions.remove(action)
        if unsent and len(self._account.records) > 1:
            self._account.records.pop()

    def _too_long(self, fault: Fault, now: float) -> None:
        self._take_back()
        self._account.fail_attempt(self._course.attempt, fault, now)
        if self._state is not _State.WAITING:
            self._actions.append(Disconnect(self.attempt_number))
        self._give_up(fault, now)

    def _give_up(self, fault: Fault, now: float) -> None:
        """Fail, with the provider's own error frame first if that is what ended it."""
        attempt, began = self._course.attempt, self._course.began
        step = attempt.error_step if attempt is not None else None
        foreign = began is not None and began.dialect is not None
        if step is not None and not foreign:
            self._outlet.error(step)
        self._outlet.abandon()
        self._finish(fault, now)

    def _finish(self, fault: Fault | None, now: float) -> None:
        self._state = _State.OVER
        outcome = self._account.close(self._course.attempt, fault, now)
        self.received.release()
        self._recovery.release()
        self._actions.append(FinishStream(outcome, self._conduct.raised(fault)))

    def _tell_ended(self, *, blameless: bool = False) -> None:
        record, asked = self._account.records[-1], self._course.asked
        self._ended.append(Ended(record=record, request=asked, blameless=blameless))

    def _new_spill(self) -> Spill | None:
        if self._make_spill is None or not may_replay(self.request, self.dialect, self.options):
            return None
        return self._make_spill()


_RECEIVE = Receive()
