"""What the sync and the async driver have in common: everything but waiting."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from random import Random

from unbroken.core.actions import Deliver, FinishStream, Notice
from unbroken.core.dialects.base import Dialect
from unbroken.core.errors import error_class
from unbroken.core.events import Event
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.options import Options
from unbroken.core.outcome import Outcome
from unbroken.core.request import Request
from unbroken.core.stream import Stream
from unbroken.drivers.taping import Taping
from unbroken.drivers.targets import Targets
from unbroken.drivers.upstream import Wording
from unbroken.governor import shared_budget
from unbroken.journal import open_spill
from unbroken.sinks.base import GuardedSink
from unbroken.telemetry import Observer, StreamHealth
from unbroken.telemetry.observer import Beside
from unbroken.telemetry.recording.tape import Tape

__all__ = ["ABORTED", "PROBLEM_BYTES", "PROBLEM_S", "Driver", "Record", "no_events"]

ABORTED = "the stream was aborted"
PROBLEM_BYTES = 64 * 1024
"""How much is read of the body of a response that is not 2xx."""
PROBLEM_S = 5.0
"""How long that may take, in seconds."""

_random = Random()
_LOOK_S = 0.5


class Record:
    """The live record of a stream, at ``response.extensions["unbroken"]``.

    Attributes:
        limits: What ends a silent read: ``socket`` (at the deadline), ``read-timeout`` or
            ``scope``.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.limits = "socket"

    @property
    def outcome(self) -> Outcome | None:
        """The outcome, once the stream is over; None before."""
        return self._stream.outcome if self._stream.over else None

    @property
    def text(self) -> str:
        """The answer text that was delivered so far; of a long one the beginning."""
        return self._stream.received.kept_text

    @property
    def attempt(self) -> int:
        """The attempt that runs, from 1."""
        return self._stream.attempt_number


