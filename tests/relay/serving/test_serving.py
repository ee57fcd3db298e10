"""The server of our own: requests in, answers out as they come, and each way in which they end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest

from tests.lab.server.bare import connected, read_all, read_until
from unbroken.relay.messages import RelayRequest, ResponseHead
from unbroken.relay.pump import DownstreamLeftError
from unbroken.relay.serving import Reply, ReplyService

GET = b"GET /x?y=%20 HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nX-One: 2\r\n\r\n"
Answer = Callable[[RelayRequest, Reply], Coroutine[Any, Any, None]]


class Served(ReplyService):
    """Answers as a test says, and keeps what was asked."""

    most_body_bytes = 1000

    def __init__(self, answer: Answer) -> None:
        super().__init__(name="served")
        self._said = answer
        self.asked: list[RelayRequest] = []
        self.around_ended = threading.Event()

    @contextlib.asynccontextmanager
    async def around(self) -> AsyncIterator[None]:
        yield
        self.around_ended.set()

    async def answer(self, request: RelayRequest, reply: Reply) -> None:
        self.asked.append(request)
        await self._said(request, reply)


@contextlib.contextmanager
def serving(answer: Answer) -> Iterator[tuple[Served, socket.socket]]:
    with Served(answer) as served, connected(served.port) as client:
        yield served, client


async def whole(request: RelayRequest, reply: Reply) -> None:
    await reply.answer(200, request.body or b"none", "text/plain")


def streamed(end: Callable[[Reply], Coroutine[Any, Any, None]], framing: str = "chunked") -> Answer:
    async def answer(_: RelayRequest, reply: Reply) -> None:
        await reply.start(ResponseHead(status=200, headers=[], framing=framing))  # type: ignore[arg-type]
        await reply.write(b"one")
        await reply.write(b"two")
        await end(reply)

    return answer


def test_a_connection_takes_one_request_after_another() -> None:
    with serving(whole) as (served, client):
        for body in (b"first", b"second"):
            client.sendall(b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body))
            client.sendall(body)
            assert body in read_until(client, body)
        client.sendall(GET + GET)
        got = read_until(client, b"none")
        while got.count(b"none") < 2:
            got += read_until(client, b"none")
    assert served.asked[-1].target == "/x?y=%20"
    assert served.asked[-1].headers[1:] == [("X-One", "1"), ("X-One", "2")]


def test_a_body_is_framed_as_its_head_says_and_ends_as_told() -> None:
    with serving(streamed(lambda reply: reply.end())) as (_, client):
        client.sendall(GET)
        got = read_until(client, b"0\r\n\r\n")
        assert got.endswith(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
    with serving(streamed(lambda reply: reply.end(), "close")) as (_, client):
        client.sendall(GET)
        got, end = read_all(client)
        assert (got.endswith(b"\r\n\r\nonetwo"), end) == (True, "fin")


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_an_answer_may_be_left_unfinished(how: str) -> None:
    with serving(streamed(lambda reply: reply.abort(how))) as (_, client):  # type: ignore[arg-type]
        client.sendall(GET)
        got, end = read_all(client)
    assert got.endswith(b"3\r\none\r\n3\r\ntwo\r\n")
    assert end == how


def test_a_client_that_leaves_is_noticed_in_a_silence() -> None:
    left: list[str] = []
    heard = threading.Event()

    async def answer(_: RelayRequest, reply: Reply) -> None:
        await reply.start(ResponseHead(status=200, headers=[]))
        await reply.left()
        try:
            await reply.write(b"more")
        except DownstreamLeftError:
            left.append("left")
        heard.set()

    with serving(answer) as (_, client):
        client.sendall(GET)
        read_until(client, b"\r\n\r\n")
        client.close()
        assert heard.wait(5)
    assert left == ["left"]


def test_an_answer_that_fails_is_a_reset_and_the_server_lives(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def answer(request: RelayRequest, reply: Reply) -> None:
        if request.target == "/bad?key=secret":
            raise RuntimeError("oh")
        await whole(request, reply)

    with serving(answer) as (served, client):
        client.sendall(GET.replace(b"/x?y=%20", b"/bad?key=secret"))
        assert read_all(client) == (b"", "rst")
        with connected(served.port) as other:
            other.sendall(GET)
            read_until(other, b"none")
    assert "no answer could be made at /bad" in caplog.text
    assert "secret" not in caplog.text.replace("Traceback", "")


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n", b"413"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000, b"431"),
    ],
)
def test_what_cannot_be_taken_is_refused(raw: bytes, status: bytes) -> None:
    with serving(whole) as (_, client):
        client.sendall(raw)
        got, _ = read_all(client)
    assert got.startswith(b"HTTP/1.1 " + status)
    assert b"\r\n\r\nunbroken: " in got


def test_who_waits_for_leave_to_send_gets_it() -> None:
    with serving(whole) as (_, client):
        client.sendall(
            b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        )
        read_until(client, b"HTTP/1.1 100 Continue\r\n\r\n")
        client.sendall(b"ok")
        read_until(client, b"ok")


def test_a_slow_reader_holds_the_writer_back() -> None:
    written: list[int] = []
    done = threading.Event()

    async def answer(_: RelayRequest, reply: Reply) -> None:
        await reply.start(ResponseHead(status=200, headers=[]))
        for _number in range(400):
            await reply.write(b"x" * 65536)
            written.append(1)
        await reply.end()
        done.set()

    with serving(answer) as (_, client):
        client.sendall(GET)
        assert not done.wait(0.5)
        assert len(written) < 400
        read_until(client, b"0\r\n\r\n")
        assert done.wait(5)


def test_its_end_cancels_what_runs_and_closes_what_is_open() -> None:
    cancelled = threading.Event()
    started = threading.Event()

    async def answer(_: RelayRequest, reply: Reply) -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    served = Served(answer).start()
    with connected(served.port) as client:
        client.sendall(GET)
        assert started.wait(5)
        assert served.open_connections == 1
        served.close()
        served.close()
        assert cancelled.is_set()
        assert served.around_ended.is_set()
        assert read_all(client)[0] == b""
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", served.port), timeout=5)


def test_what_fails_at_the_start_is_heard_where_it_was_started() -> None:
    class Failing(Served):
        @contextlib.asynccontextmanager
        async def around(self) -> AsyncIterator[None]:
            raise ValueError("no good")
            yield

    with pytest.raises(ValueError, match="no good"):
        Failing(whole).start()
    with Served(whole) as first:
        other = Served(whole)
        other.port = first.port
        with pytest.raises(OSError, match="in use"):
            other.start()


def test_it_needs_no_aiohttp() -> None:
    code = "import sys, unbroken.relay.serving; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
