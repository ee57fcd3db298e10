"""A later attempt's frames, let through from the place where the delivered answer ends."""

from __future__ import annotations

from unbroken.core.dialects.base import Dialect, Reader, RequestFacts
from unbroken.core.events import (
    Event,
    Finish,
    Mark,
    Number,
    Other,
    Ping,
    Reasoning,
    Refusal,
    Start,
    Text,
    ToolCall,
)
from unbroken.core.frames import Frame
from unbroken.core.received import Call, Received
from unbroken.core.recovery.seam import Matcher, NoMatch, ReplayMatch
from unbroken.core.recovery.situation import Plan
from unbroken.core.recovery.written import OwnFrames, Piece

__all__ = ["Splice"]

_NEWS = (Text, ToolCall, Finish)
"""What is kept only where it is proven and new."""


class Splice:
    """Turn the steps of a continuing attempt into pieces for the consumer.

    Nothing comes out before the seam is proven; after that, frames are written by the
    dialect's splicer. `diverged` says that the attempt does not continue the answer,
    `blocked` that this was the provider's decision: a safety block is never healed around.

    Where several choices were asked for, each has a seam of its own: the rest of one may be
    delivered while another is still being compared, and of one that had finished nothing is.

    Args:
        dialect: The dialect.
        plan: How the attempt came about.
        delivered: What the consumer has.
        facts: What the request asked for.
    """

    def __init__(
        self,
        dialect: Dialect,
        plan: Plan,
        delivered: Received,
        *,
        facts: RequestFacts,
    ) -> None:
        self.diverged: str | None = None
        self.blocked = False
        self._several = facts.choices > 1
        self._splicer = dialect.splicer(delivered, rung=plan.way, facts=facts)
        self._own = OwnFrames(dialect, _reader_after(dialect, delivered))
        self._lanes = {0: _Lane.of(0, plan, delivered, several=self._several)}
        if self._several:
            begun = {*delivered.texts, *delivered.finishes, *(c for c, _ in delivered.calls)}
            for choice in sorted(begun - {0}):
                self._lanes[choice] = _Lane.of(choice, plan, delivered, several=True)

    @property
    def proven(self) -> bool:
        """Whether the seam is proven: of every choice, where there are several."""
        return all(lane.proven for lane in self._lanes.values())

    def _lane(self, choice: int) -> _Lane:
        if not self._several:
            return self._lanes[0]
        return self._lanes.setdefault(choice, _Lane(NoMatch(), _CallMatch([]), None))

    def accept(self, frame: Frame, events: list[Event]) -> list[Piece]:
        """Take one step of the attempt; return what may be delivered."""
        if self.diverged is not None or not frame.dispatched:
            return []
        kept: list[Event] = []
        text = ""
        for event in events:
            text += self._filter(event, kept)
            if self.diverged is not None:
                return []
        if not self.proven and not any(type(event) in _NEWS for event in kept):
            # Nothing that changes the wire may come before the proof, but the splicer has
            # to see the openings to know which of them were left out.
            self._write(frame, kept, "")
            return []
        return self._write(frame, kept, text)

    def finish(self) -> list[Piece]:
        """The attempt's end is proven; return what waited for that: nothing does here."""
        return []

    def _filter(self, event: Event, kept: list[Event]) -> str:
        """Keep what goes on in ``kept``; return the part of a text that is new."""
        match event:
            case Text(text=text, choice=choice):
                return self._text(self._lane(choice), text, choice, kept)
            case ToolCall():
                self._call(self._lane(event.choice), event, kept)
            case Finish():
                return self._finish(self._lane(event.choice), event, kept)
            case Refusal(choice=choice):
                if not self._lane(choice).proven:
                    self.diverged, self.blocked = "it refused", True
                kept.append(event)
            case Other(content=True):
                if not self.proven:
                    self.diverged = "it sent something other than text"
                kept.append(event)
            case Start() | Ping() | Number() | Mark() | Reasoning():
                pass
            case _:
                kept.append(event)
        return ""

    def _text(self, lane: _Lane, text: str, choice: int, kept: list[Event]) -> str:
        new = lane.matcher.feed(text)
        if lane.matcher.diverged:
            self.diverged = "its text is not the continuation of what was delivered"
        elif new and not lane.calls.done:
            self.diverged = "it wrote text where a tool call was delivered"
        elif new and lane.finish is not None:
            self.diverged = "it went on with a choice that had finished"
        elif new and self._several:
            kept.append(Text(new, choice))
        return new

    def _call(self, lane: _Lane, event: ToolCall, kept: list[Event]) -> None:
        if event.kind == "server":
            if self.proven:
                kept.append(event)
        elif lane.calls.covers(event):
            if not lane.calls.feed(event):
                self.diverged = "it made another tool call than the one delivered"
        elif not lane.proven:
            self.diverged = "it called a tool before it reached what was delivered"
        elif lane.finish is not None:
            self.diverged = "it went on with a choice that had finished"
        else:
            kept.append(event)

    def _finish(self, lane: _Lane, event: Finish, kept: list[Event]) -> str:
        new = lane.matcher.finish()
        if lane.matcher.diverged:
            self.diverged = "it ended before it reached what was delivered"
        elif not lane.calls.done:
            self.diverged = "it ended without the tool calls that were delivered"
        elif lane.finish is None:
            kept.append(event)
        elif lane.finish.reason != event.reason:
            self.diverged = "it ended a choice in another way"
        self.blocked = self.diverged is not None and event.meaning == "filter"
        if new and self._several:
            kept.append(Text(new, event.choice))
        return new

    def _write(self, frame: Frame, kept: list[Event], text: str) -> list[Piece]:
        return self._own.pieces(self._splicer.splice(frame, kept, text))


