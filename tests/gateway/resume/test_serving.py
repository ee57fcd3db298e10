from __future__ import annotations

import asyncio

import pytest

from unbroken.gateway.resume import Marker, serve_reader
from unbroken.journal import Head, MemoryJournal, Meta, WriterLostError
from unbroken.journal.log import Log


class Sink:
    def __init__(self, slow_s: float = 0.0) -> None:
        self.writes: list[bytes] = []
        self._slow_s = slow_s

    async def write(self, data: bytes) -> None:
        await asyncio.sleep(self._slow_s)
        self.writes.append(data)


async def a_writer():
    written = await MemoryJournal().create(Meta(id="s", created_at=0))
    written.open(Head(200))
    return written


def test_heartbeats_come_in_silences_and_between_frames_only():
    async def script():
        written = await a_writer()
        sink = Sink()
        serving = asyncio.create_task(
            serve_reader(written.attach(), sink, Marker("sse", 0, 0), b": hb\n", 0.05)
        )
        await written.append(b"data: a\n\n")
        await asyncio.sleep(0.18)
        assert 2 <= sink.writes.count(b": hb\n") <= 3
        await written.append(b"data: half")  # no journal gets this; a heartbeat would break it
        await asyncio.sleep(0.12)
        beats = sink.writes.count(b": hb\n")
        await asyncio.sleep(0.12)
        assert sink.writes.count(b": hb\n") == beats
        await written.append(b"\n\n")
        for _ in range(10):  # what comes in time keeps them away
            await written.append(b"data: b\n\n")
            await asyncio.sleep(0.02)
        assert sink.writes.count(b": hb\n") == beats
        await written.end("complete")
        assert (await serving).well
        assert b"".join(sink.writes).replace(b": hb\n", b"").startswith(b"id: 0-9\ndata: a\n\n")

    asyncio.run(script())


def test_writes_are_bounded_and_whole():
    async def script():
        written = await a_writer()
        log = b"".join(b"data: %d\n\n" % n for n in range(30_000)) + b"data: %b\n\n" % (
            b"x" * 300_000
        )
        for at in range(0, len(log), 50_000):
            await written.append(log[at : at + 50_000])
        await written.end("complete")
        sink = Sink()
        await serve_reader(
            written.attach(), sink, Marker("sse", 0, 0), state_prefix=b"data: s\n\n" * 20_000
        )
        assert max(map(len, sink.writes)) <= 65536
        import re

        assert re.sub(rb"id: 0-\d+\n", b"", b"".join(sink.writes)) == b"data: s\n\n" * 20_000 + log

    asyncio.run(script())


def test_how_it_ended_is_told():
    async def script():
        written = await a_writer()
        await written.append(b"data: a\n\n")
        await written.end("failed", "stalled")
        end = await serve_reader(written.attach(), Sink(), None)
        assert (end.status, end.note, end.well) == ("failed", "stalled", False)

    asyncio.run(script())


def test_a_lost_writer_passes_through_after_what_there_was():
    async def script():
        log = Log(Meta(id="s", created_at=0), window_bytes=1000)
        log.append(b"data: a\n\n")
        sink = Sink()
        serving = asyncio.create_task(serve_reader(log.attach(0), sink, None, b": hb\n", 5.0))
        await asyncio.sleep(0.01)
        log.fail(WriterLostError())
        with pytest.raises(WriterLostError):
            await serving
        assert sink.writes == [b"data: a\n\n"]

    asyncio.run(script())


def test_a_slow_client_holds_the_writer_up():
    async def script():
        written = await MemoryJournal(max_stream_bytes=65536).create(Meta(id="s", created_at=0))
        sink = Sink(slow_s=0.01)
        serving = asyncio.create_task(serve_reader(written.attach(), sink, None))
        most = 0
        for _ in range(40):
            await written.append(b"x" * 20_000)
            most = max(most, written.offset - sum(map(len, sink.writes)))
        await written.end("complete")
        await serving
        assert sum(map(len, sink.writes)) == 800_000
        assert most <= 65536 + 2 * 65536 + 20_000

    asyncio.run(script())
