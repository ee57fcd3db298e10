"""The pump alone, between scripted ends: order, backpressure, leaving, and what is told on."""

from __future__ import annotations

import asyncio

import pytest

from unbroken.relay.messages import FailedHow, ResponseHead, UpstreamError
from unbroken.relay.pump import DownstreamLeftError, Passage, StoppedError, pump

HEAD = ResponseHead(status=200, headers=[])


def failure(how: FailedHow) -> UpstreamError:
    return UpstreamError(how=how, address="http://x", detail="it broke")


class Above:
    """An upstream that gives what a list says: bytes, an error, or None for a silence."""

    head = HEAD

    def __init__(self, *reads: bytes | Exception | None) -> None:
        self.reads = list(reads)
        self.closed = False

    async def ask(self) -> Above:
        return self

    async def read(self) -> bytes:
        assert not self.closed, "read after close"
        what = self.reads.pop(0) if self.reads else b""
        if what is None:
            await asyncio.Event().wait()
        if isinstance(what, Exception):
            raise what
        return what or b""

    def close(self) -> None:
        self.closed = True


class Below:
    """A downstream that notes what it is told."""

    def __init__(self, above: Above | None = None) -> None:
        self.above = above
        self.told: list[object] = []
        self.gone = asyncio.Event()
        self.room = asyncio.Event()
        self.room.set()

    async def start(self, head: ResponseHead) -> None:
        self.told.append(head.status)

    async def write(self, data: bytes) -> None:
        self.told.append(data)
        await self.room.wait()

    async def end(self) -> None:
        self.told.append("end")

    async def abort(self, how: str) -> None:
        self.told.append(how)
        assert self.above is None or self.above.closed, "the upstream is let go first"

    async def left(self) -> None:
        await self.gone.wait()


def run(above: Above, below: Below) -> Passage:
    return asyncio.run(asyncio.wait_for(pump(above.ask, below), 5))


def test_each_read_is_a_write_and_the_tap_sees_it_first() -> None:
    above, below, tapped = Above(b"a", b"bc"), Below(), []
    passage = asyncio.run(
        pump(above.ask, below, tap=lambda data: tapped.append((data, list(below.told))))
    )
    assert below.told == [200, b"a", b"bc", "end"]
    assert tapped == [(b"a", [200]), (b"bc", [200, b"a"])]
    assert (passage.ended, passage.read_bytes, passage.head, above.closed) == (
        "complete", 3, HEAD, True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("how", "ended", "told"),
    [("incomplete", "incomplete", "fin"), ("reset", "reset", "rst"), ("silent", "silent", "fin")],
)
def test_an_upstream_that_dies_is_told_on(how: FailedHow, ended: str, told: str) -> None:
    above = Above(b"a", failure(how))
    below = Below(above)
    passage = run(above, below)
    assert below.told == [200, b"a", told]
    assert (passage.ended, str(passage.failure)) == (ended, "upstream http://x: it broke")


def test_no_answer_leaves_the_downstream_to_the_caller() -> None:
    async def ask() -> Above:
        raise failure("unreachable")

    below = Below()
    passage = asyncio.run(pump(ask, below))
    assert (passage.ended, below.told) == ("unanswered", [])
    assert passage.failure is not None


@pytest.mark.parametrize("where", ["asking", "reading", "writing"])
def test_a_downstream_that_leaves_closes_the_upstream_at_once(where: str) -> None:
    async def main() -> None:
        above = Above(b"a", None)
        below = Below()
        asked = asyncio.Event()

        async def ask() -> Above:
            asked.set()
            if where == "asking":
                await asyncio.Event().wait()
            return above

        if where == "writing":
            below.room.clear()
        task = asyncio.create_task(pump(ask, below))
        await asked.wait()
        await asyncio.sleep(0)
        below.gone.set()
        passage = await asyncio.wait_for(task, 1)
        assert passage.ended == "left"
        assert above.closed == (where != "asking")
        assert not task.cancelled()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("error", "ended"), [(DownstreamLeftError, "left"), (BrokenPipeError, "left"),
                         (StoppedError, "stopped")],
)  # fmt: skip
def test_a_write_that_fails_or_stops(error: type[Exception], ended: str) -> None:
    class Failing(Below):
        async def write(self, data: bytes) -> None:
            raise error

    above = Above(b"a", b"b")
    passage = run(above, Failing())
    assert (passage.ended, above.closed, above.reads) == (ended, True, [b"b"])


def test_nothing_is_read_while_the_downstream_takes_nothing() -> None:
    async def main() -> None:
        above, below = Above(b"a", b"b", b"c"), Below()
        below.room.clear()
        task = asyncio.create_task(pump(above.ask, below))
        for _ in range(20):
            await asyncio.sleep(0)
        assert above.reads == [b"b", b"c"]
        below.room.set()
        assert (await task).ended == "complete"

    asyncio.run(main())


@pytest.mark.parametrize("later", range(6))
def test_a_cancellation_from_outside_is_not_swallowed(later: int) -> None:
    """Whatever else happens at the same time, the one from outside counts."""

    async def main() -> None:
        above, below = Above(None), Below()
        task = asyncio.create_task(pump(above.ask, below))
        for _ in range(5):
            await asyncio.sleep(0)
        below.gone.set()
        for _ in range(later):
            await asyncio.sleep(0)
        if task.cancel():
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            assert (await task).ended == "left"
        assert above.closed

    asyncio.run(main())


def test_leaving_in_the_last_moment_harms_nobody() -> None:
    async def main() -> None:
        class LeavesAtTheEnd(Below):
            async def end(self) -> None:
                await super().end()
                self.gone.set()

        async with asyncio.timeout(5):
            for _ in range(50):
                passage = await pump(Above(b"a").ask, LeavesAtTheEnd())
                assert passage.ended == "complete"
                await asyncio.sleep(0)
                await asyncio.sleep(0)

    asyncio.run(main())
