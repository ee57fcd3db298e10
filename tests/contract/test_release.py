"""A consumer that leaves lets go of the connection at once, in whatever way it leaves.

Every test looks while the client is still open: closing that would hide a leak.
"""

import asyncio
import gc
import socket
import threading
import time

import anyio
import httpx
import httpx2
import pytest

from tests.contract.rig import (
    CLOCKS,
    client_for,
    guarded,
    model_for,
    options,
    request_for,
    transport_for,
)
from tests.support.bodies import sse_frame
from tests.support.drives import ASYNC_DRIVES, DRIVES, SYNC_DRIVES, Wire
from tests.support.faults import STORY, Break, breaking, reply
from tests.support.faultserver import FaultServer, Reply
from unbroken import Clocks

_PATIENT = Clocks(silence_s=30, progress_text_s=30)
_WITHIN_S = 1.0
# ollama's client takes a transport and not a client, so its drives close it themselves.
_SYNC = tuple(name for name in SYNC_DRIVES if name != "ollama")
_ASYNC = tuple(name for name in ASYNC_DRIVES if name != "ollama-async")
# Where the SDK's own stream object holds itself in a cycle, with or without us; users who break
# out of these and cannot wait for the collector leave by `with stream`.
_CYCLES = (
    "openai-chat",
    "openai-responses",
    "openai-chat-async",
    "openai-responses-async",
    "google-genai-async",
)
_TRIO = tuple(name for name in _ASYNC if DRIVES[name].sdk in ("openai", "anthropic"))


@pytest.fixture(autouse=True, scope="module")
def _quick_collections():
    gc.collect()
    gc.freeze()  # the collector need not look at all that pytest keeps
    yield
    gc.unfreeze()


def _options(mode="heal"):
    return options(mode, clocks=_PATIENT)


def _hanging(name):
    """Twenty tokens, then nothing more, and the connection stays open."""
    return reply("stall", DRIVES[name].dialect, at=20)


def _wire(name, server, client, **more):
    return Wire(
        base_url=server.url, http_client=client, timeout_s=20, request=request_for(name), **more
    )


@pytest.mark.seed("003-dont-leak", "003-do-clean-up")
@pytest.mark.parametrize("mode", ["heal", "raise", "observe"])
@pytest.mark.parametrize("name", _SYNC)
def test_a_plain_break(name, mode):
    told = []
    with FaultServer(_hanging(name)) as server:
        client = client_for(name, _options(mode), on_outcome=told.append)
        drive = DRIVES[name].function(_wire(name, server, client, stop_after=5))
        assert drive.pieces == list(STORY.tokens[:5])
        if name in _CYCLES:
            gc.collect()
        assert server.wait_for_open(0, _WITHIN_S)
        assert [outcome.status for outcome in told] == ["cancelled"]
        server.script = model_for(name)  # the pool can be used again
        assert DRIVES[name].function(_wire(name, server, client)).text == STORY.text
        client.close()


@pytest.mark.parametrize("mode", ["heal", "observe"])
@pytest.mark.parametrize(
    ("name", "backend"),
    [(name, "asyncio") for name in _ASYNC] + [(name, "trio") for name in _TRIO],
)
def test_a_plain_break_in_an_event_loop(name, backend, mode):
    told = []

    async def main(server):
        client = client_for(name, _options(mode), on_outcome=told.append)
        drive = await DRIVES[name].function(_wire(name, server, client, stop_after=5))
        assert drive.pieces == list(STORY.tokens[:5])
        await _closed(server, collect=name in _CYCLES)
        await client.aclose()

    with FaultServer(_hanging(name)) as server:
        anyio.run(main, server, backend=backend)
    assert [outcome.status for outcome in told] == ["cancelled"]


async def _closed(server, *, collect=False):
    with anyio.fail_after(5.0 if collect else _WITHIN_S):
        while server.open_connections:
            await anyio.sleep(0.005)
            if collect:
                gc.collect()


