"""The life of a stream, its choices and its blocks: what may follow what."""

from __future__ import annotations

from unbroken.core.dialects.base import Dialect
from unbroken.core.events import (
    Block,
    Close,
    End,
    Event,
    Finish,
    Open,
    Reasoning,
    Refusal,
    Start,
    Text,
    ToolCall,
)
from unbroken.core.faults import Fault, FaultKind, Severity

__all__ = ["Grammar"]


class Grammar:
    """Watch the order of events in one attempt; say where it breaks the dialect's rules."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._started = False
        self._open: set[Block] = set()
        self._closed: set[Block] = set()
        self._finished: set[int] = set()
        self._ended = False
        self._told: set[str] = set()

    def fork(self) -> Grammar:
        """Return an independent copy."""
        copy = Grammar(self._dialect)
        copy._started = self._started
        copy._open = set(self._open)
        copy._closed = set(self._closed)
        copy._finished = set(self._finished)
        copy._ended = self._ended
        copy._told = set(self._told)
        return copy

    @property
    def blocks(self) -> int:
        """How many blocks were opened or closed."""
        return len(self._open) + len(self._closed)

    def add(self, event: Event, *, frame: int, at_byte: int) -> Fault | None:
        """Take in one event; return the fault it is, if it is one. Each is told once."""
        told = self._violation(event)
        if told is None or told[0] in self._told:
            return None
        self._told.add(told[0])
        return Fault.of(
            FaultKind.PROTOCOL_VIOLATION,
            told[0],
            severity=told[1],
            frame=frame,
            at_byte=at_byte,
        )

    def _violation(self, event: Event) -> tuple[str, Severity] | None:
        match event:
            case Text() | Refusal() | Reasoning() | ToolCall():
                return self._content(event)
            case Start():
                if self._started:
                    return "the stream was started twice", "fatal"
                self._started = True
            case Open(block=block) if block is not None:
                if block in self._open:
                    return "a block was opened twice", "warning"
                self._open.add(block)
                self._closed.discard(block)
            case Close(block=block):
                self._open.discard(block)
                self._closed.add(block)
            case Finish(choice=choice):
                self._finished.add(choice)
            case End():
                self._ended = True
            case _:
                pass
        return None

    def _content(self, event: Text | Refusal | Reasoning | ToolCall) -> tuple[str, Severity] | None:
        if self._ended:
            return "content came after the end", "warning"
        if event.choice in self._finished and not self._dialect.goes_on_after_finish:
            return "content came after the finish", "warning"
        if not self._dialect.explicit_blocks:
            return None
        if event.block is not None and event.block not in self._open:
            if event.block in self._closed:
                return "a delta came for a block that was closed", "warning"
            # Some Responses relays leave the openings out (corpus, 2026): content is whole.
            severity: Severity = "warning" if self._dialect.numbered else "fatal"
            return "a delta came for a block that was never opened", severity
        return None
