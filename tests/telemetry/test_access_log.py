"""The access log's writer: whatever becomes of its file, nobody waits for it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from unbroken.core.actions import Reconnecting
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.outcome import AttemptRecord, Outcome, Provenance
from unbroken.core.received import Usage
from unbroken.core.request import Request
from unbroken.telemetry.access_log import (
    AccessLog,
    Resends,
    path_of,
    stream_facts,
    stream_hash,
)
from unbroken.telemetry.health import StreamRow


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def until(true: Callable[[], object], limit_s: float = 10.0) -> None:
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def test_a_line_for_each_write(tmp_path: Path) -> None:
    log = AccessLog(str(tmp_path / "log"), wall_time=lambda: 1_700_000_000.5)
    log.write("request", {"status": 200, "team": None, "model": "m" * 5000})
    log.write("stream", {"status": 201})
    log.close()
    first, second = lines(tmp_path / "log")
    assert list(first) == ["time", "kind", "status", "model"]
    assert first["time"] == "2023-11-14T22:13:20.500Z"
    assert first["model"] == "m" * 200
    assert second["status"] == 201
    assert (tmp_path / "log").stat().st_mode & 0o007 == 0, "not for everybody"


def test_a_file_that_was_moved_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = AccessLog(str(path))
    log.write("request", {"n": 1})
    until(path.exists)
    until(lambda: lines(path))
    path.rename(tmp_path / "log.1")
    log.reopen()
    log.write("request", {"n": 2})
    log.close()
    assert [line["n"] for line in lines(path)] == [2]
    assert [line["n"] for line in lines(tmp_path / "log.1")] == [1]


def test_a_file_that_was_moved_is_noticed_without_a_signal(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = AccessLog(str(path))
    log._looked_at = -10.0
    log.write("request", {"n": 1})
    until(lambda: path.exists() and lines(path))
    path.rename(tmp_path / "log.1")
    log._looked_at = -10.0  # as if a second had passed
    log.write("request", {"n": 2})
    log.close()
    assert [line["n"] for line in lines(path)] == [2]


def test_a_full_disk_costs_lines_and_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full (Linux)")
    lost: list[int] = []
    with caplog.at_level(logging.WARNING, "unbroken"):
        log = AccessLog("/dev/full", on_lost=lost.append)
        for number in range(50):
            log.write("request", {"n": number})
        log.close()
    assert sum(lost) == log.lost == 50
    assert log.failing
    (record,) = caplog.records
    assert "No space left" in record.getMessage()


def test_it_goes_on_when_the_disk_has_room_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "later"
    log = AccessLog(str(folder / "log"))
    log.write("request", {"n": 1})
    until(lambda: log.failing)
    folder.mkdir()
    with caplog.at_level(logging.WARNING, "unbroken"):
        log.write("request", {"n": 2})
        log.close()
    assert [line["n"] for line in lines(folder / "log")] == [2]
    assert "1 lines were lost" in caplog.text


def test_half_a_line_gets_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = os.write, 0

    def write(handle: int, data: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls == 1:
            return real(handle, data[:10])
        if calls == 2:
            raise OSError(28, "No space left on device")
        return real(handle, data)

    monkeypatch.setattr("unbroken.telemetry.access_log.os.write", write)
    log = AccessLog(str(tmp_path / "log"))
    log.write("request", {"n": 1})
    until(lambda: log.failing)
    log.write("request", {"n": 2})
    log.close()
    torn, whole = (tmp_path / "log").read_text("utf-8").splitlines()
    assert len(torn) == 10
    assert json.loads(whole)["n"] == 2
    assert log.lost == 1


def test_a_pipe_that_nobody_reads_makes_nobody_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        log = AccessLog(str(tmp_path / "pipe"))
        began = time.monotonic()
        for _ in range(3000):
            log.write("request", {"path": "x" * 150})
        assert time.monotonic() - began < 2.0
        until(lambda: log.lost > 0)
        log.close()
    finally:
        os.close(reader)


def test_standard_output_that_hangs_makes_nobody_wait_and_memory_is_bounded() -> None:
    code = """
import sys, time
from unbroken.telemetry.access_log import AccessLog
log = AccessLog("-")
began = time.monotonic()
for n in range(60_000):
    log.write("request", {"path": "x" * 180})
took = time.monotonic() - began
log.close(limit_s=0.2)
print(took, log._lost_untold + log.lost, log._waiting_bytes, file=sys.stderr)
"""
    ran = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert ran.stderr is not None  # and standard output is read by nobody
    took, lost, waiting = ran.stderr.readline().split()
    ran.kill()
    ran.communicate()
    assert float(took) < 20
    assert int(lost) > 1000
    assert int(waiting) <= 8 * 1024 * 1024


def test_a_broken_pipe_ends_nothing() -> None:
    code = """
