"""What every journal promises: a stream's bytes, written once, read from any place by many.

A stream's journal is a *log*: exactly the bytes of the body as they were delivered, addressed
by byte offset. Event ids, heartbeats and the like are put on by readers and never stored, so
that one log serves every reader. One `Writer` fills it; any number of `Reader`s, in any process
that shares the journal, follow it from any offset that is kept, while it grows and after it ended.

Two things come apart that a plain HTTP answer has in one: a stream is *created* (and its lease
taken) before anybody knows the upstream's status; it is *opened* with a `Head` when that is
known; and it *ends* once, with an `End`. Who attaches in between waits for the head.
"""

from __future__ import annotations

import asyncio
from typing import Literal, Protocol

import msgspec

__all__ = [
    "FREES_LEASE",
    "READ_BYTES",
    "End",
    "EndStatus",
    "Head",
    "Journal",
    "JournalDownError",
    "JournalError",
    "JournalFullError",
    "Meta",
    "OffsetError",
    "OffsetGoneError",
    "Reader",
    "StreamInfo",
    "UnknownStreamError",
    "Writer",
    "WriterLostError",
]

READ_BYTES = 64 * 1024
"""Most bytes that one `Reader.read` gives back."""

EndStatus = Literal[
    "complete", "limited", "filtered", "paused", "unconfirmed", "failed", "cancelled"
]
"""The words of `unbroken.Outcome.status`."""

FREES_LEASE: frozenset[str] = frozenset({"failed", "cancelled"})
"""Ends after which the same idempotency key begins a new stream."""


class Meta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a stream when it is created; never changed afterwards.

    Attributes:
        id: The stream's id: unguessable, made by the caller.
        created_at: Unix time in seconds.
        scope: Who owns it, as a hash; ``""`` where nobody showed a key.
        dialect: Name of the dialect, for errors and open blocks.
        wire: Name of the wire (`unbroken.core.wire.Wire`), for marking; ``""`` if unknown.
        model: As the request named it.
        provider: A short bounded label, for figures.
        route: Likewise.
        lease: A hash that at most one running or kept stream has; ``""`` for no lease.
        body_hash: Hash of the request that took the lease.
        epoch: Which writer's log this is; 0 in this version.
        writer: The worker that writes it; set by the journal.
        version: Of this record's format.
    """

    id: str
    created_at: float
    scope: str = ""
    dialect: str = ""
    wire: str = ""
    model: str = ""
    provider: str = ""
    route: str = ""
    lease: str = ""
    body_hash: str = ""
    epoch: int = 0
    writer: str = ""
    version: int = 1


class Head(msgspec.Struct, frozen=True):
    """The beginning of the answer: its status, and the headers that every reader gets.

    Attributes:
        status: Of HTTP.
        headers: In order.
        framed: Whether the log is a stream of the dialect's frames, so that readers may put
            ids and heartbeats between them. An error's body, or one that is compressed, is not.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    framed: bool = True


class End(msgspec.Struct, frozen=True):
    """How the stream ended.

    Attributes:
        status: One of `EndStatus`.
        note: A kind or a few words for figures and pages; never content.
    """

    status: str
    note: str = ""

    @property
    def well(self) -> bool:
        """Whether the log is the whole of what there was to say."""
        return self.status not in FREES_LEASE


class StreamInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A stream as the journal knows it at one moment.

    Attributes:
        head: None until it is opened.
        end: None while it runs.
        lost: It has no end and never will: its writer's process is gone.
    """

    meta: Meta
    head: Head | None = None
    end: End | None = None
    lost: bool = False

    @property
    def running(self) -> bool:
        """Whether more may come."""
        return self.end is None and not self.lost


class JournalError(Exception):
    """What a journal could not do. Its text holds no id, key or content."""


class UnknownStreamError(JournalError):
    """The stream was never there, or is not kept any more."""

    def __init__(self) -> None:
        super().__init__("no such stream, or it is not kept any more")


class OffsetGoneError(JournalError):
    """The offset lies before what is kept: the rest cannot be given without a gap."""

    def __init__(self, *, offset: int, kept_from: int) -> None:
        super().__init__(f"byte {offset} is not kept any more: the log begins at {kept_from}")
        self.offset = offset
        self.kept_from = kept_from


class OffsetError(JournalError):
    """The offset lies beyond the log."""

    def __init__(self, *, offset: int, end: int) -> None:
        super().__init__(f"byte {offset} is beyond the log, which has {end} bytes")
        self.offset = offset
        self.end = end


class WriterLostError(JournalError):
    """The process that wrote the stream is gone: no more comes, and no end either."""

    def __init__(self) -> None:
        super().__init__("the process that wrote this stream is gone")


class JournalFullError(JournalError):
    """There is no room for another stream; it can run, but not be read again."""


class JournalDownError(JournalError):
    """The journal cannot be reached now.

    Attributes:
        retry_after_s: When to ask again, in seconds.
    """

    def __init__(self, message: str, *, retry_after_s: float = 2.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Reader(Protocol):
    """One place in one stream, moving on. Attached until `aclose`."""

    @property
    def meta(self) -> Meta:
        """The stream that is read."""

    @property
    def offset(self) -> int:
        """How many bytes of the log lie before what `read` gives next."""

    @property
    def end(self) -> End | None:
        """How the stream ended; known once `read` gave ``b""``."""

    async def head(self) -> Head | None:
        """Return the answer's head, waiting until it is known.

        None: the stream ended without one, since no answer was ever begun.

        Raises:
            WriterLostError: Nobody is left who could say.
        """

    async def read(self) -> bytes:
        """Return what follows, waiting for it; ``b""`` at the end, however often asked.

        At most `READ_BYTES`, and never a part of an append unless that alone is larger. May be
        cancelled at any time: nothing is lost.

        Raises:
            WriterLostError: No more comes, and no end.
            OffsetGoneError: The reader was so slow that its place is not kept any more.
            UnknownStreamError: The stream was dropped under the reader.
            JournalDownError: The journal cannot be reached; another reader may try later.
        """

    def read_now(self) -> bytes:
        """As `read`, without waiting; ``b""`` with `end` still None: nothing is there yet."""

    async def wait(self) -> None:
        """Wait until `read_now` may have something to say, or until `wake`."""

    def wake(self) -> None:
        """Have a `wait` that is under way return; for timers, in place of a cancellation."""

    async def aclose(self) -> None:
        """Detach."""


class Writer(Protocol):
    """The one place that a stream is written from."""

    @property
    def meta(self) -> Meta:
        """The stream that is written."""

    @property
    def offset(self) -> int:
        """Bytes of the log so far."""

    @property
    def readers(self) -> int:
        """Readers attached now, as far as known: those of other processes count as one."""

    @property
    def lost(self) -> str:
        """Why the stream cannot be read on any more elsewhere; ``""`` while it can be.

        Attached readers of this process go on all the same.
        """

    def open(self, head: Head) -> None:
        """Say how the answer begins; once, before the first `append`."""

    async def append(self, data: bytes) -> None:
        """Add whole frames. Waits where an attached reader is too far behind.

        Never raises for trouble of the journal's own: see `lost`.
        """

    async def end(self, status: EndStatus, note: str = "") -> None:
        """Say that no more comes. Calls after the first do nothing."""

    def attach(self, offset: int = 0) -> Reader:
        """Return a reader in this process at once, without asking anybody.

        Raises:
            OffsetGoneError: As `Journal.reader`; likewise `OffsetError`.
        """

    def stop_asked(self) -> asyncio.Future[None]:
        """Return a future that is done once somebody asked to stop the stream."""

    def unread_for(self, keep_s: float) -> asyncio.Future[None]:
        """Return a future that is done once no reader was attached for `keep_s` on end."""


class Journal(Protocol):
    """Where streams are kept for reading on. Belongs to one event loop."""

    async def create(self, meta: Meta) -> Writer | StreamInfo:
        """Begin a stream, or return the one that has `meta.lease` already.

        Of any number of creates with one lease, in any processes that share the journal, one
        gets a writer.

        Raises:
            JournalFullError: No room; also where the store refuses for want of memory.
            JournalDownError: The store cannot be reached.
        """

    async def find(self, stream_id: str) -> StreamInfo | None:
        """Return what is known of a stream; None if it is unknown or not kept any more.

        Raises:
            JournalDownError: The store cannot be reached.
        """

    async def reader(self, stream_id: str, offset: int = 0) -> Reader:
        """Attach a reader at a byte offset.

        Raises:
            UnknownStreamError: No such stream.
            OffsetGoneError: The offset lies before what is kept.
            OffsetError: It lies beyond the log.
            WriterLostError: It lies beyond what the log will ever have: its writer's process
                died before it had sent those bytes.
            JournalDownError: The store cannot be reached.
        """

    async def stop(self, stream_id: str) -> bool:
        """Ask a stream's writer, wherever it runs, to stop; False if it has ended.

        Raises:
            UnknownStreamError: No such stream.
            JournalDownError: The store cannot be reached.
        """

    async def aclose(self) -> None:
        """Let go of everything. Streams that still run are lost to their readers."""
