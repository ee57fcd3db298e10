"""The course of one answer: from the request that asks for it to the last byte that comes.

A stream has one course after another; each begins with a request for a whole answer, or for a
continuation. Only the provider's own resume (a cursor) begins none: the same body goes on over
another connection, with all that was read of it and all that waits.

```
                 bytes, end, time
                        │
  Attempt ─── steps ──> │ ──> Outlet      what may pass has passed when a call returns
  Liveness ── silence ─>│
                        v
           None · Broke · WHOLE           what the stream must decide on
```
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal

import msgspec

from unbroken.core.attempt import Attempt, Step
from unbroken.core.checks.completeness import BodyEnd
from unbroken.core.checks.liveness import Liveness, StallNotice
from unbroken.core.conduct import Conduct
from unbroken.core.deadlines import earliest
from unbroken.core.dialects.base import Cursor, Dialect
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.kept_stream import KeptStream, kept_stream
from unbroken.core.options import Options
from unbroken.core.outlet import Outlet
from unbroken.core.received import Received
from unbroken.core.recovery.refusal import Refusal, read_refusal
from unbroken.core.recovery.situation import Broken, Plan
from unbroken.core.redact import Redactor
from unbroken.core.request import Request
from unbroken.core.wire.reads import ends_apart

__all__ = ["WHOLE", "Broke", "Course", "Whole"]

_LINGER_S = 1.0
"""How long the end of the body is awaited after the last marker."""
_MOST_STALLS_TOLD = 16
"""A stream that is only observed may be silent for ever."""


class Whole(msgspec.Struct, frozen=True):
    """The answer is over, and its end is proven."""


WHOLE: Final = Whole()


class Broke(msgspec.Struct, frozen=True, kw_only=True):
    """The attempt cannot go on.

    Attributes:
        fault: Why.
        kept: The attempt as it was before its body was judged as ended: a cursor may go on
            from there. None: as it is.
        diverged: It was given up for what the model wrote, not for how it came.
    """

    fault: Fault
    kept: Attempt | None = None
    diverged: bool = False


class Course:
    """Read one answer, and let pass what may pass. Reads no clock: every input brings `now`.

    Attributes:
        asked: The request for it, before any cursor, and before it was signed.
        sent: The last request, with the keys that `Options.authorize` gave it.
        plan: How the connection came about; None: the application's own request.
        began: How the first one did.
        attempt: What reads the body; None before an answer, and between two connections.
        liveness: The clocks.

    Args:
        plan: How it came about; None for the application's own request.
        now: When it was decided on.
        request: The application's request.
        dialect: What the consumer reads.
        options: The user's.
        conduct: What their mode does.
        received: What the consumer has.
        outlet: The way out.
    """

    def __init__(
        self,
        plan: Plan | None,
        now: float,
        *,
        request: Request,
        dialect: Dialect,
        options: Options,
        conduct: Conduct,
        received: Received,
        outlet: Outlet,
    ) -> None:
        self.asked = self.sent = request if plan is None else plan.request
        self.plan = self.began = plan
        self.attempt: Attempt | None = None
        self.liveness = Liveness(options.timing, now=now)
        self._request = request
        self._dialect = dialect
        self._options = options
        self._conduct = conduct
        self._facts = dialect.facts(request) if conduct.heals else None
        self._received = received
        self._outlet = outlet
        self._kept: Attempt | None = None  # goes on once its cursor is answered
        self._kept_stream: KeptStream | None = None  # where another Unbroken answered
        self._ended_at: float | None = None  # the last marker came; the end of the body has not
        self._bytes_in = 0
        self._unread: list[bytes] = []  # parts of a read that is being taken
        self._stalls = 0  # that were observed, and ended nothing

    # Connections --------------------------------------------------------------------------

    @property
    def broken(self) -> Broken | None:
        """What a cursor would go on from, or None: no answer began, or there is no more of it."""
        kept = self._kept
        if kept is None:
            return None
        return Broken(kept.dialect, self.asked, kept.place, self._kept_elsewhere(kept))

    def _kept_elsewhere(self, kept: Attempt) -> Cursor | str | None:
        """Return how another Unbroken, where one answered, goes on; or why it cannot."""
        if self._kept_stream is None:
            return None
        if kept.out_of_turn:
            return "frames wait for earlier ones: there is no place to go on from"
        return self._kept_stream.cursor(self.asked, event_id=kept.event_id, frames=kept.frames)

    def broke_off(self, kept: Attempt | None) -> None:
        """The running attempt failed, if there is one; see `Broke.kept`."""
        if self.attempt is not None:
            # After a finish there is no more of it (an empty answer).
            self._kept = None if self.attempt.completeness.finished else kept or self.attempt

    def goes_on(self, plan: Plan) -> None:
        """The provider's own resume will be asked for the rest."""
        assert plan.cursor is not None
        if self.began is not None:
            # The rest of a body proves no more than how it began.
            plan = replace(plan, guarantee=self.began.guarantee, anchor=self.began.anchor)
        self.plan = plan
        self.attempt = None
        self._outlet.goes_on(plan)

    def signed(self, now: float) -> Request:
        """Return the request to send now, with the keys that `Options.authorize` gives it.

        Raises:
            Exception: Whatever that function of the user's raises.
        """
        request = self._request if self.plan is None else self.plan.request
        authorize = self._options.authorize
        if authorize is not None and request.origin == self._request.origin:
            request = authorize(request)  # a target elsewhere has a key of its own
        self.sent = request
        self.liveness.restart(now)
        return request

    def opened(self, headers: Mapping[str, str], now: float) -> bool:
        """A stream comes; return whether it is the rest of the same body."""
        plan, kept = self.plan, self._kept
        self._ended_at = None
        if plan is not None:
            self.liveness.restart(now)
            if plan.cursor is not None and kept is not None:
                kept.reopen(mid_frame=plan.cursor.mid_frame)
                if self._kept_stream is not None:
                    self._kept_stream.reopen()
                self.attempt, self._kept = kept, None
                return True
        self.attempt = self._new_attempt(headers)
        self._kept_stream = kept_stream(headers, self.attempt.dialect.wire)
        return False

    def refused(
        self, status: int, headers: Mapping[str, str], problem: bytes, wall_time: float | None
    ) -> Refusal:
        """Return what an answer says that is no stream; see `read_refusal`."""
        plan, dialect = self.plan, self._dialect
        return read_refusal(
            status, headers, problem, dialect=dialect, plan=plan, wall_time=wall_time
        )

    def _new_attempt(self, headers: Mapping[str, str]) -> Attempt:
        options, ends = self._options, self._conduct.ends_attempts
        target = None if self.plan is None else self.plan.dialect
        return Attempt(
            target or self._dialect,
            host=self.asked.host,
            choices=1 if self._facts is None else self._facts.choices,
            max_frame_bytes=options.max_frame_bytes,
            lenient=not ends,
            content_type=headers.get("content-type", ""),
            # Who only observes passes every frame on: nothing is left out there.
            malformed=options.malformed if ends else "recover",
            empty_answer=self._empty_answer_rule(),
            keep_raw=options.log_raw != "never",
            reorder_window=options.reorder_window,
            reorder_wait_s=options.reorder_wait_s,
            max_held_bytes=options.max_held_bytes,
            repair=self._conduct.heals,
            from_start=self._dialect.from_start(self.asked),
        )

    def _empty_answer_rule(self) -> Literal["accept", "recover", "raise"] | None:
        """Return what an answer without content leads to; None where there is one already."""
        if set(self._received.sequence) - {"reasoning"}:
            return None
        facts, rule = self._facts, self._options.empty_answer
        if facts is None and rule != "accept":
            facts = self._dialect.facts(self._request)
        if facts is not None and facts.max_tokens is not None and facts.max_tokens <= 1:
            return None  # asked for to warm a cache or to load a model
        return rule

    # Reading ------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> Broke | None:
        """Take body bytes."""
        assert self.attempt is not None
        self._bytes_in += len(data)
        if self._kept_stream is not None:
            self._kept_stream.receive(data)
        broke = None
        self._unread = ends_apart(data)
        if len(self._unread) == 1:
            self._unread.clear()
            return self._receive(data, now)
        with self._outlet.together():
            while self._unread and broke is None:
                broke = self._receive(self._unread[0], now)
                del self._unread[0]
        # Nothing passes any more of what is left where it broke, but the bill may be in it.
        self.attempt.receive_rest(b"".join(self._unread))
        self._unread.clear()
        return broke

    def _receive(self, data: bytes, now: float) -> Broke | None:
        attempt, liveness = self.attempt, self.liveness
        assert attempt is not None
        if self._outlet.idle:
            passed = attempt.receive_texts(data)
            if passed is not None:
                liveness.text(now)
                if liveness.counts_text:
                    liveness.wrote(sum(map(len, passed[1].texts)), now)
                self._outlet.texts(*passed, now)
                return None
        liveness.receive(now)
        steps = attempt.receive(data, now)
        for event in attempt.take_ahead():
            liveness.event(event, now)
        self._pass(data, steps, now)
        return self._look(attempt, now)

    def close(self, end: BodyEnd, now: float, *, transport: Fault | None = None) -> Broke | Whole:
        """Judge a body that ended.

        Args:
            end: How.
            now: The driver's clock.
            transport: How the transport saw it, if it failed.
        """
        attempt = self.attempt
        assert attempt is not None
        open_end = attempt.fork() if attempt.unsettled else attempt
        steps = attempt.close(end)
        found = attempt.fatal
        if steps and (found is None or not self._conduct.ends_attempts):
            self._pass(b"", steps, now)
        if found is None:
            if self._outlet.diverged is None:
                self._outlet.finish(now)
            return self._diverged() or WHOLE
        if transport is not None and found.kind is FaultKind.CONNECTION_RESET:
            # The transport's own words, in place of ours.
            detail = f"{found.detail}: {transport.detail}"
            words = Fault.of(transport.kind, detail, at_byte=found.at_byte)
            attempt.faults[attempt.faults.index(found)] = words
            attempt.fatal = found = words
        return Broke(fault=found, kept=open_end)

    def leave(self, why: str) -> list[Fault]:
        """The consumer leaves; return what that means beyond the faults of the attempt."""
        attempt = self.attempt
        if attempt is None:
            return [Fault.of(FaultKind.CANCELLED, f"{why} before an answer")]
        if attempt.completeness.marked:
            # Nothing follows the last marker, so the consumer did not leave before an end.
            attempt.close("closed")
        elif not attempt.completeness.finished:
            detail = f"{why} after {attempt.frames} frames, before the finish"
            return [*attempt.hidden_faults(), Fault.of(FaultKind.CANCELLED, detail)]
        return []

    def _pass(self, data: bytes, steps: list[Step], now: float) -> None:
        for step in steps:
            for event in step.events:
                self.liveness.event(event, now)
        self._outlet.take(data, steps, now)

    def _look(self, attempt: Attempt, now: float) -> Broke | None:
        """Say whether reading goes on."""
        broke = self._diverged()
        if broke is None and self._conduct.ends_attempts:
            if attempt.fatal is not None:
                return Broke(fault=attempt.fatal)
            if self._ended_at is None and attempt.completeness.ended:
                self._ended_at = now
        return broke

    def _diverged(self) -> Broke | None:
        if self._outlet.diverged is None:
            return None
        why = f"the attempt was given up: {self._outlet.diverged}"
        # What the provider itself refuses to go on with is not asked for again.
        retryable = not self._outlet.refused
        fault = Fault.of(FaultKind.PROTOCOL_VIOLATION, why, retryable=retryable)
        return Broke(fault=fault, diverged=True)

    # Time ---------------------------------------------------------------------------------

    def next_timer(self) -> float | None:
        """Return when to call `handle_timer`, or None if nothing is awaited."""
        return earliest(
            self.liveness.next_timer(),
            self._outlet.next_timer(),
            None if self.attempt is None else self.attempt.next_timer(),
            self._linger_until(),
        )

    def deadline(self) -> float | None:
        """Return when the attempt will be ended if nothing moves."""
        return earliest(self.liveness.deadline(), self._linger_until())

    def _linger_until(self) -> float | None:
        return None if self._ended_at is None else self._ended_at + _LINGER_S

    def handle_timer(self, now: float) -> Broke | Whole | StallNotice | Fault | None:
        """Do what is due at ``now``.

        Returns:
            A notice of silence; a fault that ends nothing, where streams are only observed;
            else as the others.
        """
        attempt = self.attempt
        assert attempt is not None
        linger_until = self._linger_until()
        if linger_until is not None and now >= linger_until:
            return self.close("closed", now)
        self._outlet.handle_timer(now)
        if steps := attempt.handle_timer(now):  # behind a frame that was awaited for too long
            self._pass(b"", steps, now)
        broke = self._look(attempt, now)
        due = None if broke is not None else self.liveness.handle_timer(now)
        if due is None or isinstance(due, StallNotice):
            return broke or due
        if not self._conduct.ends_attempts:
            # It may still move on.
            self._stalls += 1
            self.liveness.restart(now)
            told = self._stalls <= _MOST_STALLS_TOLD
            return msgspec.structs.replace(due, severity="warning") if told else None
        if attempt.completeness.finished:
            return self.close("closed", now)
        attempt.faults.append(due)
        return Broke(fault=due)

    # Evidence -----------------------------------------------------------------------------

    def last_frames(self) -> list[str]:
        """Return what may be shown of the frames at which the attempt failed."""
        if self.attempt is None or self._options.log_raw == "never":
            return []
        return self.attempt.last_frames(self._redactor())

    def shown(self, problem: bytes) -> list[str]:
        """Return what may be shown of a body that is no stream."""
        if not problem or self._options.log_raw == "never":
            return []
        return [self._redactor().frame(problem, "ndjson")]

    def _redactor(self) -> Redactor:
        contents = self._options.log_raw == "on-fault-with-contents"
        return Redactor.for_request(self.sent.headers, self.sent.url, contents=contents)

    def undelivered(self, data: bytes | None) -> bytes | None:
        """Return all bytes that came and were not handed on; see `Stream.salvage`."""
        attempt = self.attempt
        if attempt is None or attempt.mended:
            return None
        rest, left_out_bytes = self._outlet.kept_back(attempt)
        owed = self._bytes_in - self._outlet.bytes_out - left_out_bytes
        # Of a read that is taken in parts, those that were not looked at are owed too.
        for last in ([], self._unread, [data or b""]):
            if sum(map(len, rest + last)) == owed:
                return b"".join(rest + last)
        return None
