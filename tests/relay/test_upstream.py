from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.relay.certificates import server_context
from tests.relay.raw import CHUNKED, CLOSE, RawServer, chunk, length, raw_server, reset, sends
from unbroken.relay.messages import RelayRequest, ResponseHead, UpstreamError
from unbroken.relay.upstream import UpstreamClient, UpstreamOptions

REQUEST = RelayRequest(
    method="POST",
    target="/v1/chat%2Fx?key=SECRET",
    headers=[("Authorization", "Bearer SECRET"), ("Accept-Encoding", "gzip"), ("Host", "me")],
    body=b'{"a":1}',
)


def ask(
    url: str, request: RelayRequest = REQUEST, **options: Any
) -> tuple[ResponseHead | None, bytes, UpstreamError | None]:
    """Return the head, all of the body that came, and the failure."""

    async def run() -> tuple[ResponseHead | None, bytes, UpstreamError | None]:
        head, body = None, b""
        async with UpstreamClient(UpstreamOptions(url=url, **options)) as client:
            try:
                answer = await client.ask(request)
                head = answer.head
                while data := await answer.read():
                    body += data
                answer.close()
            except UpstreamError as failure:
                return head, body, failure
            return head, body, None

    return asyncio.run(run())


def test_what_is_sent() -> None:
    with raw_server(sends(length(2), b"ok")) as server:
        head, body, failure = ask(server.url + "/base/")
    assert head is not None
    assert (head.status, head.framing, body, failure) == (200, "length", b"ok", None)
    sent = server.requests[0]
    assert sent.startswith(b"POST /base/v1/chat%2Fx?key=SECRET HTTP/1.1\r\n")
    assert sent.endswith(b'\r\n\r\n{"a":1}')
    lines = {line.lower() for line in sent.split(b"\r\n")}
    assert b"accept-encoding: identity" in lines
    assert b"authorization: bearer secret" in lines
    assert b"content-length: 7" in lines
    assert f"host: 127.0.0.1:{server.port}".encode() in lines
    for name in (b"user-agent", b"accept:", b"content-type"):  # the client said none
        assert not any(line.startswith(name) for line in lines)


@pytest.mark.parametrize("framing", ["length", "one chunk", "many chunks"])
def test_a_body_that_had_to_wait_for_its_reader_comes_whole(framing: str) -> None:
    parts = [bytes([65 + number % 26]) * 1000 for number in range(2000)]
    whole = b"".join(parts)
    if framing == "length":
        script = sends(length(len(whole)), whole)
    elif framing == "one chunk":
        script = sends(CHUNKED, chunk(whole), b"0\r\n\r\n")
    else:
        script = sends(CHUNKED, b"".join(map(chunk, parts)), b"0\r\n\r\n")

    async def run(url: str) -> bytes:
        async with UpstreamClient(UpstreamOptions(url=url)) as client:
            answer = await client.ask(REQUEST)
            body = [await answer.read()]
            await asyncio.sleep(0.2)  # its buffer fills, and the connection is told to pause
            while data := await answer.read():
                body.append(data)
            answer.close()
            return b"".join(body)

    with raw_server(script) as server:
        assert asyncio.run(asyncio.wait_for(run(server.url), 10)) == whole


