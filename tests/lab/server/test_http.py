"""The HTTP layer: what is read, how it is framed, and each way in which it ends."""

from __future__ import annotations

import itertools
import queue
import socket
import time
from collections.abc import Iterable, Iterator

import pytest

from tests.lab.server.bare import Bare, connected, read_all, read_until
from unbroken.lab.parts import Head, Part, Pause, Piece, Stop
from unbroken.lab.server.http import MOST_BODY_BYTES, Request
from unbroken.lab.server.sending import Answer

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"


class Scripted:
    """Answers every request with the same parts, and notes what happened."""

    def __init__(self, parts: Iterable[Part], **head: object) -> None:
        self.parts = list(parts) if isinstance(parts, list) else parts
        self.head = head
        self.requests: list[Request] = []
        self.sent: list[bytes] = []
        self.ended: queue.Queue[str] = queue.Queue()
        self.late_s: list[float] = []

    def __call__(self, request: Request) -> Answer:
        self.requests.append(request)
        return Answer(
            head=Head(**self.head),  # type: ignore[arg-type]
            parts=iter(self.parts),
            whole_bytes=12,
            sent=lambda piece: self.sent.append(piece.data),
            late=self.late_s.append,
            ended=self.ended.put,
        )


def ask(script: Scripted, request: bytes = GET, *, close: bool = True) -> tuple[bytes, bytes, str]:
    """Return head, body, and how the connection ended."""
    if close:
        request = request.replace(b"Host: a\r\n", b"Host: a\r\nConnection: close\r\n")
    with Bare(script) as server, connected(server.port) as client:
        client.sendall(request)
        got, end = read_all(client)
    head, _, body = got.partition(b"\r\n\r\n")
    return head, body, end


def hello() -> list[Part]:
    return [Piece(b"hello "), Piece(b"world!")]


def test_a_chunked_body_ends_properly() -> None:
    script = Scripted(hello(), headers={"x-a": "b\r\nc"})
    head, body, end = ask(script)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nx-a: b  c\r\n" in head  # no header can be smuggled in
    assert b"transfer-encoding: chunked" in head
    assert body == b"6\r\nhello \r\n6\r\nworld!\r\n0\r\n\r\n"
    assert end == "fin"
    assert script.ended.get(timeout=5) == "whole"
    assert script.sent == [b"hello ", b"world!"]


@pytest.mark.parametrize(
    ("how", "tail", "end"),
    [("clean", b"0\r\n\r\n", "fin"), ("fin", b"", "fin"), ("rst", b"", "rst")],
)
def test_a_chunked_body_is_cut(how: str, tail: bytes, end: str) -> None:
    script = Scripted([Piece(b"hello "), Stop(how), Piece(b"never")])  # type: ignore[arg-type]
    _, body, ended = ask(script, close=False) if how != "clean" else ask(script)
    assert (body, ended) == (b"6\r\nhello \r\n" + tail, end)
    assert script.ended.get(timeout=5) == how


def test_a_close_delimited_body_has_no_framing() -> None:
    head, body, end = ask(Scripted(hello(), framing="close"), close=False)
    assert (body, end) == (b"hello world!", "fin")
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head


def test_a_body_of_known_length() -> None:
    head, body, _ = ask(Scripted(hello(), framing="length"))
    assert b"content-length: 12" in head
    assert body == b"hello world!"


@pytest.mark.parametrize(("how", "said"), [("clean", 6), ("fin", 12), ("rst", 12)])
def test_a_body_of_known_length_is_cut(how: str, said: int) -> None:
    script = Scripted([Piece(b"hello "), Stop(how)], framing="length")  # type: ignore[arg-type]
    head, body, end = ask(script)
    assert f"content-length: {said}".encode() in head
    assert body == b"hello "
    assert end == ("rst" if how == "rst" else "fin")


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_a_connection_is_closed_without_a_byte(how: str) -> None:
    parts: list[Part] = [Piece(b"lost"), Stop("rst")] if how == "rst" else [Piece(b"lost")]
    script = Scripted(parts, status=None)
    assert ask(script, close=False) == (b"", b"", how)
    assert script.ended.get(timeout=5) == how
    assert script.sent == []


