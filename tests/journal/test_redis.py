"""What only the Redis journal has to stand: a store that others see, and that goes away."""

from __future__ import annotations

import asyncio
import base64
import secrets
import time

import pytest

from tests.journal.redis_server import RedisServer, redis_server
from tests.journal.waiting import until
from unbroken.journal import (
    Head,
    JournalDownError,
    JournalFullError,
    Meta,
    OffsetError,
    OffsetGoneError,
    Reader,
    StreamInfo,
    UnknownStreamError,
    WriterLostError,
)
from unbroken.journal.redis import RedisJournal
from unbroken.journal.sealing import UnsealError

KEY, NEW_KEY = bytes(range(32)), bytes(range(32, 64))
HEAD = Head(200, (("Content-Type", "text/event-stream"), ("X-Request-Id", "request-of-a-provider")))


def journal(server: RedisServer, keys=(KEY,), **options) -> RedisJournal:
    settings = {"flush_s": 0.005, "pulse_s": 0.1, "lost_s": 1.0, "timeout_s": 0.5, **options}
    return RedisJournal(server.url, keys=list(keys), **settings)


def meta(lease: str = "", **more: str) -> Meta:
    return Meta(id=secrets.token_hex(8), created_at=1.0, lease=lease, **more)


async def read_all(reader: Reader) -> bytes:
    found = b""
    while data := await reader.read():
        found += data
    await reader.aclose()
    return found


def test_redis_sees_neither_texts_nor_ids_nor_keys(redis_at):
    secret = meta(
        "a-lease-value", scope="a-scope-value", model="a-model-name", body_hash="a-body-hash",
        dialect="openai-chat", provider="a-provider",
    )  # fmt: skip

    async def script():
        here, there = journal(redis_at, worker="a-worker-name"), journal(redis_at)
        written = await here.create(secret)
        written.open(HEAD)
        await written.append(b"data: a very particular sentence\n\n")
        reader = await there.reader(secret.id)
        await reader.read()
        await there.stop(secret.id)
        await asyncio.sleep(0.3)
        seen = redis_at.everything()
        await written.end("complete", "a-note")
        await asyncio.sleep(0.1)
        seen += redis_at.everything()
        await here.aclose()
        await there.aclose()
        return seen

    seen = asyncio.run(script())
    assert seen.count(b"unbroken1:") >= 6  # it did look
    words = [secret.id, secret.lease, secret.scope, secret.model, secret.body_hash,
             secret.provider, "openai-chat", "a-worker-name", "particular", "sentence", "data:",
             "text/event-stream", "request-of-a-provider", "a-note", "complete"]  # fmt: skip
    for word in [*words, KEY]:
        raw = word if isinstance(word, bytes) else word.encode()
        for form in (raw, base64.b64encode(raw).rstrip(b"="), raw.hex().encode()):
            assert form not in seen, word


def test_a_stored_entry_that_was_moved_or_changed_does_not_open(redis_at):
    async def script(spoil):
        here, there = journal(redis_at), journal(redis_at)
        written = await here.create(meta())
        written.open(HEAD)
        for part in (b"one", b"two", b"three"):
            await written.append(part)
            await here.flusher.flush()
        await written.end("complete")
        await here.aclose()
        with redis_at.client() as client:
            spoil(client, written.names.log)
        found = b""
        try:
            reader = await there.reader(written.meta.id)
            while data := await reader.read():
                found += data
        finally:
            assert b"onetwothree".startswith(found)
            await there.aclose()
        return found

    def changed(client, name):
        (entry, fields), *rest = client.xrange(name, "1-1")
        _rewrite(client, name, [(entry, {b"d": fields[b"d"][:-1] + b"\0"}), *rest])

    def swapped(client, name):
        first, second, *rest = client.xrange(name, "1-1")
        _rewrite(client, name, [(first[0], second[1]), (second[0], first[1]), *rest])

    def cut_out(number):
        return lambda client, name: client.xdel(name, client.xrange(name, "1-1")[number][0])

    def _rewrite(client, name, entries):
        client.delete(name)
        for entry, fields in entries:
            client.xadd(name, fields, id=entry)

    assert asyncio.run(script(lambda client, name: None)) == b"onetwothree"
    for spoil in (changed, swapped):
        with pytest.raises(UnsealError):
            asyncio.run(script(spoil))
    for number in (0, 1, 2):
        with pytest.raises(OffsetGoneError):
            asyncio.run(script(cut_out(number)))


