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
from dataclasses import replace
from enum import Enum, auto
from typing import Literal

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
    Reconnecting,
    Wait,
)
from unbroken.core.attempt import Attempt, Step
from unbroken.core.checks.completeness import BodyEnd
from unbroken.core.checks.liveness import Liveness, StallNotice
from unbroken.core.dialects.base import Dialect
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.options import Options
from unbroken.core.outcome import Outcome
from unbroken.core.outlet import Outlet
from unbroken.core.received import Received
from unbroken.core.recovery.ladder import may_replay
from unbroken.core.recovery.machine import BEFORE_BODY, Decision, Recovery
from unbroken.core.recovery.refusal import read_refusal
from unbroken.core.recovery.situation import Broken, Plan
from unbroken.core.recovery.splice import Splice
from unbroken.core.recovery.translate import Translation
from unbroken.core.redact import Redactor
from unbroken.core.request import Request
from unbroken.core.spill import Spill

__all__ = ["Stream"]

_LINGER_S = 1.0
"""How long the end of the body is awaited after the last marker."""
_MOST_STALLS_TOLD = 16
"""A stream that is only observed may be silent for ever."""


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
            request,
            dialect,
            options,
            self.received,
            jitter=jitter,
            permit=permit,
            blocked=blocked,
        )
        self._facts = dialect.facts(request) if options.mode == "heal" else None
        self._wall_offset = None if wall_time is None else wall_time - now
        self._started_at = now
        self._state = _State.CONNECTING
        self._actions: deque[Action] = deque()
        self._notices: list[Notice] = []
        self._ended: list[Ended] = []
        self._attempt: Attempt | None = None
        self._liveness = Liveness(options.timing, now=now)
        self._outlet = Outlet(
            dialect,
            options=options,
            received=self.received,
            account=self._account,
            recovery=self._recovery,
            actions=self._actions,
        )
        self._plan: Plan | None = None
        self._body: Plan | None = None  # how the body that is read began, before any cursor
        self._broken: Broken | None = None
        self._sent = request  # with the keys that `authorize` gave it
        self._asked = request  # by the running attempt, before any cursor
        self._arrived = False
        self._kept: Attempt | None = None  # goes on once its cursor is answered
        self._retry_at: float | None = None
        self._ended_at: float | None = None
        self._bytes_in = 0
        self._stalls = 0  # that were observed, and ended nothing
        self._owned = not sent
        if not sent:
            self._sent = self._authorized(request)
            self._actions.append(Connect(self._sent, 1))

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
        times = [self._overall_deadline()]
        if self._state is _State.WAITING:
            times.append(self._retry_at)
        elif self._state is _State.READING:
            times += [self._liveness.next_timer(), self._outlet.next_timer()]
            if self._attempt is not None:
                times.append(self._attempt.next_timer())
            if self._ended_at is not None:
                times.append(self._ended_at + _LINGER_S)
        else:
            times.append(self._head_deadline())
        return min((time for time in times if time is not None), default=None)

    def next_deadline(self) -> float | None:
        """Return when the running attempt will be ended if nothing moves.

        For drivers that cannot look at the time without ending a read: of `next_timer`,
        the part that is worth it. Where only observed, nothing is.
        """
        if self.options.mode == "observe" and not self._owned:
            return None
        times = [self._overall_deadline(), self._liveness.deadline()]
        if self._ended_at is not None:
            times.append(self._ended_at + _LINGER_S)
        return min((time for time in times if time is not None), default=None)

    def account(self, now: float) -> Outcome:
        """Return the outcome, or while the stream runs a copy of what is known so far.

        Its status is ``unconfirmed`` then: no end was proven.
        """
        if self._state is _State.OVER:
            return self.outcome
        return self._account.so_far(now)

    def _wall_time(self, now: float) -> float | None:
        return None if self._wall_offset is None else now + self._wall_offset

    def _total_deadline(self) -> float | None:
        total = self.options.timing.total_s
        if self.options.mode == "observe" and not self._owned:
            total = None  # to end it would be more than to observe
        return None if total is None else self._started_at + total

    def _overall_deadline(self) -> float | None:
        times = (self._total_deadline(), self._recovery.deadline())
        return min((time for time in times if time is not None), default=None)

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
        record = self._account.records[-1]
        record.status = status
        record.request_id = next((headers[name] for name in _REQUEST_IDS if name in headers), "")
        if not 200 <= status < 300:
            self._refused(status, headers, problem, now)
            return
        self._state = _State.READING
        self._ended_at = None
        plan = self._plan
        if plan is not None:
            self._recovery.answered(plan)
        if self._kept is not None and plan is not None and plan.cursor is not None:
            self._attempt, self._kept = self._kept, None
            self._attempt.reopen(mid_frame=plan.cursor.mid_frame)
            self._account.goes_on()
            self._liveness.restart(now)
            return
        choices = 1 if self._facts is None else self._facts.choices
        self._attempt = Attempt(
            self.dialect if plan is None else plan.dialect or self.dialect,
            host=self._asked.host,
            choices=choices,
            max_frame_bytes=self.options.max_frame_bytes,
            lenient=self.options.mode == "observe",
            content_type=headers.get("content-type", ""),
            # Who only observes passes every frame on: nothing is left out there.
            malformed="recover" if self.options.mode == "observe" else self.options.malformed,
            empty_answer=self._empty_answer_rule(),
            keep_raw=self.options.log_raw != "never",
            reorder_window=self.options.reorder_window,
            reorder_wait_s=self.options.reorder_wait_s,
            max_held_bytes=self.options.max_held_bytes,
            repair=self.options.mode == "heal",
            from_start=self.dialect.from_start(self._asked),
        )
        if self.attempt_number > 1:
            self._liveness = Liveness(self.options.timing, now=now)

    def _refused(self, status: int, headers: Mapping[str, str], problem: bytes, now: float) -> None:
        """The answer is no stream."""
        plan = self._plan
        refusal = read_refusal(
            status,
            headers,
            problem,
            dialect=self.dialect,
            plan=plan,
            wall_time=self._wall_time(now),
        )
        if refusal.refused and plan is not None:
            self._recovery.refuse(plan)
        self._recovery.ask_to_wait(refusal.wait_s)
        record = self._account.records[-1]
        record.error = refusal.error
        if problem and self.options.log_raw != "never":
            record.raw = [self._redactor().frame(problem, "ndjson")]
        self._fail(refusal.fault, now)

    def resume(self, now: float) -> None:
        """Reading goes on; the time that the consumer took does not count."""
        self._liveness.resume(now)

    def receive(self, data: bytes, now: float) -> None:
        """Body bytes came."""
        attempt = self._attempt
        if self._state is not _State.READING or attempt is None:
            return
        self._bytes_in += len(data)
        if self.options.mode == "observe":
            self._observe(data, attempt, now)
            return
        if self._outlet.idle and not self._recovery.active:
            passed = attempt.receive_texts(data)
            if passed is not None:
                self._liveness.text(now)
                if self._liveness.counts_text:
                    self._liveness.wrote(sum(map(len, passed[1].texts)), now)
                self._outlet.texts(*passed, now)
                return
        self._liveness.receive(now)
        steps = attempt.receive(data, now)
        for event in attempt.take_ahead():
            self._liveness.event(event, now)
        if steps:
            self._take(steps, now)
        if attempt.fatal is not None and self._state is _State.READING:
            self._attempt_failed(attempt.fatal, now)
        elif self._ended_at is None and attempt.completeness.ended:
            self._ended_at = now

    def _observe(self, data: bytes, attempt: Attempt, now: float) -> None:
        self._liveness.receive(now)
        events = [event for step in attempt.receive(data, now) for event in step.events]
        for event in (*events, *attempt.take_ahead()):
            self._liveness.event(event, now)
        self._outlet.observed(data, events, now)

    def _observe_late(self, steps: list[Step], now: float) -> None:
        """Record steps whose bytes are out already."""
        for step in steps:
            self._outlet.observed(b"", step.events, now)

    def receive_eof(self, now: float) -> None:
        """The body ended cleanly."""
        self._body_ended("eof", now)

    def failed(self, fault: Fault, now: float) -> None:
        """Connecting or reading failed; the fault says how the transport saw it."""
        if self._state is _State.READING:
            self._body_ended("reset", now, fault)
        elif self._state is _State.CONNECTING:
            self._fail(fault, now)

    def handle_timer(self, now: float) -> None:
        """A time that `next_timer` gave has come; or not yet, which is harmless."""
        if self._state is _State.OVER:
            return
        deadline = self._overall_deadline()
        if deadline is not None and now >= deadline:
            self._too_long(now)
        elif self._state is _State.WAITING:
            self._connect_if_due(now)
        elif self._state is _State.CONNECTING:
            self._connect_timed_out(now)
        elif self._state is _State.READING:
            self._reading_timer(now)

    def _head_deadline(self) -> float | None:
        """Return when the response head must be there; the SDK rules its own request."""
        limit = self.options.timing.first_event_s
        ours = self.attempt_number > 1 or self._owned
        began = self._account.records[-1].started_at
        return began + limit if ours and limit is not None else None

    def _connect_timed_out(self, now: float) -> None:
        due = self._head_deadline()
        if due is not None and now >= due:
            waited = now - self._account.records[-1].started_at
            self._fail(
                Fault.of(
                    FaultKind.STALLED,
                    f"no response head for {waited:.1f} s (clock first-event)",
                ),
                now,
            )

    def _reading_timer(self, now: float) -> None:
        if self._ended_at is not None and now >= self._ended_at + _LINGER_S:
            self._body_ended("closed", now)
            return
        self._outlet.handle_timer(now)
        if not self._gaps_timer(now):
            return
        due = self._liveness.handle_timer(now)
        if isinstance(due, StallNotice):
            self._notices.append(msgspec.structs.replace(due, attempt=self.attempt_number))
        elif due is not None:
            assert self._attempt is not None
            if self.options.mode == "observe":
                # Nothing is ended for it, and it may still move on.
                self._stalls += 1
                if self._stalls <= _MOST_STALLS_TOLD:
                    self._account.add(msgspec.structs.replace(due, severity="warning"))
                self._liveness.restart(now)
            elif self._attempt.completeness.finished:
                self._body_ended("closed", now)
            else:
                self._attempt.faults.append(due)
                self._attempt_failed(due, now)

    def _gaps_timer(self, now: float) -> bool:
        """Give up frames that were awaited for too long; return whether reading goes on."""
        attempt = self._attempt
        steps = [] if attempt is None else attempt.handle_timer(now)
        if self.options.mode == "observe":
            self._observe_late(steps, now)
        elif steps:
            self._take(steps, now)
        if self._state is _State.READING and attempt is not None and self.options.mode != "observe":
            if attempt.fatal is not None:
                self._attempt_failed(attempt.fatal, now)
            elif self._ended_at is None and attempt.completeness.ended:
                self._ended_at = now
        return self._state is _State.READING

    def cancel(self, now: float, why: str = "the consumer left") -> None:
        """The consumer left. What it had seen decides whether that was the end."""
        if self._state is _State.OVER:
            return
        attempt = self._attempt
        records = self._account.records
        self._take_back()
        if attempt is not None and attempt.completeness.marked:
            # Nothing follows the last marker, so the consumer did not leave before an end.
            attempt.close("closed")
        elif attempt is not None and not attempt.completeness.finished:
            for fault in attempt.hidden_faults():
                self._account.add(fault)
            detail = f"{why} after {attempt.frames} frames, before the finish"
            self._account.add(Fault.of(FaultKind.CANCELLED, detail))
        elif attempt is None:
            self._account.add(Fault.of(FaultKind.CANCELLED, f"{why} before an answer"))
        if attempt is not None:
            self._account.take_faults(attempt)
        self._actions.clear()
        self._actions.append(Disconnect(self.attempt_number))
        self._finish(None, now)
        if attempt is None:  # the last fault is that of an attempt that was given up
            self.outcome.status = "cancelled"
        elif self.outcome.complete and self.outcome.status != "failed":
            # openai, for one, leaves at the last marker and reads no end of the body.
            self._ended.append(Ended(record=records[-1], request=self._asked))

    # Delivery -----------------------------------------------------------------------------

    def _take(self, steps: list[Step], now: float) -> None:
        """Let steps pass as far as they may."""
        error = None if self._attempt is None else self._attempt.error_step
        for at, step in enumerate(steps):
            for event in step.events:
                self._liveness.event(event, now)
            if error is not None and error.frame is step.frame:
                # The provider's error frame waits until nothing else can be done.
                steps = steps[:at]
                break
        self._outlet.take(steps, now)
        if self._outlet.diverged is not None:
            self._diverged(now)

    def _diverged(self, now: float) -> None:
        why = f"the attempt was given up: {self._outlet.diverged}"
        # What the provider itself refuses to go on with is not asked for again.
        retryable = not self._outlet.refused
        if self._body is not None and self._body.rung == "replay":
            self._recovery.refuse(self._body)
        fault = Fault.of(FaultKind.PROTOCOL_VIOLATION, why, retryable=retryable)
        self._attempt_failed(fault, now, polite=False)

    def salvage(self, data: bytes | None) -> bytes | None:
        """Return all bytes that the consumer has not got, for a driver that steps aside.

        Args:
            data: The read during which Unbroken failed, if it was one.

        Returns:
            None if they cannot be told for certain, or frames of ours are on the wire.
        """
        queued = [delivery.data for delivery in self.queued]
        if self.attempt_number > 1 or self._attempt is None or self._attempt.mended:
            return None
        rest = [*self._outlet.held, self._attempt.pending]
        if self.options.mode == "observe":
            rest = []  # all was passed on, part of a frame too
        owed = self._bytes_in - self._outlet.bytes_out
        if self.options.mode != "observe":
            owed -= self._attempt.left_out_bytes  # not to be passed on: the SDK would raise
        for last in ([], [data or b""]):
            if sum(map(len, rest + last)) == owed:
                self._actions.clear()
                return b"".join(queued + rest + last)
        return None

    # Ends ---------------------------------------------------------------------------------

    def _body_ended(self, end: BodyEnd, now: float, fault: Fault | None = None) -> None:
        attempt = self._attempt
        if self._state is not _State.READING or attempt is None:
            return
        open_end = attempt.fork() if attempt.unsettled else attempt
        steps = attempt.close(end)
        if self.options.mode == "observe":
            self._observe_late(steps, now)
        if attempt.fatal is None:
            if steps and self.options.mode != "observe":
                self._take(steps, now)
                if self._state is not _State.READING:
                    return
            if self.options.mode != "observe":
                self._outlet.finish(now)
            if self._outlet.diverged is not None:
                self._diverged(now)
            else:
                self._succeed(now)
            return
        found = attempt.fatal
        if fault is not None and found.kind is FaultKind.CONNECTION_RESET:
            # The transport's own words, in place of ours.
            detail = f"{found.detail}: {fault.detail}"
            found = Fault.of(fault.kind, detail, at_byte=found.at_byte)
            attempt.faults[attempt.faults.index(attempt.fatal)] = found
            attempt.fatal = found
        self._attempt_failed(found, now, open_end=open_end)

    def _succeed(self, now: float) -> None:
        assert self._attempt is not None
        self._account.take_faults(self._attempt)
        self._actions.append(Disconnect(self.attempt_number))
        self._ended.append(Ended(record=self._account.records[-1], request=self._asked))
        self._finish(None, now)

    def _attempt_failed(
        self,
        fault: Fault,
        now: float,
        *,
        polite: bool = True,
        open_end: Attempt | None = None,
    ) -> None:
        """A fault ended the running attempt: recover, or fail.

        Args:
            fault: Why.
            now: The driver's clock.
            polite: See `Recovery.decide`.
            open_end: The attempt as it was before its body was judged as ended.
        """
        attempt = self._attempt
        assert attempt is not None
        told = fault in attempt.faults
        self._account.take_faults(attempt)
        self._fail(fault, now, told=told, polite=polite, open_end=open_end)

    def _fail(
        self,
        fault: Fault,
        now: float,
        *,
        told: bool = False,
        polite: bool = True,
        open_end: Attempt | None = None,
    ) -> None:
        if not told:
            self._account.add(fault)
        attempt = self._attempt
        self._account.end_attempt(attempt, fault, now)
        self._attempt_ended(attempt, blameless=not polite)
        self._actions.append(Disconnect(self.attempt_number))
        if self.options.mode != "observe":
            self._outlet.close_calls()
        plan = self._plan
        if plan is not None and plan.target is not None and fault.elsewhere and not fault.retryable:
            # A target's key or model is no good: that says nothing of the others.
            self._recovery.refuse(plan)
            fault = msgspec.structs.replace(fault, retryable=True)
        if attempt is not None:
            self._arrived = self._arrived or attempt.bytes > 0
            self.received.holed = self.received.holed or attempt.holed
            self._kept = open_end or attempt
            self._broken = Broken(attempt.dialect, self._asked, self._kept.place)
            if attempt.completeness.finished:  # there is no more of it (an empty answer)
                self._kept = self._broken = None
        decision = self._recovery.decide(
            fault,
            now=now,
            attempts=len(self._account.records),
            anything_arrived=self._arrived,
            open_call_delivered=self._outlet.open_call_delivered,
            polite=polite,
            until=self._total_deadline(),
            broken=self._broken,
            wall_time=self._wall_time(now),
        )
        self._account.skip(decision.skipped)
        if decision.plan is None:
            self._give_up(fault, now)
        else:
            self._recover(decision.plan, decision, fault, now)

    def _attempt_ended(self, attempt: Attempt | None, *, blameless: bool) -> None:
        """Tell of a failed attempt, with what may be shown of its last frames."""
        record = self._account.records[-1]
        if attempt is not None and self.options.log_raw != "never":
            record.raw = attempt.last_frames(self._redactor())
        self._ended.append(Ended(record=record, request=self._asked, blameless=blameless))

    def _redactor(self) -> Redactor:
        asked = self._sent
        contents = self.options.log_raw == "on-fault-with-contents"
        return Redactor.for_request(asked.headers, asked.url, contents=contents)

    def _empty_answer_rule(self) -> Literal["accept", "recover", "raise"] | None:
        """Return what an answer without content leads to; None where there is one already."""
        if set(self.received.sequence) - {"reasoning"}:
            return None
        facts, rule = self._facts, self.options.empty_answer
        if facts is None and rule != "accept":
            facts = self.dialect.facts(self.request)
        if facts is not None and facts.max_tokens is not None and facts.max_tokens <= 1:
            return None  # asked for to warm a cache or to load a model
        return rule

    def _recover(self, plan: Plan, decision: Decision, fault: Fault, now: float) -> None:
        if plan.cursor is not None and self._body is not None:
            # The rest of a body proves no more than how it began.
            plan = replace(plan, guarantee=self._body.guarantee, anchor=self._body.anchor)
        self._plan = plan
        self._attempt = None
        if plan.cursor is None:
            self._body = plan
            self._begin_anew(plan, now)
        else:
            self._outlet.goes_on(plan)
        self._retry_at = now + decision.wait_s
        self._state = _State.WAITING
        self._notices.append(
            Reconnecting(
                attempt=self.attempt_number + 1,
                rung=plan.rung,
                fault=fault,
                wait_s=decision.wait_s,
                added_bytes=len(plan.request.body),
                skipped=decision.skipped,
            )
        )
        self._connect_if_due(now)

    def _begin_anew(self, plan: Plan, now: float) -> None:
        """Forget the attempt that broke, but for what was delivered of it."""
        assert self._facts is not None
        self._kept = self._broken = None
        self._asked = plan.request
        splice: Splice | Translation | None = None
        if plan.dialect is not None:
            model = plan.target.model if plan.target is not None else None
            splice = Translation(
                self.dialect,
                plan.dialect,
                asked=self.request,
                model=model or "",
                created=self._wall_time(now) or 0,
                limit_bytes=self.options.max_replay_bytes,
            )
        elif plan.spliced:
            splice = Splice(self.dialect, plan, self.received, facts=self._facts)
        self._outlet.begin(plan, splice)

    def _connect_if_due(self, now: float) -> None:
        if self._retry_at is None or now < self._retry_at:
            return
        assert self._plan is not None
        self._retry_at = None
        self._state = _State.CONNECTING
        number = self._account.begin_attempt(self._plan, now)
        try:
            request = self._authorized(self._plan.request)
        except Exception as error:  # noqa: BLE001 - a function of the user's
            detail = f"options.authorize raised {type(error).__name__}; nothing was sent"
            self._fail(Fault.of(FaultKind.CONNECT_FAILED, detail, retryable=False), now)
            return
        self._sent = request
        self._actions.append(Connect(request, number))

    def _authorized(self, request: Request) -> Request:
        authorize = self.options.authorize
        if authorize is None or request.origin != self.request.origin:
            return request  # a target elsewhere has a key of its own
        return authorize(request)

    def _take_back(self) -> None:
        """Forget a request that was decided on and has not been sent yet."""
        unsent = [action for action in self._actions if type(action) is Connect]
        for action in unsent:
            self._actions.remove(action)
        if unsent and len(self._account.records) > 1:
            self._account.records.pop()

    def _too_long(self, now: float) -> None:
        self._take_back()
        total = self.options.timing.total_s
        if total is not None and now >= self._started_at + total:
            detail = f"the stream took longer than {total:g} s (clock total)"
        else:
            detail = f"recovery took longer than {self.options.max_recovery_s:g} s"
        fault = Fault.of(FaultKind.STALLED, detail)
        if self._attempt is not None:
            self._account.take_faults(self._attempt)
        self._account.add(fault)
        if self._state is not _State.WAITING:
            self._actions.append(Disconnect(self.attempt_number))
        self._give_up(fault, now)

    def _give_up(self, fault: Fault, now: float) -> None:
        """Fail, with the provider's own error frame first if that is what ended it."""
        attempt = self._attempt
        step = attempt.error_step if attempt is not None else None
        ours = self._body is not None and self._body.dialect is not None  # another dialect's frame
        if step is not None and self.options.mode != "observe" and not ours:
            self._outlet.error(step)
        self._outlet.abandon()
        self._finish(fault, now)

    def _finish(self, fault: Fault | None, now: float) -> None:
        self._state = _State.OVER
        outcome = self._account.close(self._attempt, fault, now)
        self.received.release()
        raised = fault
        if self.options.mode == "observe" and not (
            # Without an SDK there is nobody else to say what any reader would have noticed.
            self._owned and fault is not None and fault.kind in _SEEN_BY_ANYONE
        ):
            raised = None
        self._actions.append(FinishStream(outcome, raised))

    def _new_spill(self) -> Spill | None:
        if self._make_spill is None or not may_replay(self.request, self.dialect, self.options):
            return None
        return self._make_spill()


_RECEIVE = Receive()
_SEEN_BY_ANYONE = (*BEFORE_BODY, FaultKind.CONNECTION_RESET, FaultKind.STALLED)
_REQUEST_IDS = (
    "x-request-id",
    "request-id",
    "apim-request-id",
    "x-generation-id",
    "x-amzn-requestid",
)
