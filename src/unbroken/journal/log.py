"""A stream's log in this process: a window of bytes, one writer, readers that wake each other.

Bytes lie in a linked list of blocks, each up to `READ_BYTES` (or one larger append). An append
goes into the last block, or begins one: so it is whole in a block, a read never crosses two, and
forgetting the oldest bytes is to let go of the first block. A reader holds the block it stands in.

The journals share this: the memory journal keeps the whole window in it; over Redis it holds what
the readers of this process have yet to get, so that they never wait for the network.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from unbroken.journal.base import (
    READ_BYTES,
    End,
    Head,
    JournalError,
    Meta,
    OffsetError,
    OffsetGoneError,
    UnknownStreamError,
)

__all__ = ["Log", "LogReader"]


class _Block:
    """Bytes from `start` on; `next` is set once no more go into this one."""

    __slots__ = ("data", "next", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        self.data = bytearray()
        self.next: _Block | None = None


class Log:
    """Bytes, head and end of one stream, and who reads them.

    Args:
        meta: The stream.
        window_bytes: Most bytes kept, and a block (`READ_BYTES`) or one append more. The
            oldest go first, but never before every attached reader has them:
            `wait_for_room` holds the writer up instead.
        on_change: Told how many bytes were added (positive) or forgotten (negative).
    """

    __slots__ = (
        "_first",
        "_keepers",
        "_last",
        "_on_change",
        "_room",
        "_stop",
        "_waiting",
        "_window_bytes",
        "end",
        "failure",
        "head",
        "kept_from",
        "meta",
        "readers",
        "remote_readers",
        "size",
    )

    def __init__(
        self,
        meta: Meta,
        *,
        window_bytes: int,
        on_change: Callable[[int], None] | None = None,
    ) -> None:
        self.meta = meta
        self.head: Head | None = None
        self.end: End | None = None
        self.failure: JournalError | None = None  # readers raise it once they are at the end
        self.kept_from = 0
        self.size = 0
        self.readers: set[LogReader] = set()
        self.remote_readers = 0
        self._window_bytes = window_bytes
        self._on_change = on_change
        self._first = self._last = _Block(0)
        self._waiting: set[LogReader] = set()
        self._room: asyncio.Future[None] | None = None
        self._stop: asyncio.Future[None] | None = None
        self._keepers: list[_Keeper] = []

    @property
    def kept_bytes(self) -> int:
        """Bytes held now."""
        return self.size - self.kept_from

    @property
    def lag_bytes(self) -> int:
        """Bytes that the slowest attached reader has yet to get."""
        readers = self.readers
        if not readers:
            return 0
        return self.size - min(reader.offset for reader in readers)

    # ------------------------------------------------------------ the writer's side

    def open(self, head: Head) -> None:
        """Set the head and wake who waits for it."""
        if self.head is None:
            self.head = head
            self._wake()

    def append(self, data: bytes) -> bool:
        """Add bytes; False if the window is full, and the writer should `wait_for_room`."""
        block = self._last
        if block.data and len(block.data) + len(data) > READ_BYTES:
            block.next = self._last = _Block(self.size)
            block = self._last
        block.data += data
        self.size += len(data)
        if self._on_change is not None:
            self._on_change(len(data))
        if self._waiting:
            self._wake()
        if self.size - self.kept_from <= self._window_bytes:
            return True
        self.trim(self._window_bytes)
        return self.lag_bytes <= self._window_bytes

    def trim(self, to_bytes: int) -> None:
        """Forget the oldest bytes beyond `to_bytes` that no attached reader still needs.

        Whole blocks go, so up to a block more is forgotten than was asked, and none that a
        reader stands in.
        """
        needed = self.size - self.lag_bytes
        before = self.kept_from
        while self.size - self.kept_from > to_bytes:
            block = self._first
            if block.start + len(block.data) > needed:
                break
            if block.next is None:  # all is read: what comes begins another block
                block.next = self._last = _Block(self.size)
            self._first = block.next
            self.kept_from = self._first.start
        if self.kept_from != before and self._on_change is not None:
            self._on_change(before - self.kept_from)

    async def wait_for_room(self, to_bytes: int | None = None) -> None:
        """Wait until the slowest attached reader lags no more than the window, or `to_bytes`.

        Returns too when nobody is left to wait for, or a stop was asked.
        """
        limit = self._window_bytes if to_bytes is None else to_bytes
        while self.lag_bytes > limit and not self._stopped():
            if self._room is None:
                self._room = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._room)
        self.trim(limit)

    def finish(self, end: End) -> None:
        """Set the end; the first one stays."""
        if self.end is None:
            self.end = end
            self._let_go()

    def fail(self, failure: JournalError) -> None:
        """Have readers raise once they have all that there is."""
        if self.end is None and self.failure is None:
            self.failure = failure
            self._let_go()

    def clear(self) -> None:
        """Forget all bytes, needed or not."""
        if self._on_change is not None:
            self._on_change(self.kept_from - self.size)
        self._first = self._last = _Block(self.size)
        self.kept_from = self.size
        if self.end is None:
            self.fail(UnknownStreamError())
        self._wake()

    def ask_stop(self) -> None:
        """Have the future of `stop_asked` done, now or when it is made."""
        future = self.stop_asked()
        if not future.done():
            future.set_result(None)
        self._let_writer_on()

    def stop_asked(self) -> asyncio.Future[None]:
        """Return the future that is done once a stop was asked."""
        if self._stop is None:
            self._stop = asyncio.get_running_loop().create_future()
        return self._stop

    def unread_for(self, keep_s: float) -> asyncio.Future[None]:
        """Return a future that is done once nobody was attached for `keep_s` on end."""
        keeper = _Keeper(keep_s)
        self._keepers.append(keeper)
        self._count_changed()
        return keeper.future

    # ------------------------------------------------------------ the readers' side

    def attach(self, offset: int) -> LogReader:
        """Return a reader at `offset`.

        Raises:
            OffsetGoneError: It lies before what is kept.
            OffsetError: It lies beyond the log.
        """
        if offset < self.kept_from:
            raise OffsetGoneError(offset=offset, kept_from=self.kept_from)
        if offset > self.size:
            raise OffsetError(offset=offset, end=self.size)
        reader = LogReader(self, self.block_at(offset), offset)
        self.readers.add(reader)
        if len(self.readers) == 1:
            self._count_changed()
        return reader

    def detach(self, reader: LogReader) -> None:
        """Forget a reader."""
        if reader in self.readers:
            self.readers.remove(reader)
            self._let_writer_on()
            if not self.readers:
                self._count_changed()

    def set_remote_readers(self, count: int) -> None:
        """Say how many read elsewhere."""
        if count != self.remote_readers:
            self.remote_readers = count
            self._count_changed()

    def block_at(self, offset: int) -> _Block:
        """Return the block that a read at `offset`, which is kept, goes on in."""
        block = self._first
        while block.next is not None and block.next.start <= offset:
            block = block.next
        return block

    def is_news(self, reader: LogReader) -> bool:
        """Whether `read_now` of this reader has something to say."""
        return (
            reader.offset != self.size
            or (self.end is not None and reader.end is None)
            or self.failure is not None
        )

    def wake_at_change(self, reader: LogReader) -> None:
        """Call the reader's `wake` once, at the next change."""
        self._waiting.add(reader)

    def let_writer_on(self) -> None:
        """Tell a writer that waits that a reader has moved."""
        if self._room is not None:
            self._let_writer_on()

    # ------------------------------------------------------------ inside

    def _stopped(self) -> bool:
        return self._stop is not None and self._stop.done()

    def _let_go(self) -> None:
        self._wake()
        self._let_writer_on()
        for keeper in self._keepers:
            keeper.cancel()
        self._keepers.clear()

    def _wake(self) -> None:
        for reader in self._waiting:
            reader.wake()
        self._waiting.clear()

    def _let_writer_on(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def _count_changed(self) -> None:
        for keeper in self._keepers:
            keeper.count(len(self.readers) + self.remote_readers)


class _Keeper:
    """Whether nobody was attached for so long."""

    __slots__ = ("_handle", "_keep_s", "_loop", "future")

    def __init__(self, keep_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._keep_s = keep_s
        self._handle: asyncio.TimerHandle | None = None
        self.future: asyncio.Future[None] = self._loop.create_future()

    def count(self, readers: int) -> None:
        """Start or stop the time."""
        if readers:
            self.cancel()
        elif self._handle is None:
            self._handle = self._loop.call_later(self._keep_s, self._over)

    def cancel(self) -> None:
        """Stop the time."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _over(self) -> None:
        self._handle = None
        if not self.future.done():
            self.future.set_result(None)


class LogReader:
    """A reader of a `Log` in this process."""

    __slots__ = ("_block", "_closed", "_log", "_waiter", "end", "offset")

    def __init__(self, log: Log, block: _Block, offset: int) -> None:
        self._log = log
        self._block = block
        self._closed = False
        self._waiter: asyncio.Future[None] | None = None
        self.offset = offset
        self.end: End | None = None

    @property
    def meta(self) -> Meta:
        """The stream that is read."""
        return self._log.meta

    async def head(self) -> Head | None:
        """Return the answer's head; None if the stream ended without one."""
        log = self._log
        while log.head is None:
            if log.end is not None:
                return None
            if log.failure is not None:
                raise log.failure
            waiter = self._waiter = asyncio.get_running_loop().create_future()
            log.wake_at_change(self)
            await waiter
        return log.head

    async def read(self) -> bytes:
        """Return what follows; ``b""`` at the end. See `unbroken.journal.base.Reader`."""
        while True:
            data = self.read_now()
            if data or self.end is not None:
                return data
            await self.wait()

    def read_now(self) -> bytes:
        """Return what is there already; ``b""`` where nothing is, or at the end."""
        log = self._log
        offset = self.offset
        if offset == log.size:
            if log.end is not None:
                self.end = log.end
            elif log.failure is not None:
                raise log.failure
            return b""
        if offset < log.kept_from:  # only `clear` does this to an attached reader
            raise OffsetGoneError(offset=offset, kept_from=log.kept_from)
        block = self._block
        while offset - block.start >= len(block.data) and block.next is not None:
            block = self._block = block.next
        place = offset - block.start
        with memoryview(block.data) as view:
            data = bytes(view[place : place + READ_BYTES])
        self.offset = offset + len(data)
        log.let_writer_on()
        return data

    async def wait(self) -> None:
        """Wait for a change of the log, or for `wake`."""
        if self._closed:
            msg = "this reader was closed"
            raise ValueError(msg)
        if not self._log.is_news(self):
            waiter = self._waiter = asyncio.get_running_loop().create_future()
            self._log.wake_at_change(self)
            await waiter

    def wake(self) -> None:
        """Have `wait` return."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():  # done: the wait was cancelled
            waiter.set_result(None)

    async def aclose(self) -> None:
        """Detach."""
        self.close()

    def close(self) -> None:
        """Detach, where nothing can be awaited."""
        if not self._closed:
            self._closed = True
            self._log.detach(self)