def test_the_key_can_be_changed_while_streams_run(redis_at):
    async def script():
        old = journal(redis_at)
        both = journal(redis_at, [NEW_KEY, KEY])
        behind = journal(redis_at, [KEY, NEW_KEY])  # knows the new one, and does not use it yet
        written = await old.create(meta("a lease that stays"))
        written.open(HEAD)
        await written.append(b"one ")
        reading = asyncio.create_task(read_all(await both.reader(written.meta.id)))
        held = await both.create(meta("a lease that stays"))
        assert isinstance(held, StreamInfo)
        stop = written.stop_asked()
        new = await both.create(meta())
        new.open(HEAD)
        await new.append(b"new")
        await both.flusher.flush()
        there = await behind.reader(new.meta.id)
        assert await there.read() == b"new"
        assert await both.stop(written.meta.id)
        await asyncio.wait_for(stop, 2)
        await asyncio.sleep(1.2)  # nobody is taken for dead, whatever key names him
        await written.append(b"two")
        await written.end("complete")
        assert await reading == b"one two"
        with pytest.raises(UnknownStreamError):
            await old.reader(new.meta.id)
        for each in (old, both, behind):
            await each.aclose()

    asyncio.run(script())


def test_readers_are_told_when_the_writers_process_is_gone(redis_at):
    async def script():
        here, there = journal(redis_at), journal(redis_at)
        written = await here.create(meta("a lease of the dead"))
        written.open(HEAD)
        await written.append(b"the last words")
        reader = await there.reader(written.meta.id)
        assert await reader.read() == b"the last words"
        waiting = asyncio.create_task(reader.read())
        await asyncio.sleep(1.5)
        assert not waiting.done()  # silence is no death
        for task in here._tasks:  # as a process does that is killed: no word
            task.cancel()
        began = time.monotonic()
        with pytest.raises(WriterLostError):
            await asyncio.wait_for(waiting, 5)
        assert time.monotonic() - began < 3
        info = await there.find(written.meta.id)
        assert info is not None
        assert info.lost
        assert not info.running
        late = await there.reader(written.meta.id)
        assert await late.read() == b"the last words"
        with pytest.raises(WriterLostError):
            await asyncio.wait_for(late.read(), 5)
        # Its key is free again.
        assert not isinstance(await there.create(meta("a lease of the dead")), StreamInfo)
        await there.aclose()
        await here.aclose()

    asyncio.run(script())


@pytest.mark.parametrize("dies", [True, False])
def test_a_place_that_only_the_writers_own_reader_has_seen(redis_at, dies):
    async def script():
        here, there = journal(redis_at), journal(redis_at)
        written = await here.create(meta())
        written.open(HEAD)
        await written.append(b"sent on")
        await until(lambda: written.unflushed_bytes == 0)
        flushing, *others = here._tasks
        flushing.cancel()
        await written.append(b", and kept")
        own = await here.reader(written.meta.id)
        seen = await own.read()
        assert seen == b"sent on, and kept"
        if dies:
            for task in others:
                task.cancel()
        asked = asyncio.create_task(there.reader(written.meta.id, len(seen)))
        with pytest.raises(WriterLostError if dies else OffsetError):
            await asyncio.wait_for(asked, 5)
        await there.aclose()
        await here.aclose()

    asyncio.run(script())


def test_a_place_that_is_on_its_way_is_waited_for(redis_at):
    async def script():
        here, there = journal(redis_at, flush_s=0.5), journal(redis_at)
        written = await here.create(meta())
        written.open(HEAD)
        await written.append(b"not flushed yet")
        reader = await there.reader(written.meta.id, 15)
        await written.append(b", and more")
        assert await reader.read() == b", and more"
        await there.aclose()
        await here.aclose()

    asyncio.run(script())


def test_without_redis_nothing_is_begun_or_found():
    async def script():
        gone = RedisJournal("unix:///nowhere/redis.sock", keys=[KEY], timeout_s=0.5)
        for ask in (gone.create(meta()), gone.find("s"), gone.reader("s"), gone.stop("s")):
            with pytest.raises(JournalDownError) as caught:
                await ask
            assert "nowhere" not in str(caught.value)
        await gone.aclose()

    asyncio.run(script())


