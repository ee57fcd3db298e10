"""One attempt, as the watch saw it."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.simulation.reading import Reading
from tests.simulation.replies import Reply
from unbroken.core.request import Request

__all__ = ["Tried"]


@dataclass
class Tried:
    """One attempt as the watch saw it.

    Attributes:
        upstream: What its bytes say, as far as they came.
        sent: The bytes.
        text_before: The answer text that the consumer had when it began.
        calls_before: Calls that it had.
        byte_at: When the last byte came; time in which the consumer was away left out.
        progress_at: When content last moved.
        root: Where the body began that it is a part of: itself, but for a provider's own resume.
        body: The bytes of that body so far, without a half frame that came again.
        delivered: What the consumer got of that body.
    """

    number: int
    request: Request
    reply: Reply
    upstream: Reading
    text_before: str
    calls_before: int
    contents_before: int
    thoughts_before: int
    started_at: float
    byte_at: float
    progress_at: float
    opened_at: float
    sent: bytearray = field(default_factory=bytearray)
    body: bytearray = field(default_factory=bytearray)
    delivered: bytearray = field(default_factory=bytearray)
    root: Tried = None  # type: ignore[assignment]  # itself, once it is made
    text_after: str = ""
    ended_at: float | None = None
    longest_read: int = 0
    texts_before: list[str] = field(default_factory=list)  # of each choice
    answered: bool = False  # its head came
    unclosed: Reading | None = None  # `upstream` before it was closed
    opening: int = 0  # bytes until the read that brought the first content
    over: bool = False  # no more bytes of it can come
    asked_before: int = 0  # questions to the breaker until it was sent
    renumbered: bool = False  # what came in between waits, or is left out

    @property
    def translated(self) -> bool:
        """Whether another dialect is told in the consumer's."""
        return self.upstream.dialect != self.root.home

    home: str = ""
