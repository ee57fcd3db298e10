"""A journal in Redis: several workers and replicas share it, and a stream can be read on anywhere.

What lies in Redis, for each stream, under names that are HMACs and with values that are sealed
(see `unbroken.journal.sealing`):

    m  the record: meta, head, end                       a string
    s  the log: entries ``EPOCH+1``-``OFFSET+1`` for data that begins at OFFSET, one with the head
       at ``EPOCH+1``-0, one for the end behind the last byte       a stream
    l  the lease: which stream has it                    a string, set if it is not there
    x  somebody asked to stop                            a string
    r  somebody reads it in another process              a string that expires
    w  a worker is alive                                 a string that expires

An entry's id is its place in the log. So the entry for an offset is found by one look, and an
append that was sent twice, since nobody heard whether the first one arrived, is refused by Redis:
each byte is there once.

Who writes: `append` puts bytes into the log of this process, which readers here follow, and into
a queue. One task for the whole process sends what all streams queued in one pipeline, every
`flush_s`, or at once where a stream has `flush_bytes`. Where Redis is down or full, the queue grows
to its bound; then the stream is given up as far as Redis is concerned, and goes on for the clients
of this process (`RedisWriter.lost` says why).

Who reads elsewhere: a reader catches up by ranges, then joins the one task of its process that
asks for news of all streams that are read there, in one blocking command on one connection.

It works with one Redis server, 6.2 or newer, with replicas and Sentinel or not; not with Redis
Cluster, whose commands cannot span streams.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from unbroken.journal._redis_following import Follower, RedisReader
from unbroken.journal._redis_store import (
    Names,
    Record,
    Store,
    code_of,
    entry_bytes,
    names_of,
    open_record,
    seal_record,
)
from unbroken.journal._redis_writing import FREE_LEASE, Flusher, RedisWriter
from unbroken.journal.base import (
    READ_BYTES,
    JournalDownError,
    Meta,
    OffsetError,
    OffsetGoneError,
    Reader,
    StreamInfo,
    UnknownStreamError,
    WriterLostError,
)
from unbroken.journal.log import Log
from unbroken.journal.sealing import Box, Sealer

__all__ = ["RedisJournal"]

_log = logging.getLogger("unbroken")

_ROUNDS = 5
_LOOKS = 3  # a writer comes back after Redis did, and needs a moment to say that it lives
_SLICE = 500  # names asked for in one command: more would hold up everybody else's


class RedisJournal:
    """Streams kept in Redis; see `unbroken.journal.base.Journal`.

    Nothing is asked of Redis until it is used. Of several event loops, each takes its own.

    Args:
        url: ``redis://host:6379/0``, ``rediss://`` for TLS, ``unix:///path``.
        keys: What the journal is sealed with, 32 bytes each: the first one seals, all open.
        password: Of Redis.
        worker: The name of this process, unique among all that share the journal.
        keep_s: How long a stream is kept after its end, in seconds.
        max_stream_bytes: Most bytes kept of one stream in Redis (and up to 256 KiB more), and
            most that a reader in this process may lag.
        max_unflushed_bytes: Most bytes of one stream that wait in memory while Redis takes
            nothing. Beyond it the stream cannot be read on elsewhere.
        max_total_unflushed_bytes: The same over all streams.
        flush_s: Seconds that writes are gathered.
        flush_bytes: Bytes of one stream that go at once.
        timeout_s: How long Redis may take for an answer, in seconds.
        pulse_s: How often this process says that it lives, and looks for stops.
        lost_s: For how long it is believed.
        connections: Most connections for short commands; one more waits for news.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        keys: Sequence[bytes],
        password: str | None = None,
        worker: str | None = None,
        keep_s: float = 600.0,
        max_stream_bytes: int = 4 * 1024 * 1024,
        max_unflushed_bytes: int = 1024 * 1024,
        max_total_unflushed_bytes: int = 128 * 1024 * 1024,
        flush_s: float = 0.02,
        flush_bytes: int = 32 * 1024,
        timeout_s: float = 2.0,
        pulse_s: float = 0.5,
        lost_s: float = 10.0,
        connections: int = 16,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if max_stream_bytes < READ_BYTES:
            msg = f"max_stream_bytes must be at least {READ_BYTES}, not {max_stream_bytes}"
            raise ValueError(msg)
        if lost_s < 4 * pulse_s:
            msg = "lost_s must be at least four times pulse_s: one late pulse is no death"
            raise ValueError(msg)
        self._sealer = Sealer(keys)
        self._store = Store(
            url,
            password=password,
            sealer=self._sealer,
            timeout_s=timeout_s,
            connections=connections,
        )
        self._worker = worker or secrets.token_urlsafe(12)
        self._worker_name = self._sealer.name("w", self._worker)
        self._max_stream_bytes = max_stream_bytes
        self._pulse_s = pulse_s
        self._lost_ms = int(lost_s * 1000)
        self._keep_ms = max(int(keep_s * 1000), 1)
        # While a stream runs it must not expire between two looks, however short it is kept.
        self._ttl_ms = max(self._keep_ms, 120_000)
        self._clock = clock
        self._writers: dict[str, RedisWriter] = {}
        self.flusher = Flusher(
            self._store,
            flush_s=flush_s,
            flush_bytes=flush_bytes,
            window_bytes=max_stream_bytes,
            max_stream_bytes=max_unflushed_bytes,
            max_total_bytes=max_total_unflushed_bytes,
            keep_ms=self._keep_ms,
        )
        self._follower = Follower(self._store, give_up_s=10.0, clock=clock)
        self._tasks: list[asyncio.Task[None]] = []
        self._refresh_at = 0.0
        self._missed: dict[str, int] = {}  # writers that were not seen alive, looks on end
        self._absent: dict[str, int] = {}  # streams that were not there, likewise

    @property
    def trouble(self) -> str:
        """Why Redis takes no writes now (``down``, ``full``); ``""`` while it does."""
        return self.flusher.trouble

    # ------------------------------------------------------------ the journal

    async def create(self, meta: Meta) -> RedisWriter | StreamInfo:
        """Begin a stream, or return the one that has its lease, wherever it runs."""
        self._start()
        meta = msgspec.structs.replace(meta, writer=self._worker)
        names, box = names_of(self._sealer, meta.id)[0], self._sealer.box(f"stream:{meta.id}")
        lease: tuple[str, bytes] | None = None
        for _ in range(_ROUNDS):
            commands: list[tuple[Any, ...]] = [
                ("SET", self._worker_name, b"1", "PX", self._lost_ms),
                ("SET", names.record, seal_record(box, Record(meta)), "PX", self._ttl_ms),
            ]
            if meta.lease:
                other = await self._holder(meta.lease, skip_first=True)
                if other is not None:
                    return other
                name = self._sealer.name("l", meta.lease)
                lease = (name, self._sealer.box(f"lease:{meta.lease}").seal("l", meta.id.encode()))
                commands.append(("SET", *lease, "NX", "PX", self._ttl_ms))
            replies = await self._store.run(*commands, atomic=True)
            for reply in replies:
                if isinstance(reply, Exception):
                    msg = f"Redis refused a command ({code_of(reply)})"
                    raise JournalDownError(msg)
            if lease is None or replies[-1]:
                return self._writer(meta, box, names, lease)
            await self._store.ask(("DEL", names.record))
            other = await self._holder(meta.lease)
            if other is not None:
                return other
        msg = "a lease changed hands again and again"
        raise JournalDownError(msg)

    async def find(self, stream_id: str) -> StreamInfo | None:
        """Return what is known of a stream, or None."""
        self._start()
        writer = self._writers.get(stream_id)
        if writer is not None:
            return StreamInfo(meta=writer.meta, head=writer.log.head, end=writer.log.end)
        found = await self._record(stream_id)
        if found is None:
            return None
        record = found[0]
        lost = record.end is None and await self._is_lost(record.meta)
        return StreamInfo(meta=record.meta, head=record.head, end=record.end, lost=lost)

    async def reader(self, stream_id: str, offset: int = 0) -> Reader:
        """Attach a reader at a byte offset."""
        self._start()
        writer = self._writers.get(stream_id)
        if writer is not None and (offset >= writer.log.kept_from or writer.lost):
            return writer.log.attach(offset)
        heard_ms: int | None = None  # of the writer, when waiting began: it tells pulses apart
        deadline = self._clock() + 1.0
        while True:
            found = await self._record(stream_id)
            if found is None:
                raise UnknownStreamError
            record, names, box = found
            start, end = await self._place(record, names, offset)
            if offset <= end:
                return RedisReader(
                    self._follower, record=record, names=names, box=box, offset=offset, start=start
                )
            # What its own clients have had may be on its way to Redis yet.
            if record.end is not None:
                raise OffsetError(offset=offset, end=end)
            alive_ms = await self._alive_for(record.meta)
            if heard_ms is None:
                heard_ms = alive_ms
            if self._clock() >= deadline:
                if alive_ms > heard_ms:  # it has said since that it lives, and sent no more
                    raise OffsetError(offset=offset, end=end)
                # Else it may have died with those bytes: that is known when its word runs out.
                if not alive_ms and await self._is_lost(record.meta):
                    raise WriterLostError
                heard_ms = min(heard_ms, alive_ms)
                await asyncio.sleep(self._pulse_s / 2)
            await asyncio.sleep(0.02)

    async def stop(self, stream_id: str) -> bool:
        """Ask a stream's writer, wherever it runs, to stop; False if it has ended."""
        self._start()
        writer = self._writers.get(stream_id)
        if writer is not None:
            if writer.log.end is None:
                writer.log.ask_stop()
            return writer.log.end is None
        found = await self._record(stream_id)
        if found is None:
            raise UnknownStreamError
        record, names, _ = found
        if record.end is None:
            await self._store.ask(("SET", names.stop, b"1", "PX", self._ttl_ms))
        return record.end is None

    async def aclose(self) -> None:
        """Send what is queued, then let go of everything."""
        running = set(self._tasks)
        while running:  # again, should a library on the way have swallowed it
            for task in running:
                task.cancel()
            _, running = await asyncio.wait(running, timeout=1.0)
        if self._tasks:
            await self.flusher.flush()
            with contextlib.suppress(JournalDownError):
                await self._store.run(("DEL", self._worker_name))
        self._tasks.clear()
        for writer in list(self._writers.values()):
            writer.log.fail(WriterLostError())
        for reader in list(self._follower.readers):
            reader.fail(JournalDownError("the journal was closed"))
        self._writers.clear()
        await self._store.aclose()

    # ------------------------------------------------------------ streams

    def _writer(
        self, meta: Meta, box: Box, names: Names, lease: tuple[str, bytes] | None
    ) -> RedisWriter:
        writer = RedisWriter(
            Log(meta, window_bytes=self._max_stream_bytes),
            box=box,
            names=names,
            lease=lease,
            flusher=self.flusher,
            ttl_ms=self._ttl_ms,
            on_done=self._done,
        )
        self._writers[meta.id] = writer
        return writer

    def _done(self, writer: RedisWriter) -> None:
        if self._writers.get(writer.meta.id) is writer:
            del self._writers[writer.meta.id]

    async def _record(self, stream_id: str) -> tuple[Record, Names, Box] | None:
        all_names = names_of(self._sealer, stream_id)
        replies = await self._store.ask(*[("GET", names.record) for names in all_names])
        for names, blob in zip(all_names, replies, strict=True):
            if blob is not None:
                box = self._sealer.box(f"stream:{stream_id}")
                return open_record(box, blob), names, box
        return None

    async def _place(self, record: Record, names: Names, offset: int) -> tuple[int, int]:
        """Return where the entry for an offset begins, and where the log ends now.

        Raises:
            OffsetGoneError: It lies before what is kept.
        """
        epoch = record.meta.epoch + 1
        at, first, last = await self._store.ask(
            ("XREVRANGE", names.log, f"{epoch}-{offset + 1}", f"{epoch}-1", "COUNT", 1),
            ("XRANGE", names.log, f"{epoch}-1", "+", "COUNT", 1),
            ("XREVRANGE", names.log, "+", f"{epoch}-1", "COUNT", 1),
        )
        end = 0
        if last:
            entry_id, fields = last[0]
            end = _offset_of(entry_id) + entry_bytes(fields)
        if at:
            entry_id, fields = at[0]
            start = _offset_of(entry_id)
            # The offset is where the next entry will begin, or lies in this one.
            size = entry_bytes(fields)
            return (start + size if offset == start + size else start), end
        if first:
            raise OffsetGoneError(offset=offset, kept_from=_offset_of(first[0][0]))
        if record.end is not None and record.size:
            raise OffsetGoneError(offset=offset, kept_from=record.size)
        return 0, 0

    async def _holder(self, lease: str, *, skip_first: bool = False) -> StreamInfo | None:
        """Return the stream that has a lease; None if it is free, or was freed just now."""
        names = self._sealer.names("l", lease)[1 if skip_first else 0 :]
        if not names:
            return None
        box = self._sealer.box(f"lease:{lease}")
        for name, blob in zip(
            names, await self._store.ask(*[("GET", name) for name in names]), strict=True
        ):
            if blob is None:
                continue
            info = await self.find(box.open("l", blob).decode())
            if info is not None and (info.running or (info.end is not None and info.end.well)):
                return info
            await self._store.ask(("EVAL", FREE_LEASE, 1, name, blob))
        return None

    async def _is_lost(self, meta: Meta) -> bool:
        """Whether the process that writes a stream is gone: not seen at two looks."""
        if meta.writer == self._worker:
            return meta.id not in self._writers
        names = self._sealer.names("w", meta.writer)
        for pause_s in (2.5 * self._pulse_s, 0.0):
            if any(await self._store.ask(*[("EXISTS", name) for name in names])):
                return False
            await asyncio.sleep(pause_s)
        return True

    async def _alive_for(self, meta: Meta) -> int:
        """For how many milliseconds a stream's writer is yet believed to live; 0 if it is not."""
        if meta.writer == self._worker and meta.id not in self._writers:
            return 0
        names = self._sealer.names("w", meta.writer)
        left = await self._store.ask(*[("PTTL", name) for name in names])
        return max(0, *(int(each) for each in left))

    # ------------------------------------------------------------ tasks

    def _start(self) -> None:
        if not self._tasks:
            runs = (self.flusher.run, self._follower.run, self._pulse)
            self._tasks = [asyncio.create_task(_for_ever(run)) for run in runs]

    async def _pulse(self) -> None:
        """Say that this process lives; look for stops, readers elsewhere, and dead writers."""
        while True:
            with contextlib.suppress(JournalDownError):
                # A Redis that is full takes no SET, but this: its readers must not take a
                # worker for dead that lives.
                (there,) = await self._store.run(("PEXPIRE", self._worker_name, self._lost_ms))
                if there != 1:  # Redis was restarted, or away for long: what has it kept?
                    await self._store.run(("SET", self._worker_name, b"1", "PX", self._lost_ms))
                    for writer in list(self._writers.values()):
                        writer.begin_anew()
                await self._look_after_writers()
                await self._look_after_readers()
            await asyncio.sleep(self._pulse_s)

    async def _look_after_writers(self) -> None:
        writers = [w for w in self._writers.values() if w.log.end is None and not w.lost]
        refresh = self._clock() >= self._refresh_at
        if refresh:
            self._refresh_at = self._clock() + self._ttl_ms / 4000
        for at in range(0, len(writers), _SLICE):
            some = writers[at : at + _SLICE]
            commands: list[tuple[Any, ...]] = [
                ("MGET", *[writer.names.stop for writer in some]),
                ("MGET", *[writer.names.read for writer in some]),
            ]
            if refresh:
                for writer in some:
                    kept = [writer.names.record, writer.names.log]
                    kept += [writer.lease[0]] if writer.lease else []
                    commands += [("PEXPIRE", name, self._ttl_ms) for name in kept]
            stops, reads, *_ = await self._store.ask(*commands)
            for writer, stop, read in zip(some, stops, reads, strict=True):
                if stop is not None:
                    writer.log.ask_stop()
                writer.log.set_remote_readers(0 if read is None else 1)

    async def _look_after_readers(self) -> None:
        readers = {reader.meta.id: reader for reader in self._follower.readers}
        # A process that reads its own stream from Redis is no reader elsewhere, but counts.
        seen_ms = int(self._pulse_s * 4000)
        some = list(readers.values())
        for at in range(0, len(some), _SLICE):
            names = [reader.names.read for reader in some[at : at + _SLICE]]
            await self._store.run(
                *[("PEXPIRE", name, seen_ms) for name in names],  # also where it is full
                *[("SET", name, b"1", "PX", seen_ms) for name in names],
            )
        await self._look_for_dead_writers()

    async def _look_for_dead_writers(self) -> None:
        following = self._follower.following
        workers = {r.meta.writer for r in following if r.meta.id not in self._writers}
        missed: dict[str, int] = {}
        for worker in workers:
            names = self._sealer.names("w", worker)
            if worker == self._worker or not any(
                await self._store.ask(*[("EXISTS", name) for name in names])
            ):
                missed[worker] = self._missed.get(worker, 0) + 1
        self._missed = missed
        for reader in following:
            if missed.get(reader.meta.writer, 0) >= _LOOKS and reader.meta.id not in self._writers:
                reader.fail(WriterLostError())
                self._follower.leave(reader)
        absent: dict[str, int] = {}
        gone = {r.meta.id: r for r in following if not r.at_end}
        for at in range(0, len(gone), _SLICE):
            ids = list(gone)[at : at + _SLICE]
            replies = await self._store.ask(*[("EXISTS", gone[i].names.record) for i in ids])
            for stream_id, there in zip(ids, replies, strict=True):
                if there or stream_id in self._writers:
                    continue
                absent[stream_id] = self._absent.get(stream_id, 0) + 1
                if absent[stream_id] < _LOOKS:
                    continue
                for reader in following:
                    if reader.meta.id == stream_id:
                        reader.fail(UnknownStreamError())
                        self._follower.leave(reader)
        self._absent = absent


async def _for_ever(run: Callable[[], Awaitable[None]]) -> None:
    """Run a task that streams depend on; a bug of ours costs a second, not the journal."""
    while True:
        try:
            await run()
        except Exception as error:  # noqa: BLE001 - whatever it is
            # The name alone: an exception's text may hold what it choked on.
            _log.error("a task of the Redis journal failed: %s", type(error).__name__)
        await asyncio.sleep(1.0)


def _offset_of(entry_id: bytes) -> int:
    return max(int(entry_id.partition(b"-")[2]) - 1, 0)