def test_a_stream_goes_on_while_redis_is_paused_and_is_whole_afterwards():
    async def script(server):
        here, there = journal(server), journal(server)
        written = await here.create(meta())
        written.open(HEAD)
        local = asyncio.create_task(read_all(written.attach()))
        remote = asyncio.create_task(read_all(await there.reader(written.meta.id)))
        log = b""
        for at in range(60):
            if at == 20:
                with server.paused():
                    for n in range(30):
                        log += b"paused %d;" % n
                        began = time.monotonic()
                        await written.append(b"paused %d;" % n)
                        assert time.monotonic() - began < 0.3
                        await asyncio.sleep(0.05)
                    assert here.trouble == "down"
            log += b"%d;" % at
            await written.append(b"%d;" % at)
            await asyncio.sleep(0.005)
        await written.end("complete")
        assert await local == log
        assert await asyncio.wait_for(remote, 10) == log
        assert not written.lost
        assert not here.trouble
        await here.aclose()
        await there.aclose()

    with redis_server() as server:
        asyncio.run(script(server))


def test_who_catches_up_waits_for_a_redis_that_is_paused():
    async def script(server):
        here, there = journal(server), journal(server)
        written = await here.create(meta())
        written.open(HEAD)
        log = b"".join(b"data: %d\n\n" % n for n in range(40_000))
        for at in range(0, len(log), 10_000):
            await written.append(log[at : at + 10_000])
        await written.end("complete")
        reader = await there.reader(written.meta.id, 5)
        first = await reader.read()
        with server.paused():
            reading = asyncio.create_task(read_all(reader))
            await asyncio.sleep(1.5)
            assert not reading.done()
        assert first + await asyncio.wait_for(reading, 10) == log[5:]
        await here.aclose()
        await there.aclose()

    with redis_server() as server:
        asyncio.run(script(server))


@pytest.mark.parametrize("persistent", [True, False])
def test_redis_is_killed_and_comes_back(persistent):
    async def script(server):
        here, there = journal(server), journal(server)
        written = await here.create(meta("held"))
        written.open(HEAD)
        local = asyncio.create_task(read_all(written.attach()))
        for n in range(10):
            await written.append(b"before %d;" % n)
        reader = await there.reader(written.meta.id)
        before = await reader.read()
        assert before
        await until(lambda: not written.unflushed_bytes)
        server.stop()
        for n in range(10):
            await written.append(b"during %d;" % n)
            await asyncio.sleep(0.02)
        await until(lambda: here.trouble == "down")
        server.start()
        await until(lambda: not here.trouble)
        for n in range(10):
            await written.append(b"after %d;" % n)
        await written.end("complete")
        whole = await local
        assert whole.count(b";") == 30
        # Who was attached misses nothing either way; who asks for what Redis lost is told.
        rest = await asyncio.wait_for(read_all(reader), 10)
        assert before + rest == whole
        kept_from = 0 if persistent else whole.index(b"during 0")
        late = await there.reader(written.meta.id, kept_from)
        assert await read_all(late) == whole[kept_from:]
        if not persistent:  # what Redis lost cannot be had again, and nobody is told otherwise
            with pytest.raises(OffsetGoneError):
                await there.reader(written.meta.id, kept_from - 1)
        # And its lease is known again.
        assert isinstance(await there.create(meta("held")), StreamInfo)
        await here.aclose()
        await there.aclose()

    options = ("--appendfsync", "always") if persistent else ()
    with redis_server(*options, persistent=persistent) as server:
        asyncio.run(script(server))


def test_a_stream_that_is_silent_while_redis_loses_everything_is_known_again():
    async def script(server):
        here, there = journal(server), journal(server)
        written = await here.create(meta("held in silence"))
        written.open(HEAD)
        await written.append(b"before ")
        reader = await there.reader(written.meta.id)
        assert await reader.read() == b"before "
        reading = asyncio.create_task(read_all(reader))
        server.stop()
        server.start()
        await asyncio.sleep(1.5)  # a reader gives up sooner what is not there
        assert not reading.done()
        assert isinstance(await there.create(meta("held in silence")), StreamInfo)
        await written.append(b"after")
        await written.end("complete")
        assert await asyncio.wait_for(reading, 10) == b"after"
        await here.aclose()
        await there.aclose()

    with redis_server() as server:
        asyncio.run(script(server))


def test_beyond_the_bound_the_stream_goes_on_for_its_own_clients_only():
    async def script(server):
        here, there = journal(server, max_unflushed_bytes=100_000), journal(server)
        written = await here.create(meta())
        written.open(HEAD)
        local = asyncio.create_task(read_all(written.attach()))
        await written.append(b"x" * 1000)
        remote = await there.reader(written.meta.id)
        assert len(await remote.read()) == 1000
        with server.paused():
            for _ in range(40):
                await written.append(b"y" * 10_000)
                await asyncio.sleep(0.01)
            await until(lambda: bool(written.lost))
            assert written.lost == "journal-down"
            assert not written.unflushed_bytes
            assert not here.flusher.total_bytes
        await written.append(b"z" * 1000)
        await written.end("complete")
        assert len(await local) == 402_000
        # Elsewhere nobody takes it for a stream that is merely slow.
        with pytest.raises(UnknownStreamError):
            await asyncio.wait_for(read_all(remote), 10)
        assert await there.find(written.meta.id) is None
        await here.aclose()
        await there.aclose()

    with redis_server() as server:
        asyncio.run(script(server))


