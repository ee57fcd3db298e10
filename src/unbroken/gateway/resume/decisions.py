"""What the resume protocol has for an answer to a request, as values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from unbroken.gateway.resume.marking import Marker
from unbroken.journal.base import Head, JournalDownError, Meta, Reader, Writer

__all__ = [
    "Asked",
    "Attach",
    "Begun",
    "NotKept",
    "Refused",
    "Stopped",
    "down",
    "gone",
    "unknown",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request for a stream, as far as resuming it is concerned.

    Attributes:
        method: The HTTP method.
        target: Path and query as they came.
        headers: As they came.
        body: As it came.
        scope: Who asks, as a hash; None where nobody showed a key.
        dialect: Of the answer.
        wire: Of the answer; ``""`` where it is no stream that can be read on.
        model: As the request named it.
        provider: For the journal's record.
        route: Likewise.
    """

    method: str
    target: str
    headers: Iterable[tuple[str, str]]
    body: bytes
    scope: str | None
    dialect: str = ""
    wire: str = ""
    model: str = ""
    provider: str = ""
    route: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotKept:
    """Serve the request as if there were no resume.

    Attributes:
        reason: ``""`` if it was not asked for; else why it cannot be: ``off``, ``no-stream``,
            ``journal-full``, ``journal-down``.
    """

    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """The request begins a stream: run it into `writer`, and serve `reader` to the client.

    Attributes:
        writer: Must be opened, and must be ended, whatever happens.
        reader: At the beginning; to be closed.
        marker: For `serve_reader`; None where the client did not ask for ids.
        headers: To be added to the answer.
    """

    writer: Writer
    reader: Reader
    marker: Marker | None
    headers: list[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attach:
    """The request reads a stream that is there.

    Attributes:
        head: Status and headers of the stream's first answer.
        reader: At the place that was asked for; to be closed.
        marker: For `serve_reader`; None where the client did not ask for ids.
        headers: To be added to the head's.
        state_prefix: To be sent first.
    """

    head: Head
    reader: Reader
    marker: Marker | None
    headers: list[tuple[str, str]]
    state_prefix: bytes = b""

    @property
    def meta(self) -> Meta:
        """The stream that is read."""
        return self.reader.meta


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """An error answer, in the words of the caller's dialect.

    Attributes:
        status: Of HTTP.
        kind: A stable short name.
        text: For a person.
        headers: To be added.
    """

    status: int
    kind: str
    text: str
    headers: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """An empty answer: 202, the stream is being stopped; 204, it had ended."""

    status: int


def unknown() -> Refused:
    """Return what is said of a stream that is not there, or somebody else's."""
    return Refused(
        status=404,
        kind="stream-unknown",
        text="there is no such stream, or it is not kept any more",
    )


def gone(text: str) -> Refused:
    """Return what is said where the rest cannot be given without a gap."""
    return Refused(status=410, kind="position-gone", text=text)


def down(error: JournalDownError) -> Refused:
    """Return what is said where the journal cannot be reached."""
    return Refused(
        status=503,
        kind="journal-down",
        text="the journal cannot be reached now; the stream itself may go on",
        headers=[("Retry-After", str(max(1, round(error.retry_after_s))))],
    )
