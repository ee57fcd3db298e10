"""Upstreams and clients that send what nobody should, through the whole gateway."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest

from tests.support.gateway import Serving, config_for, serving
from unbroken.gateway.config import LimitsConfig, UpstreamConfig
from unbroken.lab.server.app import LabServer

BODY = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}
GOOD = (
    b'data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"hi"},'
    b'"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)


@contextmanager
def upstream(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A server that says the same bytes to whoever asks, and closes; with the heads it was sent."""
    listener = socket.create_server(("127.0.0.1", 0))
    heads: list[bytes] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                data = b""
                while b"\r\n\r\n" not in data:
                    data += connection.recv(65536)
                heads.append(data)
                connection.sendall(answer)
                time.sleep(0.05)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", heads
    finally:
        listener.close()


def http(body: bytes, *, status: str = "200 OK", headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: text/event-stream\r\nconnection: close\r\n"
    return f"{head}{headers}content-length: {len(body)}\r\n\r\n".encode() + body


def post(gateway: Serving, body=BODY, **headers) -> httpx2.Response:
    return httpx2.post(
        f"{gateway.url}/v1/chat/completions",
        content=body if isinstance(body, bytes) else json.dumps(body).encode(),
        headers={"content-type": "application/json", **headers},
        timeout=20,
    )


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","messages":[{"role":"user","content":"\xff"}],"stream":true}',
        b'{"stream":true,"x":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"stream":true',
        b"",
    ],
    ids=["no-utf8", "nested", "cut", "empty"],
)
def test_a_request_that_is_no_json_is_the_providers_to_refuse(body, kept):
    with upstream(http(GOOD)) as (url, _), serving(config_for(url)) as gateway:
        answer = post(gateway, body, **({"x-unbroken-resume": "1"} if kept else {}))
        assert answer.status_code == 200
        assert answer.content.endswith(b"data: [DONE]\n\n")
        deadline = time.monotonic() + 5
        while gateway.app.monitor.report().active and time.monotonic() < deadline:
            time.sleep(0.02)
        assert gateway.app.monitor.report().active == 0


def test_a_change_of_protocol_is_no_answer():
    answer = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"
    with upstream(answer) as (url, _), serving(config_for(url)) as gateway:
        assert post(gateway).status_code == 502


def test_a_status_that_nobody_knows_passes():
    with upstream(http(b"{}", status="799 What")) as (url, _), serving(config_for(url)) as gateway:
        assert post(gateway).status_code == 799


def test_a_head_without_end_is_refused():
    many = "".join(f"x-{n}: {'y' * 60_000}\r\n" for n in range(20))
    with upstream(http(GOOD, headers=many)) as (url, _), serving(config_for(url)) as gateway:
        answer = post(gateway)
        assert answer.status_code == 502
        assert "bytes of headers" in answer.text


def test_only_the_gateway_says_that_a_stream_can_be_read_on():
    claims = "x-unbroken-resume: 1\r\nx-unbroken-stream: s_forged\r\n"
    with upstream(http(GOOD, headers=claims)) as (url, _), serving(config_for(url)) as gateway:
        answer = post(gateway)
        assert "x-unbroken-stream" not in answer.headers
        answer = post(gateway, **{"x-unbroken-resume": "1"})
        assert answer.headers["x-unbroken-stream"] != "s_forged"


def test_a_browsers_cookies_stay_here_and_cors_is_said_once():
    origin = "https://chat.example"
    cors = "access-control-allow-origin: *\r\n"
    with (
        upstream(http(GOOD, headers=cors)) as (url, heads),
        serving(config_for(url, origins=(origin,))) as gateway,
    ):
        browser = {"origin": origin, "cookie": "other-app=SECRET", "referer": f"{origin}/me"}
        answer = post(gateway, **browser, **{"sec-fetch-site": "cross-site"})
        assert answer.headers.get_list("access-control-allow-origin") == [origin]
        assert b"SECRET" not in heads[0]
        assert b"referer" not in heads[0].lower()
        post(gateway, cookie="program=mine")
        assert b"program=mine" in heads[1], "a program's cookies are meant for the provider"


def test_bodies_that_are_held_are_bounded_over_all_requests():
    """Also while they arrive: nothing is held that was not taken from the allowance."""
    limits = LimitsConfig(max_buffer_bytes=100_000)
    with LabServer() as lab, serving(config_for(lab.url, limits=limits)) as gateway:
        waiting = []
        for _ in range(3):
            sock = socket.create_connection(("127.0.0.1", gateway.port))
            head = (
                f"POST /v1/chat/completions HTTP/1.1\r\nhost: {gateway.host}\r\n"
                "content-type: application/json\r\ncontent-length: 60000\r\n\r\n"
            )
            sock.sendall(head.encode() + b"x" * 50_000)
            waiting.append(sock)
        answers = []
        for sock in waiting[::-1]:
            sock.settimeout(2)
            try:
                answers.append(sock.recv(200))
            except TimeoutError:
                answers.append(b"")
        assert sum(b" 503 " in answer for answer in answers) == 1, answers
        for sock in waiting:
            sock.close()
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            answer = post(gateway, {**BODY, "model": "lab/ok;id=after"})
            if answer.status_code == 200:
                break
        assert answer.status_code == 200


def test_a_provider_behind_a_key_is_not_asked_with_the_callers(monkeypatch):
    from unbroken.gateway.config.secret import Secret

    with upstream(http(GOOD)) as (url, heads):
        upstreams = {"lab": UpstreamConfig(url=url, key=Secret("sk-provider"))}
        with serving(config_for(url, upstreams=upstreams)) as gateway:
            post(gateway, authorization="Bearer sk-mine")
    assert b"sk-mine" not in heads[0]
    assert b"sk-provider" in heads[0]