def test_a_full_redis_refuses_streams_and_ends_none():
    async def script(server):
        here, there = journal(server, max_unflushed_bytes=300_000), journal(server)
        written = await here.create(meta())
        written.open(HEAD)
        local = asyncio.create_task(read_all(written.attach()))
        await written.append(b"x" * 1000)
        await until(lambda: not written.unflushed_bytes)
        with server.client() as client:
            client.config_set("maxmemory", "1")
        for _ in range(10):
            await written.append(b"y" * 1000)
            await asyncio.sleep(0.01)
        await until(lambda: here.trouble == "full")
        remote = await there.reader(written.meta.id)
        elsewhere = asyncio.create_task(read_all(remote))
        await asyncio.sleep(1.6)  # longer than a worker is believed that does not say it lives
        assert not elsewhere.done()
        with pytest.raises(JournalFullError):
            await there.create(meta())
        assert await there.find(written.meta.id) is not None  # reading goes on
        with server.client() as client:
            client.config_set("maxmemory", "0")
        await until(lambda: not here.trouble)
        await written.end("complete")
        assert len(await local) == 11_000
        assert len(await elsewhere) == 11_000
        assert len(await read_all(await there.reader(written.meta.id))) == 11_000
        await here.aclose()
        await there.aclose()

    with redis_server("--maxmemory-policy", "noeviction") as server:
        asyncio.run(script(server))


def test_hundreds_of_readers_take_one_connection_and_few_commands(redis_at):
    async def script():
        here, there = journal(redis_at, flush_s=0.02), journal(redis_at, connections=4)
        writers = [await here.create(meta()) for _ in range(50)]
        for written in writers:
            written.open(HEAD)
        tasks = [
            asyncio.create_task(read_all(await there.reader(written.meta.id)))
            for written in writers
            for _ in range(8)
        ]
        await asyncio.sleep(0.3)
        flushes, sent = here.flusher.flushes, here.flusher.commands_sent
        with redis_at.client() as client:
            clients = client.info("clients")["connected_clients"]
            served = client.info("commandstats")["cmdstat_xread"]["calls"]
        events = 0
        for n in range(50):
            for written in writers:
                for _ in range(2):
                    await written.append(b"data: %d\n\n" % n)
                    events += 1
            await asyncio.sleep(0.01)
        for written in writers:
            await written.end("complete")
        bodies = {await task for task in tasks}
        assert len(bodies) == 1
        with redis_at.client() as client:
            served = client.info("commandstats")["cmdstat_xread"]["calls"] - served
        assert clients < 40  # not one for each of 400 readers (other tests' are among them)
        assert here.flusher.commands_sent - sent < events / 2 + 5 * len(writers)
        assert served < 200
        print(f"{events} events, {here.flusher.commands_sent - sent} commands in "
              f"{here.flusher.flushes - flushes} pipelines, {served} XREADs")  # fmt: skip
        await here.aclose()
        await there.aclose()

    asyncio.run(script())


def test_nothing_stays_in_redis_for_ever():
    async def script(redis_at):
        here = journal(redis_at, keep_s=100)
        ended, running = await here.create(meta("one")), await here.create(meta("two"))
        for written in (ended, running):
            written.open(HEAD)
            await written.append(b"x")
        await ended.end("complete")
        await until(lambda: ended.done)
        await asyncio.sleep(0.3)
        with redis_at.client() as client:
            left = {name: client.ttl(name) for name in client.scan_iter()}
        assert left
        assert all(0 < seconds <= 120 for seconds in left.values()), left
        await here.aclose()

    with redis_server() as server:
        asyncio.run(script(server))


def test_logs_show_no_ids_and_no_texts(caplog):
    async def script(server):
        here = journal(server, max_unflushed_bytes=1000)
        written = await here.create(meta())
        written.open(HEAD)
        with server.paused():
            for _ in range(20):
                await written.append(b"a very particular sentence " * 10)
            await until(lambda: bool(written.lost))
        await here.aclose()
        return written.meta.id

    with redis_server() as server:
        stream_id = asyncio.run(script(server))
    assert "cannot be read on elsewhere" in caplog.text
    assert stream_id not in caplog.text
    assert "particular" not in caplog.text
    assert str(server.socket) not in caplog.text
