"""The recording proxy: what passes it is the same, and what is in the file is what passed."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiohttp", reason="the recording proxy needs aiohttp")

from tests.relay.raw import raw_server
from unbroken.core.recording import (
    Connected,
    Contents,
    Delivered,
    End,
    Line,
    Opening,
    Read,
    RequestSent,
    ResponseHead,
    Sent,
    Wanted,
    decode_line,
)
from unbroken.debugger.recording.exchange import Result
from unbroken.debugger.recording.proxy import RecordingProxy
from unbroken.lab.server.app import LabServer
from unbroken.telemetry.recording import Recorder

KEY = "private-value-77"
BODY = json.dumps(
    {"model": "lab/ok;tokens=20;tps=200", "stream": True, "messages": [{"role": "user",
     "content": "my prompt"}]}
)  # fmt: skip


class Recorded:
    """A recording proxy before an upstream, and what it wrote."""

    def __init__(
        self, folder: Path, *upstreams: str, contents: Contents = "kept", **more: Any
    ) -> None:
        self.path = folder / "recording.jsonl"
        self.results: list[Result] = []
        self.recorder = Recorder(self.path, contents=contents, side="proxy", in_thread=True)
        self.proxy = RecordingProxy(
            self.recorder, upstreams, on_end=self.results.append, **more
        ).start()

    def ask(self, path: str, body: str | None = None, **headers: str) -> tuple[int, bytes]:
        client = http.client.HTTPConnection("127.0.0.1", self.proxy.port, timeout=20)
        try:
            client.request("POST" if body else "GET", path, body, headers)
            response = client.getresponse()
            return response.status, response.read()
        finally:
            client.close()

    def lines(self, count: int = 1) -> list[Line]:
        until = time.monotonic() + 10
        while len(self.results) < count and time.monotonic() < until:
            time.sleep(0.005)
        self.close()
        found = [decode_line(raw) for raw in self.path.read_bytes().splitlines()]
        return [line for line in found if line is not None]

    def close(self) -> None:
        self.proxy.close()
        self.recorder.close()


@pytest.fixture
def lab() -> Iterator[LabServer]:
    with LabServer() as lab:
        yield lab


def body_of(lines: list[Line], stream: int = 1) -> bytes:
    return b"".join(
        line.data or b"" for line in lines if isinstance(line, Read) and line.stream == stream
    )


def end_of(lines: list[Line]) -> End:
    (end,) = [line for line in lines if isinstance(line, End)]
    return end


def test_a_stream_is_recorded_as_it_passed(tmp_path: Path, lab: LabServer) -> None:
    recorded = Recorded(tmp_path, lab.url)
    status, got = recorded.ask(
        "/v1/chat/completions?key=query-value-1", BODY, Authorization=f"Bearer {KEY}"
    )
    lines = recorded.lines()
    assert status == 200
    assert body_of(lines) == got
    kinds = [type(line) for line in lines]
    assert kinds[:5] == [Opening, RequestSent, Sent, Connected, ResponseHead]
    assert kinds.count(Read) > 5
    _, request, sent, connected, head, *rest = lines
    assert isinstance(request, RequestSent)
    assert request.url == f"{lab.url}/v1/chat/completions?key=[removed]"
    assert request.dialect == "openai-chat"
    assert ("Authorization", "[removed]") in request.headers
    assert isinstance(sent, Sent)
    assert sent.text == BODY
    assert isinstance(connected, Connected)
    assert connected.address == f"127.0.0.1:{lab.port}"
    assert isinstance(head, ResponseHead)
    assert (head.status, head.framing) == (200, "chunked")
    assert end_of(lines).how == "eof"
    delivered = sum(line.size_bytes for line in rest if isinstance(line, Delivered))
    assert delivered == len(got)
    waits = [line.waited_s for line in rest if isinstance(line, Read) and line.waited_s]
    assert sum(waits) > 0.05  # 20 tokens at 200 a second
    raw = recorded.path.read_text()
    assert KEY not in raw
    assert "query-value-1" not in raw
    assert recorded.results[0].body_bytes == len(got)


def test_a_compressed_answer_is_passed_as_it_is_asked_for(tmp_path: Path) -> None:
    body = gzip.compress(b'data: {"choices":[]}\n\n')

    def script(connection: socket.socket) -> None:
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )

    for contents, sent in (("kept", b"gzip;q=1.0, deflate"), ("removed", b"identity")):
        (folder := tmp_path / contents).mkdir()
        with raw_server(script) as upstream:
            recorded = Recorded(folder, f"http://127.0.0.1:{upstream.port}", contents=contents)
            headers = {"Accept-Encoding": "gzip;q=1.0, deflate, br, zstd"}
            assert recorded.ask("/x", **headers) == (200, body)
            lines = recorded.lines()
        assert b"Accept-Encoding: " + sent + b"\r\n" in upstream.requests[0]
        (request,) = [line for line in lines if isinstance(line, RequestSent)]
        assert ("Accept-Encoding", sent.decode()) in request.headers
        assert body_of(lines) == (body if contents == "kept" else b"")


def test_what_is_told_of_an_exchange_has_no_keys(tmp_path: Path, lab: LabServer) -> None:
    recorded = Recorded(tmp_path, lab.url)
    recorded.ask(f"/{KEY}/v1/chat", Authorization=f"Bearer {KEY}")
    recorded.lines()
    assert recorded.results[0].path == "/" + "x" * len(KEY) + "/v1/chat"


def test_what_is_no_stream_is_recorded_too(tmp_path: Path, lab: LabServer) -> None:
    recorded = Recorded(tmp_path, lab.url)
    status, got = recorded.ask("/v1/nothing")
    lines = recorded.lines()
    assert status == 404
    assert body_of(lines) == got
    assert end_of(lines).how == "eof"


@pytest.mark.parametrize(
    ("plan", "how"), [("cut.rst@4t", "reset"), ("cut.fin@4t", "incomplete"), ("cut@4t", "eof")]
)
def test_how_the_upstream_breaks_is_recorded_and_passed_on(
    tmp_path: Path, lab: LabServer, plan: str, how: str
) -> None:
    recorded = Recorded(tmp_path, lab.url)
    body = BODY.replace("lab/ok", f"lab/{plan}")
    try:
        recorded.ask("/v1/chat/completions", body)
        broke = ""
    except ConnectionResetError:
        broke = "reset"
    except http.client.IncompleteRead:
        broke = "incomplete"
    assert end_of(recorded.lines()).how == how
    assert broke == ("" if how == "eof" else how)


def test_nobody_there_is_an_answer_and_a_line(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path, "http://127.0.0.1:9")
    status, got = recorded.ask("/v1/x")
    lines = recorded.lines()
    assert status == 502
    assert b"unbroken record: upstream http://127.0.0.1:9" in got
    assert (end_of(lines).how, end_of(lines).detail) == ("unanswered", "connection refused")
    assert not any(isinstance(line, ResponseHead) for line in lines)


def test_a_client_that_leaves_is_recorded(tmp_path: Path, lab: LabServer) -> None:
    recorded = Recorded(tmp_path, lab.url)
    body = BODY.replace("tps=200", "tps=2")
    with socket.create_connection(("127.0.0.1", recorded.proxy.port), timeout=10) as client:
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body.encode())
        )
        assert client.recv(100)
    end = end_of(recorded.lines())
    assert (end.how, end.detail) == ("left", "the client closed the connection")


def test_a_slow_client_is_told_by_when_it_wanted_more(tmp_path: Path) -> None:
    size = 24 * 1024 * 1024

    def script(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        connection.sendall(b"x" * size)

    with raw_server(script) as upstream:
        recorded = Recorded(tmp_path, f"http://127.0.0.1:{upstream.port}")
        with socket.create_connection(("127.0.0.1", recorded.proxy.port), timeout=20) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            got = len(client.recv(1))  # it has begun
            time.sleep(0.6)  # the client is busy: this is what is measured
            while got < size:
                got += len(client.recv(1 << 20))
        lines = recorded.lines()
    busy_s = 0.0
    for one, next_one in pairwise(lines):
        if isinstance(one, Delivered) and isinstance(next_one, Wanted):
            busy_s += next_one.at_s - one.at_s
    assert busy_s > 0.3
    waited_s = sum(line.waited_s or 0 for line in lines if isinstance(line, Read))
    assert waited_s < busy_s


def test_several_upstreams_have_addresses_of_their_own(tmp_path: Path, lab: LabServer) -> None:
    with LabServer() as other:
        recorded = Recorded(tmp_path, lab.url, other.url)
        for number in (0, 1):
            address = recorded.proxy.address_of(number)
            path = address.removeprefix(recorded.proxy.url) + "/v1/models"
            assert recorded.ask(path)[0] == 200
        lines = recorded.lines(2)
    urls = [line.url for line in lines if isinstance(line, RequestSent)]
    assert urls == [f"{lab.url}/v1/models", f"{other.url}/v1/models"]


def test_streams_at_once_have_numbers_of_their_own(tmp_path: Path, lab: LabServer) -> None:
    recorded = Recorded(tmp_path, lab.url)
    got: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: got.append(recorded.ask("/v1/chat/completions", BODY)[1]))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = recorded.lines(5)
    assert sorted(body_of(lines, number) for number in range(1, 6)) == sorted(got)


def test_an_upstream_that_is_none_is_refused(tmp_path: Path) -> None:
    with Recorder(tmp_path / "a") as recorder, pytest.raises(ValueError, match="no upstream"):
        RecordingProxy(recorder, ["ftp://x"])