@pytest.mark.parametrize("mode", ["heal", "observe"])
@pytest.mark.parametrize("name", _ASYNC)
def test_a_cancelled_task(name, mode):
    told = []

    async def main(server):
        client = client_for(name, _options(mode), on_outcome=told.append)
        arrived = asyncio.Event()
        wire = _wire(name, server, client, on_text=lambda _: arrived.set())
        task = asyncio.create_task(DRIVES[name].function(wire))
        await arrived.wait()
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await _closed(server)
        server.script = model_for(name)
        again = await DRIVES[name].function(_wire(name, server, client))
        assert again.text == STORY.text
        await client.aclose()

    with FaultServer(_hanging(name)) as server:
        asyncio.run(main(server))
    assert [outcome.status for outcome in told] == ["cancelled", "complete"]


@pytest.mark.parametrize("name", _TRIO)
def test_a_trio_cancel_scope(name):
    told = []

    async def main(server):
        client = client_for(name, _options(), on_outcome=told.append)
        with anyio.move_on_after(0.15) as scope:
            await DRIVES[name].function(_wire(name, server, client))
        assert scope.cancelled_caught
        await _closed(server)
        server.script = model_for(name)
        again = await DRIVES[name].function(_wire(name, server, client))
        assert again.text == STORY.text
        await client.aclose()

    with FaultServer(_hanging(name)) as server:
        anyio.run(main, server, backend="trio")
    assert [outcome.status for outcome in told] == ["cancelled", "complete"]


def test_a_cancelled_wait_before_the_next_attempt():
    """Cancelled while it waits to try again: no request is sent after that."""
    name = "openai-chat-async"

    async def main(server):
        client = client_for(name, _options())
        with anyio.move_on_after(0.3):
            await DRIVES[name].function(_wire(name, server, client))
        sent = len(server.requests)
        await anyio.sleep(0.6)
        assert len(server.requests) == sent
        await client.aclose()

    # the second attempt fails at once, and then comes a pause
    with FaultServer(reply("cut_rst", "openai-chat", at=2)) as server:
        anyio.run(main, server)


# ---------------------------------------------------------------- responses in one's own hands

_REQUEST = {"model": "m", "messages": [], "stream": True}


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_generators_that_are_closed_or_forgotten(library):
    with FaultServer(_hanging("openai-chat")) as server:
        transport = transport_for("openai-chat" if library is httpx2 else "ollama", _options())
        with library.Client(transport=transport) as client:
            url = server.url + "/v1/chat/completions"
            for leave in ("close", "forget", "context"):
                if leave == "context":
                    with client.stream("POST", url, json=_REQUEST) as response:
                        assert next(response.iter_bytes())
                else:
                    request = client.build_request("POST", url, json=_REQUEST)
                    response = client.send(request, stream=True)
                    pieces = response.iter_raw()
                    assert next(pieces)
                    if leave == "close":
                        pieces.close()
                        response.close()
                    del pieces
                del response
                if library is httpx:  # its responses hold themselves in a cycle
                    gc.collect()
                assert server.wait_for_open(0, _WITHIN_S), leave


def test_a_response_that_is_never_read():
    with FaultServer(_hanging("openai-chat")) as server, client_for("openai-chat", _options()) as c:
        request = c.build_request("POST", server.url + "/v1/chat/completions", json=_REQUEST)
        response = c.send(request, stream=True)
        assert server.wait_for_open(1)
        response.close()
        assert server.wait_for_open(0, _WITHIN_S)


@pytest.mark.parametrize("read", [True, False])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_async_response_that_is_forgotten(backend, read):
    told = []

    async def main(server):
        # The one place in the pool must come free each time. (Of a body that was never begun
        # the pool is not told, with or without us.)
        limits = httpx2.Limits(max_connections=1 if read else 3)
        client = client_for("openai-chat-async", _options(), on_outcome=told.append, limits=limits)
        url = server.url + "/v1/chat/completions"
        for _ in range(3):
            request = client.build_request("POST", url, json=_REQUEST)
            response = await client.send(request, stream=True)
            if read:
                assert await anext(response.aiter_raw())
            del response
            await _closed(server, collect=True)
        await client.aclose()

    with FaultServer(_hanging("openai-chat")) as server:
        anyio.run(main, server, backend=backend)
    assert [outcome.status for outcome in told] == ["cancelled"] * 3


