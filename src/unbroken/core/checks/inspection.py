"""One frame's events through all the checks of an attempt, in the order of the stream."""

from __future__ import annotations

from copy import copy
from typing import Literal

import msgspec

from unbroken.core.checks.beginning import Beginning
from unbroken.core.checks.completeness import BodyEnd, Completeness
from unbroken.core.checks.findings import Findings
from unbroken.core.checks.grammar import Grammar
from unbroken.core.checks.malformed import Malformed
from unbroken.core.checks.repeats import Repeats
from unbroken.core.dialects.base import Dialect
from unbroken.core.events import (
    Block,
    Close,
    End,
    Event,
    Finish,
    Mark,
    Number,
    ProviderError,
    Start,
    Text,
    ToolCall,
    UsageReport,
    is_content,
)
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.frames import Frame
from unbroken.core.problems import short_words
from unbroken.core.reached import Reached
from unbroken.core.received import Usage, merge_usage

__all__ = ["Inspection", "Step"]

_MOST_CHOICES, _MOST_CALLS, _MOST_BLOCKS = 1024, 4096, 16384
"""What one answer may have of each, far more than any model writes: all are remembered."""
_PLACES = (Start, Number, Mark)
_CALL_EVENTS = (ToolCall, Close, Finish)
_ENDS = (Finish, End, ProviderError)


class Step(msgspec.Struct, gc=False, frozen=True):
    """One frame and what it means."""

    frame: Frame
    events: list[Event]