class Driver:
    """The part of a driver that does not wait.

    Args:
        request: The first attempt's request.
        dialect: What it speaks.
        options: The user's.
        wording: The HTTP library's exceptions.
        observer: Who hears of it.
        sent: The request was sent already.
        clock: Seconds, monotonic.
        sink: Gets every delivery before the consumer does; closed with the stream.
        health: Watches the stream: deliveries too.
        tape: Records it. A request that was sent is on it already.
    """

    def __init__(
        self,
        request: Request,
        dialect: Dialect,
        *,
        options: Options,
        wording: Wording,
        observer: Observer,
        sent: bool,
        clock: Callable[[], float] = time.monotonic,
        sink: GuardedSink | None = None,
        health: StreamHealth | None = None,
        tape: Tape | None = None,
    ) -> None:
        self.clock = clock
        now = clock()
        budget = shared_budget()
        budget.started(now)
        self._targets = Targets(options)
        self.stream = Stream(
            request,
            dialect,
            options=options,
            now=now,
            wall_time=time.time(),
            jitter=_random.random,
            permit=partial(budget.permit, share=options.heal_share, least=options.heals_always),
            blocked=self._why_not_now,
            sent=sent,
            spill=partial(open_spill, options.spill_dir, options.max_spill_bytes),
        )
        self._sink = sink
        self.record = Record(self.stream)
        self._wording = wording
        self._observer = observer if health is None else Beside(observer, health)
        self._health = health
        self._taping = None if tape is None else Taping(tape, dialect.name, clock)
        self._read_error: Exception | None = None
        self._bypassed = False
        self._dead = False  # nothing of the body may be passed on any more
        self._away = True  # the consumer has control: its time is not the upstream's
        self._finished = False
        self._aborted = False
        self._sent_by_sdk = sent

    @property
    def outcome(self) -> Outcome:
        """The outcome; final once the stream is over."""
        return self.stream.outcome

    @property
    def whole_frames(self) -> bool:
        """Whether each delivery ends where a frame does, so that bytes may be put between."""
        return not self._bypassed and self.stream.options.mode != "observe"

    def _why_not_now(self, now: float, request: Request) -> str | None:
        """Return why nothing of ours should be sent where this request goes, or None."""
        self._report_attempts()  # the failure that is being decided on counts
        return self._targets.why_not(now, request)

    def _report_attempts(self) -> None:
        for ended in self.stream.take_ended():
            self._targets.ended(ended)
            if self._taping is not None:
                self._taping.closed(ended.record.fault)

    def _tell(self) -> bool:
        """Tell observers what there is to tell; return whether there was a notice."""
        self._report_attempts()
        notices = self.stream.take_notices()
        for notice in notices:
            self._notify(notice)
        return bool(notices)

    def _notify(self, notice: Notice) -> None:
        if self._taping is not None:
            self._taping.notice(notice)
        self._observer.notice(notice)

    def _show(self, delivery: Deliver) -> None:
        """Show a delivery to who watches the stream's health."""
        assert self._health is not None
        try:
            self._health.delivered(delivery.data, delivery.events, self.clock())
        except Exception as bug:  # noqa: BLE001 - told; the stream goes on unwatched
            self._health = None
            self._observer.internal_error(bug)

    def _next_look(self, now: float) -> float | None:
        """Return when to look at the time again while a read waits.

        Never long ahead: so an alarm that is set needs no change when a read moves the
        stream's times, and nothing is late by more than `_LOOK_S`.
        """
        due = self.stream.next_timer()
        return None if due is None else min(due, self._soon(now))

    @staticmethod
    def _soon(now: float) -> float:
        return now + _LOOK_S

    def _head_limits(self) -> tuple[float | None, float | None]:
        """Return the seconds for connecting and for the response head of an own request."""
        due = self.stream.next_timer()
        return (
            self.stream.options.timing.connect_s,
            None if due is None else max(0.001, due - self.clock()),
        )

    def _explain(self, error: Exception, *, connecting: bool) -> Fault:
        self._read_error = error
        fault = self._wording.explain(error, connecting=connecting)
        if self._taping is not None:
            self._taping.failed(error, fault, self.clock())
        return fault

    def _hand_on(self, delivery: Deliver) -> None:
        """A delivery goes to the consumer: tell who looks on."""
        if self._sink is not None:
            self._sink.write(delivery.events)
        if self._health is not None:
            self._show(delivery)
        if self._taping is not None:
            self._taping.delivered(delivery.data)

    def _come_back(self, now: float) -> None:
        """The consumer wants more."""
        self._away = False
        self.stream.resume(now)
        if self._health is not None:
            self._health.resumed(now)
        if self._taping is not None:
            self._taping.wanted(now)

    def _answered(self, status: int, headers: Mapping[str, str], problem: bytes) -> None:
        """The head of a response came, and of one that is no stream what it says."""
        if self._taping is not None:
            self._taping.answered(status, headers)
        self.stream.connected(status, headers, self.clock(), problem)
        if self._health is not None:
            self._health.answered(self.clock())

    def _came(self, data: bytes | None, error: Exception | None, now: float) -> None:
        """A read is over: with bytes, at the end of the body, or by an exception."""
        if error is not None:
            self.stream.failed(self._explain(error, connecting=False), now)
        elif not data:
            if self._taping is not None:
                self._taping.eof(now)
            self.stream.receive_eof(now)
        else:
            if self._taping is not None:
                self._taping.read(data, now)
            self.stream.receive(data, now)

    def _finish(self, action: FinishStream) -> Exception | None:
        """The stream is over: tell it, and return what to raise."""
        self._conclude()
        if action.fault is not None:
            return self._exception(action.outcome, action.fault)
        if self._aborted and action.outcome.status == "cancelled":
            # Somebody else ended it: who reads must not take what came for the answer.
            return self.left_early()
        if self.stream.options.mode == "observe" and self._sent_by_sdk:
            return self._read_error  # as without us
        return None

    def left_early(self) -> Exception:
        """Return what says that the stream was left before its end."""
        faults = self.outcome.faults
        cancelled = next((fault for fault in faults if fault.kind is FaultKind.CANCELLED), None)
        if cancelled is None:
            cancelled = Fault.of(FaultKind.CANCELLED, ABORTED)
        return self._exception(self.outcome, cancelled)

    def _conclude(self) -> None:
        """The stream is over: tell it, once.

        Before the provider's last error frame is delivered: an SDK that raises on it may
        never come back, nor close the stream.
        """
        self._tell()
        if not self._finished:
            self._finished = True
            self._targets.over()
            self._close_sink(self.stream.outcome)
            self._tell_outcome(self.stream.outcome)

    def _tell_outcome(self, outcome: Outcome) -> None:
        if self._taping is not None:
            self._taping.outcome(outcome)  # first: it may put the last reads into the outcome
        self._observer.outcome(outcome)
        if outcome.faults:
            _count_evidence(outcome)

    def _close_sink(self, outcome: Outcome) -> None:
        if self._sink is not None:
            for delivery in self.stream.queued:  # the provider's last error frame
                self._sink.write(delivery.events)
            self._sink.close(outcome)

    def _settle(self) -> None:
        """The consumer left: settle the outcome. No error of ours may reach who leaves."""
        if self._bypassed:
            return
        try:
            self.stream.cancel(self.clock())
            while (action := self.stream.next_action()) is not None:
                if isinstance(action, FinishStream):
                    self._finish(action)
        except Exception as bug:  # noqa: BLE001 - told, and the connection is let go all the same
            self._observer.internal_error(bug)

    def _exception(self, outcome: Outcome, fault: Fault) -> Exception:
        try:
            error = self._wording.exception(outcome, fault, self.stream.request)
        except Exception as bug:  # noqa: BLE001 - a class of some SDK that cannot be made
            self._observer.internal_error(bug)
            error = error_class(fault)(outcome=outcome, fault=fault)
        error.__cause__ = self._read_error
        from unbroken.knowledge.notes import note_for  # when something failed, and not before

        note = note_for(fault, provider=outcome.dialect)
        if note is not None:
            error.add_note(note)
        return error

    def _unanswered(self, error: Exception) -> None:
        """Sending failed. A deadline that has passed says more than the library's timeout."""
        fault = self._explain(error, connecting=True)
        now = self.clock()
        number = self.stream.attempt_number
        self.stream.handle_timer(now)
        # The deadline may have led to the next attempt already, which has not failed.
        if self.stream.connecting and self.stream.attempt_number == number:
            self.stream.failed(fault, now)

    def _step_aside(self, bug: Exception, data: bytes | None) -> bytes:
        """Unbroken failed: pass everything through from here, where that is still possible.

        Raises:
            Exception: What users catch, with the bug as its cause: once a later attempt
                runs, or where nobody takes bytes.
        """
        rest = self.stream.salvage(data) if self._sent_by_sdk else None
        if rest is None:
            raise self._broken(bug) from bug
        self._observer.internal_error(bug)
        self._bypassed = True
        self.stream.received.release()
        if self._health is not None:
            self._health.stepped_aside()
        if self._taping is not None:
            self._taping.close()
        if self._sink is not None:
            self._sink.abandon("unbroken itself failed, and what came after was not read")
        return rest

    def _broken(self, bug: Exception) -> Exception:
        """Unbroken failed and cannot step aside: return what its users catch."""
        self._observer.internal_error(bug)
        self._bypassed = self._dead = True
        name = type(bug).__name__
        fault = Fault.of(
            FaultKind.CONNECTION_RESET,
            f"unbroken itself failed ({name}) where the stream could not go on without it",
        )
        outcome = self.stream.account(self.clock())
        outcome.status, outcome.complete = "failed", False
        outcome.faults = [*outcome.faults, fault]
        self.stream.received.release()
        if not self._finished:
            self._finished = True
            self._close_sink(outcome)
            self._tell_outcome(outcome)
        return self._exception(outcome, fault)


def _count_evidence(outcome: Outcome) -> None:
    """Count what became of faults, where ``UNBROKEN_EVIDENCE`` asks for it."""
    if "UNBROKEN_EVIDENCE" in os.environ:
        from unbroken.knowledge.evidence import evidence  # with sqlite3, which few need

        store = evidence()
        if store is not None:
            store.outcome(outcome)


def no_events() -> list[Event]:
    """Return the events of bytes that were passed on unread."""
    return []
