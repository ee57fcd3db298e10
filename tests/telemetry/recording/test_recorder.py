"""The recorder: whole lines whatever happens, and no stream is harmed by its recording."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from unbroken.core.recording import (
    Connected,
    Delivered,
    Line,
    Lost,
    NoticeSeen,
    Opening,
    Read,
    RequestSent,
    ResponseHead,
    Wanted,
    decode_line,
)
from unbroken.core.request import Request
from unbroken.telemetry.recording import Recorder
from unbroken.telemetry.recording.recorder import RecordingTape

KEY = "private-value-77"
REQUEST = Request(
    method="POST",
    url="https://h/v1/chat/completions",
    headers=(("Authorization", f"Bearer {KEY}"),),
    body=b'{"messages":[{"content":"hello"}]}',
)
READ = b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n'


def lines_of(path: Path) -> list[Line]:
    lines = [decode_line(raw) for raw in path.read_bytes().splitlines()]
    return [line for line in lines if line is not None]


def one_stream(tape: RecordingTape, now: float, reads: int = 2) -> None:
    tape.request(REQUEST, 1, "first", "openai-chat", now)
    tape.connected(1, now + 0.01, address="h:443", tls=True)
    tape.answered(1, 200, [("content-type", "text/event-stream")], now + 0.1, "OK", "chunked")
    for at in range(reads):
        tape.read(1, READ, now + 0.2 + at, 0.1)
        tape.delivered(READ, now + 0.2 + at)
        tape.wanted(now + 0.3 + at)
    tape.ended(1, "eof", "", now + 9)
    tape.close(now + 9)
    tape.close(now + 9)


def test_all_that_is_told_is_there_with_its_time(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    now = time.monotonic()
    with Recorder(path, side="proxy", note="a note") as recorder:
        one_stream(recorder.stream(), now)
    opening, *rest = lines_of(path)
    assert isinstance(opening, Opening)
    assert (opening.contents, opening.side, opening.note) == ("kept", "proxy", "a note")
    assert abs(opening.started_at - time.time()) < 60
    kinds = [type(line).__name__ for line in rest]
    assert kinds == [
        "RequestSent", "Sent", "Connected", "ResponseHead",
        "Read", "Delivered", "Wanted", "Read", "Delivered", "Wanted", "End",
    ]  # fmt: skip
    times = [line.at_s for line in rest if not isinstance(line, Opening)]
    assert times == sorted(times)
    assert times[-1] - times[0] == pytest.approx(9, abs=0.05)
    head = next(line for line in rest if isinstance(line, ResponseHead))
    assert (head.reason, head.framing) == ("OK", "chunked")
    connected = next(line for line in rest if isinstance(line, Connected))
    assert (connected.address, connected.tls) == ("h:443", True)
    reads = [line for line in rest if isinstance(line, Read)]
    assert [line.data for line in reads] == [READ, READ]
    assert [line.waited_s for line in reads] == [0.1, 0.1]
    assert recorder.body_bytes == 2 * len(READ)
    assert recorder.written_bytes == path.stat().st_size
    assert KEY not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("in_thread", [False, True])
def test_a_fork_harms_neither_the_child_nor_the_recording(
    tmp_path: Path, *, in_thread: bool
) -> None:
    path = tmp_path / "a.jsonl"
    recorder = Recorder(path, in_thread=in_thread)
    one_stream(recorder.stream(), time.monotonic())
    with recorder._lock, recorder._file._lock:  # as another thread may hold them
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            one_stream(recorder.stream(), time.monotonic())
            recorder.close()
            os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    one_stream(recorder.stream(), time.monotonic())
    recorder.close()
    numbers = [line.stream for line in lines_of(path) if isinstance(line, RequestSent)]
    assert numbers == [1, 2]


def test_a_key_in_a_body_is_not_in_the_address_before_it(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    request = Request(method="POST", url="https://h/abc123def456/v1", headers=(),
                      body=b'{"api_key":"abc123def456"}')  # fmt: skip
    with Recorder(path) as recorder:
        recorder.stream().request(request, 1, "first", "", time.monotonic())
    assert "abc123" not in path.read_text()


def test_what_concerns_no_stream_is_noted_with_those_that_are_open_or_the_last(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.jsonl"
    now = time.monotonic()
    with Recorder(path) as recorder:
        recorder.notice("command", "nobody there", now)
        tapes = [recorder.stream() for _ in range(3)]
        for tape in tapes:
            tape.request(REQUEST, 1, "first", "", now)
        tapes[0].close(now)
        recorder.notice("command", "exit 1", now)
        tapes[2].close(now)
        tapes[1].close(now)
        recorder.notice("command", "exit 2", now + 1)
    notices = [line for line in lines_of(path) if isinstance(line, NoticeSeen)]
    assert [(line.stream, line.kind, line.detail) for line in notices] == [
        (2, "command", "exit 1"), (3, "command", "exit 1"), (2, "command", "exit 2"),
    ]  # fmt: skip


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("mine")
    with pytest.raises(FileExistsError):
        Recorder(path)
    assert path.read_text() == "mine"


def test_streams_of_many_threads_are_numbered_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    now = time.monotonic()
    with Recorder(path, in_thread=True) as recorder:
        threads = [
            threading.Thread(target=lambda: one_stream(recorder.stream(), now, reads=50))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    _, *rest = lines_of(path)
    by_stream: dict[int, list[Line]] = {}
    for line in rest:
        assert not isinstance(line, Opening)
        by_stream.setdefault(line.stream, []).append(line)
    assert sorted(by_stream) == list(range(1, 9))
    assert {len(found) for found in by_stream.values()} == {4 + 150 + 1}


def test_what_is_delivered_is_told_by_its_size_unless_it_is_something_else(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with Recorder(path) as recorder:
        tape = recorder.stream()
        tape.request(REQUEST, 1, "first", "", 1)
        tape.read(1, b"one two three", 2)
        tape.delivered(b"one ", 2)
        tape.delivered(b"three", 3)  # what stands between was left out
        tape.delivered(b"of our own", 3)
        tape.close(4)
    told = [line for line in lines_of(path) if isinstance(line, Delivered)]
    assert [(line.size, line.text) for line in told] == [(4, None), (5, None), (None, "of our own")]


def test_another_clock_begins_where_the_recording_is(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with Recorder(path) as recorder:
        one_stream(recorder.stream(), 1_000_000.0)
    times = [line.at_s for line in lines_of(path) if not isinstance(line, Opening)]
    assert 0 <= times[0] < 5
    assert times[-1] - times[0] == pytest.approx(9, abs=0.01)


@pytest.mark.parametrize("contents", ["kept", "hashed", "removed"])
def test_contents_are_as_asked_for(tmp_path: Path, contents: str) -> None:
    path = tmp_path / "a.jsonl"
    with Recorder(path, contents=contents, salt=b"s") as recorder:  # type: ignore[arg-type]
        one_stream(recorder.stream(), time.monotonic())
    assert ("hello" in path.read_text()) is (contents == "kept")
    reads = [line for line in lines_of(path) if isinstance(line, Read)]
    assert {line.size_bytes for line in reads} == {len(READ)}


_WRITER = """
import sys, time
from unbroken.telemetry.recording import Recorder
from unbroken.core.request import Request
tape = Recorder(sys.argv[1], in_thread=sys.argv[2] == "thread").stream()
tape.request(Request(method="POST", url="http://h/"), 1, "first", "", time.monotonic())
print("on", flush=True)
while True:
    tape.read(1, b"data: " + b"x" * 5000 + b"\\n\\n", time.monotonic())
