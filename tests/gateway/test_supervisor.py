"""Several workers: all serve, a dead one is started again, none is left behind."""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("httptools")

from tests.gateway.serving_process import Process, alive, rest, until

Start = Callable[[str], Process]
REDIS = """
[journal]
kind = "redis"
url = "redis://127.0.0.1:1/0"
key = { env = "TEST_JOURNAL_KEY" }
[resume]
secret = { env = "TEST_RESUME_SECRET" }
"""


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.setenv("TEST_JOURNAL_KEY", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
    monkeypatch.setenv("TEST_RESUME_SECRET", "a secret of at least thirty-two characters")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    started: list[Process] = []

    def begin(settings: str = "") -> Process:
        started.append(Process(tmp_path / "gateway.toml", settings + REDIS))
        return started[-1]

    yield begin
    for process in started:
        process.stop()


def pids(process: Process, workers: int) -> set[int]:
    """Ask until every worker has answered."""
    found: set[int] = set()

    def ask() -> bool:
        found.add(int(process.get("/pid")))
        return len(found) == workers

    until(ask)
    return found


def test_all_workers_serve_and_end_well(start: Start) -> None:
    process = start("workers = 3")
    workers = pids(process, 3)
    assert process.pid not in workers
    assert process.said.count("listening on") == 1
    assert ", 3 workers" in process.said
    run_dir = Path(process.get("/run_dir"))
    assert stat.S_IMODE(run_dir.stat().st_mode) == 0o700
    process.signal(signal.SIGTERM)
    assert process.end() == 0
    assert not any(map(alive, workers))
    assert not run_dir.exists()


def test_connections_are_shared_out(start: Start) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux shares connections between sockets of one port")
    process = start("workers = 2")
    process.wait_for("listening")
    count: dict[str, int] = {}
    for _ in range(100):
        pid = process.get("/pid")
        count[pid] = count.get(pid, 0) + 1
    assert min(count.values()) > 20, count


def test_a_worker_that_died_is_started_again(start: Start) -> None:
    process = start("workers = 2")
    before = pids(process, 2)
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    process.wait_for("ended by SIGKILL; starting another")
    after = pids(process, 2)
    assert victim not in after
    assert len(before & after) == 1


def test_a_worker_that_dies_at_once_again_and_again(start: Start) -> None:
    process = start('workers = 2\nhosts = ["dies-at-once"]')
    assert process.end(40) == 1
    assert "with exit code 7, the 5th time at once: giving up" in process.said


def test_a_start_that_the_configuration_forbids(start: Start) -> None:
    process = start('workers = 2\nhosts = ["no-start"]')
    assert process.end() == 2
    assert "starting another" not in process.said


def test_a_drain_waits_for_every_workers_streams(start: Start) -> None:
    process = start("workers = 2")
    pids(process, 2)
    socks = [process.begin("/stream?s=1.5") for _ in range(6)]
    process.signal(signal.SIGTERM)
    for sock in socks:
        assert rest(sock).endswith("end\r\n0\r\n\r\n")
        sock.close()
    assert process.end() == 0


def test_a_second_signal_ends_all_at_once(start: Start) -> None:
    process = start("workers = 2")
    workers = pids(process, 2)
    with process.begin("/stream?s=60"):
        process.signal(signal.SIGINT)
        process.wait_for("draining")
        process.signal(signal.SIGINT)
        assert process.end() == 1
    assert not any(map(alive, workers))


def test_no_worker_outlives_a_killed_parent(start: Start) -> None:
    process = start("workers = 2")
    workers = pids(process, 2)
    with process.begin("/stream?s=1") as sock:
        process.signal(signal.SIGKILL)
        assert rest(sock).endswith("end\r\n0\r\n\r\n"), "what ran had the time to end"
    until(lambda: not any(map(alive, workers)))


def test_a_reload_reaches_all_workers(start: Start) -> None:
    process = start("workers = 2")
    workers = pids(process, 2)
    process.configure('workers = 2\nmode = "observe"' + REDIS)
    process.signal(signal.SIGHUP)
    process.wait_for("the configuration was reloaded", times=2)
    assert {process.get("/mode") for _ in range(20)} == {"observe"}
    assert pids(process, 2) == workers


def test_a_bad_file_reaches_none(start: Start) -> None:
    process = start("workers = 2")
    pids(process, 2)
    process.configure('workers = 2\nmode = "hael"' + REDIS)
    process.signal(signal.SIGHUP)
    process.wait_for("was not reloaded")
    assert process.said.count("was not reloaded") == 1
    assert {process.get("/mode") for _ in range(10)} == {"heal"}
