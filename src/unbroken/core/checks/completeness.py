"""Whether the end is proven: every opened choice finished, by the dialect's own rules."""

from __future__ import annotations

from typing import Literal

from unbroken.core.dialects.base import Dialect, Variant
from unbroken.core.events import (
    End,
    Event,
    Finish,
    Open,
    Other,
    ProviderError,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Whole,
)
from unbroken.core.faults import Fault, FaultKind

__all__ = ["BodyEnd", "Completeness"]

BodyEnd = Literal["eof", "reset", "closed"]
"""How the body ended: cleanly, by a failing transport, or by ourselves."""


class Completeness:
    """Keep account of what was opened and finished, and judge the end."""

    def __init__(self, dialect: Dialect, *, choices: int = 1) -> None:
        self._dialect = dialect
        self._expected = choices
        self._opened: set[int] = set()
        self._calls: set[tuple[int, int]] = set()
        self._finished: dict[int, Finish] = {}
        self._marker: str | None = None
        self.content_seen = False
        self.answer_seen = False
        """Content other than thinking."""
        self.error_seen = False

    def fork(self) -> Completeness:
        """Return an independent copy."""
        copy = Completeness(self._dialect, choices=self._expected)
        copy._opened = set(self._opened)
        copy._calls = set(self._calls)
        copy._finished = dict(self._finished)
        copy._marker = self._marker
        copy.content_seen = self.content_seen
        copy.answer_seen = self.answer_seen
        copy.error_seen = self.error_seen
        return copy

    @property
    def finishes(self) -> dict[int, Finish]:
        """The last finish of each choice."""
        return self._finished

    @property
    def choices(self) -> int:
        """How many choices were opened or finished."""
        return max(len(self._opened), len(self._finished))

    @property
    def calls(self) -> int:
        """How many tool calls were seen."""
        return len(self._calls)

    @property
    def finished(self) -> bool:
        """Whether every opened choice got its semantic finish."""
        return (
            bool(self._finished)
            and self._opened <= self._finished.keys()
            and len(self._finished) >= self._expected
        )

    @property
    def marked(self) -> bool:
        """Whether the last marker was seen, of a dialect that has one."""
        return self._marker is not None

    @property
    def whole(self) -> bool:
        """Whether every choice finished and no content can follow."""
        return (
            self.finished
            and all(finish.final for finish in self._finished.values())
            and not self._dialect.goes_on_after_finish
        )

    @property
    def empty(self) -> bool:
        """Whether it ended as an answer ends, and there is none: no text, refusal or call.

        Thinking alone is no answer. An end by a limit or filter, in a pause or for a tool call
        says itself why there is none, and so do the dialect's `silent_finishes`.
        """
        silent = self._dialect.silent_finishes
        return (
            self.finished
            and not self.answer_seen
            and not self.error_seen
            and all(f.meaning == "stop" and f.reason not in silent for f in self._finished.values())
        )

    def knows_call(self, choice: int, index: int) -> bool:
        """Whether a piece of this tool call came."""
        return (choice, index) in self._calls

    @property
    def ended(self) -> bool:
        """Whether the finish and the last marker were both seen: nothing more can come.

        Without a marker, and where content may follow a finish, only the body's end says so.
        """
        settled = self.finished and all(finish.final for finish in self._finished.values())
        if self._dialect.last_marker is None:
            return settled and not self._dialect.goes_on_after_finish
        return settled and self._marker is not None

    def add(self, event: Event) -> None:
        """Take in one event."""
        match event:
            case Text(text=text, choice=choice) | Refusal(text=text, choice=choice):
                if text:
                    self.content_seen = self.answer_seen = True
                    self._opened.add(choice)
            case Reasoning(text=text, choice=choice):
                self._opened.add(choice)
                self.content_seen = self.content_seen or bool(text)
            case ToolCall(choice=choice, index=index):
                self.content_seen = self.answer_seen = True
                self._opened.add(choice)
                self._calls.add((choice, index))
            case Open(choice=choice):
                self._opened.add(choice)
            case Whole(text=text):
                self.answer_seen = self.answer_seen or bool(text)
            case Finish(choice=choice):
                self._finished[choice] = event
            case End(marker=marker):
                self._marker = marker
            case ProviderError():
                self.error_seen = True
            case Other(content=True):
                self.content_seen = self.answer_seen = True
            case _:
                pass

    def judge(
        self, end: BodyEnd, *, variant: Variant, pending: int, at_byte: int, frames: int
    ) -> list[Fault]:
        """Return the faults in how the body ended.

        Args:
            end: How it ended.
            variant: The declared service.
            pending: Bytes of a last frame that is not whole.
            at_byte: Length of the body.
            frames: Frames dispatched.
        """
        if self.error_seen:
            return []
        if self.finished and all(f.final for f in self._finished.values()):
            missing = self._marker is None and self._dialect.last_marker is not None
            if missing and not variant.missing_marker_legal:
                how = {"eof": "the body ended", "reset": "the connection failed"}.get(end, "closed")
                return [
                    Fault.of(
                        FaultKind.MISSING_TERMINATOR,
                        f"finished, but {how} before {self._dialect.last_marker}:"
                        " the content is whole, usage may be missing",
                        at_byte=at_byte,
                    )
                ]
            return []
        return [self._unfinished(end, variant, pending, at_byte, frames)]

    def _unfinished(
        self, end: BodyEnd, variant: Variant, pending: int, at_byte: int, frames: int
    ) -> Fault:
        after = f"after {frames} frames ({at_byte} bytes), without a finish"
        if end == "reset":
            return Fault.of(
                FaultKind.CONNECTION_RESET, f"the connection failed {after}", at_byte=at_byte
            )
        if self._marker is not None:
            legal = variant.missing_finish_legal
            return Fault.of(
                FaultKind.MISSING_FINISH,
                f"{self._marker} came {after}"
                + (f": {variant.name} is known to end good answers so" if legal else ""),
                severity="warning" if legal else "fatal",
                at_byte=at_byte,
            )
        if pending:
            return Fault.of(
                FaultKind.TRUNCATED_MID_EVENT,
                f"the body ended {after}, {pending} bytes into a frame",
                at_byte=at_byte,
            )
        if not self.content_seen and not self._finished:
            return Fault.of(
                FaultKind.EMPTY_STREAM,
                f"the body ended after {frames} frames ({at_byte} bytes)"
                " with no content, no finish and no error",
                at_byte=at_byte,
            )
        return Fault.of(
            FaultKind.TRUNCATED_BETWEEN_EVENTS, f"the body ended {after}", at_byte=at_byte
        )
