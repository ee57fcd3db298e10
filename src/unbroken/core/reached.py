"""How far the provider's answer was read, for the provider's own resume."""

from __future__ import annotations

from copy import copy

from unbroken.core.dialects.base import Place
from unbroken.core.events import (
    Close,
    End,
    Event,
    Finish,
    Mark,
    Number,
    Open,
    Reasoning,
    Refusal,
    Start,
    Text,
    ToolCall,
)

__all__ = ["Reached"]


class Reached:
    """Note what events say about the place in the answer, over all connections of one body.

    Attributes:
        id: See `Place.id`.
        number: See `Place.number`.
        at_mark: A mark was read, and nothing behind it that would come again.
    """

    def __init__(self) -> None:
        self.id = ""
        self.number: int | None = None
        self.at_mark = False
        self._mark = ""
        self._earlier_bytes = 0  # of the same body, over connections that broke

    def fork(self) -> Reached:
        """Return an independent copy."""
        return copy(self)

    def place(self, size_bytes: int) -> Place:
        """Return the place.

        Args:
            size_bytes: What came over the last connection.
        """
        return Place(
            id=self.id,
            number=self.number,
            mark=self._mark,
            bytes=self._earlier_bytes + size_bytes,
            content_since_mark=bool(self._mark) and not self.at_mark,
        )

    def add(self, event: Event) -> None:
        """Take in one event that was read in its turn."""
        match event:
            case Number(value=value):
                self.number = value
            case Mark(id=mark):
                self._mark = mark
                self.at_mark = bool(mark)
            case Start(id=answer_id):
                self.id = answer_id or self.id
            case (
                Text() | Reasoning() | Refusal() | ToolCall() | Open() | Close() | Finish() | End()
            ):
                self.at_mark = False
            case _:
                pass

    def add_texts(self) -> None:
        """Take in a read of nothing but text."""
        self.at_mark = False

    def reopen(self, size_bytes: int) -> None:
        """The same body goes on over another connection.

        Args:
            size_bytes: What came over the one that broke.
        """
        self._earlier_bytes += size_bytes
