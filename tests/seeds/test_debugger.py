"""What the guide's stream debugger logs and reports, of an SDK over a server that breaks."""

from __future__ import annotations

import contextlib
from pathlib import Path

import openai
import pytest

from tests.seeds.scenes import breaks, protected, read
from tests.support.faults import STORY, Break, reply
from tests.support.faultserver import FaultServer, Script
from unbroken.debugger import Report, report
from unbroken.debugger.reading import read_lines
from unbroken.telemetry.recording import Recorder


def _recorded(folder: Path, script: Script, *, mode: str = "raise") -> Path:
    path = folder / "stream.jsonl"
    with FaultServer(script) as server, Recorder(path) as recorder:
        with protected(server, mode, recorder=recorder) as (sdk, _):
            with contextlib.suppress(openai.APIConnectionError):
                read(sdk)
    return path


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return _recorded(tmp_path, reply("ok", "openai-chat", at=0))


@pytest.fixture
def told(whole: Path) -> Report:
    return report(whole)


@pytest.mark.seed("003-debug-log")
def test_the_log_has_what_happened_with_times(whole: Path) -> None:
    kinds = [type(line).__name__ for line in read_lines(whole)]
    assert kinds[:2] == ["Opening", "RequestSent"]
    assert kinds.index("ResponseHead") < kinds.index("Read") < kinds.index("End")
    times = [line.at_s for line in read_lines(whole) if hasattr(line, "at_s")]
    assert times == sorted(times)


@pytest.mark.seed("003-debug-response")
def test_status_and_headers_are_in_the_log(told: Report) -> None:
    (attempt,) = told.streams[0].attempts
    assert attempt.status == 200
    assert attempt.header("content-type").startswith("text/event-stream")
    assert "HTTP 200" in told.text()


@pytest.mark.seed("003-debug-reads")
def test_each_read_has_its_size_and_how_long_it_was_waited_for(whole: Path) -> None:
    reads = report(whole, every_read=True).streams[0].reads
    assert sum(reads.size_bytes) == sum(
        line.size_bytes for line in read_lines(whole) if type(line).__name__ == "Read"
    )
    assert len(reads.gap_s) == len(reads.size_bytes) == len(reads.waited_s) > 1
    first_words = STORY.text[:12]
    assert first_words not in report(whole).text(), "a preview only where asked for"
    shown = report(whole, previews=True, every_read=True)
    assert any('data: {"id"' in preview for preview in shown.streams[0].reads.preview)


@pytest.mark.seed("003-debug-parse-errors")
def test_what_could_not_be_parsed_is_told_with_the_reason(tmp_path: Path) -> None:
    told = report(_recorded(tmp_path, breaks(Break("bad_json", at=12))))
    (stream,) = told.streams
    assert stream.attempts[0].parse_errors == 1
    (fault,) = [mark for mark in stream.faults if mark.kind == "malformed-json"]
    assert fault.frame is not None
    assert fault.detail
    assert fault.help is not None
    assert fault.help.record == "llm/stream-malformed-json"


@pytest.mark.seed("003-debug-event-kinds")
def test_which_events_carried_content_or_a_finish(whole: Path) -> None:
    stream = report(whole, every_read=True).streams[0]
    assert sum(stream.reads.content) == stream.attempts[0].content > 1
    assert [finish for finish in stream.reads.finish if finish] == ["stop"]
    assert stream.attempts[0].finish == ["stop"]


@pytest.mark.seed("003-debug-timeline")
def test_a_report_has_a_summary_and_a_timeline(tmp_path: Path) -> None:
    told = report(_recorded(tmp_path, breaks(Break("cut_rst", at=12))))
    (stream,) = told.streams
    assert stream.status == "failed"
    assert stream.duration_s > 0
    kinds = [entry.kind for entry in stream.timeline]
    assert kinds.index("request") < kinds.index("reads") < kinds.index("fault")
    text = told.text()
    assert "connection-reset" in text
    assert "unbroken explain llm/stream-connection-reset" in text


@pytest.mark.seed("003-debug-sizes")
def test_average_least_and_largest_sizes_and_the_average_read_time(told: Report) -> None:
    attempt = told.streams[0].attempts[0]
    assert attempt.read_bytes.count == attempt.reads
    assert attempt.read_bytes.least <= attempt.read_bytes.average <= attempt.read_bytes.most
    assert attempt.read_bytes.average == pytest.approx(attempt.size_bytes / attempt.reads)
    assert attempt.read_wait_s.count == attempt.reads
    assert attempt.read_wait_s.average >= 0