def test_a_raw_answer_is_all_that_is_written() -> None:
    script = Scripted([Piece(b"HTTP/1.1 2"), Piece(b"00 Fine\r\n\r\nx")], framing="raw")
    assert ask(script, close=False) == (b"HTTP/1.1 200 Fine", b"x", "fin")
    assert script.ended.get(timeout=5) == "whole"


def test_a_wrong_length_is_sent_as_it_is() -> None:
    head, body, _ = ask(Scripted(hello(), framing="length", headers={"content-length": "3"}))
    assert b"content-length: 3\r\n" in head
    assert body == b"hello world!"


def test_an_endless_body_of_known_length_is_chunked() -> None:
    script = Scripted((Piece(b"x") for _ in itertools.count()), framing="length")
    with Bare(script) as server, connected(server.port) as client:
        client.sendall(GET)
        got = read_until(client, b"1\r\nx\r\n" * 20_000)
    assert b"transfer-encoding: chunked" in got
    assert b"content-length" not in got


def test_a_client_of_http_1_0_gets_no_chunks() -> None:
    head, body, end = ask(Scripted(hello()), b"GET / HTTP/1.0\r\n\r\n")
    assert (body, end) == (b"hello world!", "fin")
    assert b"transfer-encoding" not in head


def test_a_head_request_gets_no_body() -> None:
    head, body, _ = ask(Scripted(hello()), GET.replace(b"GET", b"HEAD"))
    assert (head[:15], body) == (b"HTTP/1.1 200 OK", b"")


def test_a_status_that_is_nobodys() -> None:
    head, _, _ = ask(Scripted([], status=529))
    assert head.startswith(b"HTTP/1.1 529 Overloaded\r\n")


def test_a_connection_is_kept_and_requests_may_come_at_once() -> None:
    script = Scripted(hello())
    with Bare(script) as server, connected(server.port) as client:
        for _ in range(2):
            client.sendall(GET)
            read_until(client, b"0\r\n\r\n")
        client.sendall(GET * 3)
        got = b""
        while got.count(b"0\r\n\r\n") < 3:
            got += client.recv(65536)
    assert len(script.requests) == 5


def test_a_body_comes_in_whole() -> None:
    script = Scripted([])
    ask(
        script,
        b"POST /a?b=c HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nx-a: 2\r\nTransfer-Encoding: chunked\r\n"
        b"\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    )
    (request,) = script.requests
    assert (request.method, request.path, request.body) == ("POST", "/a?b=c", b"abcde")
    assert request.headers["x-a"] == "1, 2"


def test_the_absolute_form_of_proxies() -> None:
    script = Scripted([])
    ask(script, b"GET http://h:1/a?b HTTP/1.1\r\nHost: a\r\n\r\n")
    assert script.requests[0].path == "/a?b"


def test_who_waits_is_told_to_go_on() -> None:
    script = Scripted(hello())
    with Bare(script) as server, connected(server.port) as client:
        client.sendall(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        )
        assert read_until(client, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"ab")
        assert read_until(client, b"0\r\n\r\n").startswith(b"HTTP/1.1 200 OK")
    assert script.requests[0].body == b"ab"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100_000, 431),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (MOST_BODY_BYTES + 1), 413),
    ],
    ids=["nonsense", "no host", "large head", "large body"],
)
def test_what_cannot_be_read_is_refused(request_: bytes, status: int) -> None:
    script = Scripted(hello())
    head, body, end = ask(script, request_, close=False)
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert body.startswith(b"lab: ")
    assert body.count(b"\n") == 1
    assert end == "fin"
    assert not script.requests


def test_a_failure_of_ours_is_a_500() -> None:
    def fail(request: Request) -> Answer:
        raise RuntimeError

    with Bare(fail) as server, connected(server.port) as client:
        client.sendall(GET)
        got, _ = read_all(client)
    assert got.startswith(b"HTTP/1.1 500 ")


def test_a_failure_in_the_body_is_a_reset() -> None:
    def parts() -> Iterator[Part]:
        yield Piece(b"a")
        raise RuntimeError

    script = Scripted(parts())
    _, body, end = ask(script)
    assert (body, end) == (b"1\r\na\r\n", "rst")
    assert script.ended.get(timeout=5) == "rst"