class Inspection:
    """Run the checks over what was read, and judge the end.

    Attributes:
        malformed: Takes the frames that cannot be read.
        repeats: Compares repeated texts, where the dialect repeats them.
        reached: The place in the provider's answer.
        usage: What the provider said of it.
        output_told: It said how many tokens it had written after it had written any: a number
            from before (Anthropic's ``message_start``) only holds the place.
        error_step: The step in which the provider said that it failed.
        holed: A delta of text was lost that nobody had counted: what was passed on lacks it.
        left_out_bytes: Size of the content that came after the end; see also `malformed`.
        steady: The last step was text, and more of its block would change nothing that a check
            looks at.
        choice: The choice of the last text.
        block: The block of the last text.

    Args:
        dialect: The dialect.
        findings: Takes the faults.
        completeness: Takes in the events.
        beginning: Knows the variant.
        choices: How many answers the request asked for.
        malformed: See `Options.malformed`.
        empty_answer: See `Options.empty_answer`; None: an answer has begun already.
    """

    def __init__(
        self,
        dialect: Dialect,
        findings: Findings,
        completeness: Completeness,
        beginning: Beginning,
        *,
        choices: int,
        malformed: Literal["recover", "raise", "skip"],
        empty_answer: Literal["accept", "recover", "raise"] | None,
    ) -> None:
        self.malformed = Malformed(malformed, findings, completeness)
        self.repeats = Repeats() if dialect.repeats_text else None
        self.reached = Reached()
        self.usage = Usage()
        self.output_told = False
        self.error_step: Step | None = None
        self.holed = False
        self.left_out_bytes = 0
        self.steady = False
        self.choice = 0
        self.block: Block = None
        self._findings = findings
        self._completeness = completeness
        self._beginning = beginning
        self._grammar = Grammar(dialect)
        self._empty_rule = empty_answer
        self._plain = choices == 1 and not dialect.repeats_text

    def fork(
        self, findings: Findings, completeness: Completeness, beginning: Beginning
    ) -> Inspection:
        """Return an independent copy, beside copies of what it works with."""
        twin = copy(self)
        twin._findings, twin._completeness = findings, completeness
        twin._beginning = beginning
        twin.malformed = self.malformed.fork(findings, completeness)
        twin.repeats = self.repeats.fork() if self.repeats is not None else None
        twin.reached = self.reached.fork()
        twin.usage = msgspec.structs.replace(self.usage)
        twin._grammar = self._grammar.fork()
        return twin

    # A step -------------------------------------------------------------------------------

    def add(self, step: Step, *, number: int, size_bytes: int) -> bool:
        """Take in a step that is in turn; return whether it may be passed on.

        Args:
            step: The step.
            number: Which frame of the attempt it is, from 0.
            size_bytes: Of the body so far.
        """
        findings, completeness, reached = self._findings, self._completeness, self.reached
        if completeness.ended and not findings.lenient and self._goes_on(step, number):
            return False
        frame, steady = step.frame, False
        for event in step.events:
            kind = type(event)
            if kind in _CALL_EVENTS:
                self.malformed.watch(event, number=number, at_byte=frame.offset)  # type: ignore[arg-type]
                if findings.stopped:
                    return False
            completeness.add(event)
            broken = self._grammar.add(event, frame=number, at_byte=frame.offset)
            if self.repeats is not None:
                lost = self.repeats.add(event, frame=number, at_byte=frame.offset)
                # Where the numbers told of the loss already, it is not told twice.
                broken = broken or (None if lost is None or self._gap_told else lost)
                self.holed = self.holed or (lost is not None and event.kind == "text")  # type: ignore[union-attr]
            if broken is not None:
                findings.add(broken)
                if findings.stopped:
                    return False
            if kind in _PLACES or reached.at_mark:
                reached.add(event)
            if kind is Text:
                # Steady until anything else comes: this block is open, and nothing finished.
                self.choice, self.block = event.choice, event.block  # type: ignore[union-attr]
                steady = self._plain and not completeness.finishes and not completeness.error_seen
            elif kind is UsageReport:
                merge_usage(self.usage, event)  # type: ignore[arg-type]
                if event.output is not None and completeness.content_seen:  # type: ignore[union-attr]
                    self.output_told = True
            elif kind in _ENDS:
                self._ending(event, step, number, size_bytes)
                if findings.stopped:
                    return False
        self.steady = steady
        if (
            completeness.choices > _MOST_CHOICES
            or completeness.calls > _MOST_CALLS
            or self._grammar.blocks > _MOST_BLOCKS
        ):
            self._too_much(frame, number)
        return True

    def _goes_on(self, step: Step, number: int) -> bool:
        """Say whether a step holds content although the answer is over: it is left out.

        Who reads on, as a loop without an SDK does, would take it for a part of the answer.
        """
        content = [event for event in step.events if is_content(event)]
        for event in content:
            told = self._grammar.add(event, frame=number, at_byte=step.frame.offset)
            if told is not None:
                self._findings.add(told)
        if content:
            self.left_out_bytes += len(step.frame.raw)
        return bool(content)

    @property
    def _gap_told(self) -> bool:
        """Whether the numbers have shown the gap already that a repeated text would show."""
        return any(f.kind is FaultKind.MISSING_EVENT and f.fatal for f in self._findings.faults)

    def _ending(self, event: Event, step: Step, number: int, size_bytes: int) -> None:
        match event:
            case ProviderError():
                self._provider_error(event, step, number)
            case Finish():
                self._finish(event, step, number)
                if self._completeness.whole:
                    self._judge_emptiness(size_bytes)
            case End():
                self._marker(step.frame, number)
            case _:
                pass

    def _provider_error(self, event: ProviderError, step: Step, number: int) -> None:
        self.error_step = self.error_step or step
        names = [name for name in (event.type, event.code) if name]
        variant = self._beginning.variant
        words = {name.lower() for name in names}
        retryable = (event.retryable or bool(words & variant.retryable)) and not (
            words & variant.final
        )
        self._findings.add(
            Fault.of(
                FaultKind.PROVIDER_ERROR,
                "the provider sent an error in the stream: "
                f"{short_words(names) or 'no type given'}",
                at_byte=step.frame.offset,
                frame=number,
                retryable=retryable and not event.refused,
                elsewhere=event.elsewhere and not event.refused,
            )
        )

    def _finish(self, event: Finish, step: Step, number: int) -> None:
        if event.meaning == "fault" and not self._completeness.error_seen:
            # After an error in so many words (response.failed) it would be told twice.
            self.error_step = self.error_step or step
            self._completeness.error_seen = True
            self._findings.add(
                Fault.of(
                    FaultKind.PROVIDER_ERROR,
                    f"the provider ended the answer with {short_words([event.reason])}",
                    at_byte=step.frame.offset,
                    frame=number,
                )
            )

    def _marker(self, frame: Frame, number: int) -> None:
        """The last marker came: without a finish it must not be passed on.

        An SDK stops reading at it (openai at ``[DONE]``) and takes what it has for the whole.
        A lenient reader passes nothing on, and judges at the end of the body.
        """
        if self._findings.lenient:
            return
        ends_at = frame.offset + len(frame.raw)
        for fault in self._judge("eof", pending=0, at_byte=ends_at, frames=number + 1):
            if fault.kind is FaultKind.MISSING_FINISH and fault.fatal:
                self._findings.add(fault)

    def _too_much(self, frame: Frame, number: int) -> None:
        """Stop reading for good, a lenient reader too: nothing else bounds what is remembered."""
        self._findings.reject(
            Fault.of(
                FaultKind.PROTOCOL_VIOLATION,
                f"{self._completeness.choices} choices, {self._completeness.calls} tool calls and"
                f" {self._grammar.blocks} blocks came in one answer",
                severity="fatal",
                at_byte=frame.offset,
                frame=number,
            )
        )

    # The end ------------------------------------------------------------------------------

    def close(self, end: BodyEnd, *, pending: int, size_bytes: int, frames: int) -> None:
        """Judge how the body ended.

        Args:
            end: How it ended.
            pending: Bytes of a last frame that is not whole.
            size_bytes: Of the whole body.
            frames: How many came.
        """
        findings = self._findings
        if not any(fault.kind is FaultKind.MISSING_FINISH for fault in findings.faults):
            findings.add_all(self._judge(end, pending=pending, at_byte=size_bytes, frames=frames))
        self._judge_emptiness(size_bytes)
        self._notes()

    def _judge(self, end: BodyEnd, *, pending: int, at_byte: int, frames: int) -> list[Fault]:
        return self._completeness.judge(
            end,
            variant=self._beginning.variant,
            pending=pending,
            at_byte=at_byte,
            frames=frames,
        )

    def _judge_emptiness(self, size_bytes: int) -> None:
        """The answer is over: is there one?"""
        rule = self._empty_rule
        if rule is None or not self._completeness.empty:
            return
        self._empty_rule = None  # told once
        reasons = sorted({finish.reason for finish in self._completeness.finishes.values()})
        thought = ", but thinking" if self._completeness.content_seen else ""
        self._findings.add(
            Fault.of(
                FaultKind.EMPTY_STREAM,
                f"the answer ended with {short_words(reasons) or 'a finish'} and holds"
                f" nothing{thought}: no text, no refusal, no tool call",
                severity="warning" if rule == "accept" else "fatal",
                at_byte=size_bytes,
                retryable=rule != "raise",
            )
        )

    def _notes(self) -> None:
        for finish in self._completeness.finishes.values():
            kind = {"limit": FaultKind.LENGTH_LIMIT, "filter": FaultKind.CONTENT_FILTERED}.get(
                finish.meaning
            )
            if kind is not None:
                self._findings.add(
                    Fault.of(kind, f"the provider ended with {short_words([finish.reason])}")
                )
