from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import openai
import pytest

from tests.real.plain import ask, client_of
from unbroken.lab.builtin_server import BuiltinServer
from unbroken.lab.cutting_proxy import Cut, CuttingProxy

pytestmark = pytest.mark.real

BODY = {"messages": [{"role": "user", "content": "hi"}], "stream": True}


@pytest.fixture
def server() -> Iterator[BuiltinServer]:
    with BuiltinServer(words=30) as built_in:
        yield built_in


@pytest.fixture
def proxy(server: BuiltinServer) -> Iterator[CuttingProxy]:
    with CuttingProxy(server.url) as cutting:
        yield cutting


def send_request(connection: socket.socket, *, version: str = "1.1") -> None:
    body = json.dumps(BODY).encode()
    head = f"POST /v1/chat/completions HTTP/{version}\r\nHost: x\r\nConnection: close\r\n"
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)


def until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


def raw(port: int, *, version: str = "1.1") -> tuple[bytes, bytes, str]:
    """Ask by a bare socket; return head, body as it stands on the wire, and how it ended."""
    received, ending = b"", "fin"
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        send_request(connection, version=version)
        try:
            while data := connection.recv(65536):
                received += data
        except ConnectionResetError:
            ending = "rst"
    answer_head, _, answer_body = received.partition(b"\r\n\r\n")
    return answer_head, answer_body, ending


def content_of(wire: bytes) -> tuple[bytes, bool]:
    """Undo the chunked framing; also say whether it was closed properly."""
    content = b""
    while wire:
        size_text, _, wire = wire.partition(b"\r\n")
        size = int(size_text, 16)
        if size == 0:
            return content, wire == b"\r\n"
        content, wire = content + wire[:size], wire[size + 2 :]
    return content, False


def test_without_a_plan_the_body_passes_unchanged(
    server: BuiltinServer, proxy: CuttingProxy
) -> None:
    def frozen(wire: bytes) -> list[str]:  # but for what counts requests and time
        content, closed = content_of(wire)
        assert closed
        events = content.decode().removesuffix("\n\n").split("\n\n")
        assert events.pop() == "data: [DONE]"
        return [json.dumps(json.loads(event[6:])["choices"]) for event in events]

    direct, through = raw(server.port), raw(proxy.port)
    assert frozen(direct[1]) == frozen(through[1])
    assert through[2] == "fin"
    assert proxy.faults == []


@pytest.mark.parametrize(
    ("how", "closed", "ending"),
    [("clean", True, "fin"), ("fin", False, "fin"), ("rst", False, "rst")],
)
@pytest.mark.parametrize("events", [0, 1, 7])
def test_cut_after_events(
    proxy: CuttingProxy, how: str, closed: bool, ending: str, events: int
) -> None:
    proxy.plan([Cut(how=how, after_events=events)])  # type: ignore[arg-type]
    _, wire, seen_ending = raw(proxy.port)
    content, seen_closed = content_of(wire)
    assert content.count(b"\n\n") == events
    assert content == b"" or content.endswith(b"\n\n")
    assert (seen_closed, seen_ending) == (closed, ending)
    [fault] = proxy.faults
    assert (fault.request, fault.how, fault.events) == (1, how, events)
    assert fault.body_bytes == len(content)


@pytest.mark.parametrize("size", [0, 1, 300, 301, 777])
def test_cut_after_bytes_also_inside_an_event(proxy: CuttingProxy, size: int) -> None:
    proxy.plan([Cut(how="fin", after_bytes=size)])
    assert len(content_of(raw(proxy.port)[1])[0]) == size


def test_close_delimited_fin_looks_like_a_clean_end(proxy: CuttingProxy) -> None:
    proxy.plan([Cut(how="fin", after_events=3)])
    head, body, ending = raw(proxy.port, version="1.0")
    assert b"chunked" not in head
    assert (body.count(b"\n\n"), ending) == (3, "fin")


def test_plans_are_used_one_for_each_request_and_then_pass(
    server: BuiltinServer, proxy: CuttingProxy
) -> None:
    proxy.plan([Cut(how="clean", after_events=3), Cut(), Cut(how="clean", after_events=5)])
    texts = [ask(proxy.base_url).text for _ in range(4)]
    assert [len(text.split()) for text in texts] == [2, 30, 4, 30]
    assert texts[3] == server.text
    assert (proxy.requests, proxy.plans_left) == (4, 0)
    assert [fault.request for fault in proxy.faults] == [1, 3]


