"""The journal of one process: bounded, and gone with it."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable

from unbroken.journal.base import (
    FREES_LEASE,
    READ_BYTES,
    End,
    EndStatus,
    Head,
    JournalFullError,
    Meta,
    StreamInfo,
    UnknownStreamError,
)
from unbroken.journal.log import Log, LogReader

__all__ = ["MemoryJournal"]


class MemoryJournal:
    """Streams kept in this process's memory; see `unbroken.journal.base.Journal`.

    Args:
        max_stream_bytes: The window of each stream. What lies before it is forgotten (a reader
            that asks for it is told so); an attached reader that lags further holds the
            stream up.
        max_total_bytes: Over all streams. Ended streams that nobody reads go first, the oldest
            before the others; then running streams are cut to what their readers still need.
            Where neither helps, no further stream is taken. Running streams with readers that
            lag may go beyond it by 64 KiB each.
        max_streams: Most streams known at once, however small.
        keep_s: How long a stream is kept after its end, in seconds.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        *,
        max_stream_bytes: int = 4 * 1024 * 1024,
        max_total_bytes: int = 512 * 1024 * 1024,
        max_streams: int = 100_000,
        keep_s: float = 600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if max_stream_bytes < READ_BYTES:
            msg = f"max_stream_bytes must be at least {READ_BYTES}, not {max_stream_bytes}"
            raise ValueError(msg)
        if max_total_bytes < max_stream_bytes:
            msg = f"max_total_bytes must be at least max_stream_bytes, not {max_total_bytes}"
            raise ValueError(msg)
        self.max_stream_bytes = max_stream_bytes
        self.max_total_bytes = max_total_bytes
        self._max_streams = max_streams
        self._keep_s = keep_s
        self._clock = clock
        self._logs: dict[str, Log] = {}
        self._leases: dict[str, str] = {}  # lease -> stream id
        self._ended: OrderedDict[str, float] = OrderedDict()  # stream id -> when it ended
        self._timer: asyncio.TimerHandle | None = None
        self.total_bytes = 0

    async def create(self, meta: Meta) -> MemoryWriter | StreamInfo:
        """Begin a stream, or return the one that has its lease."""
        self._drop_expired()
        if meta.lease and meta.lease in self._leases:
            return _info(self._logs[self._leases[meta.lease]])
        if meta.id in self._logs:
            msg = "a stream with this id exists"
            raise ValueError(msg)
        while self.total_bytes >= self.max_total_bytes or len(self._logs) >= self._max_streams:
            if not self._drop_oldest_ended():
                msg = (
                    f"{len(self._logs)} streams with {self.total_bytes} bytes are kept, and none"
                    " can be forgotten (journal.max_total_bytes)"
                )
                raise JournalFullError(msg)
        log = Log(meta, window_bytes=self.max_stream_bytes, on_change=self._count)
        self._logs[meta.id] = log
        if meta.lease:
            self._leases[meta.lease] = meta.id
        return MemoryWriter(self, log)

    async def find(self, stream_id: str) -> StreamInfo | None:
        """Return what is known of a stream, or None."""
        self._drop_expired()
        log = self._logs.get(stream_id)
        return None if log is None else _info(log)

    async def reader(self, stream_id: str, offset: int = 0) -> LogReader:
        """Attach a reader at a byte offset."""
        self._drop_expired()
        log = self._logs.get(stream_id)
        if log is None:
            raise UnknownStreamError
        return log.attach(offset)

    async def stop(self, stream_id: str) -> bool:
        """Ask a stream's writer to stop; False if it has ended."""
        self._drop_expired()
        log = self._logs.get(stream_id)
        if log is None:
            raise UnknownStreamError
        if log.end is None:
            log.ask_stop()
        return log.end is None

    async def aclose(self) -> None:
        """Forget everything; attached readers are told."""
        if self._timer is not None:
            self._timer.cancel()
        for stream_id in list(self._logs):
            self._drop(stream_id)

    # ------------------------------------------------------------ for the writers

    def make_room(self, log: Log) -> bool:
        """Bring the total below its bound at the cost of old streams, then of this one."""
        while self.total_bytes > self.max_total_bytes:
            if not self._drop_oldest_ended():
                log.trim(READ_BYTES)
                return self.total_bytes <= self.max_total_bytes or log.lag_bytes <= READ_BYTES
        return True

    def ended(self, log: Log) -> None:
        """Count the time that an ended stream is kept, and free its lease if it failed."""
        meta, end = log.meta, log.end
        if self._logs.get(meta.id) is not log:
            return  # dropped already
        if end is not None and end.status in FREES_LEASE:
            self._free_lease(meta)
        self._ended[meta.id] = self._clock()
        self._arm()

    # ------------------------------------------------------------ inside

    def _count(self, added: int) -> None:
        self.total_bytes += added

    def _drop_expired(self) -> None:
        """Forget what ended too long ago; readers that are still attached keep it."""
        oldest_kept = self._clock() - self._keep_s
        while self._ended:
            stream_id, ended_at = next(iter(self._ended.items()))
            if ended_at > oldest_kept:
                return
            if self._logs[stream_id].readers:  # it is being read to its end: ask again later
                self._ended[stream_id] = self._clock()
                self._ended.move_to_end(stream_id)
                continue
            self._drop(stream_id)

    def _drop_oldest_ended(self) -> bool:
        for stream_id in self._ended:
            if not self._logs[stream_id].readers:
                self._drop(stream_id)
                return True
        return False

    def _drop(self, stream_id: str) -> None:
        log = self._logs.pop(stream_id)
        self._ended.pop(stream_id, None)
        self._free_lease(log.meta)
        log.clear()

    def _free_lease(self, meta: Meta) -> None:
        if meta.lease and self._leases.get(meta.lease) == meta.id:
            del self._leases[meta.lease]

    def _arm(self) -> None:
        """Have what expires forgotten, also where nothing else is asked of the journal."""
        if self._timer is None and self._ended:
            first = next(iter(self._ended.values()))
            wait_s = max(first + self._keep_s - self._clock(), 0.0) + 1.0
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._drop_expired()
        self._arm()