def test_each_piece_is_a_write_of_its_own_and_at_its_time() -> None:
    parts: list[Part] = [Piece(b"%d" % n, pace_s=0.1) for n in range(5)]
    script = Scripted(parts, framing="close")
    with Bare(script) as server, connected(server.port) as client:
        began = time.monotonic()
        client.sendall(GET)
        read_until(client, b"\r\n\r\n")
        reads = [(client.recv(100), time.monotonic() - began) for _ in range(5)]
    assert [data for data, _ in reads] == [b"0", b"1", b"2", b"3", b"4"]
    for number, (_, at_s) in enumerate(reads, 1):
        assert 0.1 * number - 0.01 < at_s < 0.1 * number + 0.25


@pytest.mark.parametrize("parts", [[Pause(None)], [Pause(60.0)], [Piece(b"x", pace_s=60.0)]])
def test_a_client_that_leaves_in_a_pause_is_noticed_at_once(parts: list[Part]) -> None:
    script = Scripted([Piece(b"a"), *parts])
    with Bare(script) as server:
        with connected(server.port) as client:
            client.sendall(GET)
            read_until(client, b"\r\n1\r\na\r\n")
        left = time.monotonic()
        assert script.ended.get(timeout=5) == "left"
        assert time.monotonic() - left < 1


def test_an_endless_body_neither_fills_memory_nor_starves_others() -> None:
    taken = itertools.count()
    endless = (Piece(b"x" * 1000 + b"%d" % next(taken)) for _ in itertools.count())
    script = Scripted(endless)
    with Bare(lambda r: script(r) if r.path == "/x" else Scripted(hello())(r)) as server:
        with connected(server.port) as slow:
            slow.sendall(GET)
            read_until(slow, b"xxx")  # and no more: the buffers fill
            with connected(server.port) as other:
                other.sendall(GET.replace(b"/x", b"/y"))
                assert b"world!" in read_until(other, b"0\r\n\r\n")
            before = -1
            while before != len(script.sent):
                before = len(script.sent)
                time.sleep(0.2)
            assert len(script.sent) < 20_000  # what the kernel buffers, and 64 KiB
            sent = len(script.sent)
            slow.settimeout(5)
            got = 0
            while got < sent * 1100:
                got += len(slow.recv(1 << 20))  # it goes on when there is room
            assert len(script.sent) > sent
        assert script.ended.get(timeout=5) == "left"


def test_a_reader_that_is_slow_is_no_lateness_of_ours() -> None:
    script = Scripted([Piece(b"x" * 200_000, pace_s=0.005) for _ in range(100)], framing="close")
    with Bare(script) as server, connected(server.port) as client:
        client.sendall(GET)
        client.recv(10)
        time.sleep(1)
        read_all(client)
    assert script.late_s[0] < 0.4


def test_falling_behind_is_told() -> None:
    def parts() -> Iterator[Part]:
        for _ in range(5):
            time.sleep(0.1)  # the machine is busy
            yield Piece(b"x", pace_s=0.001)

    script = Scripted(parts())
    ask(script)
    assert 0.3 < script.late_s[0] < 1.5


def test_what_is_sent_ahead_is_bounded() -> None:
    script = Scripted([Pause(None)])
    with Bare(script) as server, connected(server.port) as client:
        client.sendall(GET)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            client.sendall(b"x" * 20_000_000)
        assert script.ended.get(timeout=5) == "left"


def test_a_fin_stays_a_fin_for_who_sends_on() -> None:
    """A socket closed with unread bytes in it would send a reset."""
    script = Scripted([Piece(b"a" * 1000), Stop("fin")])
    with Bare(script) as server, connected(server.port) as client:
        client.sendall(GET)
        client.sendall(b"more")
        assert read_all(client)[1] == "fin"


def test_nothing_stays_open() -> None:
    script = Scripted([Pause(None)])
    with Bare(script) as server:
        clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
        for client in clients:
            client.sendall(GET)
        for client in clients:
            client.close()
        ended = [script.ended.get(timeout=5) for _ in clients]
        deadline = time.monotonic() + 5
        while server.connections and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not server.connections
    assert ended == ["left"] * 20
