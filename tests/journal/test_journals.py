"""What every journal promises, by one script for all of them."""

from __future__ import annotations

import asyncio
import random
import secrets

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.journal.waiting import until
from unbroken.journal import (
    Head,
    Meta,
    OffsetError,
    OffsetGoneError,
    Reader,
    StreamInfo,
    UnknownStreamError,
)

HEAD = Head(200, (("Content-Type", "text/event-stream"),))


def meta(lease: str = "", **more: str) -> Meta:
    return Meta(id=secrets.token_hex(8), created_at=1.0, lease=lease, **more)


async def read_all(reader: Reader) -> bytes:
    found = [data async for data in _pieces(reader)]
    return b"".join(found)


async def _pieces(reader: Reader):
    while data := await reader.read():
        assert len(data) <= 65536
        yield data
    await reader.aclose()


def frames(count: int, seed: int = 1) -> list[bytes]:
    chance = random.Random(seed)
    return [b"data: %d %b\n\n" % (n, b"x" * chance.randrange(200)) for n in range(count)]


def test_what_is_written_is_read_from_any_offset_while_it_grows_and_afterwards(journals):
    async def script():
        async with journals() as (here, there):
            written = await here.create(meta(model="m"))
            written.open(HEAD)
            parts = frames(300)
            log = b"".join(parts)
            readers = []
            sent = 0
            for at, part in enumerate(parts):
                await written.append(part)
                sent += len(part)
                if at % 30 == 0:
                    for journal in (here, there):
                        offset = random.Random(at).randrange(sent)
                        reader = await journal.reader(written.meta.id, offset)
                        readers.append((offset, asyncio.create_task(read_all(reader))))
                    await asyncio.sleep(0)
            await written.end("complete", "note")
            for offset, task in readers:
                assert await task == log[offset:]
            for journal in (here, there):
                for offset in (0, 7, len(log) - 1, len(log)):
                    late = await journal.reader(written.meta.id, offset)
                    assert await late.head() == HEAD
                    assert await read_all(late) == log[offset:]
                    assert late.end is not None
                    assert (late.end.status, late.end.note) == ("complete", "note")
                    assert late.offset == len(log)
                info = await journal.find(written.meta.id)
                assert info is not None
                assert not info.running
                assert (info.head, info.meta.model) == (HEAD, "m")

    asyncio.run(script())


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.one_of(
            st.binary(min_size=1, max_size=300),  # append
            st.sampled_from([b"x" * 70_000, b"y" * 200_000]),
            st.floats(0, 1),  # attach there
            st.none(),  # let the readers go on
        ),
        max_size=30,
    )
)
def test_no_byte_is_lost_or_repeated_however_it_interleaves(journals, steps):
    async def script():
        async with journals() as (here, there):
            written = await here.create(meta())
            written.open(HEAD)
            log = b""
            tasks = []
            for at, step in enumerate(steps):
                if isinstance(step, bytes):
                    await written.append(step)
                    log += step
                elif step is None:
                    await asyncio.sleep(0.002)
                else:
                    offset = int(step * len(log))
                    journal = there if at % 2 else here
                    reader = await journal.reader(written.meta.id, offset)
                    tasks.append((offset, asyncio.create_task(read_all(reader))))
            await written.end("complete")
            for offset, task in tasks:
                assert await asyncio.wait_for(task, 10) == log[offset:]

    asyncio.run(script())


def test_many_readers_get_the_same(journals):
    async def script():
        async with journals() as (here, there):
            written = await here.create(meta())
            written.open(HEAD)
            tasks = [
                asyncio.create_task(read_all(await journal.reader(written.meta.id)))
                for journal in (here, there)
                for _ in range(150)
            ]
            parts = frames(40)
            for part in parts:
                await written.append(part)
                await asyncio.sleep(0.001)
            await written.end("complete")
            assert {await task for task in tasks} == {b"".join(parts)}

    asyncio.run(script())


