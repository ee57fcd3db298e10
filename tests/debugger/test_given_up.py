"""Who is to blame when a stream stood still and its reader left, and when it was only slow."""

from __future__ import annotations

from typing import Any

import pytest

from tests.debugger.recordings import DONE, PING, attempt, delta, finish
from unbroken.core.recording import (
    Connected,
    Delivered,
    End,
    Line,
    NoticeSeen,
    Opening,
    Read,
    RequestSent,
    Wanted,
)
from unbroken.debugger import report
from unbroken.debugger.facts import StreamReport

TOKENS = [(0.5 + 0.05 * n, delta("word ")) for n in range(20)]  # the last one at 1.45 s
PINGED = [*TOKENS, *[(2.45 + n, PING) for n in range(19)]]  # a ping a second, up to 20.45 s


def one(lines: list[Line], **how: Any) -> StreamReport:
    return report(lines, **how).streams[0]


def ended(lines: list[Line], at_s: float, how: str, detail: str = "") -> list[Line]:
    lines[-1] = End(at_s=at_s, how=how, detail=detail)  # type: ignore[arg-type]
    return lines


def told(stream: StreamReport) -> str:
    verdict = stream.verdict
    others = [f"{other.where}: {other.why}" for other in verdict.others]
    return " | ".join([verdict.headline, *verdict.evidence, *others])


# when it left, and how the silence before is told
SILENCES = [(31.46, "30.0 s"), (11.45, "10.0 s"), (3.46, "2.01 s"), (6.05, "4.60 s")]


@pytest.mark.parametrize(("at_s", "quiet"), SILENCES, ids=[quiet for _, quiet in SILENCES])
def test_silence_and_then_the_reader_left(at_s: float, quiet: str) -> None:
    stream = one(ended(attempt(TOKENS), at_s, "left", "the client closed the connection"))
    assert stream.status == "cancelled"
    assert stream.verdict.where == "unknown"
    assert stream.verdict.others[0].where == "provider"
    assert f"gave up after {quiet}" in told(stream)
    stalled = next(fault for fault in stream.faults if fault.kind == "stalled")
    assert stalled.help is not None
    assert stalled.help.record == "llm/stream-stalled"
    assert all(fault.help is None for fault in stream.faults if fault.kind == "cancelled")


def test_no_answer_and_then_the_reader_left() -> None:
    lines = ended(attempt([], status=None), 5.0, "left")
    lines.insert(1, Connected(at_s=0.02, address="h:1"))
    stream = one(lines)
    assert stream.verdict.where == "provider"
    assert "no answer began within 5.00 s" in told(stream)
    assert "round time" in told(stream)
    assert stream.longest_gap_s == pytest.approx(5.0)


def test_behind_pings_the_reader_left() -> None:
    stream = one(ended(attempt(PINGED), 21.2, "left"))
    assert stream.verdict.where == "provider"
    assert "gave up after 19.8 s" in told(stream)
    assert "19 pings came meanwhile" in told(stream)


# reads, when the reader left
FLOWING = [
    ("in mid-flow", TOKENS, 1.5),
    ("within a moment", TOKENS, 2.2),
    ("at its slow pace", [(2.0 * n, delta("a")) for n in range(1, 9)], 18.5),
    ("before an answer", [], 1.0),
]


@pytest.mark.parametrize(("reads", "at_s"), [case[1:] for case in FLOWING],
                         ids=[case[0] for case in FLOWING])  # fmt: skip
def test_what_was_moving_is_left_by_the_readers_own_will(reads: Any, at_s: float) -> None:
    stream = one(ended(attempt(reads, status=200 if reads else None), at_s, "left"))
    assert stream.verdict.where == "consumer"
    assert [fault.kind for fault in stream.faults] == ["cancelled"]


def test_a_reader_that_was_busy_itself_saw_no_silence() -> None:
    """It took what came, and never came back for more."""
    lines: list[Line] = []
    for line in attempt(TOKENS, how=None):
        lines.append(line)
        if isinstance(line, Read):
            lines.append(Delivered(at_s=line.at_s, size=10))
            lines.append(Wanted(at_s=line.at_s + 0.001))
    lines.pop()
    lines.append(End(at_s=30.0, how="left"))
    assert one(lines).verdict.where == "consumer"


def test_leaving_after_the_finish_is_normal() -> None:
    lines = ended(attempt([*TOKENS, (1.6, finish()), (1.61, DONE)]), 1.62, "left")
    stream = one(lines)
    assert stream.status == "complete"
    end = next(entry for entry in stream.timeline if entry.kind == "end")
    assert end.tone == "dim"
    assert "after the finish" in end.text


# The recorded command -------------------------------------------------------------------------


def commanded(reads: Any, at_s: float, detail: str) -> StreamReport:
    lines = ended(attempt(reads), at_s, "left")
    return one([*lines, NoticeSeen(at_s=at_s + 0.1, kind="command", detail=detail)])


def test_a_command_that_failed_in_mid_stream() -> None:
    stream = commanded(TOKENS, 1.5, "exit 1")
    assert stream.verdict.where == "consumer"
    assert "the command ended with exit 1 here" in told(stream)
    assert stream.duration_s == pytest.approx(1.5)
    assert any("exit 1" in entry.text for entry in stream.timeline)


def test_a_command_that_failed_for_the_silence() -> None:
    stream = commanded(TOKENS, 31.5, "exit 1")
    assert stream.verdict.where == "unknown"
    assert "the command ended with exit 1" in told(stream)


