"""One body through wire, dialect and checks: the same however its bytes are cut."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.core.recorded import (
    CORPUS,
    OWN_ROWS,
    corpus_bodies,
    open_attempt,
    own,
    own_bodies,
    take,
)
from unbroken.core.attempt import Attempt
from unbroken.core.dialects import DIALECTS, by_name
from unbroken.core.received import Received
from unbroken.core.verdict import judge

SEED = 20_261_121

HI = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"


def chat(**how: Any) -> Attempt:
    return Attempt(by_name("openai-chat"), **how)


def kinds(attempt: Attempt) -> list[str]:
    return [fault.kind.value for fault in attempt.faults]


def all_of(row: dict[str, Any], reads: list[bytes], **how: Any) -> tuple[Any, ...]:
    """Return everything that one way to cut a body gives."""
    attempt, received = open_attempt(row, **how), Received()
    steps = []
    for read in reads:
        steps += attempt.receive(read)
    steps += attempt.close("eof")
    take(received, steps)
    outcome = judge(attempt, received)
    if how.get("lenient") is False:
        # A live attempt that stopped counts the whole read in which it did.
        outcome.bytes = outcome.attempts[0].bytes = 0
    return steps, attempt.faults, attempt.frames, attempt.usage, outcome


def cut_up(body: bytes, chance: random.Random, most: int) -> list[bytes]:
    reads, at = [], 0
    while at < len(body):
        size = chance.randint(1, most)
        reads.append(body[at : at + size])
        at += size
    return reads


@pytest.mark.parametrize("lenient", [True, False], ids=["verdict", "live"])
@pytest.mark.parametrize("row", own_bodies())
def test_own_body_reads_the_same_however_it_is_cut(row, lenient):
    body, chance = own(row["file"]), random.Random(f"{SEED} {row['file']}")
    at_once = all_of(row, [body], lenient=lenient)
    for most in (1, 2, 7, 60, 900):
        assert all_of(row, cut_up(body, chance, most), lenient=lenient) == at_once, most


@pytest.mark.corpus
@pytest.mark.parametrize("row", corpus_bodies())
def test_recorded_body_reads_the_same_however_it_is_cut(row):
    body = (CORPUS / row["file"]).read_bytes()
    chance = random.Random(f"{SEED} {row['file']}")
    at_once = all_of(row, [body])
    for most in (50, 3000):
        assert all_of(row, cut_up(body, chance, most)) == at_once, most


HEALTHY = [row for row in OWN_ROWS if row["status"] == "complete" and not row["faults"]]


@pytest.mark.parametrize("row", HEALTHY, ids=lambda row: row["file"])
def test_bytes_of_a_healthy_body_come_back_unchanged(row):
    body = own(row["file"])
    attempt = open_attempt(row, lenient=False)
    steps = attempt.receive(body)
    before = b"".join(step.frame.raw for step in steps)
    assert before + attempt.pending == body
    # A last frame that nothing closed gets the line ends that it lacks, and no other byte.
    after = b"".join(step.frame.raw for step in [*steps, *attempt.close("eof")])
    assert after.startswith(body.rstrip(b"\n"))
    assert after.strip() == body.strip()


NOT_STREAMS = {
    "html": (b"<html><body>" + b"x" * 300 + b"</body></html>", "an HTML or XML page", True),
    "xml-after-blanks": (b"\r\n\n  <?xml version='1.0'?><e/>", "an HTML or XML page", True),
    "bom": (b"\xef\xbb\xbf<!doctype html>", "an HTML or XML page", True),
    "json-error": (
        b'{"error": {"type": "invalid_request_error", "message": "no"}}',
        "an error (invalid_request_error)", False,
    ),
    "json-error-behind-bom": (
        b'\xef\xbb\xbf\n{"error": {"type": "overloaded_error", "message": "no"}}',
        "an error (overloaded_error)", True,
    ),
    "json-answer": (b'{"choices": [{"message": {"content": "Hi"}}]}', "a JSON body", True),
    "large-page": (b"<html>" + b"data: x\n\n" * 20_000, "65536 or more bytes", True),
    "endless-json": (b'{"error": "' + b"x" * 70_000, "65536 or more bytes", True),
}  # fmt: skip


@pytest.mark.parametrize("most", [1, 5, 1000, 1 << 20])
@pytest.mark.parametrize("name", NOT_STREAMS)
def test_what_is_not_a_stream_is_told_once_however_it_is_cut(name, most):
    body, says, retryable = NOT_STREAMS[name]
    if most == 1 and len(body) > 10_000:
        body = body[:66_000]
    for lenient in (True, False):
        attempt = chat(lenient=lenient)
        steps = [
            step
            for at in range(0, len(body), most)
            for step in attempt.receive(body[at : at + most])
        ]
        assert steps + attempt.close("eof") == [] or not any(
            step.frame.dispatched for step in steps
        )
        (fault,) = attempt.faults
        assert fault.kind == "not-a-stream"
        assert says in fault.detail
        assert fault.retryable == retryable


BAD = b'data: {"choices":[{"index":0,"delta":{"content":"\xff"}}]}\n\n'
MALFORMED = b"data: {oops}\n\n"


@pytest.mark.parametrize(
    ("body", "verdict", "live"),
    [
        (BAD + MALFORMED, ["invalid-utf8", "malformed-json"], 1),
        (MALFORMED + BAD, ["malformed-json", "invalid-utf8"], 1),
        (b": \xff\n\n" + MALFORMED, ["invalid-utf8", "malformed-json"], 2),
        (MALFORMED + b": \xff\n\n", ["malformed-json", "invalid-utf8"], 1),
    ],
)
@pytest.mark.parametrize("most", [1, 10, 1000])
def test_faults_of_wire_and_dialect_are_in_the_order_of_the_bytes(body, verdict, live, most):
    for lenient, expected in ((True, verdict), (False, verdict[:live])):
        attempt = chat(lenient=lenient)
        for at in range(0, len(body), most):
            attempt.receive(body[at : at + most])
        assert kinds(attempt) == expected


def test_content_type_is_named_as_evidence():
    attempt = chat(content_type="text/html")
    attempt.receive(b"<html>")
    attempt.close("eof")
    assert "of type text/html" in attempt.faults[0].detail


@pytest.mark.parametrize("reads", [[5000], [10] * 500, [4090, 910]])
def test_marks_of_a_variant_are_looked_for_in_the_same_bytes_however_they_are_cut(reads):
    dialect = by_name("openai-chat")
    mark = b'"x_groq"'
    for at, found in ((4080, True), (4092, False)):
        body = b":" + b" " * (at - 1) + mark + b" " * 1000
        attempt = Attempt(dialect)
        fed = 0
        for size in reads:
            attempt.receive(body[fed : fed + size])
            fed += size
        assert (attempt.variant.name == "groq") == found


def test_live_attempt_stops_at_the_first_fatal_fault_and_a_verdict_reads_on():
    bad = b"data: {oops}\n\n"
    live, verdict = chat(), chat(lenient=True)
    assert len(live.receive(HI + bad + HI)) == 1
    assert live.receive(HI) == live.close("eof") == []
    assert len(verdict.receive(HI + bad + HI)) == 2
    verdict.close("eof")
    assert kinds(live) == ["malformed-json"]
    assert kinds(verdict) == ["malformed-json", "truncated-between-events"]


@pytest.mark.parametrize("steady", [0, 3], ids=["first", "after-text"])
@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b'{"choices":', "truncated"),
        (b'{"choices":[]} {"choices":[]}', "trailing"),
        (b"not json", "not json"),
        (b"[1, 2]", "list"),
        (b"7", "int"),
        (b"[" * 100_000, "deep"),
    ],
)
def test_malformed_event_is_a_fault_with_its_place(payload, why, steady):
    attempt = chat()
    attempt.receive(HI * steady + b"data: " + payload + b"\n\n")
    (fault,) = attempt.faults
    assert (fault.kind, fault.severity) == ("malformed-json", "fatal"), why
    assert fault.at_byte == steady * len(HI)
    assert fault.frame == steady
    assert fault.retryable


def test_identical_events_are_all_real():
    attempt, received = chat(), Received()
    take(received, attempt.receive(HI * 5 + STOP + DONE))
    assert received.text == "Hi" * 5
    assert attempt.close("eof") == []
    assert attempt.faults == []


LAST_FRAMES = {
    # tail -> (steps read of it, faults, what an SDK gets of it)
    b"data: [DONE]": (1, [], b"data: [DONE]\n\n"),
    b"data: [DONE]\n": (1, [], b"data: [DONE]\n\n"),
    b"data: [DONE": (0, ["missing-terminator"], b""),
    b"data:": (0, ["missing-terminator"], b""),
    b'data: {"choices":[],"usage":{"prompt_tokens":1}}': (
        1, ["missing-terminator"], b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\n',
    ),
    b'data: {"choices":[],"usage":{"prompt_tokens":1': (0, ["missing-terminator"], b""),
}  # fmt: skip


@pytest.mark.parametrize("tail", LAST_FRAMES)
def test_last_frame_that_lacks_only_its_line_ends_is_read(tail):
    attempt = chat()
    attempt.receive(HI + STOP + tail)
    steps = attempt.close("eof")
    count, faults, raw = LAST_FRAMES[tail]
    assert len(steps) == count
    assert kinds(attempt) == faults
    assert b"".join(step.frame.raw for step in steps) == raw


def test_content_of_a_last_frame_that_lacks_only_its_line_ends_counts_and_proves_nothing():
    attempt, received = chat(), Received()
    take(received, attempt.receive(HI + HI[:-2]))
    take(received, attempt.close("eof"))
    assert received.text == "HiHi"
    assert kinds(attempt) == ["truncated-mid-event"]


def test_oversized_event_ends_the_attempt_and_keeps_what_came_before():
    attempt = chat(max_frame_bytes=200)
    steps = attempt.receive(HI + b"data: " + b"x" * 300)
    assert len(steps) == 1
    assert kinds(attempt) == ["oversized-event"]
    assert attempt.stopped


def test_error_of_the_provider_is_kept_with_its_frame():
    error = b'data: {"error":{"type":"server_error","message":"secret words"}}\n\n'
    attempt = chat()
    attempt.receive(HI + error + HI)
    assert attempt.error_step is not None
    assert attempt.error_step.frame.raw == error
    assert kinds(attempt) == ["provider-error"]
    assert "secret" not in attempt.faults[0].detail


VARIANT_ERRORS = [
    ("", "server_error", True),
    ("", "insufficient_quota", False),
    ("", "content_filter", False),
    ("", "rate_limit_exceeded", True),
    ("", "context_length_exceeded", False),
]


@pytest.mark.parametrize(("host", "code", "retryable"), VARIANT_ERRORS)
def test_errors_say_whether_the_same_request_may_succeed_later(host, code, retryable):
    attempt = chat(host=host)
    attempt.receive(b'data: {"error":{"code":"%s"}}\n\n' % code.encode())
    assert attempt.faults[0].retryable == retryable


def test_fork_goes_its_own_way():
    attempt = chat()
    attempt.receive(HI + HI[:20])
    fork = attempt.fork()
    assert [step.frame.raw for step in fork.receive(HI[20:] + STOP + DONE)] == [HI, STOP, DONE]
    assert fork.close("eof") == []
    assert (fork.frames, attempt.frames, attempt.bytes) == (4, 1, len(HI) + 20)
    attempt.close("eof")
    assert kinds(fork) == []
    assert kinds(attempt) == ["truncated-mid-event"]


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_bare_bytes_that_are_no_text_do_not_raise(name):
    bodies = (b': x\n\n{"a\xfd"}\n\n', b'[{"a\xfd"}]', b'data: {"a":"\xff\n\n', b"\xfe\xff\x00{")
    for body in bodies:
        attempt = Attempt(DIALECTS[name])
        attempt.receive(body)
        attempt.close("eof")
        assert attempt.faults