ENDINGS = {
    "chunked": (sends(CHUNKED, chunk(b"one"), chunk(b"two"), b"0\r\n\r\n"), "chunked", None),
    "chunked-fin": (sends(CHUNKED, chunk(b"one"), chunk(b"two")), "chunked", "incomplete"),
    "chunked-fin-in-chunk": (sends(CHUNKED, b"ff\r\nonetwo"), "chunked", "incomplete"),
    "close": (sends(CLOSE, b"one", b"two"), "close", None),
    "length-fin": (sends(length(9), b"onetwo"), "length", "incomplete"),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_how_a_body_ends_and_all_that_came_before(name: str) -> None:
    script, framing, how = ENDINGS[name]
    with raw_server(script) as server:
        head, body, failure = ask(server.url)
    assert head is not None
    assert (head.framing, body) == (framing, b"onetwo")
    assert (failure.how if failure else None) == how


async def read_while(
    first: bytes, then: Callable[[socket.socket], None]
) -> tuple[bytes, UpstreamError | None]:
    """Let the server go on only when what it said first was read."""
    loop, go = asyncio.get_running_loop(), asyncio.Event()

    def script(connection: socket.socket) -> None:
        connection.sendall(first)
        asyncio.run_coroutine_threadsafe(go.wait(), loop).result(10)
        then(connection)

    body = b""
    with raw_server(script) as server:
        async with UpstreamClient(UpstreamOptions(url=server.url)) as client:
            answer = await client.ask(REQUEST)
            try:
                while data := await answer.read():
                    body += data
                    go.set()
            except UpstreamError as failure:
                return body, failure
    return body, None


@pytest.mark.parametrize("head", [CHUNKED, CLOSE, length(99)], ids=["chunked", "close", "length"])
def test_a_reset_is_told_from_an_end(head: bytes) -> None:
    first = chunk(b"onetwo") if head is CHUNKED else b"onetwo"
    body, failure = asyncio.run(read_while(head + first, reset))
    assert body == b"onetwo"
    assert failure is not None
    assert failure.how == "reset"
    assert str(failure).endswith("reset the connection in the middle of the body")


def test_broken_chunked_framing_is_no_wait_without_end() -> None:
    body, failure = asyncio.run(read_while(CHUNKED + chunk(b"onetwo"), sends(b"zz\r\n")))
    assert body == b"onetwo"
    assert failure is not None
    assert failure.how == "incomplete"


def test_what_came_before_a_failure_is_given_out_also_if_it_is_read_late() -> None:
    async def run(server: RawServer) -> None:
        async with UpstreamClient(UpstreamOptions(url=server.url)) as client:
            answer = await client.ask(REQUEST)
            async with asyncio.timeout(5):
                while answer._response.content.exception() is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            assert await answer.read() == b"onetwo"
            for _ in range(2):
                with pytest.raises(UpstreamError, match="in the middle of the body"):
                    await answer.read()

    with raw_server(sends(CHUNKED, chunk(b"one"), chunk(b"two"))) as server:
        asyncio.run(run(server))


def test_nothing_is_decompressed_followed_or_kept() -> None:
    body = gzip.compress(b"hello")
    head = (
        b"HTTP/1.1 302 Found\r\nLocation: /other\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
        b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    )

    async def run(url: str) -> list[Any]:
        async with UpstreamClient(UpstreamOptions(url=url)) as client:
            found: list[Any] = []
            for _ in range(2):
                answer = await client.ask(REQUEST)
                found += [answer.head, await answer.read()]
            return found

    with raw_server(sends(head, body)) as server:
        first_head, first_body, _, second_body = asyncio.run(run(server.url))
    assert (first_head.status, first_body, second_body) == (302, body, body)
    cookies = [value for name, value in first_head.headers if name.lower() == "set-cookie"]
    assert cookies == ["a=1", "b=2"]
    assert first_head.header("content-encoding") == "gzip"
    assert len(server.requests) == 2
    assert b"cookie" not in server.requests[1].lower()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def test_a_dead_upstream_is_named() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    _, _, failure = ask(url)
    assert failure is not None
    assert (failure.how, str(failure)) == ("unreachable", f"upstream {url}: connection refused")


def test_a_name_that_is_nobodys() -> None:
    _, _, failure = ask("http://nobody.invalid")
    assert failure is not None
    assert (failure.how, failure.detail) == ("unreachable", "there is no host of that name")


FAILURES = {
    "closed": (sends(), {}, "no-answer"),
    "half-a-head": (sends(b"HTTP/1.1 200 OK\r\nContent-"), {}, "no-answer"),
    "not-http": (sends(b"SSH-2.0-OpenSSH_9\r\n\r\n"), {}, "not-http"),
    "silent": (lambda connection: connection.recv(1), {"silence_s": 0.1}, "silent"),
    "reset": (reset, {}, "reset"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_no_answer_is_one_clear_line_without_keys(name: str) -> None:
    script, options, how = FAILURES[name]
    with raw_server(script) as server:
        head, _, failure = ask(server.url, **options)
    assert head is None
    assert failure is not None
    assert (failure.how, failure.address) == (how, server.url)
    assert str(failure).startswith(f"upstream {server.url}: ")
    assert "SECRET" not in str(failure)
    assert "\n" not in str(failure)


def test_silence_in_the_body() -> None:
    script = sends(CHUNKED, chunk(b"one"), then=lambda connection: connection.recv(1))  # type: ignore[arg-type, return-value]
    with raw_server(script) as server:
        _, body, failure = ask(server.url, silence_s=0.1)
    assert body == b"one"
    assert failure is not None
    assert failure.how == "silent"


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    return server_context(tmp_path)


def test_tls(tls: tuple[ssl.SSLContext, Path]) -> None:
    context, authority = tls
    with raw_server(sends(CHUNKED, chunk(b"hi"), b"0\r\n\r\n"), context=context) as server:
        assert ask(server.url, cafile=authority)[1:] == (b"hi", None)
        assert ask(server.url, verify=False)[1:] == (b"hi", None)
        _, _, failure = ask(server.url)
    assert failure is not None
    assert failure.how == "tls"
    assert "its certificate is not good: self" in str(failure)


def test_tls_asked_of_a_server_without() -> None:
    with raw_server(sends(length(2), b"ok"), reads=False) as server:
        _, _, failure = ask(server.url.replace("http://", "https://"))
    assert failure is not None
    assert failure.how == "tls"


def test_a_reader_that_waits_stops_the_upstream() -> None:
    sent = 0

    def flood(connection: socket.socket) -> None:
        nonlocal sent
        connection.sendall(CLOSE)
        connection.settimeout(0.5)
        block = bytes(65536)
        try:
            while sent < 200_000_000:
                sent += connection.send(block)
        except TimeoutError:
            return

    async def run(server: RawServer) -> None:
        async with UpstreamClient(UpstreamOptions(url=server.url)) as client:
            answer = await client.ask(REQUEST)
            await answer.read()
            await asyncio.sleep(0.8)  # the server's own time limit is what ends the test
            answer.close()

    with raw_server(flood) as server:
        asyncio.run(run(server))
    assert sent < 20_000_000  # the sockets' buffers


@pytest.mark.parametrize(
    "url",
    ["", "api.openai.com", "ftp://x", "http://", "http://x:port", "http://u:SECRET@x",
     "https://x/?key=SECRET", "http://[::1", "http://x:0"],
)  # fmt: skip
def test_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is no upstream: write it as https://") as caught:
        UpstreamOptions(url=url)
    assert "SECRET" not in str(caught.value)


def test_certificates_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no file"):
        UpstreamOptions(url="https://x", cafile=tmp_path / "absent.pem")
    (tmp_path / "empty.pem").write_text("nothing\n")
    with pytest.raises(ValueError, match="holds no certificates"):
        ask("https://127.0.0.1:1", cafile=tmp_path / "empty.pem")
