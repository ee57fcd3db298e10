"""An answer as data, and the events that tell it: what encoders and writers start from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from unbroken.core.events import (
    End,
    Event,
    Finish,
    Reasoning,
    Start,
    Text,
    ToolCall,
    UsageReport,
)

__all__ = ["Answer", "AnswerCall", "events_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerCall:
    """A tool call to encode: fragments joined are its arguments."""

    name: str
    arguments: tuple[str, ...]
    id: str = "call_1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer to encode: what a model said, piece by piece.

    Attributes:
        text: Pieces of text, one delta each.
        reasoning: Pieces of thinking before it.
        calls: Tool calls after it.
        finish: Why it ends: ``stop``, ``tool-calls``, ``limit`` or ``filter``.
        usage: Input and output tokens, or None to leave usage out.
    """

    text: tuple[str, ...] = ()
    reasoning: tuple[str, ...] = ()
    calls: tuple[AnswerCall, ...] = ()
    finish: Literal["stop", "tool-calls", "limit", "filter"] = "stop"
    usage: tuple[int, int] | None = None
    id: str = "answer-1"
    model: str = "a-model"
    created: int = field(default=1_700_000_000)


def events_of(answer: Answer) -> Iterator[Event]:
    """Yield the answer's events, as a provider that counts from the start would send them."""
    if answer.usage is not None:
        yield UsageReport(*answer.usage)
    yield Start(answer.id, answer.model)
    for piece in answer.reasoning:
        yield Reasoning(piece)
    if answer.reasoning:
        yield Reasoning("", sealed=True)
    for piece in answer.text:
        yield Text(piece)
    for index, call in enumerate(answer.calls):
        yield ToolCall(index, id=call.id, name=call.name)
        for piece in call.arguments:
            yield ToolCall(index, piece)
        yield ToolCall(index, whole=True)
    yield Finish(answer.finish, answer.finish)
    yield End("")
