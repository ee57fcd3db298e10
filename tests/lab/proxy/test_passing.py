"""What no plan names passes byte for byte, in its time, and ends as it ended."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.lab.proxy.rig import BODY, FRAMES, ask, entries, request_bytes, until
from tests.relay.certificates import server_context
from tests.relay.raw import (
    CHUNKED,
    CLOSE,
    chunk,
    left_by_peer,
    length,
    raw_server,
    reset,
    sends,
)
from unbroken.lab.proxy.app import FaultProxy

WHOLE = sends(CHUNKED, *map(chunk, FRAMES), b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("script", "framing"),
    [
        (WHOLE, "chunked"),
        (sends(CLOSE, BODY), "close"),
        (sends(length(len(BODY)), BODY), "length"),
    ],
    ids=["chunked", "close", "length"],
)
def test_bytes_and_framing_pass(script, framing) -> None:
    with raw_server(script) as server, FaultProxy(server.url) as proxy:
        seen = ask(proxy.port)
        [entry] = entries(proxy)
    assert (seen.status, seen.body, seen.closed, seen.ending) == (200, BODY, True, "fin")
    assert seen.header("transfer-encoding") == (["chunked"] if framing == "chunked" else [])
    assert seen.header("content-length") == ([str(len(BODY))] if framing == "length" else [])
    assert (entry.went, entry.sent_bytes, entry.read_bytes) == ("whole", len(BODY), len(BODY))
    assert entry.plan == ""


def test_any_bytes_pass_also_where_a_plan_has_nothing_for_this_attempt() -> None:
    body = bytes(range(256)) * 300
    with (
        raw_server(sends(length(len(body)), body)) as server,
        FaultProxy(server.url, "ok,cut@1") as proxy,
    ):
        assert [len(ask(proxy.port).body) for _ in range(3)] == [len(body), 1, len(body)]


def test_request_passes_with_its_keys_and_without_what_is_ours() -> None:
    with raw_server(WHOLE) as server, FaultProxy(server.url + "/base") as proxy:
        headers = {"Authorization": "Bearer k", "X-Lab-Plan": "ok", "anthropic-version": "1"}
        ask(proxy.port, "/v1/messages?beta=true", body=b'{"a": 1}', headers=headers)
    [sent] = server.requests
    assert sent.startswith(b"POST /base/v1/messages?beta=true HTTP/1.1\r\n")
    assert sent.endswith(b'\r\n\r\n{"a": 1}')
    assert b"Authorization: Bearer k\r\n" in sent
    assert b"anthropic-version: 1\r\n" in sent
    assert b"lab" not in sent.lower()


def test_set_cookie_comes_twice_and_a_redirect_is_the_clients() -> None:
    head = b"HTTP/1.1 307 Away\r\nLocation: /b\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
    with (
        raw_server(sends(head + b"Content-Length: 0\r\n\r\n")) as server,
        FaultProxy(server.url) as proxy,
    ):
        seen = ask(proxy.port)
    assert (seen.head.split(b"\r\n")[0], seen.header("location")) == (b"HTTP/1.1 307 Away", ["/b"])
    assert seen.header("set-cookie") == ["a=1", "b=2"]


def test_compressed_passes_as_it_is() -> None:
    packed = gzip.compress(BODY)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    with raw_server(sends(head, packed)) as server, FaultProxy(server.url) as proxy:
        seen = ask(proxy.port)
    assert (seen.body, seen.header("content-encoding")) == (packed, ["gzip"])


def test_head_and_bodiless_answers() -> None:
    with (
        raw_server(sends(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")) as server,
        FaultProxy(server.url, "cut@1") as proxy,
    ):
        seen = ask(proxy.port, "/v1/models", method="HEAD")
    assert (seen.status, seen.wire, seen.header("content-length")) == (200, b"", ["5"])


def test_one_connection_serves_many_requests() -> None:
    with (
        raw_server(WHOLE) as server,
        FaultProxy(server.url) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as connection,
    ):
        for _ in range(3):
            connection.sendall(request_bytes().replace(b"Connection: close\r\n", b""))
            received = b""
            while not received.endswith(b"0\r\n\r\n"):
                received += connection.recv(65536)
    assert len(server.requests) == 3


@pytest.mark.parametrize("plan", ["", "cut@19t"])
def test_each_frame_leaves_as_it_came(plan: str) -> None:
    """The server says the next frame only when the client has the one before it."""
    turn = threading.Semaphore(0)

    def script(connection: socket.socket) -> None:
        connection.sendall(CHUNKED)
        for piece in FRAMES[:15]:
            connection.sendall(chunk(piece))
            if not turn.acquire(timeout=5):
                return
        connection.sendall(b"0\r\n\r\n")

    with (
        raw_server(script) as server,
        FaultProxy(server.url, plan) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as connection,
    ):
        connection.sendall(request_bytes())
        received = b""
        for piece in FRAMES[:15]:
            while piece not in received:
                received += connection.recv(65536)
            turn.release()
        while not received.endswith(b"0\r\n\r\n"):
            received += connection.recv(65536)


@pytest.mark.parametrize("plan", ["", "cut@19t"])
@pytest.mark.parametrize(
    ("head", "how", "ending", "closed"),
    [
        (CHUNKED, reset, "rst", False),
        (CHUNKED, socket.socket.close, "fin", False),
        (CHUNKED, sends(b"zz\r\n"), "fin", False),
        (CHUNKED, sends(b"ff\r\ndata: {"), "fin", False),
        (CLOSE, reset, "rst", True),
        (CLOSE, socket.socket.close, "fin", True),
    ],
    ids=["rst", "fin", "no-chunk", "fin-in-frame", "close-rst", "close-fin"],
)
def test_an_upstream_that_dies_is_shown_as_it_died(head, how, ending, closed, plan) -> None:
    go = threading.Event()

    def script(connection: socket.socket) -> None:
        data = b"".join(FRAMES[:3])
        connection.sendall(head + (chunk(data) if head is CHUNKED else data))
        go.wait(5)
        how(connection)

    with raw_server(script) as server, FaultProxy(server.url, plan) as proxy:
        received, seen_ending = b"", "fin"
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as connection:
            connection.sendall(request_bytes())
            while FRAMES[2] not in received:
                received += connection.recv(65536)
            go.set()
            try:
                while data := connection.recv(65536):
                    received += data
            except ConnectionResetError:
                seen_ending = "rst"
        [entry] = entries(proxy)
    assert seen_ending == ending
    assert not received.endswith(b"0\r\n\r\n")
    if how is reset:
        assert entry.went == "upstream-reset"
        assert "reset the connection" in entry.failure
    elif head is CHUNKED:
        assert entry.went == "upstream-incomplete"
    else:
        assert entry.went == "whole"  # nobody could know


@pytest.mark.parametrize("plan", ["", "stall@2t"])
def test_a_client_that_leaves_closes_the_upstream(plan: str) -> None:
    left = threading.Event()

    def script(connection: socket.socket) -> None:
        connection.sendall(CHUNKED + chunk(b"".join(FRAMES[:5])))
        if left_by_peer(connection):
            left.set()

    with raw_server(script) as server, FaultProxy(server.url, plan) as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as connection:
            connection.sendall(request_bytes())
            received = b""
            while FRAMES[1] not in received:
                received += connection.recv(65536)
            assert not left.is_set()
        assert left.wait(1)
        assert entries(proxy)[0].went == "left"
        assert until(lambda: proxy.open_connections == 0)


def test_a_client_that_leaves_before_the_head_closes_the_upstream() -> None:
    asked, left = threading.Event(), threading.Event()

    def script(connection: socket.socket) -> None:
        asked.set()
        if left_by_peer(connection):
            left.set()

    with raw_server(script) as server, FaultProxy(server.url) as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as connection:
            connection.sendall(request_bytes())
            assert asked.wait(5)
        assert left.wait(1)
        assert entries(proxy)[0].went == "left"


def test_a_cut_closes_the_upstream() -> None:
    left = threading.Event()

    def script(connection: socket.socket) -> None:
        connection.sendall(CHUNKED + chunk(b"".join(FRAMES[:5])))
        if left_by_peer(connection):
            left.set()

    with raw_server(script) as server, FaultProxy(server.url, "cut@2t") as proxy:
        assert ask(proxy.port).body == b"".join(FRAMES[:2])
        assert left.wait(1)


@pytest.mark.parametrize("plan", ["", "cut@1000t"])
def test_a_slow_reader_stops_the_upstream(plan: str) -> None:
    sent = 0
    stuck = threading.Event()

    def flood(connection: socket.socket) -> None:
        nonlocal sent
        connection.sendall(CLOSE)
        connection.settimeout(0.5)
        block = b": " + bytes(65532) + b"\n\n"
        try:
            while sent < 300_000_000:
                sent += connection.send(block)
        except TimeoutError:
            stuck.set()

    with (
        raw_server(flood) as server,
        FaultProxy(server.url, plan) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as connection,
    ):
        connection.sendall(request_bytes())
        assert stuck.wait(20)
    assert sent < 40_000_000  # the buffers of four sockets, and two small ones of ours


def test_tls_upstream(tmp_path: Path) -> None:
    context, authority = server_context(tmp_path)
    with raw_server(WHOLE, context=context) as server:
        with FaultProxy(server.url, "cut.rst@3t", cafile=authority) as proxy:
            cut, whole = ask(proxy.port), ask(proxy.port)
        with FaultProxy(server.url, verify=False) as proxy:
            assert ask(proxy.port).body == BODY
        with FaultProxy(server.url) as proxy:
            refused = ask(proxy.port)
    assert (cut.body, cut.ending) == (b"".join(FRAMES[:3]), "rst")
    assert whole.body == BODY
    assert refused.status == 502
    assert b"its certificate is not good" in refused.body


def test_a_dead_upstream_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with FaultProxy(url) as proxy:
        seen = ask(proxy.port, "/v1/messages")
        [entry] = entries(proxy)
    assert seen.status == 502
    assert b'"type":"error"' in seen.body.replace(b" ", b"")  # in Anthropic's own shape
    assert f"upstream {url}: connection refused".encode() in seen.body
    assert (entry.went, entry.failure) == ("unanswered", f"upstream {url}: connection refused")


def test_closing_does_not_wait_for_open_answers() -> None:
    stay = threading.Event()
    script = sends(CHUNKED, chunk(FRAMES[0]), then=lambda _: stay.wait(20) and None)
    with raw_server(script) as server, FaultProxy(server.url) as proxy:
        connection = socket.create_connection(("127.0.0.1", proxy.port), timeout=10)
        connection.sendall(request_bytes())
        assert connection.recv(10)
        began = time.monotonic()
        proxy.close()
        assert time.monotonic() - began < 1
        connection.close()
        stay.set()


def test_serve_in_a_loop_that_is_there() -> None:
    async def run(url: str) -> bytes:
        proxy = FaultProxy(url)
        ready = asyncio.Event()
        serving = asyncio.create_task(proxy.serve(ready.set))
        await ready.wait()
        seen = await asyncio.to_thread(ask, proxy.port)
        proxy.close()
        await asyncio.wait_for(serving, 2)
        return seen.body

    with raw_server(WHOLE) as server:
        assert asyncio.run(run(server.url)) == BODY
