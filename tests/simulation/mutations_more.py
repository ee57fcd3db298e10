"""Cores broken by hand: the provider's own resume, targets, repairs, policies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec

from tests.simulation.patching import Patcher, mutation, seen_in
from unbroken.core import course
from unbroken.core.account import Account
from unbroken.core.attempt import Attempt, Step
from unbroken.core.checks.malformed import Malformed
from unbroken.core.checks.repair import Repair
from unbroken.core.checks.turns import Turns
from unbroken.core.checksum import Checksum
from unbroken.core.dialects import DIALECTS
from unbroken.core.dialects.base import MalformedPayloadError, Mended
from unbroken.core.events import Finish
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.outcome import Usage
from unbroken.core.reached import Reached
from unbroken.core.recovery import ladder, retarget, seam, splice
from unbroken.core.recovery.machine import Recovery
from unbroken.core.recovery.translate import Translation
from unbroken.core.redact import Redactor
from unbroken.core.spill import SpilledTexts

__all__: list[str] = []


# The provider's own resume ------------------------------------------------------------------


def _moved_place(core: Patcher, **by: int) -> None:
    before = vars(Attempt)["place"]

    def place(self: Attempt) -> Any:
        found = before.fget(self)
        changes = {
            name: value + by[name] for name in by if (value := getattr(found, name)) is not None
        }
        return msgspec.structs.replace(found, **changes)

    core.set(Attempt, "place", property(place))


@mutation
def a_byte_cursor_is_off_by_one(core: Patcher) -> None:
    _moved_place(core, bytes=1)


@seen_in("openai-responses")
def a_number_cursor_is_off_by_one(core: Patcher) -> None:
    _moved_place(core, number=1)


@mutation
def earlier_connections_do_not_count(core: Patcher) -> None:
    core.set(Reached, "reopen", lambda self, size_bytes: None)


@mutation
def a_half_frame_is_kept_that_comes_again(core: Patcher) -> None:
    before = Attempt.reopen

    def reopen(self: Attempt, *, mid_frame: bool) -> None:
        before(self, mid_frame=True)

    core.set(Attempt, "reopen", reopen)


@mutation
def a_half_frame_is_dropped_that_goes_on(core: Patcher) -> None:
    before = Attempt.reopen

    def reopen(self: Attempt, *, mid_frame: bool) -> None:
        before(self, mid_frame=False)

    core.set(Attempt, "reopen", reopen)


@seen_in("gemini-interactions")
def content_behind_a_mark_comes_again(core: Patcher) -> None:
    interactions = type(DIALECTS["gemini-interactions"])
    before = interactions.cursor

    def cursor(self: Any, request: Any, place: Any) -> Any:
        return before(self, request, msgspec.structs.replace(place, content_since_mark=False))

    core.set(interactions, "cursor", cursor)


@seen_in("openai-responses")
def another_answer_is_taken_for_the_rest(core: Patcher) -> None:
    core.set(Turns, "_is_another", lambda self, events: False)


@mutation
def a_refused_cursor_is_asked_again(core: Patcher) -> None:
    core.set(Recovery, "refuse", lambda self, plan: None)


@mutation
def a_resume_is_billed_twice(core: Patcher) -> None:
    def goes_on(self: Account) -> None:
        self._bodies[self.number] = self._bodies[self.number - 1]

    core.set(Account, "goes_on", goes_on)


@mutation
def an_estimate_outlives_the_figure(core: Patcher) -> None:
    before = Account.end_attempt

    def end_attempt(self: Account, attempt: Any, *given: Any) -> None:
        before(self, attempt, *given)
        if attempt is not None and attempt.usage == Usage():
            attempt.usage = self.records[-1].usage  # one object for two connections

    core.set(Account, "end_attempt", end_attempt)


@seen_in("openai-completions")
def the_rest_of_a_continuation_is_byte_exact(core: Patcher) -> None:
    core.set(course, "replace", lambda plan, **changes: plan)


# Targets ------------------------------------------------------------------------------------


@mutation
def the_key_goes_to_another_host(core: Patcher) -> None:
    core.set(retarget, "_is_harmless", lambda name, value, keys: True)


@mutation
def a_safety_block_is_healed_elsewhere(core: Patcher) -> None:
    before = ladder._closed_for_all

    def closed(now: Any) -> str | None:
        found = before(now)
        passes = found is not None and "would fail again" in found and now.options.targets
        return None if passes else found

    core.set(ladder, "_closed_for_all", closed)


@mutation
def tries_of_targets_are_not_counted(core: Patcher) -> None:
    before = Recovery.answered

    def answered(self: Recovery, plan: Any) -> None:
        if plan.target is None:
            before(self, plan)

    core.set(Recovery, "answered", answered)


def _by_other_target(core: Patcher, **changes: Any) -> None:
    before = ladder._by_target

    def by_target(target: Any, now: Any) -> Any:
        return before(replace(target, **changes), now)

    core.set(ladder, "_by_target", by_target)


@mutation
def targets_take_over_at_anything(core: Patcher) -> None:
    _by_other_target(core, when=frozenset(FaultKind))


@mutation
def targets_take_over_in_mid_answer(core: Patcher) -> None:
    _by_other_target(core, mid_answer=True)


@mutation
def a_translated_end_is_told_early(core: Patcher) -> None:
    before = Translation.accept

    def accept(self: Translation, frame: Any, events: list[Any]) -> list[Any]:
        out = before(self, frame, events)
        return out + (self.finish() if any(type(each) is Finish for each in events) else [])

    core.set(Translation, "accept", accept)


@mutation
def a_translated_end_is_forgotten(core: Patcher) -> None:
    core.set(Translation, "finish", lambda self: [])


@mutation
def the_breaker_is_not_asked(core: Patcher) -> None:
    before = Recovery.__init__

    def init(self: Recovery, *given: Any, **named: Any) -> None:
        before(self, *given, **{**named, "blocked": lambda now, request: None})

    core.set(Recovery, "__init__", init)


# Repairs and frames that are left out -------------------------------------------------------


@seen_in("openai-responses")
def a_gap_is_delivered(core: Patcher) -> None:
    def mend(self: Any, lost: Any, behind: Any, *, ended: bool) -> Mended:
        return Mended(frames=[])

    responses = DIALECTS["openai-responses"]
    mender = responses.mender(responses.reader(), lambda kind, choice, block: Checksum())
    core.set(type(mender), "mend", mend)


@seen_in("openai-responses")
def a_repair_comes_in_the_wrong_place(core: Patcher) -> None:
    before = Repair.ready

    def ready(self: Repair, mender: Any, *, ended: bool = False) -> Iterator[Any]:
        found = list(before(self, mender, ended=ended))
        return iter(found[1:] + found[:1] if self.mended else found)

    core.set(Repair, "ready", ready)


@mutation
def what_is_left_out_is_passed_on(core: Patcher) -> None:
    def take(self: Attempt, frame: Any, steps: list[Step]) -> None:
        try:
            events = self._reader.read(frame)
        except MalformedPayloadError as error:
            self._inspection.malformed.add(frame, error, number=self.frames - 1)
            steps.append(Step(frame, []))
        else:
            self._inspect(Step(frame, events), steps)

    core.set(Attempt, "_take", take)


@mutation
def undecodable_frames_are_passed_on(core: Patcher) -> None:
    core.set(Malformed, "judge_bytes", lambda self, frame, events, *, number: True)


@mutation
def a_garbled_frame_hides_a_finish(core: Patcher) -> None:
    before = Malformed.add

    def add(self: Malformed, frame: Any, error: Any, *, number: int) -> None:
        before(self, frame, error, number=number)
        if self._findings.fatal is None:
            self._completeness.add(Finish("stop", "stop"))

    core.set(Malformed, "add", add)


@mutation
def frames_are_left_out_inside_calls(core: Patcher) -> None:
    core.set(Malformed, "watch", lambda self, event, *, number, at_byte: None)


# Seams, memory, evidence --------------------------------------------------------------------


@seen_in("openai-completions")
def stop_sequences_span_the_seam(core: Patcher) -> None:
    def look(self: seam.StopGuard, new: str) -> str:
        self.diverged, self.matched = self._inner.diverged, self._inner.matched
        return new

    core.set(seam.StopGuard, "_look", look)


@seen_in("openai-completions")
def a_filtered_repetition_is_tried_again(core: Patcher) -> None:
    before = splice.Splice._finish

    def finish(self: Any, *given: Any) -> str:
        out = before(self, *given)
        self.blocked = False
        return out

    core.set(splice.Splice, "_finish", finish)


@seen_in("openai-chat")
def a_choice_finishes_twice(core: Patcher) -> None:
    before = splice._Lane.__init__

    def init(self: Any, matcher: Any, calls: Any, finish: Any) -> None:
        before(self, matcher, calls, None)

    core.set(splice._Lane, "__init__", init)


@seen_in("openai-chat")
def choices_are_not_compared(core: Patcher) -> None:
    before = splice._Lane.of.__func__  # type: ignore[attr-defined]

    def of(cls: Any, choice: int, *given: Any, **named: Any) -> Any:
        lane = before(cls, choice, *given, **named)
        if choice:
            lane.matcher = seam.NoMatch()
        return lane

    core.set(splice._Lane, "of", classmethod(of))


@seen_in("openai-completions")
def the_end_of_a_spill_is_forgotten(core: Patcher) -> None:
    before = SpilledTexts.pieces

    def pieces(self: SpilledTexts, choice: int) -> Iterator[str]:
        return iter(list(before(self, choice))[:-2])

    core.set(SpilledTexts, "pieces", pieces)


@seen_in("openai-completions")
def a_lost_spill_is_taken_for_the_end(core: Patcher) -> None:
    def more(self: seam.ReplayMatch) -> bool:
        try:
            while self._at == len(self._piece):
                self._piece, self._at = next(self._pieces), 0
        except (StopIteration, seam.SpillLostError):
            return False
        return True

    core.set(seam.ReplayMatch, "_more", more)


@mutation
def the_limit_is_not_lowered(core: Patcher) -> None:
    core.set(ladder, "room_for", lambda limit, so_far, anchor: limit)


@mutation
def contents_are_logged(core: Patcher) -> None:
    before = Redactor.for_request.__func__  # type: ignore[attr-defined]

    def for_request(cls: Any, headers: Any, url: Any, *, contents: bool) -> Any:
        return before(cls, headers, url, contents=True)

    core.set(Redactor, "for_request", classmethod(for_request))


@mutation
def raising_is_healing(core: Patcher) -> None:
    before = Fault.of.__func__  # type: ignore[attr-defined]

    def of(cls: Any, kind: Any, detail: str, **named: Any) -> Any:
        if kind is FaultKind.MALFORMED_JSON:
            named["retryable"] = True
        return before(cls, kind, detail, **named)

    core.set(Fault, "of", classmethod(of))
