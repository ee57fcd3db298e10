"""Hostile clients, over real sockets: each is refused, and none is let to hold anything."""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("httptools")
pytest.importorskip("uvloop")

from tests.gateway.http_server import Server, rest, serving
from unbroken.gateway import http, http_limits
from unbroken.gateway.http_limits import HttpLimits

POST = b"POST /v1/ok HTTP/1.1\r\nHost: a\r\n"
GET = b"GET /v1/ok HTTP/1.1\r\nHost: a\r\n\r\n"
SECOND = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
LIMITS = HttpLimits(
    max_head_bytes=4096, max_line_bytes=1024, max_headers=20, head_s=0.3, body_idle_s=0.3,
    keep_alive_s=0.3, write_stall_s=0.5,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_limits, "_SWEEP_S", 0.05)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(LIMITS) as running:
        yield running


def until(true: Callable[[], object], limit_s: float = 5) -> None:
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def wait_for_head(sock: socket.socket, what: bytes = b"\r\n\r\n") -> bytes:
    got = b""
    while what not in got:
        data = sock.recv(65536)
        assert data, got
        got += data
    return got


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


# ------------------------------------------------------------ what is refused

REFUSED = {
    "both framings": (400, POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "both framings, other order": (
        400, POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
    "two lengths": (400, POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    "the same length twice": (400, POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    "a list of lengths": (400, POST + b"Content-Length: 5, 5\r\n\r\nhello"),
    "a signed length": (400, POST + b"Content-Length: +5\r\n\r\nhello"),
    "a negative length": (400, POST + b"Content-Length: -1\r\n\r\n"),
    "a length beyond counting": (400, POST + b"Content-Length: 99999999999999999999999\r\n\r\n"),
    "an unknown coding": (400, POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    "a coding before chunked": (400, POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    "two codings": (
        400, POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
    "a space before the colon": (400, POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    "a tab in a name": (400, POST + b"Transfer\tEncoding: chunked\r\n\r\n0\r\n\r\n"),
    "a vertical tab": (400, POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    "chunked to HTTP/1.0": (
        400, b"POST /v1/ok HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "obs-fold": (400, POST + b"X-A: a\r\n b\r\n\r\n"),
    "a folded coding": (400, POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    "bare LF": (400, b"GET /v1/ok HTTP/1.1\nHost: a\n\n"),
    "bare LF in a header": (400, b"GET /v1/ok HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"),
    "bare CR in a header": (400, b"GET /v1/ok HTTP/1.1\r\nHost: a\rX: b\r\n\r\n"),
    "NUL in a header": (400, b"GET /v1/ok HTTP/1.1\r\nHost: a\0b\r\n\r\n"),
    "an empty name": (400, b"GET /v1/ok HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n"),
    "two hosts": (400, b"GET /v1/ok HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    "no host": (400, b"GET /v1/ok HTTP/1.1\r\n\r\n"),
    "a whole URL": (400, b"GET http://b/v1/ok HTTP/1.1\r\nHost: a\r\n\r\n"),
    "CONNECT": (400, b"CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n"),
    "a fragment": (400, b"GET /v1/ok#x HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a raw byte in the target": (400, b"GET /v1/\xff HTTP/1.1\r\nHost: a\r\n\r\n"),
    "HTTP/2 without asking": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "TLS": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64),
    "a long target": (414, b"GET /" + b"a" * 2000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a target without end": (414, b"GET /" + b"a" * 2000),
    "a large header": (431, POST + b"X-A: " + b"a" * 5000 + b"\r\n\r\n"),
    "a header without end": (431, POST + b"X-A: " + b"a" * 9000),
    "a name without end": (431, POST + b"a" * 9000),
    "large headers": (431, POST + b"X-A: " * 1 + b"a" * 3000 + b"\r\nX-B: " + b"b" * 3000
                      + b"\r\n\r\n"),
    "many headers": (431, POST + b"X-A: b\r\n" * 30 + b"\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("bytewise", [False, True], ids=["at once", "in pieces"])
def test_what_can_be_read_in_two_ways_is_refused(server: Server, case: str, bytewise: bool) -> None:
    status, sent = REFUSED[case]
    pieces = [sent[i : i + 97] for i in range(0, len(sent), 97)] if bytewise else [sent]
    answer = b""
    with server.connect() as sock, contextlib.suppress(ConnectionError):
        for piece in pieces:
            sock.sendall(piece)
        if not bytewise:
            sock.sendall(SECOND)  # what follows is never read as a request
        answer = rest(sock)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:80]
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answer
    assert not [r for r in server.seen if r["whole"] or r["path"] == "/smuggled"]


BAD_BODIES = {
    "a chunk that ends in LF": b"5\nhello\r\n0\r\n\r\n",
    "a chunk longer than said": b"5\r\nhelloX\r\n0\r\n\r\n",
    "a size in C's notation": b"0x5\r\nhello\r\n0\r\n\r\n",
    "a negative size": b"-5\r\nhello\r\n0\r\n\r\n",
    "a size beyond counting": b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "a space in the size": b"5 \r\nhello\r\n0\r\n\r\n",
    "a bad trailer": b"0\r\nX Y: b\r\n\r\n",
    "a large trailer": b"0\r\nX: " + b"a" * 5000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("case", BAD_BODIES)
def test_bad_chunks_are_refused(server: Server, case: str) -> None:
    head = POST + b"Transfer-Encoding: chunked\r\n\r\n"
    answer = server.talk(head + BAD_BODIES[case] + SECOND)
    status = 431 if case == "a large trailer" else 400
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:80]
    assert not [r for r in server.seen if r["whole"] or r["path"] == "/smuggled"]


def test_trailers_do_not_become_headers(server: Server) -> None:
    head = POST + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    answer = server.talk(head + b"5\r\nhello\r\n0\r\nAuthorization: Bearer x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert server.seen[0]["body"] == b"hello"
    assert b"authorization" not in dict(server.seen[0]["after"])


def test_a_refusal_is_not_logged_for_each_client(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        server.talk(REFUSED["two hosts"][1])
    assert not caplog.records
    assert server.sweeper.refused == {"bad-host": 1}


# ------------------------------------------------------------ what takes its time


def test_a_head_that_drips_is_ended(server: Server) -> None:
    began = time.monotonic()
    with server.connect() as sock:
        got = b""
        with contextlib.suppress(ConnectionError):
            for byte in POST:
                sock.sendall(bytes([byte]))
                time.sleep(0.05)
        with contextlib.suppress(ConnectionError):
            got = rest(sock)
    assert got == b"" or got.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - began < 3
    assert server.sweeper.refused == {"slow-head": 1}
    assert server.seen == []


def test_a_connection_that_says_nothing_is_ended(server: Server) -> None:
    with server.connect() as sock:
        assert rest(sock) == b""
    until(lambda: server.connections == 0)


def test_a_body_that_stops_is_ended(server: Server) -> None:
    answer = server.talk(POST + b"Content-Length: 100\r\n\r\nhalf")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert server.seen[0]["whole"] is False


def test_bytes_sent_fast_buy_no_silence(server: Server) -> None:
    began = time.monotonic()
    answer = server.talk(POST + b"Content-Length: 100000\r\n\r\n" + b"x" * 50_000)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - began < 3


def test_a_body_that_was_fast_and_then_drips_is_ended(server: Server) -> None:
    with server.connect() as sock, contextlib.suppress(ConnectionError):
        sock.sendall(POST + b"Content-Length: 900000\r\n\r\n" + b"x" * 60_000)
        for _ in range(60):
            sock.sendall(b"x")
            time.sleep(0.05)
    assert server.sweeper.refused == {"slow-body": 1}


def test_a_body_that_drips_is_ended(server: Server) -> None:
    with server.connect() as sock, contextlib.suppress(ConnectionError):
        sock.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(100):
            sock.sendall(b"1\r\nx\r\n")
            time.sleep(0.05)
    assert server.sweeper.refused == {"slow-body": 1}


def test_a_body_of_framing_is_ended(server: Server) -> None:
    with server.connect() as sock, contextlib.suppress(ConnectionError):
        sock.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n1;a=")
        for _ in range(100):
            sock.sendall(b"b" * 1024)
            time.sleep(0.002)
    until(lambda: server.sweeper.refused == {"bad-framing": 1})


def test_an_idle_connection_is_closed(server: Server) -> None:
    answer = server.talk(GET)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" not in answer


def test_too_many_connections_get_503_at_once() -> None:
    with serving(HttpLimits(max_connections=3, head_s=30)) as server:
        held = [server.connect() for _ in range(3)]
        until(lambda: server.connections == 3)
        began = time.monotonic()
        answer = server.talk(GET)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1" in answer
        assert time.monotonic() - began < 1
        held.pop().close()
        until(lambda: server.connections < 3)
        with server.connect() as sock:
            sock.sendall(GET)
            assert wait_for_head(sock).startswith(b"HTTP/1.1 200 ")
        for sock in held:
            sock.close()


# ------------------------------------------------------------ what must work


def test_requests_follow_each_other(server: Server) -> None:
    with server.connect() as sock:
        for _ in range(3):
            sock.sendall(POST + b"Content-Length: 5\r\n\r\nhello")
            assert wait_for_head(sock, b"ok").startswith(b"HTTP/1.1 200 ")
    assert [r["body"] for r in server.seen] == [b"hello"] * 3


def test_a_body_in_many_pieces_arrives_whole(server: Server) -> None:
    with server.connect() as sock:
        sock.sendall(POST + b"Content-Length: 300000\r\n\r\n")
        for _ in range(300):
            sock.sendall(b"x" * 1000)
        wait_for_head(sock, b"ok")
    assert server.seen[0]["body"] == b"x" * 300_000


def test_expect_continue(server: Server) -> None:
    with server.connect() as sock:
        sock.sendall(POST + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert wait_for_head(sock) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"hi")
        assert wait_for_head(sock, b"ok").startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 5\r\n\r\nhello",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ],
    ids=["length", "chunked"],
)
def test_a_wish_for_another_protocol_is_left_out(server: Server, body: bytes) -> None:
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n"
    with server.connect() as sock:
        sock.sendall(POST + upgrade + body)
        assert wait_for_head(sock, b"ok").startswith(b"HTTP/1.1 200 ")
        sock.sendall(GET)
        assert wait_for_head(sock, b"ok").startswith(b"HTTP/1.1 200 ")
    assert [r["body"] for r in server.seen] == [b"hello", b""]
    assert b"upgrade" not in dict(server.seen[0]["headers"])


def test_a_body_behind_an_upgrade_is_never_a_request(server: Server) -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    length = b"Content-Length: %d\r\n\r\n" % len(SECOND)
    with server.connect() as sock:
        sock.sendall(POST + upgrade + length + SECOND)
        wait_for_head(sock, b"ok")
    assert [r["path"] for r in server.seen] == ["/v1/ok"]
    assert server.seen[0]["body"] == SECOND


def test_requests_sent_ahead_are_left_unanswered(server: Server) -> None:
    answer = server.talk(GET + SECOND * 1000)
    assert answer.count(b"HTTP/1.1 200 ") == 1
    assert [r["path"] for r in server.seen] == ["/v1/ok"]


def test_the_next_request_may_come_before_the_application_has_ended(server: Server) -> None:
    with server.connect() as sock:
        sock.sendall(b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_for_head(sock, b"ok")
        sock.sendall(POST + b"Content-Length: 200000\r\n\r\n" + b"x" * 200_000)
        assert wait_for_head(sock, b"ok").startswith(b"HTTP/1.1 200 ")
    assert len(server.seen[1]["body"]) == 200_000


def test_an_answer_before_the_whole_request_arrives(server: Server) -> None:
    with server.connect() as sock:
        sock.sendall(b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n")
        for _ in range(3):
            time.sleep(0.05)  # the answer is there; a reset would end the next send, or the read
            sock.sendall(b"x" * 5_000)
        assert rest(sock).startswith(b"HTTP/1.1 413 ")
    until(lambda: server.connections == 0)


def test_an_endless_body_after_the_answer_is_not_read_for_ever(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_LINGER_S", 0.3)
    with server.connect() as sock, contextlib.suppress(ConnectionError):
        sock.sendall(b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000000\r\n\r\n")
        end = time.monotonic() + 5
        while time.monotonic() < end:
            sock.sendall(b"x" * 1000)
            time.sleep(0.005)
        pytest.fail("it was read to the end")


def test_http_10(server: Server) -> None:
    answer = server.talk(b"GET /chunks HTTP/1.0\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert body == b"onetwothree"
    assert b"transfer-encoding" not in head
    with pytest.raises(ConnectionResetError):
        server.talk(b"GET /fin HTTP/1.0\r\n\r\n")


def test_head_has_no_body(server: Server) -> None:
    answer = server.talk(b"HEAD /chunks HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n")


def test_a_header_that_would_split_the_answer_is_not_sent(server: Server) -> None:
    answer = server.talk(b"GET /split HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"cookie" not in answer


# ------------------------------------------------------------ ends


def test_a_chunked_answer(server: Server) -> None:
    answer = server.talk(b"GET /chunks HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert answer.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n")


def test_fin_ends_in_the_middle(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    answer = server.talk(b"GET /fin HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.endswith(b"\r\n\r\n4\r\nhalf\r\n")
    assert not caplog.records


def test_rst_resets(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with server.connect() as sock:
        sock.sendall(b"GET /rst HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_for_head(sock, b"half")
        with pytest.raises(ConnectionResetError):
            rest(sock)
    assert not caplog.records


@pytest.mark.parametrize("path", ["wait", "receive"])
@pytest.mark.parametrize("how", [socket.socket.close, reset], ids=["close", "reset"])
def test_the_client_leaves(server: Server, path: str, how: Callable[[socket.socket], None]) -> None:
    sock = server.connect()
    sock.sendall(b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode())
    assert server.waited.wait(5)
    how(sock)
    assert server.left.wait(5)
    until(lambda: not server.state.tasks)


def test_a_client_that_sends_ahead_is_seen_to_leave(server: Server) -> None:
    sock = server.connect()
    sock.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n" + SECOND)
    assert server.waited.wait(5)
    sock.sendall(SECOND * 10)
    sock.close()
    assert server.left.wait(5)


def test_a_bug_of_the_application_is_told_without_its_words(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    assert server.talk(b"GET /bug HTTP/1.1\r\nHost: a\r\n\r\n").startswith(b"HTTP/1.1 500 ")
    with pytest.raises(ConnectionResetError):
        server.talk(b"GET /bughalf HTTP/1.1\r\nHost: a\r\n\r\n")
    assert "ValueError" in caplog.text
    assert "sk-secret" not in caplog.text


def test_a_slow_reader_holds_little_and_stops_the_writer() -> None:
    with serving(HttpLimits()) as server, socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(5)
        sock.connect(("127.0.0.1", server.port))
        sock.sendall(b"GET /much HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: server.written > 0)
        time.sleep(0.3)
        held = server.written
        sock.recv(10)
        time.sleep(0.2)
        assert server.written - held <= 8192, "it wrote on"
        assert held < 250_000
        (connection,) = server.state.connections
        assert connection.transport.get_write_buffer_size() < 50_000
    assert server.left.wait(5)


def test_a_reader_that_takes_nothing_is_cut(server: Server) -> None:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", server.port))
        sock.sendall(b"GET /much HTTP/1.1\r\nHost: a\r\n\r\n")
        assert server.left.wait(5)
    assert server.sweeper.refused == {"stalled-reader": 1}
