"""Reading from Redis: catch up by ranges, then follow with all others on one connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

from unbroken.journal._redis_store import Entry, Names, Record, Store, open_entry
from unbroken.journal.base import (
    READ_BYTES,
    End,
    Head,
    JournalDownError,
    JournalError,
    Meta,
    OffsetGoneError,
)
from unbroken.journal.sealing import Box

__all__ = ["Follower", "RedisReader"]

_RANGE_ENTRIES = 8
_AGAIN_S = 0.2
_AHEAD_BYTES = 256 * 1024
"""What a reader whose client is slow holds before it stops following."""


class RedisReader:
    """Reads one stream that another process writes, or that has ended.

    Made by `RedisJournal.reader`. `start` is where its first entry begins: at most `offset`.
    """

    def __init__(
        self,
        follower: Follower,
        *,
        record: Record,
        names: Names,
        box: Box,
        offset: int,
        start: int,
    ) -> None:
        self.names = names
        self.box = box
        self.offset = offset
        self.end: End | None = None
        self._meta = record.meta
        self._follower = follower
        self._head = record.head
        self._tail = start  # where the next entry begins
        self._skip = offset - start
        self._buffer: deque[bytes] = deque()
        self._buffered = 0
        self._ended: End | None = None
        self._failure: JournalError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._live = False
        self._closed = False
        self._down_since: float | None = None
        follower.readers.add(self)

    @property
    def meta(self) -> Meta:
        """The stream that is read."""
        return self._meta

    @property
    def number(self) -> int:
        """Number of the next entry that it needs, at least."""
        return 0 if self._head is None else self._tail + 1

    @property
    def at_end(self) -> bool:
        """Whether it needs no further entry."""
        return self._ended is not None or self._failure is not None

    async def head(self) -> Head | None:
        """Return the answer's head; None if the stream ended without one."""
        while self._head is None:
            if self._ended is not None:
                return None
            if self._failure is not None:
                raise self._failure
            await self.wait()
        return self._head

    async def read(self) -> bytes:
        """Return what follows; ``b""`` at the end. See `unbroken.journal.base.Reader`."""
        while True:
            data = self.read_now()
            if data or self.end is not None:
                return data
            await self.wait()

    def read_now(self) -> bytes:
        """Return what is there already; ``b""`` where nothing is, or at the end."""
        if not self._buffer:
            if self._ended is not None:
                self.end = self._ended
            elif self._failure is not None:
                raise self._failure
            return b""
        data = self._buffer.popleft()
        if len(data) > READ_BYTES:
            self._buffer.appendleft(data[READ_BYTES:])
            data = data[:READ_BYTES]
        self._buffered -= len(data)
        self.offset += len(data)
        return data

    async def wait(self) -> None:
        """Wait until there is news, or for `wake`."""
        if self._closed:
            msg = "this reader was closed"
            raise ValueError(msg)
        if self._buffer or self.at_end:
            return
        if not self._live:
            await self._catch_up()
            return
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        await waiter

    def wake(self) -> None:
        """Have `wait` return."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def aclose(self) -> None:
        """Detach."""
        if not self._closed:
            self._closed = True
            self._follower.readers.discard(self)
            self._follower.leave(self)
            self.wake()

    # ------------------------------------------------------------ for the follower

    def offer(self, entry: Entry) -> bool:
        """Take an entry; False if no more is wanted now."""
        if self.at_end:
            return False
        match entry.value:
            case Head() as head:
                self._head = self._head or head
            case End() as end:
                if entry.offset == self._tail:
                    self._ended = end
                elif entry.offset > self._tail:
                    self.fail(OffsetGoneError(offset=self._tail, kept_from=entry.offset))
            case data:
                if entry.offset > self._tail:
                    self.fail(OffsetGoneError(offset=self._tail, kept_from=entry.offset))
                elif entry.offset == self._tail:
                    self._tail += len(data)
                    data = data[self._skip :]
                    self._skip = 0
                    if data:
                        self._buffer.append(data)
                        self._buffered += len(data)
        self.wake()
        if self._ended or self._failure or self._buffered >= _AHEAD_BYTES:
            self._live = False
        return self._live

    def fail(self, failure: JournalError) -> None:
        """Have the reader raise once it gave all it has."""
        if not self.at_end:
            self._failure = failure
            self._live = False
            self.wake()

    async def _catch_up(self) -> None:
        follower = self._follower
        try:
            entries = await follower.range(self, _RANGE_ENTRIES)
        except JournalDownError:
            # As long as those that follow, so that a restart of Redis cuts nobody off.
            now = follower.clock()
            self._down_since = now if self._down_since is None else self._down_since
            if now - self._down_since >= follower.give_up_s:
                raise
            await asyncio.sleep(_AGAIN_S)
            return
        self._down_since = None
        for entry in entries:
            self.offer(entry)
        if not entries and not self._closed:
            self._live = follower.join(self)


class _Followed:
    """One log, and who follows it."""

    __slots__ = ("number", "readers")

    def __init__(self, number: int) -> None:
        self.number = number  # of the next entry, at least
        self.readers: set[RedisReader] = set()


class Follower:
    """Gets news for all readers of a process, in one command on one connection.

    Args:
        store: Where from.
        give_up_s: How long Redis may be gone until readers are told.
        clock: Monotonic seconds.
    """

    def __init__(self, store: Store, *, give_up_s: float, clock: Callable[[], float]) -> None:
        self.readers: set[RedisReader] = set()  # following or not
        self._store = store
        self.give_up_s = give_up_s
        self.clock = clock
        self._logs: dict[str, _Followed] = {}
        self._any = asyncio.Event()

    @property
    def following(self) -> list[RedisReader]:
        """Those who have all that there was, and wait for more."""
        return [reader for log in self._logs.values() for reader in log.readers]

    def join(self, reader: RedisReader) -> bool:
        """Follow from the reader's place on; False if the others are past it."""
        log = self._logs.get(reader.names.log)
        if log is None:
            log = self._logs[reader.names.log] = _Followed(reader.number)
        elif reader.number < log.number:
            return False
        log.readers.add(reader)
        self._any.set()
        return True

    def leave(self, reader: RedisReader) -> None:
        """Follow no more."""
        log = self._logs.get(reader.names.log)
        if log is not None:
            log.readers.discard(reader)
            if not log.readers:
                del self._logs[reader.names.log]

    async def range(self, reader: RedisReader, count: int) -> list[Entry]:
        """Return a reader's next entries that are there already."""
        epoch = reader.meta.epoch
        (found,) = await self._store.ask(
            ("XRANGE", reader.names.log, f"{epoch + 1}-{reader.number}", "+", "COUNT", count)
        )
        return [open_entry(reader.box, epoch, entry_id, fields) for entry_id, fields in found]

    async def run(self) -> None:
        """Follow until cancelled."""
        down_since: float | None = None
        while True:
            if not self._logs:
                self._any.clear()
                await self._any.wait()
            places = {name: self._place(log) for name, log in self._logs.items()}
            try:
                # Few entries of many logs, many of few: a bound on what one reply may hold.
                count = max(1, 64 // len(places))
                news = await self._store.news(places, count=count, block_ms=100)
            except JournalDownError as error:
                now = self.clock()
                down_since = now if down_since is None else down_since
                if now - down_since >= self.give_up_s:
                    self._fail_all(error)
                await asyncio.sleep(_AGAIN_S)
                continue
            down_since = None
            for name, entries in news:
                self._take(name, entries)
            if len(places) > 32:
                await asyncio.sleep(0.005)  # let more come together

    def _place(self, log: _Followed) -> str:
        epoch = next(iter(log.readers)).meta.epoch
        # Behind the entry before it; nothing lies before the head but what no log has.
        return f"{epoch + 1}-{log.number - 1}" if log.number else f"{epoch}-1"

    def _take(self, name: str, entries: list[tuple[bytes, dict[bytes, bytes]]]) -> None:
        log = self._logs.get(name)
        if log is None:
            return
        reader = next(iter(log.readers))
        for entry_id, fields in entries:
            try:
                entry = open_entry(reader.box, reader.meta.epoch, entry_id, fields)
            except JournalError as error:
                for each in list(log.readers):
                    each.fail(error)
                    self.leave(each)
                return
            if entry.number < log.number:
                continue  # the log was left and joined again meanwhile
            log.number = entry.number + (len(entry.value) if isinstance(entry.value, bytes) else 1)
            for each in list(log.readers):
                if not each.offer(entry):
                    self.leave(each)

    def _fail_all(self, error: JournalDownError) -> None:
        for reader in self.following:
            reader.fail(error)
            self.leave(reader)
        with contextlib.suppress(RuntimeError):
            self._any.clear()