import time
from unbroken.telemetry.access_log import AccessLog
log = AccessLog("-")
time.sleep(0.3)
for n in range(20):
    log.write("request", {"n": n})
    time.sleep(0.005)
log.close()
assert log.lost == 20, log.lost
"""
    ran = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert ran.stdout is not None
    ran.stdout.close()
    _, said = ran.communicate(timeout=20)
    assert ran.returncode == 0, said
    assert said.count("cannot be written (Broken pipe)") == 1


def notice(**more: object) -> Reconnecting:
    values: dict[str, object] = {
        "attempt": 2,
        "rung": "prefill",
        "fault": Fault.of(FaultKind.CONNECTION_RESET, "reset after 90 bytes"),
        "wait_s": 0.25,
        "added_bytes": 321,
        "skipped": [],
    }
    return Reconnecting(**{**values, **more})  # type: ignore[arg-type]


def test_the_audit_has_a_line_for_each_prompt_sent_again_and_for_no_other(tmp_path: Path) -> None:
    log = AccessLog(str(tmp_path / "log"))
    audit = Resends(log, {"team": "search", "provider": "openai"})
    body = b'{"model": "gpt-5", "messages": [{"content": "secret words"}]}'
    request = Request(method="POST", url="https://api.openai.com/v1/chat?key=secret", body=body)
    audit.sent(request)  # the first: somebody asked for it
    audit.notice(notice())
    audit.sent(request)
    audit.notice(notice(attempt=3, rung="cursor", added_bytes=0))
    audit.sent(Request(method="GET", url="https://api.openai.com/v1/responses/1"))
    log.close()
    (line,) = lines(tmp_path / "log")
    del line["time"]
    assert line == {
        "kind": "resend", "team": "search", "provider": "openai", "attempt": 2, "rung": "prefill",
        "why": "connection-reset", "target_host": "api.openai.com", "target_model": "gpt-5",
        "added_bytes": 321, "wait_s": 0.25,
    }  # fmt: skip


def test_what_is_said_of_a_stream() -> None:
    row = StreamRow(
        id="s", status="complete", bytes=900, frames=12, tokens=40, tokens_counted="usage",
        ttft_s=0.31234567, duration_s=2.5, longest_gap_s=0.75, attempts=2,
    )  # fmt: skip
    fault = Fault.of(FaultKind.STALLED, "silent for 20 s")
    outcome = Outcome(
        status="complete",
        text="the secret answer",
        faults=[fault],
        attempts=[
            AttemptRecord(number=1, usage=Usage(output=25, estimated=True), fault=fault,
                          request_id="req_1"),
            AttemptRecord(number=2, rung="prefill", usage=Usage(input=9, output=20),
                          request_id="not an id: the secret answer"),
        ],
        provenance=[
            Provenance(attempt=1, start=0, end=50, rung="first", guarantee="byte-exact"),
            Provenance(attempt=2, start=50, end=100, rung="prefill", guarantee="seam-verified"),
        ],
    )  # fmt: skip
    facts = {key: value for key, value in stream_facts(row, outcome).items() if value is not None}
    assert facts == {
        "outcome": "complete", "stream_bytes": 900, "frames": 12, "tokens": 40,
        "tokens_counted": "usage", "ttft_s": 0.3123, "stream_s": 2.5, "longest_gap_s": 0.75,
        "attempts": 2, "faults": {"stalled": 1}, "record": "llm/stream-stalled",
        "recoveries": [{"rung": "prefill", "guarantee": "seam-verified", "fault": None}],
        "usage": {"input": 9, "output": 45, "estimated_output": 25},
        "saved_tokens": 20, "upstream_request_ids": ["req_1"],
    }  # fmt: skip


def test_usage_is_said_only_where_it_is_known() -> None:
    facts = stream_facts(StreamRow(id="s", status="failed"), Outcome(attempts=[]))
    assert facts["usage"] is None
    cut = [AttemptRecord(number=1, usage=Usage(output=25, estimated=True))]
    facts = stream_facts(StreamRow(id="s", status="failed"), Outcome(attempts=cut))
    assert facts["usage"] == {"output": 25, "estimated_output": 25}  # no input of 0
    assert stream_facts(StreamRow(id="s", status="failed"), None)["outcome"] == "failed"


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("/v1/chat/completions?key=secret", "/v1/chat/completions"),
        ("/streams/abcdef123456", f"/streams/{stream_hash('abcdef123456')}"),
        ("/" + "a" * 300, "/" + "a" * 199),
    ],
)
def test_a_path_is_shown_without_what_could_open_something(target: str, shown: str) -> None:
    assert path_of(target) == shown
    assert len(stream_hash("abcdef123456")) == 12
