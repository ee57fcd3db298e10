"""The flight recorder: the first and the last of each stream, in so many bytes and no more."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from unbroken.core.faults import Fault, FaultKind
from unbroken.core.outcome import Outcome
from unbroken.core.recording import (
    Line,
    Lost,
    Opening,
    OutcomeSeen,
    Read,
    RequestSent,
    ResponseHead,
    Sent,
    decode_line,
)
from unbroken.core.request import Request
from unbroken.core.verdict import check
from unbroken.telemetry.recording import FlightRecorder

KEY = "private-value-77"
REQUEST = Request(
    method="POST",
    url="https://h/v1/chat/completions",
    headers=(("Authorization", f"Bearer {KEY}"),),
    body=b'{"messages":[{"content":"my prompt"}]}',
)


def failed() -> Outcome:
    outcome = check(b"", "openai-chat")
    outcome.faults = [Fault.of(FaultKind.CONNECTION_RESET, "cut")]
    return outcome


def flown(recorder: FlightRecorder, reads: int, size: int, request: Request = REQUEST) -> Outcome:
    tape = recorder.stream(name="a/b c")
    tape.request(request, 1, "first", "openai-chat", 100.0)
    tape.answered(1, 200, [("content-type", "text/event-stream")], 100.1)
    for at in range(reads):
        tape.read(1, b"id: %06d\n" % at + b"\n" * (size - 11), 101.0 + at)  # no contents
    tape.ended(1, "reset", "cut", 200_000.0)
    outcome = failed()
    tape.outcome(outcome, 200_000.0)
    tape.close(200_000.0)
    return outcome


def texts(lines: tuple[Line, ...]) -> list[str]:
    return [line.text[4:10] for line in lines if isinstance(line, Read) and line.text]


def test_the_first_lines_and_the_newest_stay_and_what_went_is_counted() -> None:
    outcome = flown(FlightRecorder(max_bytes=4096), reads=1000, size=100)
    lines = outcome.flight
    assert isinstance(lines[0], RequestSent)
    assert isinstance(lines[1], Sent)
    assert isinstance(lines[2], ResponseHead)
    assert isinstance(lines[-1], OutcomeSeen)
    (lost,) = [line for line in lines if isinstance(line, Lost)]
    kept = texts(lines)
    assert 8 < len(kept) < 40
    assert kept[-1] == "000999"
    assert lost.size == (1000 - len(kept)) * 100
    assert lines[0].at_s == 0.0


def test_a_read_larger_than_the_ring_is_kept_by_its_size() -> None:
    lines = flown(FlightRecorder(max_bytes=4096), reads=30, size=10_000).flight
    last = [line for line in lines if isinstance(line, Read)][-1]
    assert (last.text, last.size) == (None, 10_000)


def test_a_large_prompt_is_kept_by_its_size() -> None:
    large = Request(method="POST", url="https://h/", body=b"x" * 100_000)
    lines = flown(FlightRecorder(max_bytes=4096), 1, 20, large).flight
    assert isinstance(lines[1], Sent)
    assert (lines[1].text, lines[1].size) == (None, 100_000)


def test_a_slow_consumer_does_not_make_it_grow() -> None:
    tape = FlightRecorder(max_bytes=4096).stream()
    for at in range(10_000):
        tape.read(1, b"x", at)
        tape.delivered(b"x", at)
        tape.wanted(at + 1)
    assert len(tape._ring) < 40


def test_a_stream_that_is_well_leaves_nothing(tmp_path: Path) -> None:
    tape = FlightRecorder(tmp_path).stream()
    tape.request(REQUEST, 1, "first", "openai-chat", 1.0)
    outcome = check(b"", "openai-chat")
    outcome.faults = []
    tape.outcome(outcome, 2.0)
    tape.close(2.0)
    assert outcome.flight == ()
    assert list(tmp_path.iterdir()) == []


def test_one_that_failed_is_a_file_without_keys_and_contents(tmp_path: Path) -> None:
    recorder = FlightRecorder(tmp_path / "new", most_files=2)
    for _ in range(3):
        flown(recorder, reads=2, size=20)
    files = sorted((tmp_path / "new").iterdir())
    assert len(files) == 2
    raw = files[0].read_text()
    assert KEY not in raw
    assert "my prompt" not in raw
    lines = [decode_line(line.encode()) for line in raw.splitlines()]
    assert isinstance(lines[0], Opening)
    assert (lines[0].side, lines[0].contents) == ("flight-recorder", "removed")
    assert isinstance(lines[-1], OutcomeSeen)
    assert files[0].stat().st_mode & 0o777 == 0o600


def test_a_folder_that_cannot_be_written_to_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    recorder = FlightRecorder(tmp_path / "file" / "x")
    assert flown(recorder, 1, 20).flight
    assert flown(recorder, 1, 20).flight
    assert sum("cannot write into" in record.message for record in caplog.records) == 1


def test_nothing_is_kept_where_nothing_may_be() -> None:
    assert flown(FlightRecorder(max_bytes=0), reads=3, size=20).flight == ()
    with pytest.raises(ValueError, match="at least 0"):
        FlightRecorder(max_bytes=-1)


def test_a_large_prompt_is_not_held() -> None:
    recorder = FlightRecorder(max_bytes=4096, keep=1)
    large = Request(method="POST", url="https://h/v1/chat/completions", body=b"p" * 50_000)
    flight = flown(recorder, 1, 10, large).flight
    assert [line.size_bytes for line in flight if isinstance(line, Sent)] == [50_000]
    held = pickle.dumps((recorder.latest[0].flight._first, recorder.latest[0].flight._ring))
    assert len(held) < 10_000
