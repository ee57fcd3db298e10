"""The bounds of the journal in memory."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from tests.journal.waiting import until
from unbroken.journal import Head, JournalFullError, MemoryJournal, Meta

WINDOW = 64 * 1024
_numbers = itertools.count()


async def a_stream(journal: MemoryJournal, size: int = 0, end: str = ""):
    written = await journal.create(Meta(id=f"s{next(_numbers)}", created_at=0.0))
    written.open(Head(200))
    for _ in range(size // 1000):
        await written.append(b"x" * 1000)
    if end:
        await written.end(end)
    return written


def test_ended_streams_go_first_and_the_oldest_before_the_others():
    async def script():
        journal = MemoryJournal(max_stream_bytes=WINDOW, max_total_bytes=3 * WINDOW)
        old = await a_stream(journal, 60_000, "complete")
        read = await a_stream(journal, 60_000, "complete")
        reader = read.attach()
        young = await a_stream(journal, 60_000, "failed")
        running = await a_stream(journal, 60_000)
        assert await journal.find(old.meta.id) is None
        for kept in (read, young, running):
            assert await journal.find(kept.meta.id) is not None
        await a_stream(journal, 60_000)
        assert await journal.find(young.meta.id) is None
        assert await journal.find(read.meta.id) is not None  # somebody reads it
        assert journal.total_bytes <= 3 * WINDOW
        await reader.aclose()
        await journal.aclose()
        assert journal.total_bytes == 0

    asyncio.run(script())


def test_where_only_running_streams_are_no_other_is_taken():
    async def script():
        journal = MemoryJournal(max_stream_bytes=WINDOW, max_total_bytes=2 * WINDOW)
        streams = [await a_stream(journal) for _ in range(2)]
        readers = [written.attach() for written in streams]
        writing = [asyncio.create_task(_write(written, 200)) for written in streams]
        await until(lambda: journal.total_bytes >= 2 * WINDOW)
        with pytest.raises(JournalFullError):
            await a_stream(journal)
        assert journal.total_bytes <= 2 * WINDOW + 2 * WINDOW  # 64 KiB for each that lags
        got = await asyncio.gather(*[_read(reader) for reader in readers])
        await asyncio.gather(*writing)
        assert got == [200_000, 200_000]
        await journal.aclose()

    async def _write(written, count):
        for _ in range(count):
            await written.append(b"x" * 1000)
        await written.end("complete")

    async def _read(reader):
        size = 0
        while data := await reader.read():
            size += len(data)
        await reader.aclose()
        return size

    asyncio.run(script())


def test_running_streams_that_nobody_reads_are_cut_rather_than_held_up():
    async def script():
        journal = MemoryJournal(max_stream_bytes=WINDOW, max_total_bytes=2 * WINDOW)
        streams = [await a_stream(journal) for _ in range(8)]
        async with asyncio.timeout(5):
            for _ in range(200):
                for written in streams:
                    await written.append(b"x" * 1000)
        assert journal.total_bytes <= 2 * WINDOW + WINDOW
        await journal.aclose()
        assert journal.total_bytes == 0

    asyncio.run(script())


def test_the_number_of_streams_is_bounded():
    async def script():
        journal = MemoryJournal(max_streams=3)
        ended = await a_stream(journal, end="complete")
        for _ in range(3):
            await a_stream(journal)
        assert await journal.find(ended.meta.id) is None
        with pytest.raises(JournalFullError):
            await a_stream(journal)

    asyncio.run(script())


def test_what_is_read_while_it_expires_is_read_to_its_end():
    now = [0.0]

    async def script():
        journal = MemoryJournal(keep_s=600, clock=lambda: now[0])
        written = await a_stream(journal, 100_000, "complete")
        reader = written.attach()
        first = await reader.read()
        now[0] = 601.0
        assert await journal.find(written.meta.id) is not None
        rest = 0
        while data := await reader.read():
            rest += len(data)
        assert len(first) + rest == 100_000
        await reader.aclose()
        now[0] = 1202.0
        assert await journal.find(written.meta.id) is None
        assert journal.total_bytes == 0

    asyncio.run(script())


@pytest.mark.parametrize(
    "options", [{"max_stream_bytes": 1000}, {"max_stream_bytes": WINDOW, "max_total_bytes": 1000}]
)
def test_bounds_that_cannot_be_kept_are_refused(options):
    with pytest.raises(ValueError, match="at least"):
        MemoryJournal(**options)