"""


@pytest.mark.parametrize("how", ["thread", "direct"])
def test_a_writer_that_is_killed_leaves_whole_lines_and_one_torn_at_most(
    tmp_path: Path, how: str
) -> None:
    path = tmp_path / "a.jsonl"
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path), how], stdout=subprocess.PIPE
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    while path.stat().st_size < 200_000:
        time.sleep(0.01)
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    *whole, torn = path.read_bytes().split(b"\n")
    assert len(whole) > 20
    for raw in whole:
        assert decode_line(raw) is not None
    assert torn == b"" or not torn.endswith(b"}")


def test_a_disk_that_is_full_ends_the_recording_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        with caplog.at_level(logging.WARNING), Recorder(descriptor) as recorder:
            one_stream(recorder.stream(), time.monotonic())
            one_stream(recorder.stream(), time.monotonic())
        assert recorder.failed is not None
        assert len(caplog.records) == 1
        assert "cannot be written" in caplog.text
    finally:
        os.close(descriptor)


def test_a_mask_that_fails_ends_one_stream_and_raises_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl"
    with Recorder(path) as recorder:
        broken, fine = recorder.stream(), recorder.stream()
        monkeypatch.setattr(broken._mask, "put", lambda *_: 1 / 0)
        one_stream(broken, time.monotonic())
        one_stream(fine, time.monotonic())
    assert {line.stream for line in lines_of(path) if not isinstance(line, Opening)} == {2}
    assert sum("recording failed" in record.message for record in caplog.records) == 1


def test_a_disk_that_is_far_behind_loses_lines_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unbroken.telemetry.recording.output._MOST_WAITING_BYTES", 2_000)
    reading, writing = os.pipe()
    got: list[bytes] = []
    go = threading.Event()

    def slowly() -> None:
        go.wait(10)
        while data := os.read(reading, 65536):
            got.append(data)

    reader = threading.Thread(target=slowly)
    reader.start()
    recorder = Recorder(writing, in_thread=True)
    tape = recorder.stream()
    big = b"data: " + b"x" * 50_000 + b"\n\n"
    for at in range(60):
        tape.read(1, big, at)
    assert recorder.behind
    go.set()
    while recorder.behind:
        time.sleep(0.005)
    tape.wanted(61)
    tape.close(62)
    recorder.close()
    os.close(writing)
    reader.join()
    os.close(reading)
    lines = [decode_line(raw) for raw in b"".join(got).splitlines()]
    lost = [line for line in lines if isinstance(line, Lost)]
    reads = sum(isinstance(line, Read) for line in lines)
    assert isinstance(lines[-1], Wanted)
    assert sum(line.lines for line in lost) == 60 - reads > 0
    assert sum(line.size for line in lost) == (60 - reads) * len(big)


def test_what_waits_is_written_when_the_process_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    code = """
import sys
from unbroken.telemetry.recording import Recorder
tape = Recorder(sys.argv[1], in_thread=True).stream()
for at in range(1000):
    tape.read(1, b"x" * 1000, at)
"""
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, timeout=30)
    assert sum(isinstance(line, Read) for line in lines_of(path)) == 1000
