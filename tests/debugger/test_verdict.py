"""Where the fault lies, from lines whose times a test chose: limits, lumps, silence."""

from __future__ import annotations

from typing import Any

import pytest

from tests.debugger.recordings import CHUNKED, PING, attempt, delta, finish
from unbroken.core.recording import End, Line, Opening, Read, ResponseHead
from unbroken.debugger import report
from unbroken.debugger.facts import Verdict
from unbroken.debugger.verdict.suspects import LIMITS, fitting, is_round

NGINX = [("content-type", "text/event-stream"), ("server", "nginx/1.22.1")]
CLOUDFLARE = [("content-type", "text/html"), ("server", "cloudflare"), ("cf-ray", "1-FRA")]


def judged(lines: list[Line]) -> Verdict:
    return report(lines).streams[0].verdict


def ended(lines: list[Line], at_s: float, how: str, detail: str = "") -> list[Line]:
    lines[-1] = End(at_s=at_s, how=how, detail=detail)  # type: ignore[arg-type]
    return lines


TOKENS = [(0.5 + 0.05 * n, delta("word ")) for n in range(20)]  # the last one at 1.45 s

# headers, framing, reads, end, how, where, suspects
CUTS: list[tuple[str, Any, str, float, str, str, str]] = [
    ("alb", CHUNKED, "chunked", 61.45, "incomplete", "middlebox", "Application Load Balancer"),
    ("nginx", NGINX, "chunked", 61.2, "incomplete", "middlebox", "proxy_read_timeout"),
    ("nginx hides it", NGINX, "chunked", 61.45, "eof", "middlebox", "proxy_read_timeout"),
    ("nat", CHUNKED, "chunked", 351.6, "reset", "middlebox", "Network Load Balancer"),
    ("api gateway", CHUNKED, "chunked", 29.02, "incomplete", "middlebox", "API Gateway"),
    ("lambda", CHUNKED, "chunked", 900.1, "incomplete", "middlebox", "AWS Lambda"),
    ("weather", CHUNKED, "chunked", 1.47, "reset", "network", ""),
    ("a crash", CHUNKED, "chunked", 1.46, "incomplete", "network", ""),
    ("an odd time", CHUNKED, "chunked", 44.7, "reset", "network", ""),
    ("no framing", CHUNKED, "close", 1.46, "eof", "middlebox", ""),
]


@pytest.mark.parametrize(
    ("headers", "framing", "at_s", "how", "where", "suspect"),
    [case[1:] for case in CUTS],
    ids=[case[0] for case in CUTS],
)
def test_cuts(headers: Any, framing: str, at_s: float, how: str, where: str, suspect: str) -> None:
    lines = ended(attempt(TOKENS, headers=headers, framing=framing), at_s, how)
    if suspect in ("API Gateway", "AWS Lambda"):  # that one counts from the request: keep it busy
        lines[-1:-1] = [Read(at_s=at_s - 0.2, text=delta("a").decode())]
    found = judged(lines)
    assert found.where == where, found
    assert found.evidence
    if suspect:
        assert suspect in " ".join(found.suspects)
        assert found.confidence >= 0.7
    else:
        assert found.suspects == []


def test_who_names_itself_comes_first() -> None:
    lines = ended(attempt(TOKENS, headers=NGINX), 61.3, "incomplete")
    assert all("nginx" in suspect for suspect in judged(lines).suspects)


def test_cloudflares_page_after_100_s() -> None:
    lines = attempt([b"<html>524</html>"], status=524, headers=CLOUDFLARE, framing="chunked")
    for line in lines:
        if isinstance(line, ResponseHead | Read | End):
            line.at_s += 100.2
    found = judged(lines)
    assert found.where == "middlebox"
    assert "Cloudflare" in found.suspects[0]
    assert any("Cloudflare" in sentence for sentence in found.evidence)


def test_all_at_once_after_long_nothing() -> None:
    reads = [(4.0, delta("a") * 30), (4.001, delta("b") * 30 + finish() + b"data: [DONE]\n\n")]
    found = judged(attempt(reads, headers=NGINX))
    assert found.where == "middlebox"
    assert "collects" in found.headline


def test_a_browsers_export_knows_nothing_of_pace() -> None:
    reads = [(4.0, delta("a") * 60 + finish() + b"data: [DONE]\n\n")]
    lines: list[Line] = [Opening(version=1, side="har"), *attempt(reads)]
    assert judged(lines).where == "none"
    assert judged([Opening(version=1, side="proxy"), *attempt(reads)]).where == "middlebox"


