"""Writing to Redis: a queue for each stream, one task that sends them all."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from unbroken.journal._redis_store import (
    Entry,
    Names,
    Record,
    Store,
    code_of,
    seal_entry,
    seal_record,
)
from unbroken.journal.base import (
    FREES_LEASE,
    READ_BYTES,
    End,
    EndStatus,
    Head,
    JournalDownError,
    Meta,
    Reader,
)
from unbroken.journal.log import Log
from unbroken.journal.sealing import Box

__all__ = ["FREE_LEASE", "Flusher", "RedisWriter"]

_log = logging.getLogger("unbroken")

FREE_LEASE = "if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) end"
"""Take a lease away, where it is still the same."""

_KEPT_HERE_BYTES = 8 * 1024
_TRIM_STEP_BYTES = 256 * 1024
_ALREADY_THERE = "equal or smaller than the target stream top item"


class _Sealed:
    """An entry on its way. Sealed once: if it is sent again, it is the same."""

    __slots__ = ("blob", "entry", "field", "size")

    def __init__(self, box: Box, epoch: int, entry: Entry) -> None:
        self.entry = entry
        self.field, self.blob = seal_entry(box, epoch, entry)
        self.size = len(entry.value) if isinstance(entry.value, bytes) else 0


class RedisWriter:
    """Writes one stream of a `RedisJournal`; see `unbroken.journal.base.Writer`."""

    def __init__(
        self,
        log: Log,
        *,
        box: Box,
        names: Names,
        lease: tuple[str, bytes] | None,
        flusher: Flusher,
        ttl_ms: int,
        on_done: Callable[[RedisWriter], None],
    ) -> None:
        self.log = log
        self.names = names
        self.lease = lease
        self.ttl_ms = ttl_ms
        self.lost = ""
        self.unflushed_bytes = 0
        self._box = box
        self._flusher = flusher
        self._on_done = on_done
        self._queue: list[bytes] = []
        self._queue_bytes = 0
        self._queue_offset = 0
        self._sealed: deque[_Sealed] = deque()
        self._record_due = False
        self._exists = False  # the log in Redis, as far as is known
        self._in_redis: deque[tuple[int, int]] = deque()  # number and size; or on their way
        self._in_redis_bytes = 0
        self._trim_before = 0
        self._flushed: asyncio.Future[None] | None = None

    @property
    def meta(self) -> Meta:
        """The stream that is written."""
        return self.log.meta

    @property
    def offset(self) -> int:
        """Bytes of the log so far."""
        return self.log.size

    @property
    def readers(self) -> int:
        """Readers attached in this process, and one for all others."""
        return len(self.log.readers) + self.log.remote_readers

    def open(self, head: Head) -> None:
        """Say how the answer begins."""
        if self.log.head is None and self.log.end is None:
            self.log.open(head)
            self._add(Entry(0, head))

    async def append(self, data: bytes) -> None:
        """Add whole frames; waits for an attached reader, or a healthy Redis, that lags."""
        has_room = self.log.append(data)
        if not self.lost:
            self._queue.append(data)
            self._queue_bytes += len(data)
            self.unflushed_bytes += len(data)
            self._flusher.queued(self, len(data))
        elif self.log.kept_bytes > READ_BYTES:
            self.log.trim(_KEPT_HERE_BYTES)
        if not has_room:
            await self.log.wait_for_room()
        # Redis that answers, but not fast enough, holds the stream up for a moment rather than
        # lose it; one that does not answer does not hold anything up.
        flusher = self._flusher
        while self.unflushed_bytes > flusher.max_stream_bytes // 2 and not flusher.trouble:
            if self._flushed is None:
                self._flushed = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._flushed)

    async def end(self, status: EndStatus, note: str = "") -> None:
        """Say that no more comes. Redis is told in the background."""
        if self.log.end is not None:
            return
        end = End(status, note)
        self.log.finish(end)
        if self.lost:
            self._on_done(self)
        else:
            self._add(Entry(self.log.size + 1, end))

    def attach(self, offset: int = 0) -> Reader:
        """Return a reader at once."""
        return self.log.attach(offset)

    def stop_asked(self) -> asyncio.Future[None]:
        """Return a future that is done once somebody asked to stop the stream."""
        return self.log.stop_asked()

    def unread_for(self, keep_s: float) -> asyncio.Future[None]:
        """Return a future that is done once no reader was attached for `keep_s`."""
        return self.log.unread_for(keep_s)

    # ------------------------------------------------------------ for the flusher

    @property
    def urgent(self) -> bool:
        """Whether enough waits that it should go now."""
        return self._queue_bytes >= self._flusher.flush_bytes

    @property
    def done(self) -> bool:
        """Whether everything, the end included, is in Redis."""
        return self.log.end is not None and not self._sealed and not self._queue

    def commands(self) -> list[tuple[_Sealed | str, tuple[Any, ...]]]:
        """Return what is to be sent, each command with the entry that it adds, or a word."""
        self._seal_queue()
        self._mark_for_trimming()
        names, ttl = self.names, self.ttl_ms
        found: list[tuple[_Sealed | str, tuple[Any, ...]]] = []
        create = not self._exists
        end = self.log.end
        if self._record_due or create:
            if end is not None:
                ttl = self._flusher.keep_ms
            record = Record(self.meta, self.log.head, end, self.log.size if end else 0)
            blob = seal_record(self._box, record)
            found.append(("record", ("SET", names.record, blob, "PX", ttl)))
        if create and self.lease is not None:  # again, where Redis lost it
            found.append(("lease", ("SET", *self.lease, "NX", "PX", ttl)))
        if create and self.log.head is not None and not self._head_waits():
            self._sealed.appendleft(_Sealed(self._box, self.meta.epoch, Entry(0, self.log.head)))
        option = () if create else ("NOMKSTREAM",)
        for sealed in self._sealed:
            entry_id = f"{self.meta.epoch + 1}-{sealed.entry.number}"
            command = ("XADD", names.log, *option, entry_id, sealed.field, sealed.blob)
            found.append((sealed, command))
        if create or end is not None:
            found.append(("expire", ("PEXPIRE", names.log, ttl)))
        if self._trim_before:
            first = f"{self.meta.epoch + 1}-{self._trim_before}"
            found.append(("trim", ("XTRIM", names.log, "MINID", first)))
        if end is not None and self.lease is not None:
            name, value = self.lease
            if end.status in FREES_LEASE:
                found.append(("lease", ("EVAL", FREE_LEASE, 1, name, value)))
            else:
                found.append(("lease", ("PEXPIRE", name, self._flusher.keep_ms)))
        return found

    def sent(self, what: _Sealed | str, reply: Any) -> str:
        """Take one reply; return the word for what went wrong, or ``""``."""
        if isinstance(what, str):
            if isinstance(reply, Exception):
                return code_of(reply)
            if what == "record":
                self._record_due = False
            elif what == "trim":
                self._trim_before = 0
            return ""
        if isinstance(reply, Exception):
            if _ALREADY_THERE not in str(reply):
                return code_of(reply)
        elif reply is None:  # NOMKSTREAM: Redis has lost the log; begin it anew from here
            self._exists = False
            self._record_due = True
            self._in_redis.clear()
            self._in_redis_bytes = 0
            return "lost"
        if not self._sealed or self._sealed[0] is not what:
            return "order"  # one before it failed: it is sent again
        self._sealed.popleft()
        self._exists = True
        self.unflushed_bytes -= what.size
        self._flusher.total_bytes -= what.size
        return ""

    def begin_anew(self) -> None:
        """Redis may have lost the stream: write it again from here, should it not be there."""
        if not self.lost:
            self._exists = False
            self._record_due = True
            self._flusher.queued(self, 0)

    def after_flush(self) -> None:
        """Forget what nobody here needs, and let a waiting `append` go on."""
        if self.log.kept_bytes > _KEPT_HERE_BYTES:
            self.log.trim(_KEPT_HERE_BYTES)
        flushed, self._flushed = self._flushed, None
        if flushed is not None and not flushed.done():
            flushed.set_result(None)
        if self.done:
            self._on_done(self)

    def give_up(self, reason: str) -> None:
        """Go on for the readers of this process only."""
        self.lost = reason
        self._flusher.total_bytes -= self.unflushed_bytes
        self.unflushed_bytes = self._queue_bytes = 0
        self._queue.clear()
        self._sealed.clear()
        if self.log.end is not None:
            self._on_done(self)

    # ------------------------------------------------------------ inside

    def _add(self, entry: Entry) -> None:
        self._seal_queue()
        self._sealed.append(_Sealed(self._box, self.meta.epoch, entry))
        self._record_due = True
        self._flusher.queued(self, 0)

    def _seal_queue(self) -> None:
        """Make entries of what is queued: whole appends, up to `READ_BYTES` together."""
        if not self._queue:
            return
        group: list[bytes] = []
        size = 0
        for data in self._queue:
            if group and size + len(data) > READ_BYTES:
                self._seal_group(group, size)
                group, size = [], 0
            group.append(data)
            size += len(data)
        self._seal_group(group, size)
        self._queue.clear()
        self._queue_bytes = 0

    def _seal_group(self, group: list[bytes], size: int) -> None:
        entry = Entry(self._queue_offset + 1, b"".join(group))
        self._sealed.append(_Sealed(self._box, self.meta.epoch, entry))
        self._queue_offset += size
        self._in_redis.append((entry.number, size))
        self._in_redis_bytes += size

    def _head_waits(self) -> bool:
        return bool(self._sealed) and self._sealed[0].entry.number == 0

    def _mark_for_trimming(self) -> None:
        window = self._flusher.window_bytes
        if self._in_redis_bytes <= window + min(window, _TRIM_STEP_BYTES):
            return
        while self._in_redis_bytes > window and len(self._in_redis) > 1:
            self._in_redis_bytes -= self._in_redis.popleft()[1]
        self._trim_before = self._in_redis[0][0]


class Flusher:
    """Sends what all writers of a process have queued.

    Args:
        store: Where to.
        flush_s: Seconds that writes are gathered.
        flush_bytes: Bytes of one stream that go at once.
        window_bytes: Most bytes of one stream kept in Redis (and up to 256 KiB more).
        max_stream_bytes: Most bytes of one stream that wait while Redis takes nothing.
        max_total_bytes: The same over all streams.
        keep_ms: How long an ended stream is kept.
    """

    def __init__(
        self,
        store: Store,
        *,
        flush_s: float,
        flush_bytes: int,
        window_bytes: int,
        max_stream_bytes: int,
        max_total_bytes: int,
        keep_ms: int,
    ) -> None:
        self.flush_bytes = flush_bytes
        self.window_bytes = window_bytes
        self.max_stream_bytes = max_stream_bytes
        self.keep_ms = keep_ms
        self.total_bytes = 0
        self.trouble = ""
        self.flushes = 0
        self.commands_sent = 0
        self._store = store
        self._flush_s = flush_s
        self._max_total_bytes = max_total_bytes
        self._dirty: dict[RedisWriter, None] = {}
        self._graves: list[Names] = []
        self._any = asyncio.Event()
        self._now = asyncio.Event()

    def queued(self, writer: RedisWriter, size: int) -> None:
        """A writer has something to send."""
        self.total_bytes += size
        self._dirty[writer] = None
        if not self._any.is_set():
            self._any.set()
        if writer.urgent and not self._now.is_set():
            self._now.set()
        if self.trouble:
            self._bury_what_does_not_fit(writer)

    async def run(self) -> None:
        """Flush until cancelled."""
        pause_s = 0.0
        while True:
            await self._any.wait()
            if pause_s:
                await asyncio.sleep(pause_s)
            else:
                # Not wait_for: in Python 3.11 it may lose a cancellation.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._flush_s):
                        await self._now.wait()
            await self.flush()
            pause_s = min(max(pause_s * 2, 0.05), 1.0) if self.trouble else 0.0

    async def flush(self) -> None:
        """Send everything that is queued now, in one pipeline."""
        self._any.clear()
        self._now.clear()
        writers, self._dirty = self._dirty, {}
        batch = [(writer, *step) for writer in writers for step in writer.commands()]
        graves = self._graves[:100]
        commands = [command for _, _, command in batch]
        commands += [("DEL", *names) for names in graves]
        if not commands:
            return
        self.flushes += 1
        self.commands_sent += len(commands)
        trouble = ""
        try:
            replies = await self._store.run(*commands)
        except JournalDownError:
            trouble = "down"
            self._dirty = {**writers, **self._dirty}
        except BaseException:
            self._dirty = {**writers, **self._dirty}  # cancelled: a last flush may follow
            raise
        else:
            del self._graves[: len(graves)]
            failed: dict[RedisWriter, str] = {}
            for (writer, what, _), reply in zip(batch, replies, strict=False):
                wrong = "" if writer.lost else writer.sent(what, reply)
                if wrong and writer not in failed:
                    failed[writer] = wrong
            for writer, wrong in failed.items():
                self._dirty[writer] = None
                if wrong != "lost":
                    trouble = "full" if wrong == "OOM" else wrong
        self._tell(trouble)
        for writer in writers:
            writer.after_flush()
            if trouble and not writer.lost:
                self._bury_what_does_not_fit(writer)
        if self._dirty or (self._graves and not trouble):
            self._any.set()

    def _tell(self, trouble: str) -> None:
        if trouble and not self.trouble:
            _log.warning(
                "the journal's Redis takes nothing (%s): streams go on, and what they say is"
                " held back up to %d bytes each",
                trouble,
                self.max_stream_bytes,
            )
        elif self.trouble and not trouble:
            _log.warning("the journal's Redis takes writes again")
        self.trouble = trouble

    def _bury_what_does_not_fit(self, writer: RedisWriter) -> None:
        if (
            writer.unflushed_bytes <= self.max_stream_bytes
            and self.total_bytes <= self._max_total_bytes
        ):
            return
        _log.warning(
            "a stream cannot be read on elsewhere any more: Redis has taken nothing for too"
            " long (%s), and more waits than journal bounds allow",
            self.trouble,
        )
        writer.give_up(f"journal-{self.trouble}")
        self._dirty.pop(writer, None)
        # What Redis has of it is cut off: readers elsewhere must not take it for a stream
        # that is merely slow.
        self._graves.append(writer.names)
        self._any.set()
