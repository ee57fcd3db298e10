"""Writers: events to frames, what a reader does, the other way round.

`Writer` keeps what all dialects share: the start is written once and before anything else, what
a dialect opens is closed before something else is opened, calls are told apart, and **the end
waits**. A finish is only written once the last marker of the other side came (`End`), or once
its end is known to be proven (`Writer.close`): an error may still follow a finish, and figures
of usage often do.

A dialect's own writer says how each of these looks, and nothing else.
"""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from unbroken.core.events import (
    End,
    Event,
    Finish,
    Meaning,
    Reasoning,
    Refusal,
    Start,
    Text,
    ToolCall,
    UsageReport,
)
from unbroken.core.received import Usage, join_pieces, merge_usage
from unbroken.core.request import Request

__all__ = ["WrittenCall", "Writer", "arguments_object"]


class WrittenCall(msgspec.Struct):
    """One function call on the wire.

    Attributes:
        number: How many calls were written before it.
        pieces: Its arguments, where the dialect must know them again.
        whole: Nothing more of it will come.
    """

    number: int
    id: str
    name: str
    pieces: list[str]
    whole: bool = False

    @property
    def arguments(self) -> str:
        """The arguments that were kept."""
        return join_pieces(self.pieces)


class Writer(ABC):
    """Write one stream, event by event, in the frames of a dialect.

    What cannot be said in the dialect sets `problem`, and nothing more is written.

    Args:
        id: The answer's id.
        model: The model's name.
        created: When it was made, seconds since the epoch.
        asked: The consumer's request, where the answer is that of another provider: then
            nothing is written that the consumer's own provider would refuse to take back,
            and it is asked how the consumer wants the answer. None writes all.
    """

    reasons: ClassVar[Mapping[Meaning, str]]
    """The dialect's word for each finish that it can tell."""
    one_at_a_time: ClassVar[bool] = True
    """Whether a call must end before anything else begins."""
    keeps_arguments: ClassVar[bool] = False
    """Whether a call is written, or said again, only whole."""
    call_id: ClassVar[re.Pattern[str]] = re.compile(r"[A-Za-z0-9_-]{1,40}")
    """Ids of calls that the provider takes back; OpenAI takes 40 characters."""

    def __init__(self, *, id: str, model: str, created: int, asked: Request | None = None) -> None:
        self.id = id
        self.model = model
        self.created = created
        self.asked = asked
        self.problem: str | None = None
        self.held = 0
        self.usage = Usage()
        self._out: list[bytes] = []
        self._began = False
        self._over = False
        self._finished: Finish | None = None
        self._calls: dict[int, WrittenCall] = {}

    def write(self, events: Sequence[Event]) -> list[bytes]:
        """Return the frames that say these events, in order; often none."""
        for event in events:
            if self.problem is not None or self._over:
                break
            self._event(event)
        out, self._out = self._out, []
        return out

    def close(self) -> list[bytes]:
        """Return the end, where one is owed.

        For an end that is proven though no last marker came, since the other side has none
        or did not send it. Where this dialect has a marker of its own beside the finish, it is
        written only for one that came.
        """
        if self._finished is not None and not self._over and self.problem is None:
            self._terminal(self._finished, marked=False)
        out, self._out = self._out, []
        return out

    def _event(self, event: Event) -> None:
        if getattr(event, "choice", 0):
            self.problem = "it gave more than one answer"
            return
        match event:
            case Start():
                self._begin()
            case Text(text=text) if text:
                self._content()
                self._text(text)
            case Refusal(text=text) if text:
                self._content()
                self._refusal(text)
            case Reasoning(text=text, sealed=sealed):
                if text:
                    self._content()
                    self._reasoning(text)
                if sealed:
                    self._seal()
            case ToolCall():
                self._begin()
                self._call(event)
            case UsageReport():
                merge_usage(self.usage, event)
            case Finish():
                self._finished = event
            case End():
                if self._finished is not None:
                    self._terminal(self._finished, marked=True)
            case _:
                pass

    def _begin(self) -> None:
        if not self._began:
            self._began = True
            self._start()

    def _content(self) -> None:
        """Something other than a call is said."""
        self._begin()
        if self.one_at_a_time:
            self._end_calls()

    def _emit(self, frame: bytes) -> None:
        self._out.append(frame)

    def _hold(self, piece: str) -> str:
        """Count what must be remembered until the end."""
        self.held += len(piece)
        return piece

    # Calls --------------------------------------------------------------------------------

    def _call(self, event: ToolCall) -> None:
        if event.kind != "function":
            self.problem = f"it called a {event.kind} tool"
            return
        call = self._calls.get(event.index)
        if call is None:
            if not event.name:
                self.problem = "it called a tool without a name"
                return
            if self.one_at_a_time:
                self._end_calls()
            call = self._calls[event.index] = WrittenCall(
                len(self._calls), self._id_of(event), event.name, []
            )
            self._open_call(call)
        if event.arguments:
            if call.whole:
                self.problem = "it wrote two tool calls at a time"
                return
            if self.keeps_arguments:
                call.pieces.append(self._hold(event.arguments))
            self._arguments(call, event.arguments)
        if event.whole:
            self._end_call(call)

    def _id_of(self, event: ToolCall) -> str:
        """Return the call's id as the provider would take it back: its own, if it fits."""
        if event.id and self.call_id.fullmatch(event.id):
            return event.id
        known = f"{self.id} {event.index} {event.id}".encode("utf-8", "replace")
        return f"call_{hashlib.sha256(known).hexdigest()[:24]}"

    def _end_calls(self) -> None:
        for call in self._calls.values():
            self._end_call(call)

    def _end_call(self, call: WrittenCall) -> None:
        if not call.whole:
            call.whole = True
            self._close_call(call)

    # The end ------------------------------------------------------------------------------

    def _terminal(self, finish: Finish, *, marked: bool) -> None:
        reason = self.reasons.get(finish.meaning)
        if reason is None:
            self.problem = f"it ended with a {finish.meaning}, which cannot be said here"
            return
        self._over = True
        self._begin()
        calls = list(self._calls.values())
        cut = finish.meaning in ("limit", "filter")
        for call in calls[:-1] if cut else calls:  # the last one may be what was cut
            self._end_call(call)
        if self.problem is None:
            self._end(reason, marked=marked)

    # How it looks -------------------------------------------------------------------------

    @abstractmethod
    def _start(self) -> None:
        """Write what comes first."""

    @abstractmethod
    def _text(self, text: str) -> None:
        """Write a piece of text."""

    def _refusal(self, text: str) -> None:
        """Write a piece of a refusal: as text, where the dialect has no other place."""
        self._text(text)

    @abstractmethod
    def _reasoning(self, text: str) -> None:
        """Write a piece of thinking."""

    def _seal(self) -> None:  # noqa: B027  few dialects have one
        """Write the signature of the thinking so far."""

    @abstractmethod
    def _open_call(self, call: WrittenCall) -> None:
        """Begin a call."""

    @abstractmethod
    def _arguments(self, call: WrittenCall, piece: str) -> None:
        """Write a piece of a call's arguments."""

    @abstractmethod
    def _close_call(self, call: WrittenCall) -> None:
        """End a call that is whole."""

    @abstractmethod
    def _end(self, reason: str, *, marked: bool) -> None:
        """Write the end. A call that is not whole stays open: it must not look complete."""


def arguments_object(call: WrittenCall) -> dict[str, Any] | None:
    """Return a call's arguments as the object they are, or None if they are not one."""
    try:
        value = msgspec.json.decode(call.arguments or "{}")
    except (msgspec.DecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
