"""The control API: what a test in any language says to the proxy, and what it reads."""

from __future__ import annotations

import json
import socket

import pytest

from tests.lab.proxy.rig import FRAMES, ask, entries, request_bytes, until
from tests.relay.raw import CHUNKED, chunk, raw_server, sends
from unbroken.lab.proxy.app import FaultProxy

SECRET = "sk-secret"


@pytest.fixture
def proxy():
    script = sends(CHUNKED, *map(chunk, FRAMES), b"0\r\n\r\n")
    with raw_server(script) as server, FaultProxy(server.url, "cut@3t") as running:
        yield running


def call(proxy: FaultProxy, path: str, method: str = "GET", body: bytes = b"") -> dict:
    seen = ask(proxy.port, path, method=method, body=body or b" ")
    assert seen.header("content-type") == ["application/json"]
    return {"status": seen.status, **json.loads(seen.body)}


def test_state_plan_log_and_reset(proxy: FaultProxy) -> None:
    state = call(proxy, "/_lab/")
    assert (state["upstream"], state["plan"], state["requests"]) == (proxy.upstream, "cut@3t", 0)
    assert ask(proxy.port).body == b"".join(FRAMES[:3])
    entries(proxy)
    assert call(proxy, "/_lab/plan", "PUT", b"cut.rst@5t")["plan"] == "cut.rst@5t"
    assert ask(proxy.port).ending == "rst"
    assert call(proxy, "/_lab/plan", "PUT", b'{"plan": "ok"}')["plan"] == "ok"
    entries(proxy, 2)
    log = call(proxy, "/_lab/log")["requests"]
    assert [(one["number"], one["faults"], one["went"]) for one in log] == [
        (1, "cut@3t", "clean"),
        (2, "cut.rst@5t", "rst"),
    ]
    assert log[0]["strikes"][0]["what"] == "cut@3t"
    assert log[0]["sent_bytes"] == len(b"".join(FRAMES[:3]))
    assert call(proxy, "/_lab/reset", "POST")["plan"] == "cut@3t"
    assert call(proxy, "/_lab/log")["requests"] == []


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"cut", "does not know how long"),
        (b"nope@3", "no fault is called"),
        (b'{"plan": 3}', "send the plan as text"),
        (b"{", "send the plan as text"),
    ],
)
def test_a_bad_plan_is_refused_and_changes_nothing(proxy: FaultProxy, body: bytes, why) -> None:
    said = call(proxy, "/_lab/plan", "PUT", body)
    assert said["status"] == 400
    assert why in said["error"]
    assert proxy.plan == "cut@3t"


def test_what_there_is_not(proxy: FaultProxy) -> None:
    said = call(proxy, "/_lab/nothing")
    assert said["status"] == 404
    assert "PUT /_lab/plan" in said["error"]


def test_events_come_as_requests_end(proxy: FaultProxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as listening:
        listening.sendall(request_bytes("/_lab/events", method="GET"))
        received = b""
        while b"the log" not in received:
            received += listening.recv(65536)
        for _ in range(2):
            ask(proxy.port)
        while received.count(b"event: request") < 2:
            received += listening.recv(65536)
    data = [line[6:] for line in received.split(b"\n") if line.startswith(b"data: ")]
    assert [json.loads(one)["went"] for one in data] == ["clean", "whole"]
    assert b"id: 2\n" in received


def test_no_key_query_prompt_or_output_is_in_the_log(proxy: FaultProxy) -> None:
    ask(
        proxy.port,
        f"/v1/chat/completions?key={SECRET}",
        body={"model": "m", "messages": [{"content": "my-prompt"}]},
        headers={"Authorization": f"Bearer {SECRET}"},
    )
    entries(proxy)
    said = ask(proxy.port, "/_lab/log", method="GET").body
    for private in (SECRET, "my-prompt", "w1 "):
        assert private.encode() not in said
    assert b'"path": "/v1/chat/completions"' in said


def test_only_this_machine_is_answered(proxy: FaultProxy, monkeypatch) -> None:
    monkeypatch.setattr("unbroken.relay.serving.reply._is_loopback", lambda _: False)
    assert call(proxy, "/_lab/")["status"] == 403
    assert until(lambda: ask(proxy.port).status == 200)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example:8080"}, 403),
        ({"Host": "10.0.0.1"}, 403),
        ({"Host": "127.0.0.1:8080"}, 200),
        ({"Host": "[::1]:8080"}, 200),
        ({"Host": "LocalHost:1"}, 200),
    ],
)
def test_web_pages_are_not_answered(proxy: FaultProxy, headers: dict, status: int) -> None:
    lines = {"Host": "localhost", "Connection": "close", "Content-Length": "2", **headers}
    said = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as connection:
        connection.sendall(f"PUT /_lab/plan HTTP/1.1\r\n{said}\r\nok".encode())
        received = b""
        while data := connection.recv(65536):
            received += data
    assert int(received.split(b" ", 2)[1]) == status
    assert proxy.plan == ("ok" if status == 200 else "cut@3t")
