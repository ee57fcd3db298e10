"""A process that serves: it says where, reloads, and drains."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("httptools")

from tests.gateway.serving_process import Process, rest
from unbroken.gateway import serving
from unbroken.gateway.http_limits import HttpLimits
from unbroken.gateway.listening import ListenError, bind, bind_group

Start = Callable[[str], Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Process] = []

    def begin(settings: str = "") -> Process:
        started.append(Process(tmp_path / "gateway.toml", settings))
        return started[-1]

    yield begin
    for process in started:
        process.stop()


def test_it_says_where_it_listens_and_ends_well(start: Start) -> None:
    process = start("")
    assert process.get("/pid") == str(process.pid)
    assert f"(live page: http://127.0.0.1:{process.port}/_unbroken/)" in process.said
    process.signal(signal.SIGTERM)
    assert process.end() == 0
    assert process.said.rstrip().endswith("shut down")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_running_stream_ends_before_the_process(start: Start, number: signal.Signals) -> None:
    process = start("drain_s = 30")
    with process.begin("/stream?s=1.5") as sock, process.begin("/feed") as feed:
        idle = process.begin("/pid")
        port = process.port
        process.signal(number)
        process.wait_for("draining: 1 stream left, for up to 30 s more")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)
        assert rest(idle) == str(process.pid), "an idle connection is closed at once"
        assert rest(sock).endswith("3\r\nend\r\n0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            rest(feed)  # nothing to wait for
    assert process.end() == 0


def test_a_connection_that_is_kept_hears_that_it_drains(start: Start) -> None:
    process = start("")
    with process.begin("/stream?s=0.5") as sock:
        process.signal(signal.SIGTERM)
        answer = rest(sock)
    assert answer.endswith("0\r\n\r\n")
    assert process.end() == 0


def test_what_takes_longer_than_the_drain_is_cut(start: Start) -> None:
    process = start("drain_s = 0.4")
    with process.begin("/stream?s=60") as sock:
        began = time.monotonic()
        process.signal(signal.SIGTERM)
        with pytest.raises(ConnectionResetError):
            rest(sock)
    assert process.end() == 1
    assert time.monotonic() - began < 5
    assert "cut 1 stream after the time to drain" in process.said


def test_a_second_signal_ends_at_once(start: Start) -> None:
    process = start("")
    with process.begin("/stream?s=60") as sock:
        process.signal(signal.SIGINT)
        process.wait_for("draining")
        process.signal(signal.SIGINT)
        with pytest.raises(ConnectionResetError):
            rest(sock)
    assert process.end() == 1
    assert "at a second signal" in process.said


def test_a_reload_drops_no_stream(start: Start) -> None:
    process = start("")
    assert process.get("/mode") == "heal"
    with process.begin("/stream?s=1") as sock:
        process.configure('mode = "observe"\nworkers = 1\ndrain_s = 7')
        process.signal(signal.SIGHUP)
        process.wait_for("the configuration was reloaded")
        assert process.get("/mode") == "observe"
        assert rest_of_stream(sock).endswith("end\r\n0\r\n\r\n")


def rest_of_stream(sock: socket.socket) -> str:
    got = b""
    while not got.endswith(b"0\r\n\r\n"):
        data = sock.recv(65536)
        assert data
        got += data
    return got.decode()


def test_a_bad_file_is_reported_and_the_old_one_stays(start: Start) -> None:
    process = start('mode = "observe"')
    assert process.get("/mode") == "observe"
    process.configure('mode = "hael"')
    process.signal(signal.SIGHUP)
    process.wait_for("the configuration was not reloaded, the old one stays")
    assert "gateway.toml:2: mode: " in process.said
    assert process.get("/mode") == "observe"
    process.configure('mode = "raise"')
    process.signal(signal.SIGHUP)
    process.wait_for("the configuration was reloaded")
    assert process.get("/mode") == "raise"


def test_what_a_reload_cannot_change_is_said(start: Start) -> None:
    process = start("")
    assert process.get("/mode") == "heal"
    process.file.write_text('listen = "127.0.0.1:9"\nmode = "off"', "utf-8")
    process.signal(signal.SIGHUP)
    process.wait_for("listen will change with the next start")
    assert process.get("/listen") == "127.0.0.1:0"
    assert process.get("/mode") == "off"


def test_a_start_that_the_configuration_forbids(start: Start) -> None:
    process = start('hosts = ["no-start"]')
    assert process.end() == 2
    assert "the configuration cannot be used" in process.said
    assert "hosts: no start; take it out" in process.said


def test_a_port_in_use_is_told_with_the_remedy() -> None:
    taken = bind("127.0.0.1", 0)
    port = taken.getsockname()[1]
    with pytest.raises(ListenError, match=rf"{port}: the port is in use.*127\.0\.0\.1:0 takes"):
        bind("127.0.0.1", port)
    with pytest.raises(ListenError, match="in use"):
        bind_group("127.0.0.1", port, 3)
    taken.close()


@pytest.mark.parametrize(
    ("host", "why"),
    [("no.such.host.invalid", "no such host"), ("203.0.113.7", "no such address")],
)
def test_an_address_that_is_not_ours(host: str, why: str) -> None:
    with pytest.raises(ListenError, match=why):
        bind(host, 0)


def test_a_group_shares_a_port_but_not_with_others() -> None:
    socks = bind_group("127.0.0.1", 0, 3)
    ports = {sock.getsockname()[1] for sock in socks}
    assert len(socks) == 3
    assert len(ports) == 1
    with pytest.raises(ListenError, match="in use"):
        bind_group("127.0.0.1", ports.pop(), 3)
    for sock in socks:
        sock.close()


def test_few_open_files_mean_few_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1024))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    said: list[str] = []
    limits = serving._within_open_files(HttpLimits(max_connections=20_000), said.append)
    assert limits.max_connections == 384
    assert "ulimit -n" in said[0]
    assert serving._within_open_files(HttpLimits(max_connections=300), said.append) == HttpLimits(
        max_connections=300
    )
    assert len(said) == 1
