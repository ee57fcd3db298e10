"""The report: figures, timeline, faults and phases from lines of which a test knows everything."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.debugger.recordings import CHUNKED, PING, attempt, delta, finish, frame, recording, whole
from unbroken.core import verdict
from unbroken.core.masking.lines import LineMask
from unbroken.core.options import Clocks
from unbroken.core.recording import (
    Connected,
    Contents,
    Delivered,
    End,
    FaultSeen,
    Line,
    Lost,
    Opening,
    OutcomeSeen,
    Read,
    RequestSent,
    ResponseHead,
    Wanted,
)
from unbroken.debugger import Report, report
from unbroken.debugger.facts import StreamReport

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"


def one(lines: list[Line], **how: Any) -> StreamReport:
    return report(lines, **how).streams[0]


def texts(stream: StreamReport) -> list[str]:
    return [entry.text for entry in stream.timeline]


# What seeds/003's debugger reports ------------------------------------------------------------


def test_what_the_first_debugger_reported_is_all_there() -> None:
    """Status and headers, reads and their sizes and times, content, finish, errors, duration."""
    reads = [(0.5, delta("a")), (0.6, delta("b") + delta("c")), (0.9, b"data: {broken\n\n"),
             (1.0, finish()), (1.1, b"data: [DONE]\n\n")]  # fmt: skip
    lines = attempt(reads)
    for line in lines:
        if isinstance(line, Read):
            line.waited_s = 0.05
    found = report(lines)
    stream = found.streams[0]
    only = stream.attempts[0]
    assert only.status == 200
    assert ("x-request-id", "req_1") in only.response_headers
    assert (only.reads, only.frames, only.content, only.parse_errors) == (5, 6, 3, 1)
    assert only.finish == ["stop"]
    sizes = [len(data) for _, data in reads]
    assert only.read_bytes.least == min(sizes)
    assert only.read_bytes.most == max(sizes)
    assert only.read_bytes.average == sum(sizes) / 5
    assert only.read_wait_s.average == pytest.approx(0.05)
    assert stream.duration_s == pytest.approx(1.11)
    assert stream.reads.content == [1, 2, 0, 0, 0]
    assert stream.reads.finish == ["", "", "", "stop", ""]
    assert stream.reads.errors == [0, 0, 1, 0, 0]
    assert stream.reads.size_bytes == sizes
    assert [fault.kind for fault in stream.faults] == ["malformed-json"]
    assert stream.faults[0].at_s == pytest.approx(0.9)
    assert stream.faults[0].frame == 3


def test_times_are_from_the_request(tmp_path: Path) -> None:
    lines = attempt([(0.5, PING), (0.7, delta("a")), (0.8, finish())], at_s=100.0)
    lines.insert(1, Connected(at_s=100.1, address="h:1", tls=True))
    stream = one(lines)
    only = stream.attempts[0]
    assert stream.began_s == 100.0
    assert only.connected_s == pytest.approx(0.1)
    assert only.head_s == pytest.approx(0.01)
    assert only.first_byte_s == pytest.approx(0.5)
    assert only.first_content_s == pytest.approx(0.7)
    assert only.finished_s == pytest.approx(0.8)
    assert [band.phase for band in stream.bands][:2] == ["connecting", "waiting"]


# The story ------------------------------------------------------------------------------------


def test_what_is_alike_is_folded() -> None:
    reads = [(0.5 + 0.05 * n, delta("word ")) for n in range(112)]
    stream = one(attempt([*reads, (6.2, finish() + b"data: [DONE]\n\n")]))
    assert len(stream.timeline) <= 7
    assert any(
        text.startswith("text: 112 reads, 50 ms apart, 112 events") for text in texts(stream)
    )


def test_a_pause_has_its_own_line() -> None:
    reads = [(0.1 * n, delta("a")) for n in range(1, 20)]
    reads += [(6.0 + 0.1 * n, delta("a")) for n in range(20)]
    stream = one(attempt(reads))
    pauses = [entry for entry in stream.timeline if entry.kind == "pause"]
    assert [entry.text for entry in pauses] == ["4.10 s without a byte"]
    assert pauses[0].at_s == pytest.approx(1.9)
    quiet = one(attempt(reads), pause_s=10.0)
    assert not [entry for entry in quiet.timeline if entry.kind == "pause"]
    every = one(attempt(reads), pause_s=0.05)
    assert len([entry for entry in every.timeline if entry.kind == "pause"]) == 38


def test_a_slow_pace_is_no_row_of_pauses() -> None:
    stream = one(attempt([(2.0 * n, delta("a")) for n in range(1, 200)]))
    assert len(stream.timeline) < 20


def test_pings_apart_from_progress() -> None:
    reads: list[tuple[float, bytes]] = [(0.1 * n, delta("a")) for n in range(1, 10)]
    reads += [(1.0 + n, PING) for n in range(1, 16)]
    reads += [(17.0, delta("a")), (17.1, finish() + b"data: [DONE]\n\n")]
    stream = one(attempt(reads))
    assert stream.attempts[0].pings == 15
    assert stream.longest_gap_s == pytest.approx(16.1)
    worst = max(stream.gaps, key=lambda gap: gap.lasted_s)
    assert worst.pings == 15
    assert any("16.1 s without content" in text for text in texts(stream))
    # The progress clock tells of it after 10 s; the pings keep the silence clock quiet.
    assert [(stall.clock, stall.over) for stall in stream.stalls] == [("progress", False)]
    assert stream.stalls[0].lasted_s == pytest.approx(16.1)
    assert stream.stalls[0].pings > 0
    assert stream.verdict.where == "provider"
    strict = one(attempt(reads), clocks=Clocks(progress_text_s=5.0, notice_s=2.0))
    assert strict.stalls[0].over


def test_a_few_pings_between_tokens_are_nothing() -> None:
    reads = [read for n in range(1, 50) for read in ((0.1 * n, delta("a")), (0.1 * n + 0.05, PING))]
    stream = one(attempt(reads))
    assert len(stream.timeline) < 8
    assert any("pings" in text for text in texts(stream))


def test_every_read_if_asked_for() -> None:
    lines = attempt([delta("a")] * 30)
    assert len([e for e in one(lines, every_read=True).timeline if e.kind == "reads"]) == 30


# Phases ---------------------------------------------------------------------------------------


def anthropic(kind: str, **data: Any) -> bytes:
    return f"event: {kind}\n".encode() + frame({"type": kind, **data})


THINKING = [
    (0.1, anthropic("message_start", message={"id": "m", "model": "claude", "content": []})),
    (0.2, anthropic("content_block_start", index=0,
                    content_block={"type": "thinking", "thinking": ""})),
    (1.0, anthropic("content_block_delta", index=0,
                    delta={"type": "thinking_delta", "thinking": "hm"})),
    (2.0, anthropic("content_block_stop", index=0)),
    (2.1, anthropic("content_block_start", index=1, content_block={"type": "text", "text": ""})),
    (2.2, anthropic("content_block_delta", index=1, delta={"type": "text_delta", "text": "a"})),
    (3.0, anthropic("content_block_stop", index=1)),
    (3.1, anthropic("content_block_start", index=2,
                    content_block={"type": "tool_use", "id": "t", "name": "f", "input": {}})),
    (4.0, anthropic("content_block_delta", index=2,
                    delta={"type": "input_json_delta", "partial_json": '{"a": 1}'})),
    (4.1, anthropic("content_block_stop", index=2)),
    (4.2, anthropic("message_delta", delta={"stop_reason": "tool_use"}, usage={})),
    (4.3, anthropic("message_stop")),
]  # fmt: skip


def test_phases_are_bands() -> None:
    stream = one(attempt(THINKING, path="/v1/messages"))
    assert stream.status == "complete"
    assert [(band.phase, round(band.from_s, 2)) for band in stream.bands] == [
        ("connecting", 0.0), ("waiting", 0.01), ("thinking", 0.2), ("text", 2.2), ("tool", 3.1),
        ("ending", 4.2),
    ]  # fmt: skip


@pytest.mark.parametrize("contents", ["removed", "hashed"])
def test_masked_contents_leave_times_phases_and_faults(contents: Contents) -> None:
    lines = [Opening(version=1, contents=contents)]
    mask = LineMask(contents, salt=b"x")
    masked: list[Line] = [*lines]
    for line in attempt(THINKING[:-3], path="/v1/messages"):
        masked += mask.put(line)
    masked += mask.finish()
    kept, hidden = one(attempt(THINKING[:-3], path="/v1/messages")), one(masked)
    assert hidden.bands == kept.bands
    assert [(f.kind, f.at_s, f.at_byte) for f in hidden.faults] == [
        (f.kind, f.at_s, f.at_byte) for f in kept.faults
    ]
    assert hidden.verdict.where == kept.verdict.where
    assert hidden.reads.content == kept.reads.content


# Many real streams ----------------------------------------------------------------------------


def corpus() -> Iterator[dict[str, Any]]:
    index = CORPUS / "index.jsonl"
    if index.is_file():
        for raw in index.read_text("utf-8").splitlines():
            row = json.loads(raw)
            if (CORPUS / row["file"]).stat().st_size < 300_000:
                yield row


ROWS = list(corpus())


def recorded(row: dict[str, Any], *, path: bool) -> tuple[list[Line], bytes]:
    body = (CORPUS / row["file"]).read_bytes()
    url = f"https://{row['provider_host']}{(row['url_path'] or '/') if path else '/'}"
    lines: list[Line] = [
        RequestSent(at_s=0.0, url=url),
        ResponseHead(
            at_s=0.1, headers=[("content-type", row["content_type"] or "")], framing="chunked"
        ),
    ]
    for number, at in enumerate(range(0, len(body), 700)):
        lines.append(read_of(body[at : at + 700], 0.2 + number * 0.01))
    lines.append(End(at_s=99.0))
    return lines, body


def read_of(data: bytes, at_s: float) -> Read:
    import base64

    try:
        return Read(at_s=at_s, text=data.decode())
    except UnicodeDecodeError:
        return Read(at_s=at_s, base64=base64.b64encode(data).decode())


@pytest.mark.skipif(not ROWS, reason="the corpus of recorded streams is not here")
def test_every_recorded_stream_is_judged_as_check_does() -> None:
    wrong = []
    for row in ROWS:
        for path in (True, False):
            lines, body = recorded(row, path=path)
            if not body or (not path and row["framing"] == "jsonarray"):
                continue  # an array of which the first read holds no whole element is any JSON
            stream = one(lines)
            host = row["provider_host"]
            dialect = stream.attempts[0].dialect if path and stream.attempts[0].dialect else "auto"
            expected = verdict.check(
                body, dialect, host=host, content_type=row["content_type"] or ""
            )
            seen = ([f.kind for f in stream.faults], stream.status, stream.attempts[0].frames)
            told = ([f.kind.value for f in expected.faults], expected.status, expected.frames)
            if seen != told:
                wrong.append((row["file"], path, seen, told))
    assert not wrong, f"{len(wrong)} of {len(ROWS)}: {wrong[:5]}"


@pytest.mark.skipif(not ROWS, reason="the corpus of recorded streams is not here")
@pytest.mark.parametrize("contents", ["removed", "hashed"])
def test_every_recorded_stream_says_the_same_without_its_contents(contents: Contents) -> None:
    wrong = []
    for row in ROWS[::3]:
        lines, body = recorded(row, path=True)
        if not body:
            continue
        kept = one(lines)
        mask = LineMask(contents, salt=b"x")
        masked: list[Line] = [Opening(version=1, contents=contents)]
        for line in recorded(row, path=True)[0]:
            masked += mask.put(line)
        masked += mask.finish()
        hidden = one(masked)
        seen = ([f.kind for f in hidden.faults], hidden.status, hidden.reads.content)
        told = ([f.kind for f in kept.faults], kept.status, kept.reads.content)
        if seen != told and hidden.attempts[0].decoded:
            wrong.append((row["file"], seen[:2], told[:2]))
    assert not wrong, f"{len(wrong)} of {len(ROWS) // 3}: {wrong[:5]}"


# What cannot be decoded -----------------------------------------------------------------------


def test_compressed_bodies_are_unpacked() -> None:
    body = gzip.compress(b"".join(whole("a", "b", "c")))
    headers = [*CHUNKED, ("content-encoding", "gzip")]
    stream = one(attempt([body[:40], body[40:]], headers=headers))
    assert stream.status == "complete"
    assert stream.attempts[0].content == 3


@pytest.mark.parametrize("encoding", ["br", "zstd"])
def test_an_unknown_compression_is_a_note(encoding: str) -> None:
    headers = [*CHUNKED, ("content-encoding", encoding)]
    stream = one(attempt([b"\x01\x02", b"\x03"], headers=headers))
    assert stream.status == "unread"
    assert not stream.attempts[0].decoded
    assert encoding in stream.notes[0]
    assert stream.attempts[0].size_bytes == 3


def test_sizes_alone_still_give_times() -> None:
    lines = attempt([b""] * 0)[:-1]
    lines += [Read(at_s=0.5 + n * 0.1, size=100) for n in range(10)]
    lines.append(End(at_s=1.6, how="reset"))
    stream = one(lines)
    assert [f.kind for f in stream.faults] == ["connection-reset"]
    assert stream.attempts[0].size_bytes == 1000
    assert stream.reads.gap_s[5] == pytest.approx(0.1)


def test_a_plain_answer_is_no_stream() -> None:
    lines = attempt(
        [b'{"object": "list", "data": []}'], path="/v1/models", method="GET", body=None,
        headers=[("content-type", "application/json")], framing="length",
    )  # fmt: skip
    stream = one(lines)
    assert stream.status == "plain"
    assert stream.faults == []
    assert stream.verdict.where == "none"


def test_a_recording_that_stops_is_no_fault() -> None:
    stream = one(attempt([delta("a")] * 5, how=None))
    assert stream.status == "unended"
    assert stream.faults == []


# The flight recorder --------------------------------------------------------------------------


def test_behind_a_hole_what_can_be_known_is_known() -> None:
    lines = attempt([delta("a")] * 4)[:-1]
    tail = delta("z" * 50)
    lines += [
        Lost(at_s=1.0, lines=90, size=20_000),
        Read(at_s=1.1, text=tail[20:].decode()),
        Read(at_s=1.2, text=delta("y").decode()),
        Read(at_s=1.3, text=frame({"error": {"message": "m", "type": "server_error"}}).decode()),
        End(at_s=1.4, how="given-up"),
        OutcomeSeen(
            at_s=1.5,
            status="failed",
            faults=[FaultSeen(kind="provider-error", detail="seen", at_byte=20_900, attempt=1)],
        ),
    ]
    stream = one(lines)
    assert stream.status == "failed"
    assert [(f.kind, f.at_byte, f.at_s) for f in stream.faults] == [
        ("provider-error", 20_900, pytest.approx(1.3))
    ]
    assert stream.attempts[0].lost_bytes == 20_000
    assert "20,000 bytes" in stream.notes[0]


def flown() -> list[Line]:
    """A ring that lost its beginning: the head, and then only the newest lines."""
    lines = attempt([], how=None)
    lines.append(Lost(at_s=1.26, lines=513, size=108_691))
    lines.append(Read(at_s=1.26, text=delta("z" * 50).decode()[30:]))
    lines += [Read(at_s=1.3 + 0.01 * n, text=delta("y").decode()) for n in range(20)]
    lines.append(End(at_s=1.5, how="eof"))
    lines.append(
        OutcomeSeen(
            at_s=1.5,
            status="failed",
            faults=[
                FaultSeen(
                    kind="truncated-between-events", detail="after 601 frames (112,000 bytes)",
                    attempt=1,
                )
            ],
        )
    )  # fmt: skip
    return lines


def test_what_was_lost_has_no_times() -> None:
    found = report(flown())
    stream, only = found.streams[0], found.streams[0].attempts[0]
    assert only.first_byte_s is None
    assert only.first_event_s is None
    assert only.first_content_s is None
    assert stream.first_content_s is None
    assert only.unseen_s == pytest.approx(1.26)
    assert "before 1.26 s: not kept" in " ".join(found.text().split())
    assert not [mark for mark in stream.marks if mark.kind in ("first-byte", "first-content")]
    assert stream.longest_gap_s < 0.1
    assert stream.stalls == []


def test_what_was_lost_is_counted() -> None:
    found = report(flown())
    stream = found.streams[0]
    assert stream.attempts[0].pings == 0  # a torn half of a frame is none
    assert any("601 frames" in sentence for sentence in stream.verdict.evidence)
    assert not any("20 frames" in sentence for sentence in stream.verdict.evidence)
    assert "after 20 frames" not in found.text()
    assert "(and 108.7 kB not)" in found.text()


def test_a_healed_stream_of_which_the_break_was_lost() -> None:
    lines = attempt([], how=None)
    lines.append(Lost(at_s=3.88, lines=1908, size=402_000))
    lines += [Read(at_s=3.88 + 0.01 * n, attempt=2, text=delta("y").decode()) for n in range(9)]
    lines.append(Read(at_s=4.0, attempt=2, text=(finish() + b"data: [DONE]\n\n").decode()))
    lines.append(End(at_s=4.0, attempt=2, how="left"))
    said = "the connection failed after 601 frames"
    seen = [FaultSeen(kind="connection-reset", detail=said, attempt=1)]
    lines.append(OutcomeSeen(at_s=4.0, status="complete", recoveries=1, faults=seen))
    found = report(lines)
    stream = found.streams[0]
    assert stream.healed
    (fault,) = stream.faults
    assert not fault.exact
    assert stream.attempts[0].ended_s is None
    words = " ".join(stream.verdict.evidence)
    assert "601 frames" in words
    assert "0 frames" not in words
    assert "after the request" not in words
    assert stream.verdict.where == "network"  # and no limit: nobody knows when it was cut
    assert stream.verdict.suspects == []
    assert "connection-reset before 3.88 s" in found.text()


def test_a_cut_whose_time_was_lost_fits_no_limit() -> None:
    lines = attempt([], how=None)
    lines.append(Lost(at_s=60.0, lines=1908, size=402_000))
    lines += [Read(at_s=60.0, attempt=2, text=delta("y").decode())]
    lines.append(End(at_s=90.0, attempt=2, how="incomplete"))
    stream = one(lines)
    assert not stream.attempts[1].asked
    assert not any(
        "after the request" in sentence or "its age" in sentence
        for sentence in stream.verdict.evidence
    )


def test_lines_without_an_opening_are_taken() -> None:
    assert report(iter(attempt(whole("a")))).streams[0].status == "complete"
    assert report(tuple(attempt(whole("a")))).streams[0].status == "complete"


# The consumer ---------------------------------------------------------------------------------


def test_the_readers_own_time_is_told() -> None:
    lines: list[Line] = attempt([])[:-1]
    now = 0.5
    for number in range(20):
        lines += [
            Read(at_s=now, text=delta("a").decode()),
            Delivered(at_s=now, size=10),
            Wanted(at_s=now + (2.0 if number == 10 else 0.3)),
        ]
        now += 2.01 if number == 10 else 0.31
    lines += [Read(at_s=now, text=(finish() + b"data: [DONE]\n\n").decode()), End(at_s=now)]
    stream = one(lines)
    assert stream.verdict.where == "consumer"
    assert stream.consumer.busy_s == pytest.approx(7.7)
    assert stream.consumer.longest_s == pytest.approx(2.0)
    assert stream.consumer.longest_at_s == pytest.approx(3.6)


# Attempts -------------------------------------------------------------------------------------


def healed() -> list[Line]:
    lines = attempt([(0.1 * n, delta("a")) for n in range(1, 6)], how="reset")
    lines += attempt([(1.0 + 0.1 * n, delta("b")) for n in range(1, 6)] + [(2.0, finish())],
                     number=2)  # fmt: skip
    lines[-1].at_s = 2.1  # type: ignore[union-attr]
    for line in lines:
        if isinstance(line, RequestSent) and line.attempt == 2:
            line.at_s, line.rung = 0.9, "prefill"
    lines.append(OutcomeSeen(at_s=2.2, status="complete", recoveries=1,
                             faults=[FaultSeen(kind="connection-reset", attempt=1)]))  # fmt: skip
    return lines


def test_attempts_and_seams() -> None:
    stream = one(healed())
    assert stream.healed
    assert stream.status == "complete"
    assert [a.rung for a in stream.attempts] == ["first", "prefill"]
    reset = next(f for f in stream.faults if f.kind == "connection-reset")
    assert reset.recovered
    assert reset.at_s == pytest.approx(0.51)
    seam = next(mark for mark in stream.marks if mark.kind == "seam")
    assert seam.at_s == pytest.approx(1.1)
    assert "healed" in stream.verdict.headline


# Bounds ---------------------------------------------------------------------------------------


def endless(reads: int) -> Iterator[Line]:
    yield Opening(version=1)
    yield from attempt([])[:-1]
    text = delta("word").decode()
    for number in range(reads):
        yield Read(at_s=0.5 + number * 0.02, text=text, waited_s=0.02)
    yield End(at_s=0.6 + reads * 0.02)


def test_a_long_stream_takes_no_more_memory() -> None:
    def peak(reads: int) -> tuple[int, StreamReport]:
        tracemalloc.start()
        try:
            stream = report(endless(reads)).streams[0]
            return tracemalloc.get_traced_memory()[1], stream
        finally:
            tracemalloc.stop()

    peak(100)  # what is loaded once
    small, _ = peak(20_000)
    large, stream = peak(80_000)
    assert large < small * 1.3 + 1_000_000
    assert len(stream.reads.at_s) <= 4000
    assert sum(stream.reads.reads) == 80_000
    assert sum(stream.throughput.content) == 80_000
    assert stream.reads.merged > 1
    assert len(stream.timeline) < 20
    assert [fault.kind for fault in stream.faults] == ["truncated-between-events"]


def test_many_streams_are_listed_and_the_broken_ones_told() -> None:
    def lines() -> Iterator[Line]:
        yield Opening(version=1)
        for number in range(1, 301):
            cut = number % 50 == 0
            yield from attempt([delta("a")] if cut else whole("a"), stream=number, at_s=number)

    found = report(lines())
    assert found.total == 300
    assert len(found.listed) == 300
    assert sum(row.status == "failed" for row in found.listed) == 6
    told = {stream.number for stream in found.streams}
    assert {50, 100, 150, 200, 250, 300} <= told
    assert len(told) < 60
    only = report(lines(), stream=217)
    assert [stream.number for stream in only.streams] == [217]
    with pytest.raises(ValueError, match="no stream 999"):
        report(lines(), stream=999)


def test_a_file_that_was_appended_to(tmp_path: Path) -> None:
    path = recording(tmp_path / "r.jsonl", attempt(whole("a")))
    path.write_bytes(path.read_bytes() * 3)
    found = report(path)
    assert [row.number for row in found.listed] == [1, 2, 3]
    assert all(row.status == "complete" for row in found.listed)
    assert "appended" in found.notes[0]


def test_a_body_of_nothing_but_faults_is_bounded() -> None:
    stream = one(attempt([b"data: {no\n\n" * 50] * 100))
    assert len(stream.faults) <= 300
    assert stream.attempts[0].parse_errors >= 200


# Contents -------------------------------------------------------------------------------------

SECRET = "nobody-may-see"


def told(found: Report) -> str:
    return json.dumps(found.to_dict()) + found.text()


def test_contents_are_shown_only_if_asked_for() -> None:
    body = json.dumps({"stream": True, "messages": [{"role": "user", "content": SECRET}]})
    lines = [*attempt([delta(SECRET), delta("x")], body=body.encode())]
    assert SECRET not in told(report(lines))
    shown = told(report(lines, previews=True))
    assert shown.count(SECRET) >= 2


def test_the_json_says_what_it_is() -> None:
    found = report(attempt(whole("a")))
    known = found.to_dict()
    assert (known["format"], known["version"]) == ("unbroken-report", 1)
    assert json.loads(json.dumps(known)) == known


def test_no_line_is_wider_than_asked_for() -> None:
    lines = attempt([(0.1 * n, delta("a" * n)) for n in range(1, 40)], how="reset")
    for width in (60, 80, 100):
        for line in report(lines).text(width=width).splitlines():
            assert len(line) <= width, line


def test_unknown_dialect() -> None:
    with pytest.raises(ValueError, match="no dialect is called"):
        report(attempt(whole("a")), dialect="morse")
