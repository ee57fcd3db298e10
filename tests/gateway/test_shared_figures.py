"""Several workers' figures, through files: real processes, and real deaths."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from unbroken.gateway.shared_figures import SharedFigures
from unbroken.telemetry.health import HealthMonitor
from unbroken.telemetry.health.report import report_of

WORKER = """
import sys, time
from pathlib import Path
from unbroken.gateway.shared_figures import SharedFigures
from unbroken.telemetry.health import HealthMonitor

folder, number, how = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
monitor = HealthMonitor()
shared = SharedFigures(folder, monitor)
for each in range(number):
    monitor.start(f"w{number}-{each}", provider="p")
    monitor.record_frame(f"w{number}-{each}", 100, tokens=2)
    monitor.record_error(f"w{number}-{each}", "x")
    monitor.complete(f"w{number}-{each}")
monitor.start(f"w{number}-open", provider="p")
shared.write()
print("written", flush=True)
if how == "closed":
    shared.close()
elif how == "runs":
    sys.stdin.read()
"""


def worker(folder: Path, number: int, how: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder), str(number), how],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    if how != "runs":
        process.wait(10)
    return process


def test_live_workers_add_up_and_dead_ones_keep_their_counts(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    monitor = HealthMonitor()
    shared = SharedFigures(folder, monitor)
    monitor.start("mine")
    running = [worker(folder, number, "runs") for number in (3, 4)]
    worker(folder, 5, "dies")
    worker(folder, 6, "closed")
    try:
        found = shared.all()
        assert found.workers == 3
        whole = found.figures.total()
        assert whole.started == 1 + 4 + 5 + 6 + 7
        # Of the one that died a stream was lost; the one that closed dropped its own.
        assert whole.ended == {"complete": 18, "failed": 1}
        assert whole.faults == {"writer-lost": 1}
        assert (whole.active, whole.bytes, whole.tokens) == (3, 1800, 36)
        assert {row.id for row in found.active} == {"mine", "w3-open", "w4-open"}
        assert {shared.stream(name) is None for name in ("mine", "w3-open", "w4-open")} == {False}
        assert shared.stream("w9") is None
        running[0].kill()
        running[0].wait(10)
        shared.write()
        after = shared.all()
        assert after.workers == 2
        assert after.figures.total().ended == {"complete": 18, "failed": 2}
        assert {row.id for row in after.active} == {"mine", "w4-open"}
        lost = [fault.stream for fault in after.faults if fault.kind == "writer-lost"]
        assert sorted(lost) == ["w3-open", "w5-open"]
    finally:
        for process in running:
            process.kill()
            process.communicate()


def test_every_worker_says_the_same(tmp_path: Path) -> None:
    monitors = [HealthMonitor() for _ in range(4)]
    shared = [SharedFigures(tmp_path / "run", m, worker=str(n)) for n, m in enumerate(monitors)]
    for number, monitor in enumerate(monitors):
        for each in range(number + 1):
            monitor.start(f"{number}-{each}", model=f"m{each}").end("complete")
    for each in shared:
        each.write()
    reports = [sorted((g.labels, g.started) for g in each.figures().groups) for each in shared]
    assert reports.count(reports[0]) == 4
    assert sum(count for _, count in reports[0]) == 10
    assert all(each.workers() == 4 for each in shared)


def test_files_of_the_gone_are_folded_and_nothing_is_lost(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for number in range(25):
        monitor = HealthMonitor()
        monitor.start("a").end("complete")
        SharedFigures(folder, monitor, worker=f"gone-{number}").close()
    shared = SharedFigures(folder, HealthMonitor())
    for _ in range(3):
        shared.write()
        assert shared.figures().total().ended == {"complete": 25}
    assert not list(folder.glob("worker-gone-*"))
    assert (folder / "ended.json").exists()


def test_streams_that_died_with_a_worker_are_failures_and_counted_once(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for number in (1, 2, 3):
        worker(folder, number, "dies")
    worker(folder, 4, "closed")
    monitor = HealthMonitor()
    shared = SharedFigures(folder, monitor)
    for _ in range(2):
        report = report_of(shared.figures(), at=0.0)
        assert report.ended == {"complete": 10, "failed": 3}
        assert (report.active, report.failed, report.success_rate) == (0, 3, 10 / 13)
        assert [each.count for each in report.faults if each.name == "writer-lost"] == [3]
        shared._fold(0.0)  # the second time they come from ended.json
        shared.write()
    assert len(list(folder.glob("worker-*.json"))) == 1  # its own
    lost = [fault.stream for fault in shared.latest_faults() if fault.kind == "writer-lost"]
    assert sorted(lost) == ["w1-open", "w2-open", "w3-open"]


def test_reading_while_files_are_written_and_folded_never_counts_twice(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    reader = SharedFigures(folder, HealthMonitor())
    seen: list[int] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            reader._read = None
            seen.append(reader.figures().total().started)

    thread = threading.Thread(target=read)
    thread.start()
    for number in range(60):
        monitor = HealthMonitor()
        monitor.start("a").end("complete")
        SharedFigures(folder, monitor, worker=f"w{number}").close()
    done.set()
    thread.join()
    assert seen == sorted(seen)
    assert seen[-1] <= 60
    reader._read = None
    assert reader.figures().total().started == 60


def test_folding_waits_for_who_reads(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    folder = tmp_path / "run"
    for number in range(10):
        SharedFigures(folder, HealthMonitor(), worker=f"gone-{number}").close()
    shared = SharedFigures(folder, HealthMonitor())
    with (folder / "lock").open("w") as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        thread = threading.Thread(target=shared.all)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        assert len(list(folder.glob("worker-gone-*"))) == 10
    thread.join(10)
    assert not list(folder.glob("worker-gone-*"))


def test_a_worker_that_hangs_is_not_shown(tmp_path: Path) -> None:
    now = 1000.0
    monitor = HealthMonitor()
    monitor.start("open")
    other = SharedFigures(tmp_path / "run", monitor, wall_time=lambda: now)
    other.write()
    shared = SharedFigures(tmp_path / "run", HealthMonitor(), wall_time=lambda: now)
    assert len(shared.active()) == 1
    now += 60.0
    assert shared.active() == []
    assert shared.figures().total().started == 1


def test_files_that_cannot_be_read_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shared = SharedFigures(tmp_path / "run", HealthMonitor())
    (tmp_path / "run" / "worker-1.json").write_bytes(b"{half")
    assert shared.figures().total().started == 0
    assert "worker-1.json" in caplog.text


@pytest.mark.skipif(os.name == "nt", reason="no such bits")
def test_the_folder_is_the_owners_alone(tmp_path: Path) -> None:
    shared = SharedFigures(tmp_path / "run", HealthMonitor())
    shared.write()
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700
    for path in (tmp_path / "run").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    with pytest.raises(PermissionError, match="chmod 700"):
        SharedFigures(open_to_all, HealthMonitor())
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with pytest.raises(PermissionError):
        SharedFigures(tmp_path / "link", HealthMonitor())