class MemoryWriter:
    """Writes one stream of a `MemoryJournal`; see `unbroken.journal.base.Writer`."""

    __slots__ = ("_journal", "_log")

    lost = ""  # memory is lost only with the process

    def __init__(self, journal: MemoryJournal, log: Log) -> None:
        self._journal = journal
        self._log = log

    @property
    def meta(self) -> Meta:
        """The stream that is written."""
        return self._log.meta

    @property
    def offset(self) -> int:
        """Bytes of the log so far."""
        return self._log.size

    @property
    def readers(self) -> int:
        """Readers attached now."""
        return len(self._log.readers)

    def open(self, head: Head) -> None:
        """Say how the answer begins."""
        self._log.open(head)

    async def append(self, data: bytes) -> None:
        """Add whole frames; waits for an attached reader that lags by the window."""
        log, journal = self._log, self._journal
        if not log.append(data):
            await log.wait_for_room()
        if journal.total_bytes > journal.max_total_bytes and not journal.make_room(log):
            await log.wait_for_room(READ_BYTES)

    async def end(self, status: EndStatus, note: str = "") -> None:
        """Say that no more comes."""
        if self._log.end is None:
            self._log.finish(End(status, note))
            self._journal.ended(self._log)

    def attach(self, offset: int = 0) -> LogReader:
        """Return a reader at once."""
        return self._log.attach(offset)

    def stop_asked(self) -> asyncio.Future[None]:
        """Return a future that is done once somebody asked to stop the stream."""
        return self._log.stop_asked()

    def unread_for(self, keep_s: float) -> asyncio.Future[None]:
        """Return a future that is done once no reader was attached for `keep_s`."""
        return self._log.unread_for(keep_s)


def _info(log: Log) -> StreamInfo:
    return StreamInfo(meta=log.meta, head=log.head, end=log.end)
