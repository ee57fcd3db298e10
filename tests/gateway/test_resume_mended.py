"""What an attacker found in reading streams on, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Iterator

import httpx2
import pytest

from tests.support.gateway import Serving, config_for, serving
from unbroken.gateway.resume import Asked, Begun, ResumeService, serve_reader
from unbroken.journal import Head, MemoryJournal, Meta

BODY = {"model": "m", "messages": [{"role": "user", "content": "say"}], "stream": True}
AUTH = {"authorization": "Bearer caller-key"}
KEYED = {**AUTH, "idempotency-key": "one"}
SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n"


def event(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    chunk = {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


class Provider:
    """Answers each request with the same pieces, with pauses between them, then waits or cuts."""

    def __init__(self, *pieces: bytes, pause_s: float = 0.0, holds: bool = False) -> None:
        self.pieces, self.pause_s, self.holds = pieces, pause_s, holds
        self.asked = 0
        self.left = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(sock,), daemon=True).start()

    def _answer(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            data = b""
            while b"\r\n\r\n" not in data:
                data += sock.recv(65536)
            head, _, body = data.partition(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head.lower())
            assert length is not None
            while len(body) < int(length[1]):
                body += sock.recv(65536)
            self.asked += 1
            for piece in self.pieces:
                sock.sendall(piece)
                time.sleep(self.pause_s)
            if self.holds:
                sock.settimeout(20)
                if sock.recv(1) == b"":
                    self.left.set()

    def close(self) -> None:
        self._listener.close()


@contextlib.contextmanager
def gateway(*pieces: bytes, pause_s: float = 0.0, holds: bool = False, **more):
    provider = Provider(*pieces, pause_s=pause_s, holds=holds)
    try:
        with serving(config_for(provider.url, **more)) as running:
            yield running, provider
    finally:
        provider.close()


def ask(running: Serving, headers=KEYED):
    url = running.url + "/v1/chat/completions"
    return httpx2.stream("POST", url, json=BODY, headers=headers, timeout=20)


def until_cut(data: Iterator[bytes]) -> bytes:
    """What came of a body that must not come to an end."""
    body = b""
    try:
        for part in data:
            body += part
    except httpx2.RemoteProtocolError:
        return body
    pytest.fail("the body came to an end")


def error_of(body: bytes) -> dict[str, str]:
    """The error of the last event; there is no other."""
    assert body.count(b'"error"') == 1, body
    last = body.rstrip(b"\n").rpartition(b"\n\n")[2]
    return json.loads(last[last.index(b"data: ") + 6 :])["error"]


# Bodies that are no frames -------------------------------------------------------------------

REFUSED = b'{"error":"' + b"x" * 187 + b'"}'
PACKED = b"data: not really brotli\n\ndata: but it says so\n\n"


@pytest.mark.parametrize("resumes", [{}, {"x-unbroken-resume": "1"}])
@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [
        ("500 Oh", "content-type: application/json", REFUSED),
        ("200 OK", "content-type: text/event-stream\r\ncontent-encoding: br", PACKED),
    ],
    ids=["slow-500", "compressed"],
)
def test_nothing_is_put_into_a_body_that_is_no_frames(status, kind, body, resumes):
    head = f"HTTP/1.1 {status}\r\n{kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    pieces = (head + body[:20], body[20:40], body[40:])
    with (
        gateway(*pieces, pause_s=0.5, heartbeat_s=0.1) as (running, _),
        ask(running, {**KEYED, **resumes}) as response,
    ):
        got = b"".join(response.iter_raw())
    assert got == body
    assert response.headers["content-length"] == str(len(body))
    assert not [name for name in response.headers if name.startswith("x-unbroken-resume")]
    assert "x-unbroken-stream" not in response.headers


def test_no_position_but_the_beginning_is_known_in_it():
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: br\r\n"
    head += b"content-length: %d\r\n\r\n" % len(PACKED)
    with gateway(head + PACKED) as (running, provider):
        for position, status in ((None, 200), ("0-0", 200), ("0-25", 400), (None, 200)):
            more = {} if position is None else {"last-event-id": position}
            with ask(running, {**KEYED, **more}) as response:
                got = b"".join(response.iter_raw())
            assert response.status_code == status
            assert got == PACKED if status == 200 else b"no-event-stream" in got
    assert provider.asked == 1


def test_without_ids_too_a_heartbeat_waits_for_the_end_of_an_event():
    """Where a stream is only observed its events come in parts."""

    async def script():
        writer = await MemoryJournal().create(Meta(id="s", created_at=0, wire="sse"))
        writer.open(Head(200))
        sent: list[bytes] = []

        class Sink:
            async def write(self, data: bytes) -> None:
                sent.append(data)

        serving = serve_reader(writer.attach(), Sink(), None, b": hb\n\n", 0.02)
        task = asyncio.create_task(serving)
        await writer.append(b"data: half")
        await asyncio.sleep(0.1)
        assert sent == [b"data: half"]
        await writer.append(b" and half\n\n")
        await asyncio.sleep(0.1)
        assert sent[2:4] == [b": hb\n\n"] * 2
        await writer.end("complete")
        await task

    asyncio.run(script())


# Streams that come to no good end ------------------------------------------------------------


def begun(response) -> tuple[Iterator[bytes], bytes, str]:
    """The body, its first event, and where that is read on."""
    data = response.iter_raw()
    first = next(data)
    return data, first, response.headers["x-unbroken-stream"]


def read_on(running: Serving, stream: str, position: str) -> dict[str, str]:
    headers = {**AUTH, "last-event-id": position}
    url = f"{running.url}/streams/{stream}"
    with httpx2.stream("GET", url, headers=headers, timeout=20) as response:
        assert response.status_code == 200
        return error_of(until_cut(response.iter_raw()))


def last_position(body: bytes) -> str:
    return re.findall(rb"^id: (\S+)$", body, re.MULTILINE)[-1].decode()


def test_who_reads_a_stopped_stream_is_told():
    resumes = {**AUTH, "x-unbroken-resume": "1"}
    with gateway(SSE + b"\r\n" + event("one"), holds=True) as (running, _):
        with ask(running, resumes) as response:
            data, first, stream = begun(response)
            assert httpx2.delete(f"{running.url}/streams/{stream}", headers=AUTH).status_code == 202
            body = first + until_cut(data)
        assert error_of(body)["code"] == "cancelled"
        for position in ("0-0", last_position(body)):
            assert read_on(running, stream, position)["code"] == "cancelled"


def test_who_comes_back_after_the_time_that_a_stream_was_kept_is_told():
    resumes = {**AUTH, "x-unbroken-resume": "1"}
    pieces = (SSE + b"\r\n" + event("one"),)
    with gateway(*pieces, holds=True, on_disconnect="keep 0.2 s") as (running, provider):
        with ask(running, resumes) as response:
            _, first, stream = begun(response)
        assert provider.left.wait(5)
        assert read_on(running, stream, last_position(first))["code"] == "cancelled"


@pytest.mark.parametrize("mode", ["heal", "observe"])
def test_who_reads_a_failed_stream_is_told_once(mode):
    """Its log says so already where it is healed; only observed it does not."""
    resumes = {**AUTH, "x-unbroken-resume": "1"}
    head = SSE + b"content-length: 9999\r\n\r\n"  # it is cut
    options = {"max_attempts": 1}
    with gateway(head + event("one"), mode=mode, options=options) as (running, _):
        with ask(running, resumes) as response:
            body = until_cut(response.iter_raw())
        stream = response.headers["x-unbroken-stream"]
        code = error_of(body)["code"]
        assert code == "interrupted" if mode == "observe" else code
        assert read_on(running, stream, "0-0")["code"] == code
        assert read_on(running, stream, last_position(body))["code"] == code


def test_a_bug_of_ours_is_told_too(monkeypatch):
    from unbroken.gateway import streaming

    async def buggy(ask, into):
        answer = await ask()
        await into.start(answer.head)
        await into.write(await answer.read())
        raise RuntimeError

    monkeypatch.setattr(streaming, "pump", buggy)
    resumes = {**AUTH, "x-unbroken-resume": "1"}
    with gateway(SSE + b"\r\n" + event("one"), holds=True) as (running, _):
        with ask(running, resumes) as response:
            body = until_cut(response.iter_raw())
        assert error_of(body)["code"] == "interrupted"
        position = last_position(body)
        stream = response.headers["x-unbroken-stream"]
        assert read_on(running, stream, position)["code"] == "interrupted"


# Clients that leave before the head ----------------------------------------------------------


def test_who_waits_for_anothers_head_and_leaves_holds_nothing_open():
    with gateway(holds=True, on_disconnect="cancel") as (running, provider):
        request = json.dumps(BODY).encode()
        head = "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        head += "content-type: application/json\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in KEYED.items())
        head += f"content-length: {len(request)}\r\n\r\n"
        clients = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(2)]
        for client in clients:
            client.sendall(head.encode() + request)
            time.sleep(0.3)  # the second attaches to what the first began
        assert provider.asked == 1
        for client in clients:
            client.close()
        assert provider.left.wait(3), "the upstream is held open for nobody"


def test_who_leaves_while_a_stream_is_created_leaves_none_that_runs():
    """The journal answers late: the key must not stay with a stream that nobody writes."""

    class Late(MemoryJournal):
        async def create(self, meta):
            created = await super().create(meta)
            await asyncio.sleep(0.05)
            return created

    async def script():
        service = ResumeService(Late())
        asked = Asked(
            method="POST",
            target="/v1/chat/completions",
            headers=list(KEYED.items()),
            body=b"{}",
            scope="me",
            wire="sse",
        )
        first = asyncio.create_task(service.begin(asked))
        await asyncio.sleep(0.01)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        async with asyncio.timeout(5):  # it would wait for the first one's head
            second = await service.begin(asked)
        assert isinstance(second, Begun)

    asyncio.run(script())
