"""Cores broken by hand. The simulation must go red on each, or it proves nothing.

Each is one small lie of the kind that a hasty change tells: a comparison left out, a buffer
not emptied, a limit not asked. `broken(name)` applies it while it is entered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.simulation import mutations_more as _more  # noqa: F401 - it adds its own
from tests.simulation.patching import DIALECT_OF, MUTATIONS, Patcher, broken, mutation
from unbroken.core.account import Account
from unbroken.core.actions import Deliver, Disconnect
from unbroken.core.checks.completeness import Completeness
from unbroken.core.checks.liveness import Liveness
from unbroken.core.checks.malformed import Malformed
from unbroken.core.checks.ordering import Ordering
from unbroken.core.course import Course
from unbroken.core.dialects.openai_chat.dialect import OpenAIChat
from unbroken.core.options import Options
from unbroken.core.outlet import Outlet
from unbroken.core.received import Received
from unbroken.core.recovery import backoff, ladder, refusal, seam
from unbroken.core.recovery.delivery import Delivery
from unbroken.core.recovery.machine import Recovery
from unbroken.core.recovery.splice import Splice
from unbroken.core.recovery.written import Piece
from unbroken.core.stream import Stream

__all__ = ["DIALECT_OF", "MUTATIONS", "broken"]

# Seams --------------------------------------------------------------------------------------


@mutation
def any_continuation_is_accepted(core: Patcher) -> None:
    def feed(self: seam.AnchorMatch, text: str) -> str:
        self.matched = True
        return text

    core.set(seam.AnchorMatch, "feed", feed)


@mutation
def the_overlap_is_not_trimmed(core: Patcher) -> None:
    def take(self: seam.AnchorMatch, way: Any) -> str:
        self.matched = True
        return way._expected[-6:] + "".join(way.rest)

    core.set(seam.AnchorMatch, "_take", take)


@mutation
def an_echo_is_taken_for_an_anchor(core: Patcher) -> None:
    before = seam.AnchorMatch.__init__

    def init(self: seam.AnchorMatch, *, sent: str, anchor: str) -> None:
        before(self, sent=sent, anchor=anchor)
        self._echo._expected = sent.lstrip()  # the anchor behind it is then written again

    core.set(seam.AnchorMatch, "__init__", init)


@mutation
def anchors_of_one_letter_do(core: Patcher) -> None:
    core.set(ladder, "ANCHOR_LETTERS", 1)


@mutation
def a_replay_is_not_compared(core: Patcher) -> None:
    def feed(self: seam.ReplayMatch, text: str) -> str:
        if self.matched:
            return text
        at = self._expected._at = self._expected._at + len(text)
        due = len(self._expected._expected)
        self.matched = at >= due
        return text[len(text) - (at - due) :] if at > due else ""

    core.set(seam.ReplayMatch, "feed", feed)


@mutation
def a_shorter_replay_counts_as_whole(core: Patcher) -> None:
    def finish(self: seam.ReplayMatch) -> str:
        self.matched = True
        return ""

    core.set(seam.ReplayMatch, "finish", finish)


@mutation
def later_frames_pass_as_they_are(core: Patcher) -> None:
    def write(self: Splice, frame: Any, kept: list[Any], text: str) -> list[Piece]:
        return [Piece(frame.raw, frame, kept)] if self.proven and kept else []

    core.set(Splice, "_write", write)


# Holding and delivering ---------------------------------------------------------------------


@mutation
def calls_are_not_held(core: Patcher) -> None:
    before = Delivery.__init__

    def init(self: Delivery, **given: Any) -> None:
        before(self, **{**given, "hold_calls": False})

    core.set(Delivery, "__init__", init)


@mutation
def the_opening_is_not_held(core: Patcher) -> None:
    before = Delivery.__init__

    def init(self: Delivery, **given: Any) -> None:
        before(self, **{**given, "hold_lifecycle": False})

    core.set(Delivery, "__init__", init)


@mutation
def what_is_held_outlives_its_attempt(core: Patcher) -> None:
    core.set(Delivery, "drop", lambda self: None)
    before = Outlet._hold

    def new(self: Outlet, *, first: bool) -> Delivery:
        made = before(self, first=first)
        if hasattr(self, "_delivery"):
            made._held = self._delivery._held
        return made

    core.set(Outlet, "_hold", new)


@mutation
def halves_of_a_pair_are_delivered(core: Patcher) -> None:
    before = Delivery.offer

    def offer(self: Delivery, piece: Piece, now: float) -> list[Piece]:
        out = before(self, piece, now)
        return out or (self._flush() if self._half_pair and not self._open else [])

    core.set(Delivery, "offer", offer)


@mutation
def the_last_piece_is_lost(core: Patcher) -> None:
    before = Course.close

    def close(self: Course, *given: Any, **named: Any) -> Any:
        self._outlet._delivery._held.clear()
        return before(self, *given, **named)

    core.set(Course, "close", close)
    core.set(Delivery, "_flush", _all_but_the_finish(Delivery._flush))


def _all_but_the_finish(before: Callable[[Delivery], list[Piece]]) -> Callable[..., list[Piece]]:
    def flush(self: Delivery) -> list[Piece]:
        last = self._held.pop() if len(self._held) > 3 else None
        out = before(self)
        if last is not None:
            self._held.append(last)
        return out

    return flush


@mutation
def a_delivery_is_made_twice(core: Patcher) -> None:
    before = Outlet._deliver

    def deliver(self: Outlet, pieces: list[Piece], now: float) -> None:
        before(self, pieces, now)
        if pieces and self._account.number > 1:
            self._actions.append(self._actions[-1])

    core.set(Outlet, "_deliver", deliver)


@mutation
def memory_is_not_bounded(core: Patcher) -> None:
    core.set(Delivery, "_ease", lambda self: [])


# Ends ---------------------------------------------------------------------------------------


@mutation
def a_truncated_end_is_swallowed(core: Patcher) -> None:
    core.set(Completeness, "judge", lambda self, end, **given: [])


@mutation
def an_end_is_made_up(core: Patcher) -> None:
    before = Stream._give_up

    def give_up(self: Stream, fault: Any, now: float) -> None:
        if isinstance(self.dialect, OpenAIChat) and self.received.has_content:
            self._actions.append(Deliver(b"data: [DONE]\n\n", []))
        before(self, fault, now)

    core.set(Stream, "_give_up", give_up)


@mutation
def malformed_frames_are_passed_over(core: Patcher) -> None:
    core.set(Malformed, "add", lambda self, frame, error, *, number: None)


@mutation
def a_finish_is_recovered_from(core: Patcher) -> None:
    before = ladder._closed_for_all

    def closed(now: Any) -> str | None:
        finishes, now.delivered.finishes = now.delivered.finishes, {}
        try:
            return before(now)
        finally:
            now.delivered.finishes = finishes

    core.set(ladder, "_closed_for_all", closed)


@mutation
def a_fault_is_not_raised(core: Patcher) -> None:
    before = Stream._finish

    def finish(self: Stream, fault: Any, now: float) -> None:
        before(self, fault, now)
        over = self._actions.pop()
        self._actions.append(type(over)(over.outcome, None))  # type: ignore[union-attr, call-arg]

    core.set(Stream, "_finish", finish)


@mutation
def observing_raises(core: Patcher) -> None:
    before = Stream._finish

    def finish(self: Stream, fault: Any, now: float) -> None:
        before(self, fault, now)
        over = self._actions.pop()
        self._actions.append(type(over)(over.outcome, fault))  # type: ignore[union-attr, call-arg]

    core.set(Stream, "_finish", finish)


# Limits and time ----------------------------------------------------------------------------


@mutation
def attempts_are_not_counted(core: Patcher) -> None:
    before = ladder._closed_for_all

    def closed(now: Any) -> str | None:
        now.attempts = 0
        return before(now)

    core.set(ladder, "_closed_for_all", closed)


@mutation
def added_input_is_not_counted(core: Patcher) -> None:
    core.set(ladder, "_over_budget", lambda plan, now: None)


@mutation
def a_prompt_is_sent_again_all_the_same(core: Patcher) -> None:
    before = ladder._closed_to_resending

    def closed(now: Any) -> str | None:
        found = before(now)
        return None if found is not None and found.startswith("allow_resend") else found

    core.set(ladder, "_closed_to_resending", closed)


@mutation
def final_errors_are_tried_again(core: Patcher) -> None:
    before = ladder._closed_for_all

    def closed(now: Any) -> str | None:
        found = before(now)
        return None if found is not None and "would fail again" in found else found

    core.set(ladder, "_closed_for_all", closed)


@mutation
def every_answer_repeats(core: Patcher) -> None:
    core.set(ladder, "REPLAY_ALWAYS_BELOW", 1 << 40)


@mutation
def recovery_takes_its_time(core: Patcher) -> None:
    core.set(Recovery, "deadline", lambda self: None)


@mutation
def the_clocks_stand_still(core: Patcher) -> None:
    core.set(Liveness, "handle_timer", lambda self, now: None)
    core.set(Liveness, "next_timer", lambda self: None)


@mutation
def pings_are_progress(core: Patcher) -> None:
    before = Liveness.receive

    def receive(self: Liveness, now: float) -> None:
        before(self, now)
        self.progress(now)

    core.set(Liveness, "receive", receive)


@mutation
def servers_are_not_waited_for(core: Patcher) -> None:
    core.set(refusal, "retry_after_s", lambda headers, *, wall_time: None)


@mutation
def milliseconds_are_seconds(core: Patcher) -> None:
    before = backoff.retry_after_s

    def seconds(headers: Any, *, wall_time: float | None) -> float | None:
        asked = before(headers, wall_time=wall_time)
        return None if asked is None else asked / 1000

    core.set(refusal, "retry_after_s", seconds)


# Accounts and order -------------------------------------------------------------------------


@mutation
def provenance_is_off_by_one(core: Patcher) -> None:
    before = Account.delivering

    def delivering(self: Account, plan: Any) -> None:
        known = len(self._segments)
        before(self, plan)
        if len(self._segments) > max(1, known):
            number, plan, written, start = self._segments[-1]
            self._segments[-1] = number, plan, written, start + 1

    core.set(Account, "delivering", delivering)


@mutation
def attempts_overlap(core: Patcher) -> None:
    before = Stream._recover

    def recover(self: Stream, *given: Any) -> None:
        before(self, *given)
        for action in [a for a in self._actions if type(a) is Disconnect]:
            self._actions.remove(action)
            self._actions.append(action)

    core.set(Stream, "_recover", recover)


@mutation
def order_is_not_kept(core: Patcher) -> None:
    def accept(self: Any, number: int, item: object, **given: Any) -> list[object]:
        return [item]

    core.set(Ordering, "accept", accept)


@mutation
def calls_are_forgotten(core: Patcher) -> None:
    before = Received._mark

    def mark(self: Received, kind: str) -> None:
        if kind != "call":
            before(self, kind)

    core.set(Received, "_mark", mark)


@mutation
def raising_heals(core: Patcher) -> None:
    before = Stream.__init__

    def init(self: Stream, request: Any, dialect: Any, *, options: Options, **given: Any) -> None:
        if options.mode == "raise":
            options = options.with_mode("heal")
        before(self, request, dialect, options=options, **given)

    core.set(Stream, "__init__", init)