def _reader_after(dialect: Dialect, delivered: Received) -> Reader:
    """Return a reader in the state after the last delivered frame."""
    reader = dialect.reader()
    for event, payload in delivered.skeleton:
        reader.read(Frame(event, payload, "", None, b"", 0))
    return reader


class _Lane:
    """One choice: how far the later attempt has come in repeating what was delivered of it."""

    def __init__(self, matcher: Matcher, calls: _CallMatch, finish: Finish | None) -> None:
        self.matcher = matcher
        self.calls = calls
        self.finish = finish

    @classmethod
    def of(cls, choice: int, plan: Plan, delivered: Received, *, several: bool) -> _Lane:
        """Return the lane of a choice that was begun."""
        matcher = plan.matcher if choice == 0 else ReplayMatch(delivered.text_of(choice))
        calls = [
            call
            for call in delivered.calls.values()
            if call.kind != "server" and (call.choice == choice or not several)
        ]
        calls = calls if plan.way == "replay" else []  # else none was delivered
        return cls(matcher, _CallMatch(calls), delivered.finishes.get(choice) if several else None)

    @property
    def proven(self) -> bool:
        return self.matcher.matched and self.calls.done


class _CallMatch:
    """Compare a replayed attempt's tool calls with the ones delivered: names and arguments."""

    def __init__(self, delivered: list[Call]) -> None:
        self._expected = [(call.name, call.arguments) for call in delivered]
        self._at: list[int] = [0] * len(delivered)
        self._named = [False] * len(delivered)

    @property
    def done(self) -> bool:
        return all(
            named and at == len(arguments)
            for (_, arguments), at, named in zip(self._expected, self._at, self._named, strict=True)
        )

    def covers(self, event: ToolCall) -> bool:
        return event.index < len(self._expected)

    def feed(self, event: ToolCall) -> bool:
        """Take a piece of a covered call; return whether it is still the same."""
        name, arguments = self._expected[event.index]
        if event.name:
            if event.name != name:
                return False
            self._named[event.index] = True
        at = self._at[event.index]
        if not arguments.startswith(event.arguments, at):
            return False
        self._at[event.index] = at + len(event.arguments)
        return not event.whole or self._at[event.index] == len(arguments)
