"""`unbroken.astream`: what is different in an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import httpx2
import pytest

import unbroken
from tests.direct.helpers import asking, good, options, refusal
from tests.support.bodies import DIALECTS, body
from tests.support.faults import STORY, Break, breaking, reply
from tests.support.faultserver import FaultServer, Gate, Reply, unused_url
from tests.support.model import Model

every_dialect = pytest.mark.parametrize("dialect", DIALECTS)
backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


def run(main: Callable[[], Awaitable[Any]], backend: str = "asyncio") -> Any:
    return anyio.run(main, backend=backend)


@backends
@every_dialect
def test_it_goes_on_from_what_was_received(dialect: str, backend: str) -> None:
    model = Model(dialect=dialect, answer=STORY)

    async def main() -> None:
        async with unbroken.astream(**asking(server, dialect)) as stream:
            pieces = [text async for text in stream.iter_text()]
        assert "".join(pieces) == STORY.text
        assert stream.outcome.status == "complete"
        assert stream.outcome.recoveries == 1

    with FaultServer(breaking(model, Break("cut_rst", at=14))) as server:
        run(main, backend)
        assert len(server.requests) == 2
        assert server.wait_for_open(0)


@backends
def test_failures_before_the_stream(backend: str, no_waits: list[int]) -> None:
    async def main() -> None:
        assert await unbroken.astream(**asking(server)).text() == STORY.text
        with pytest.raises(unbroken.StreamingError, match="answered 401 \\(bad_key\\)") as caught:
            await unbroken.astream(**asking(server)).text()
        assert caught.value.outcome.provider_error is not None
        with pytest.raises(unbroken.StreamingError) as caught:
            await unbroken.astream(**asking(unused_url(), options=options(max_attempts=2))).text()
        assert caught.value.code == "connect-failed"

    bad_key = refusal(401, {"error": {"type": "bad_key", "message": "x"}})
    with FaultServer([refusal(503), good(), bad_key]) as server:
        run(main, backend)
        assert len(server.requests) == 3
        assert server.wait_for_open(0)


@backends
@pytest.mark.parametrize("fault", ["ka_dead", "no_head"])
def test_the_whole_stream_has_a_limit(backend: str, fault: str) -> None:
    async def main() -> None:
        started = time.monotonic()
        with pytest.raises(unbroken.StreamTimeoutError, match="clock total"):
            await unbroken.astream(**asking(server, timeout_s=0.3)).text()
        assert time.monotonic() - started < 1.6

    params = {"every_s": 0.05} if fault == "ka_dead" else {}
    with FaultServer(reply(fault, "openai-chat", at=5, **params)) as server:
        run(main, backend)
        assert server.wait_for_open(0)


@backends
@pytest.mark.parametrize("fault", ["stall", "no_head"])
@pytest.mark.parametrize("given", [False, True], ids=["own-client", "given-client"])
@pytest.mark.seed("003-handler-abort")
def test_another_thread_ends_a_read_that_waits(backend: str, fault: str, given: bool) -> None:
    async def main() -> None:
        client = httpx2.AsyncClient() if given else None
        stream = unbroken.astream(**asking(server, client=client))
        thread = threading.Thread(target=abort_when_asked, args=(stream, server))
        thread.start()
        started = time.monotonic()
        with pytest.raises(unbroken.IncompleteStreamError, match="was aborted") as caught:
            await stream.text()
        assert time.monotonic() - started < 2
        assert caught.value.code == "cancelled"
        assert stream.outcome.status == "cancelled"
        await anyio.to_thread.run_sync(thread.join)
        assert await anyio.to_thread.run_sync(server.wait_for_open, 0)
        if client is not None:
            await client.aclose()

    with FaultServer(reply(fault, "openai-chat", at=5)) as server:
        run(main, backend)


def abort_when_asked(stream: unbroken.AsyncEventStream, server: FaultServer) -> None:
    assert server.wait_for(lambda: len(server.requests) > 0)
    time.sleep(0.05)  # until the loop waits in its read
    stream.abort()


@backends
@pytest.mark.parametrize("method", ["abort", "aclose"])
def test_another_task_ends_a_pause(backend: str, method: str) -> None:
    async def main() -> None:
        stream = unbroken.astream(**asking(server))

        async def end() -> None:
            await anyio.to_thread.run_sync(server.wait_for, lambda: bool(server.requests))
            await anyio.sleep(0.05)  # until the other task pauses
            if method == "abort":
                stream.abort()
            else:
                await stream.aclose()

        with anyio.fail_after(2):
            async with anyio.create_task_group() as group:
                group.start_soon(end)
                with pytest.raises(unbroken.IncompleteStreamError, match="was aborted"):
                    await stream.text()

    with FaultServer([refusal(429, retry_after="60")]) as server:
        run(main, backend)
        assert server.wait_for_open(0)


async def leave_by_break(stream: unbroken.AsyncEventStream) -> None:
    async with stream:
        async for _ in stream:
            break


async def leave_by_aclose(stream: unbroken.AsyncEventStream) -> None:
    await anext(stream)
    await stream.aclose()


async def leave_by_exception(stream: unbroken.AsyncEventStream) -> None:
    with contextlib.suppress(ZeroDivisionError):
        async with stream:
            async for _ in stream:
                1 / 0  # noqa: B018


async def leave_by_cancellation(stream: unbroken.AsyncEventStream) -> None:
    with anyio.move_on_after(0.1):
        async with stream:
            async for _ in stream:
                pass


async def leave_by_cancellation_in_a_bare_loop(stream: unbroken.AsyncEventStream) -> None:
    with anyio.move_on_after(0.1):
        async for _ in stream:
            pass


LEAVING = [
    leave_by_break, leave_by_aclose, leave_by_exception, leave_by_cancellation,
    leave_by_cancellation_in_a_bare_loop,
]  # fmt: skip


@backends
@pytest.mark.parametrize("leave", LEAVING, ids=lambda leave: leave.__name__)
@pytest.mark.seed("003-handler-release", "003-do-clean-up", "003-dont-leak")
def test_leaving_releases_the_connection(backend: str, leave: Any) -> None:
    async def main() -> None:
        for _ in range(3):
            await leave(unbroken.astream(**asking(server)))
        assert await anyio.to_thread.run_sync(server.wait_for_open, 0)

    with FaultServer(lambda request: reply("stall", "openai-chat", at=5)) as server:
        run(main, backend)


def test_an_abandoned_stream_lets_go_of_its_connection() -> None:
    async def main() -> None:
        async def read_a_little() -> None:
            async for _ in unbroken.astream(**asking(server)):
                break

        await read_a_little()
        gc.collect()
        await asyncio.sleep(0)
        assert await asyncio.to_thread(server.wait_for_open, 0)

    with FaultServer(reply("stall", "openai-chat", at=5)) as server:
        run(main)


def test_the_account_is_live() -> None:
    gate = Gate()
    frames = body("openai-chat", STORY)

    async def main() -> None:
        async with unbroken.astream(**asking(server)) as stream:
            assert stream.outcome.status == "unconfirmed"
            texts = stream.iter_text()
            assert [await anext(texts) for _ in range(3)] == list(STORY.tokens[:3])
            assert stream.outcome.text == "".join(STORY.tokens[:3])
            gate.open()
            assert "".join([text async for text in texts]) == "".join(STORY.tokens[3:])
        assert stream.outcome.status == "complete"

    with FaultServer(Reply(pieces=[*frames[:4], gate, *frames[4:]])) as server:
        run(main)


def test_many_streams_share_a_client() -> None:
    async def main() -> None:
        async with httpx2.AsyncClient() as client:
            streams = [unbroken.astream(**asking(server, client=client)) for _ in range(20)]
            texts = await asyncio.gather(*(stream.text() for stream in streams))
        assert texts == [STORY.text] * 20

    with FaultServer(good()) as server:
        run(main)
        assert server.wait_for_open(0)


def test_a_blocking_client_is_refused() -> None:
    with (
        httpx2.Client() as client,
        pytest.raises(TypeError, match="must be an httpx2 or httpx AsyncClient"),
    ):
        unbroken.astream("Hi", model="m", client=client)