def test_a_read_may_be_cancelled_without_loss(journals):
    async def script():
        async with journals() as (here, there):
            written = await here.create(meta())
            written.open(HEAD)
            for journal in (here, there):
                reader = await journal.reader(written.meta.id)
                before = b""
                for n in range(10):
                    reading = asyncio.create_task(reader.read())
                    await asyncio.sleep(0.001 * (n % 4))
                    reading.cancel()
                    result = await asyncio.gather(reading, return_exceptions=True)
                    if isinstance(result[0], bytes):
                        before += result[0]
                    await written.append(b"%d;" % n)
                while len(before) < written.offset:
                    before += await reader.read()
                assert before.endswith(b"0;1;2;3;4;5;6;7;8;9;")
                await reader.aclose()

    asyncio.run(script())


def test_who_attaches_before_the_answer_waits_for_its_head(journals):
    async def script():
        async with journals() as (here, there):
            written = await here.create(meta())
            heads = [
                asyncio.create_task((await journal.reader(written.meta.id)).head())
                for journal in (here, there)
            ]
            await asyncio.sleep(0.05)
            assert not any(task.done() for task in heads)
            written.open(HEAD)
            assert [await task for task in heads] == [HEAD, HEAD]
            never = await here.create(meta())
            readers = [await journal.reader(never.meta.id) for journal in (here, there)]
            await never.end("failed")
            assert [await reader.head() for reader in readers] == [None, None]

    asyncio.run(script())


def test_a_wait_can_be_woken(journals):
    async def script():
        async with journals() as (here, there):
            written = await here.create(meta())
            written.open(HEAD)
            for journal in (here, there):
                reader = await journal.reader(written.meta.id)
                await reader.head()
                asyncio.get_running_loop().call_later(0.2, reader.wake)
                async with asyncio.timeout(5):
                    for _ in range(3):  # catching up may return a few times with nothing
                        await reader.wait()
                        if asyncio.get_running_loop().time() and not reader.read_now():
                            break
                assert reader.end is None
                await reader.aclose()

    asyncio.run(script())


def test_unknown_streams_and_offsets_are_refused(journals):
    async def script():
        async with journals() as (here, there):
            written = await here.create(meta())
            written.open(HEAD)
            await written.append(b"twelve bytes")
            for journal in (here, there):
                assert await journal.find("nobody") is None
                with pytest.raises(UnknownStreamError):
                    await journal.reader("nobody")
                with pytest.raises(UnknownStreamError):
                    await journal.stop("nobody")
                with pytest.raises(OffsetError):
                    await journal.reader(written.meta.id, 13)
                reader = await journal.reader(written.meta.id, 12)  # what comes next
                await reader.aclose()

    asyncio.run(script())


def test_beyond_the_window_the_oldest_part_is_gone(journals):
    async def script():
        async with journals(max_stream_bytes=65536) as (here, there):
            written = await here.create(meta())
            written.open(HEAD)
            for _ in range(200):
                await written.append(b"z" * 5000)
            await written.end("complete")
            assert await read_all(await there.reader(written.meta.id, 1_000_000)) == b""  # its end
            for journal in (here, there):
                with pytest.raises(OffsetGoneError) as caught:
                    await journal.reader(written.meta.id, 1)
                kept_from = caught.value.kept_from
                assert 1_000_000 - 2 * 65536 - 5000 < kept_from < 1_000_000
                assert kept_from % 5000 == 0
                late = await journal.reader(written.meta.id, kept_from)
                assert len(await read_all(late)) == 1_000_000 - kept_from

    asyncio.run(script())


