"""Frames that cannot be read, or not every byte: the end of the attempt, or the user's rule."""

from __future__ import annotations

from copy import copy
from typing import Literal

from unbroken.core.checks.completeness import Completeness
from unbroken.core.checks.findings import Findings
from unbroken.core.dialects.base import MalformedPayloadError
from unbroken.core.events import Close, Event, Finish, ToolCall, Whole, is_content
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.frames import Frame

__all__ = ["Malformed"]


class Malformed:
    """Judge frames that cannot be read, and watch what one that was left out has spoilt.

    An SDK would raise on such a frame, so it is not passed on. Left out with a finish in it,
    the end stays unproven; inside a function call nothing is left out, since arguments with a
    hole in them may still be JSON, and would be acted on.

    A frame of content with bytes that are no UTF-8 is judged by the same rule: SDKs that decode
    strictly raise on it, and to others its text is not what the model wrote. Only that `skip`
    lets it pass, since what is read of it is more than nothing.

    Attributes:
        left_out_bytes: Size of the frames that were left out.

    Args:
        rule: See `Options.malformed`.
        findings: Takes the faults.
        completeness: What is known of the answer.
    """

    def __init__(
        self,
        rule: Literal["recover", "raise", "skip"],
        findings: Findings,
        completeness: Completeness,
    ) -> None:
        self.left_out_bytes = 0
        self._rule = rule
        self._findings = findings
        self._completeness = completeness
        self._left_out = 0
        self._calling: set[int] = set()  # choices in the middle of a function call

    def fork(self, findings: Findings, completeness: Completeness) -> Malformed:
        """Return an independent copy, beside copies of what it works with."""
        twin = copy(self)
        twin._findings, twin._completeness = findings, completeness
        twin._calling = set(self._calling)
        return twin

    def add(self, frame: Frame, error: MalformedPayloadError, *, number: int) -> None:
        """Take in a frame that cannot be read.

        Args:
            frame: The frame.
            error: Why it cannot.
            number: Which frame of the attempt it is, from 0.
        """
        rule = self._rule
        after = self._completeness.whole and rule != "raise"
        skipped = after or (rule == "skip" and not self._calling)
        left_out = ""
        if skipped:
            self._left_out += 1
            self.left_out_bytes += len(frame.raw)
            left_out = f"; it was left out ({'after the finish' if after else self._left_out})"
        # The parser's reason names positions, never content.
        self._findings.add(
            Fault.of(
                FaultKind.MALFORMED_JSON,
                f"frame {number} ({len(frame.payload)} bytes) is not one JSON value:"
                f" {str(error)[:120]}{left_out}",
                severity="warning" if skipped else "fatal",
                at_byte=frame.offset,
                frame=number,
                retryable=rule != "raise",
            )
        )

    def judge_bytes(self, frame: Frame, events: list[Event], *, number: int) -> bool:
        """Judge a frame with bytes that are no UTF-8; return whether it may be passed on.

        Args:
            frame: The frame.
            events: What it means with U+FFFD in their place.
            number: Which frame of the attempt it is, from 0.
        """
        # A repeated whole shows nothing new, but the texts of its kind are compared.
        if not any(type(event) is Whole or is_content(event) for event in events):
            return True  # an id, a ping, a finish: nothing of the answer is damaged
        after = self._completeness.whole and self._rule != "raise"
        if not after and self._rule == "skip" and not any(map(_is_call, events)):
            return True
        left_out = ""
        if after:
            self.left_out_bytes += len(frame.raw)
            left_out = "; it was left out (after the finish)"
        self._findings.judge_anew(
            Fault.of(
                FaultKind.INVALID_UTF8,
                f"frame {number} ({len(frame.raw)} bytes) holds content and bytes that are no"
                f" UTF-8, the first at byte {frame.undecodable_at}{left_out}",
                severity="warning" if after else "fatal",
                at_byte=frame.undecodable_at,
                frame=number,
                retryable=self._rule != "raise",
            )
        )
        return False

    def watch(self, event: ToolCall | Close | Finish, *, number: int, at_byte: int) -> None:
        """Know which choices are in the middle of a function call.

        Args:
            event: An event that was read, not yet taken in by `completeness`.
            number: Its frame, from 0.
            at_byte: Where that frame begins.
        """
        match event:
            case ToolCall(kind="function", choice=choice, index=index, name=name, whole=whole):
                known = self._completeness.knows_call(choice, index)
                if self._left_out and not known and not name:
                    self._findings.add(
                        Fault.of(
                            FaultKind.MALFORMED_JSON,
                            "a tool call began without its name, in a frame that was left out",
                            at_byte=at_byte,
                            frame=number,
                        )
                    )
                (self._calling.discard if whole else self._calling.add)(choice)
            case Close(choice=choice) | Finish(choice=choice):
                self._calling.discard(choice)
            case _:
                pass


def _is_call(event: Event) -> bool:
    """Whether it is of a function call: damaged arguments may still be JSON."""
    return type(event) is ToolCall and event.kind == "function"