def test_plan_beyond_the_end_does_nothing(server: BuiltinServer, proxy: CuttingProxy) -> None:
    proxy.plan([Cut(how="rst", after_events=1000)])
    assert ask(proxy.base_url).text == server.text
    assert proxy.faults == []


def test_stall_pauses_and_goes_on(server: BuiltinServer, proxy: CuttingProxy) -> None:
    proxy.plan([Cut(how="stall", after_events=4, stall_s=0.3)])
    times: list[float] = []
    answer = ask(proxy.base_url, on_piece=lambda _: times.append(time.monotonic()))
    assert (answer.error, answer.text) == (None, server.text)
    gaps = [after - before for before, after in pairwise(times)]
    assert gaps.index(max(gaps)) == 2  # between the third word and the fourth
    assert max(gaps) > 0.25
    assert [fault.how for fault in proxy.faults] == ["stall"]


def test_endless_stall_ends_when_the_client_leaves(proxy: CuttingProxy) -> None:
    proxy.plan([Cut(how="stall", after_events=4)])
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as connection:
        send_request(connection)
        assert until(lambda: bool(proxy.faults))
    assert until(lambda: proxy.open_connections == 0)


def test_pace_of_the_upstream_is_kept() -> None:
    with (
        BuiltinServer(words=10, tokens_per_second=50) as server,
        CuttingProxy(server.url) as proxy,
    ):
        times: list[float] = []
        ask(proxy.base_url, on_piece=lambda _: times.append(time.monotonic()))
    gaps = [after - before for before, after in pairwise(times)]
    assert len(gaps) == 9
    assert sorted(gaps)[4] > 0.01  # 20 ms each; nothing was saved up


def test_pace_can_be_set(server: BuiltinServer) -> None:
    with CuttingProxy(server.url, events_per_second=100) as proxy:
        began = time.monotonic()
        assert ask(proxy.base_url).text == server.text
        assert time.monotonic() - began > 0.25


def test_upstream_that_dies_is_shown_as_it_was(server: BuiltinServer, proxy: CuttingProxy) -> None:
    server.restart()
    proxy.plan([])
    with CuttingProxy(proxy.url) as second:
        proxy.plan([Cut(how="rst", after_events=3), Cut(how="fin", after_events=3)])
        endings = [raw(second.port) for _ in range(2)]
    assert [ending for _, _, ending in endings] == ["rst", "fin"]
    assert [content_of(wire)[1] for _, wire, _ in endings] == [False, False]


def test_body_of_known_length_stays_short_when_it_was_cut(proxy: CuttingProxy) -> None:
    messages: Any = BODY["messages"]
    with CuttingProxy(proxy.url) as second, client_of(second.base_url) as client:
        whole = client.chat.completions.create(model="m", messages=messages)
        proxy.plan([Cut(how="fin", after_bytes=50)])
        with pytest.raises(openai.APIConnectionError) as caught:
            client.chat.completions.create(model="m", messages=messages)
        assert not isinstance(caught.value, openai.APITimeoutError)  # told at once
        again = client.chat.completions.create(model="m", messages=messages)
    assert again.choices[0].message.content == whole.choices[0].message.content


def test_no_upstream_is_a_502() -> None:
    with BuiltinServer() as gone:
        address = gone.url
    with CuttingProxy(address) as proxy:
        assert raw(proxy.port)[0].startswith(b"HTTP/1.1 502")


def test_closing_does_not_wait_for_open_answers(server: BuiltinServer) -> None:
    with CuttingProxy(server.url, [Cut(how="stall", after_events=2)]) as proxy:
        connection = socket.create_connection(("127.0.0.1", proxy.port), timeout=10)
        send_request(connection)
        assert until(lambda: bool(proxy.faults))
        began = time.monotonic()
    with connection:
        assert time.monotonic() - began < 1
        while connection.recv(65536):  # what came before the stall, then the end
            pass


def test_a_plan_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="not both"):
        Cut(how="fin", after_events=1, after_bytes=1)
    with pytest.raises(ValueError, match="at least 0"):
        Cut(how="fin", after_events=-1)
    with pytest.raises(ValueError, match="http://"):
        CuttingProxy("ftp://nowhere")