# ---------------------------------------------------------------- backpressure

_PIECE = sse_frame({"choices": [{"index": 0, "delta": {"content": "x" * 1000}}]})
_MOST_BYTES = 300_000


def _endless():
    while True:
        yield _PIECE


def _small(name):
    """A transport whose socket holds little."""
    library = httpx2 if DRIVES[name].library == "httpx2" else httpx
    kind = library.AsyncHTTPTransport if DRIVES[name].is_async else library.HTTPTransport
    return kind(socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)])


@pytest.mark.seed("003-memory-backpressure", "003-dont-ignore-backpressure")
@pytest.mark.parametrize("mode", ["heal", "observe"])
def test_a_slow_consumer_stops_the_upstream(mode):
    name = "openai-chat"
    with FaultServer(Reply(pieces=_endless), send_buffer_bytes=16384) as server:
        client = client_for(name, _options(mode), transport=_small(name))
        written = []

        def dawdle(_):
            time.sleep(0.1)
            written.append(server.bytes_written)

        wire = _wire(name, server, client, stop_after=4, on_text=dawdle)
        DRIVES[name].function(wire)
        client.close()
    assert max(written) < _MOST_BYTES, written
    assert written[-1] - written[-2] < 200_000


@pytest.mark.seed("003-dont-ignore-backpressure")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_slow_async_consumer_stops_the_upstream(backend):
    name = "openai-chat-async"

    async def main(server):
        client = client_for(name, _options(), transport=_small(name))
        request = client.build_request("POST", server.url + "/v1/chat/completions", json=_REQUEST)
        response = await client.send(request, stream=True)
        pieces = response.aiter_raw()
        for _ in range(3):
            await anext(pieces)
            await anyio.sleep(0.1)
        assert server.bytes_written < _MOST_BYTES
        await response.aclose()
        await _closed(server)
        await client.aclose()

    with FaultServer(Reply(pieces=_endless), send_buffer_bytes=16384) as server:
        anyio.run(main, server, backend=backend)


# ---------------------------------------------------------------- many at once


@pytest.mark.seed("003-test-concurrent")
@pytest.mark.parametrize("fault", ["cut_rst", "cut_clean", "stall"])
def test_thirty_streams_in_threads(fault):
    name = "openai-chat"
    runs = [None] * 30

    def one(number):
        runs[number] = guarded(name, _breaking_at(name, fault, 2 + number), fault=fault)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [run.drive.text for run in runs] == [STORY.text] * 30
    assert sum(run.leaked for run in runs) == 0


def _breaking_at(name, fault, at):
    return breaking(model_for(name), Break(fault, at=at))


@pytest.mark.seed("003-test-concurrent")
@pytest.mark.parametrize("fault", ["cut_rst", "cut_clean", "stall"])
def test_thirty_streams_in_tasks_over_one_client(fault):
    name = "anthropic-async"
    broken = reply(fault, DRIVES[name].dialect, at=14)
    model = model_for(name)

    def script(request):
        # who asks for the whole answer has not been cut yet
        frames = model.frames(request)
        assert not isinstance(frames, Reply)
        if model.attempts[-1].asked == "whole":
            return broken
        return reply("ok", DRIVES[name].dialect, frames, at=0)

    async def main(server):
        client = client_for(name, options(clocks=CLOCKS))
        wires = [_wire(name, server, client) for _ in range(30)]
        drives = await asyncio.gather(*(DRIVES[name].function(wire) for wire in wires))
        assert [drive.verdict(STORY.text) for drive in drives] == ["ok"] * 30
        await client.aclose()
        await _closed(server)

    with FaultServer(script) as server:
        asyncio.run(main(server))
        assert len(server.requests) == 60