def test_a_fast_model_is_not_buffered() -> None:
    reads = [(1.0 + 0.001 * n, delta("a")) for n in range(120)]
    reads.append((1.2, finish() + b"data: [DONE]\n\n"))
    assert judged(attempt(reads)).where == "none"


def test_parcels() -> None:
    reads = [(0.4 * n, delta("a") * 16) for n in range(1, 12)]
    reads.append((5.0, finish() + b"data: [DONE]\n\n"))
    found = judged(attempt(reads))
    assert found.where == "middlebox"
    assert any("parcels" in sentence for sentence in found.evidence)


def test_lumps_that_the_reader_made_are_not_the_middleboxs() -> None:
    """The same picture on the wire; but the reads returned at once."""
    lines = attempt([(0.4 * n, delta("a") * 16) for n in range(1, 12)])
    for line in lines:
        if isinstance(line, Read):
            line.waited_s = 0.0002
    lines[-1:] = [Read(at_s=4.8, text=(finish() + b"data: [DONE]\n\n").decode()), End(at_s=4.9)]
    stream = report(lines).streams[0]
    assert stream.verdict.where == "consumer"
    assert stream.consumer.late_reads == 10
    assert not stream.parcels


def test_a_reader_that_stays_away_is_cut_off() -> None:
    lines = attempt(TOKENS[:5])[:-1]
    for line in lines:
        if isinstance(line, Read):
            line.waited_s = 0.01
    lines.append(Read(at_s=41.3, text=delta("a").decode(), waited_s=0.001))
    lines.append(End(at_s=41.31, how="reset"))
    found = judged(lines)
    assert found.where == "consumer"
    assert "did not read" in found.headline


def test_behind_pings_it_is_the_provider() -> None:
    reads = [*TOKENS, *[(2.0 + n, PING) for n in range(40)]]
    found = judged(ended(attempt(reads), 42.0, "deadline"))
    assert found.where == "provider"
    assert any("ping" in sentence for sentence in found.evidence)
    assert found.confidence > 0.8


def test_without_pings_nobody_knows() -> None:
    found = judged(ended(attempt(TOKENS), 44.0, "silent"))
    assert found.where == "unknown"
    assert {other.where for other in found.others} == {"provider", "network"}


def test_a_tool_call_that_is_not_json_is_the_models() -> None:
    def call(**function: Any) -> bytes:
        import json

        piece = {"index": 0, "id": "c", "type": "function", "function": function}
        choice = {"index": 0, "delta": {"tool_calls": [piece]}, "finish_reason": None}
        return b"data: " + json.dumps({"id": "c1", "choices": [choice]}).encode() + b"\n\n"

    reads = [call(name="f", arguments='{"a": '), finish("tool_calls"), b"data: [DONE]\n\n"]
    found = judged(attempt(reads))
    assert found.where == "model"


def test_every_fault_kind_has_a_verdict_with_a_sentence() -> None:
    from unbroken.core.faults import FaultKind
    from unbroken.debugger.facts import AttemptReport, FaultMark, StreamReport
    from unbroken.debugger.verdict import judge

    for kind in FaultKind:
        mark = FaultMark(kind=kind.value, detail="d", at_s=1.0)
        stream = StreamReport(
            status="failed", faults=[mark], attempts=[AttemptReport(status=200)], duration_s=1.0
        )
        found = judge(stream)
        assert found.headline, kind
        assert found.evidence, kind
        assert 0 < found.confidence <= 1, kind


@pytest.mark.parametrize(
    ("value", "told"),
    [(2.0, True), (2.04, True), (2.5, False), (60.1, True), (62.5, False), (100.2, True),
     (1.0, False), (29.7, False)],
)  # fmt: skip
def test_round_times(value: float, told: bool) -> None:
    assert is_round(value) is told


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: f"{limit.who[:20]}-{limit.limit_s:g}")
def test_every_limit_is_found_by_its_clock(limit: Any) -> None:
    for clock in limit.clocks:
        times = {"idle_s": None, "whole_s": None, "head_s": None}
        times[f"{clock}_s"] = limit.limit_s + 0.1
        found = [known for known, _ in fitting(**times, headers=" ".join(limit.marks))]  # type: ignore[arg-type]
        assert limit in found
