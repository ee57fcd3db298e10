"""A later attempt's frames, let through from the place where the delivered answer ends."""

from __future__ import annotations

from typing import NamedTuple

from unbroken.core.dialects.base import Dialect, MalformedPayloadError, Reader, RequestFacts
from unbroken.core.events import (
    Event,
    Finish,
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
from unbroken.core.recovery.ladder import Plan
from unbroken.core.wire import NDJSONDecoder, SSEDecoder

__all__ = ["Piece", "Splice"]


class Piece(NamedTuple):
    """Bytes ready to be delivered, whole frames, and what they mean."""

    raw: bytes
    frame: Frame | None
    events: list[Event]


class Splice:
    """Turn the steps of a continuing attempt into pieces for the consumer.

    Nothing comes out before the seam is proven; after that, frames are written by the
    dialect's splicer. `diverged` says that the attempt does not continue the answer.

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
        self._plan = plan
        self._splicer = dialect.splicer(delivered, rung=plan.rung, facts=facts)
        self._reader = _reader_after(dialect, delivered)
        self._decoder = (
            SSEDecoder(max_frame_bytes=1 << 40)
            if dialect.wire == "sse"
            else NDJSONDecoder(max_frame_bytes=1 << 40)
        )
        calls = [call for call in delivered.calls.values() if call.kind != "server"]
        self._calls = _CallMatch(calls if plan.rung == "replay" else [])

    @property
    def proven(self) -> bool:
        """Whether the seam is proven."""
        return self._plan.matcher.matched and self._calls.done

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
        if not self.proven and not any(type(event) is Finish for event in kept):
            # Nothing that changes the wire may come before the proof, but the splicer has
            # to see the openings to know which of them were left out.
            kept = [event for event in kept if type(event) is not ToolCall]
            self._write(frame, kept, "")
            return []
        return self._write(frame, kept, text)

    def _filter(self, event: Event, kept: list[Event]) -> str:
        """Keep what goes on in ``kept``; return the part of a text that is new."""
        matcher = self._plan.matcher
        match event:
            case Text(text=text):
                new = matcher.feed(text)
                if matcher.diverged:
                    self.diverged = "its text is not the continuation of what was delivered"
                elif new and not self._calls.done:
                    self.diverged = "it wrote text where a tool call was delivered"
                return new
            case ToolCall():
                self._call(event, kept)
            case Finish():
                new = matcher.finish()
                if matcher.diverged:
                    self.diverged = "it ended before it reached what was delivered"
                elif not self._calls.finish():
                    self.diverged = "it ended without the tool calls that were delivered"
                kept.append(event)
                return new
            case Refusal() | Other(content=True):
                if not self.proven:
                    self.diverged = "it refused, or sent something other than text"
                kept.append(event)
            case Start() | Ping() | Number() | Reasoning():
                pass
            case _:
                kept.append(event)
        return ""

    def _call(self, event: ToolCall, kept: list[Event]) -> None:
        if event.kind == "server":
            kept.append(event)
        elif self._calls.covers(event):
            if not self._calls.feed(event):
                self.diverged = "it made another tool call than the one delivered"
        elif not self._plan.matcher.matched:
            self.diverged = "it called a tool before it reached what was delivered"
        else:
            kept.append(event)

    def _write(self, frame: Frame, kept: list[Event], text: str) -> list[Piece]:
        pieces: list[Piece] = []
        for raw in self._splicer.splice(frame, kept, text):
            for written in self._decoder.blocks(raw):
                try:
                    events = self._reader.read(written) if written.dispatched else []
                except MalformedPayloadError:  # our own frame: cannot be, but never raise here
                    events = []
                pieces.append(Piece(written.raw, written, events))
        return pieces


def _reader_after(dialect: Dialect, delivered: Received) -> Reader:
    """Return a reader in the state after the last delivered frame."""
    reader = dialect.reader()
    for payload in delivered.skeleton:
        reader.read(Frame("message", payload, "", None, b"", 0))
    return reader


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

    def finish(self) -> bool:
        return self.done