def test_a_command_is_nothing_to_streams_that_were_whole() -> None:
    stream = commanded([*TOKENS, (1.6, finish()), (1.61, DONE)], 1.62, "exit 1")
    assert stream.verdict.where == "none"
    assert stream.command == ""


# Pings ----------------------------------------------------------------------------------------


def test_all_pings_of_a_stall_are_counted() -> None:
    """The clock tells of it only after 10 s; the pings before belong to it too."""
    stream = one(ended(attempt(PINGED), 21.2, "deadline"))
    assert stream.stalls[0].pings == 19
    assert stream.attempts[0].quiet_pings == 19
    assert "19 pings came meanwhile" in told(stream)
    assert "19 pings meanwhile" in report(ended(attempt(PINGED), 21.2, "deadline")).text()


# Slow -----------------------------------------------------------------------------------------


def test_a_drip_that_a_deadline_ended_is_slow_and_not_silent() -> None:
    reads = [(1.0 * n, delta("a")) for n in range(1, 20)]
    stream = one(ended(attempt(reads), 19.6, "deadline", "not over after 19.6 s"))
    assert [fault.kind for fault in stream.faults] == ["slow-drip"]
    assert "slow" in stream.verdict.headline
    assert "1.0 a second" in told(stream)
    assert "not over after 19.6 s" in told(stream)
    assert "nothing came" not in told(stream)


def test_a_fast_stream_that_a_deadline_ended_is_the_readers() -> None:
    stream = one(ended(attempt(TOKENS), 1.6, "deadline"))
    assert [fault.kind for fault in stream.faults] == ["cancelled"]
    assert stream.verdict.where == "consumer"
    assert "deadline" in stream.verdict.headline


def test_silence_that_a_deadline_ended_is_silence() -> None:
    assert [f.kind for f in one(ended(attempt(TOKENS), 9.0, "deadline")).faults] == ["stalled"]


# The longest gap ------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["left", "deadline", "silent", "reset"])
def test_the_longest_gap_may_be_the_one_that_nothing_ended(how: str) -> None:
    found = report(ended(attempt(TOKENS), 31.45, how))
    stream = found.streams[0]
    assert stream.longest_gap_s == pytest.approx(30.0)
    assert stream.worst_gap is not None
    assert stream.worst_gap.open
    assert "longest 30.0 s at 1.45 s, up to the end" in " ".join(found.text().split())


def test_the_page_tells_the_longest_gap_too() -> None:
    pytest.importorskip("plotly", reason="plotly is not installed")
    page = report(ended(attempt(TOKENS), 31.45, "left")).html()
    assert '<dt>Longest gap</dt><dd class="value">30.0 s</dd>' in page


# No connection --------------------------------------------------------------------------------

# what was said, whether the connection stood, words of the verdict
UNREACHED = [
    ("connection refused", False, "refused"),
    ("there is no host of that name", False, "could not be looked up"),
    ("[Errno -2] Name or service not known", False, "could not be looked up"),
    ("closed the connection without an answer", True, "closed before any answer"),
    ("no connection in 10 s", False, "no answer came at all"),
]


@pytest.mark.parametrize(("detail", "stood", "words"), UNREACHED,
                         ids=[case[0] for case in UNREACHED])  # fmt: skip
def test_who_may_be_to_blame_without_a_connection(detail: str, stood: bool, words: str) -> None:
    lines = ended(attempt([], status=None), 0.02, "unanswered", detail)
    if stood:
        lines.insert(1, Connected(at_s=0.01, address="h:1"))
    stream = one(lines)
    assert words in stream.verdict.headline
    assert "consumer" in {other.where for other in stream.verdict.others}
    if stood:
        assert "nobody may listen" not in told(stream)
        assert "DNS" not in stream.verdict.next
    else:
        assert "stood" not in told(stream)


# What is not there ----------------------------------------------------------------------------


def test_no_sentence_ends_in_a_bare_colon() -> None:
    from unbroken.core.faults import FaultKind
    from unbroken.debugger.facts import AttemptReport, FaultMark, Report
    from unbroken.debugger.verdict import judge

    for kind in FaultKind:
        for detail in ("", "  ", "HTTP 400: "):
            mark = FaultMark(kind=kind.value, detail=detail, at_s=1.07)
            stream = StreamReport(
                status="failed", faults=[mark], attempts=[AttemptReport(status=500, head_s=1.0)]
            )
            stream.verdict = judge(stream)
            text = Report(streams=[stream], total=1)
            from unbroken.debugger.view_text import report_lines

            for line in report_lines(text, width=400):  # type: ignore[arg-type]
                assert not line.plain.rstrip().endswith(":"), line.plain


def test_a_warning_and_the_verdict_agree() -> None:
    found = report([Opening(version=1), *attempt([*TOKENS, (1.6, finish()), (1.61, DONE)])])
    stream = found.streams[0]
    from unbroken.debugger.facts import FaultMark
    from unbroken.debugger.verdict import judge

    stream.faults = [FaultMark(kind="protocol-violation", severity="warning", detail="d", at_s=1.0)]
    stream.verdict = judge(stream)
    assert stream.verdict.headline == "no fault: the answer is whole, with 1 warning"
    assert "✗" not in found.text()


def test_browsers_exports_say_nothing_of_a_pace() -> None:
    lines = [Opening(version=1, side="har"), *attempt([(9.0, delta("a") * 40 + finish() + DONE)])]
    assert one(lines).verdict.where == "none"
    assert not one(lines).parcels
    assert isinstance(lines[1], RequestSent)