def test_an_attached_reader_that_lags_holds_the_writer_up(journals):
    async def script():
        async with journals(max_stream_bytes=65536) as (here, _):
            written = await here.create(meta())
            written.open(HEAD)
            reader = await here.reader(written.meta.id)

            async def write():
                for _ in range(100):
                    await written.append(b"z" * 5000)
                await written.end("complete")

            writing = asyncio.create_task(write())
            await asyncio.sleep(0.1)
            assert not writing.done()
            assert written.offset <= 65536 + 5000
            assert len(await read_all(reader)) == 500_000
            await writing

    asyncio.run(script())


def test_a_reader_that_leaves_lets_the_writer_on(journals):
    async def script():
        async with journals(max_stream_bytes=65536) as (here, _):
            written = await here.create(meta())
            written.open(HEAD)
            reader = await here.reader(written.meta.id)
            writing = asyncio.create_task(written.append(b"z" * 100_000))
            await asyncio.sleep(0.05)
            assert not writing.done()
            await reader.aclose()
            await asyncio.wait_for(writing, 5)

    asyncio.run(script())


def test_of_two_creates_at_once_one_gets_the_lease(journals):
    async def script():
        async with journals() as (here, there):
            for round_ in range(10):
                lease = secrets.token_hex(4)
                results = await asyncio.gather(
                    *[j.create(meta(lease, body_hash="b")) for j in (here, there) * 4]
                )
                writers = [r for r in results if not isinstance(r, StreamInfo)]
                assert len(writers) == 1, round_
                others = {r.meta.id for r in results if isinstance(r, StreamInfo)}
                assert others == {writers[0].meta.id}
                assert all(r.meta.body_hash == "b" for r in results)
                await writers[0].end("complete")
                again = await there.create(meta(lease))
                assert isinstance(again, StreamInfo)  # kept: still the same stream

    asyncio.run(script())


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_stream_that_failed_frees_its_lease_and_can_still_be_read(journals, status):
    async def script():
        async with journals() as (here, there):
            first = await here.create(meta("a lease " + status))
            first.open(HEAD)
            await first.append(b"half")
            await first.end(status)
            async with asyncio.timeout(5):
                while True:
                    second = await there.create(meta("a lease " + status))
                    if not isinstance(second, StreamInfo):
                        break
                    await asyncio.sleep(0.01)  # a moment, until Redis knows
            assert second.meta.id != first.meta.id
            reader = await there.reader(first.meta.id)
            assert await read_all(reader) == b"half"
            assert reader.end is not None
            assert reader.end.status == status
            assert not reader.end.well

    asyncio.run(script())


def test_a_stop_reaches_the_writer_within_a_second(journals):
    async def script():
        async with journals() as (here, there):
            written = await here.create(meta())
            written.open(HEAD)
            stop = written.stop_asked()
            assert not stop.done()
            assert await there.stop(written.meta.id)
            await asyncio.wait_for(stop, 1)
            await written.end("cancelled")
            await asyncio.sleep(0.1)
            assert not await there.stop(written.meta.id)

    asyncio.run(script())


def test_a_stream_that_nobody_reads_says_so(journals):
    async def script():
        async with journals() as (here, there):
            written = await here.create(meta())
            written.open(HEAD)
            reader = await there.reader(written.meta.id)
            reading = asyncio.create_task(reader.read())
            await until(lambda: bool(written.readers))
            unread = written.unread_for(0.2)
            await asyncio.sleep(0.6)
            assert not unread.done()
            reading.cancel()
            await reader.aclose()
            await asyncio.wait_for(unread, 3)
            assert not written.readers

    asyncio.run(script())


def test_the_end_is_kept_for_a_while_and_then_forgotten(journals):
    async def script():
        async with journals(keep_s=0.3) as (here, there):
            written = await here.create(meta("kept"))
            written.open(HEAD)
            await written.append(b"all")
            await written.end("complete")
            await asyncio.sleep(0.1)
            assert await read_all(await there.reader(written.meta.id)) == b"all"
            await asyncio.sleep(0.5)
            assert await there.find(written.meta.id) is None
            assert not isinstance(await there.create(meta("kept")), StreamInfo)

    asyncio.run(script())
