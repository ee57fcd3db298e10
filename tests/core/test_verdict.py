"""The verdict: one word for how a stream ended; which dialect a recording speaks."""

from __future__ import annotations

import pytest

from tests.core.recorded import CORPUS, corpus_bodies, dialect_of
from tests.core.scripted import frames
from unbroken.core.dialects import DIALECTS
from unbroken.core.events import Finish, Meaning
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.verdict import check, is_recoverable, recognise, status_of

K = FaultKind
WARNED = Fault.of(K.MISSING_FINISH, "", severity="warning")


def fault(kind: FaultKind, **more) -> Fault:
    return Fault.of(kind, "", **more)


STATUSES: list[tuple[list[Fault], list[Meaning], str]] = [
    ([], ["stop"], "complete"),
    ([], ["tool-calls"], "complete"),
    ([], ["limit"], "limited"),
    ([], ["filter"], "filtered"),
    ([], ["pause"], "paused"),
    ([], ["stop", "limit"], "limited"),
    ([], ["limit", "filter"], "filtered"),
    ([fault(K.MISSING_TERMINATOR)], ["stop"], "complete"),
    ([fault(K.INVALID_UTF8, severity="warning")], ["stop"], "complete"),
    ([fault(K.INVALID_UTF8)], ["stop"], "failed"),
    ([fault(K.OUT_OF_ORDER), fault(K.DUPLICATE_EVENT)], ["stop"], "complete"),
    ([fault(K.LENGTH_LIMIT)], ["limit"], "limited"),
    ([WARNED], [], "unconfirmed"),
    ([fault(K.CANCELLED)], [], "cancelled"),
    ([fault(K.CANCELLED), WARNED], [], "cancelled"),
    ([fault(K.CONNECTION_RESET)], ["stop"], "failed"),
    ([fault(K.CANCELLED), fault(K.STALLED)], [], "failed"),
    ([fault(K.INVALID_TOOL_ARGUMENTS)], ["tool-calls"], "failed"),
]


@pytest.mark.parametrize(("faults", "meanings", "status"), STATUSES)
def test_status(faults, meanings, status):
    finishes = {choice: Finish("x", meaning, choice) for choice, meaning in enumerate(meanings)}
    assert status_of(faults, finishes) == status


@pytest.mark.parametrize(
    ("faults", "recoverable"),
    [
        ([], False),
        ([fault(K.MISSING_TERMINATOR)], False),
        ([fault(K.CONNECTION_RESET)], True),
        ([fault(K.PROVIDER_ERROR, retryable=False)], False),
        ([fault(K.CONNECTION_RESET), fault(K.INVALID_TOOL_ARGUMENTS, retryable=False)], False),
        ([fault(K.CONNECTION_RESET), fault(K.LENGTH_LIMIT, retryable=False)], True),
    ],
)
def test_recoverable(faults, recoverable):
    assert is_recoverable(faults) == recoverable


FATAL = {
    K.TRUNCATED_BETWEEN_EVENTS, K.TRUNCATED_MID_EVENT, K.CONNECTION_RESET, K.MISSING_FINISH,
    K.EMPTY_STREAM, K.NOT_A_STREAM, K.MALFORMED_JSON, K.OVERSIZED_EVENT, K.MISSING_EVENT,
    K.PROTOCOL_VIOLATION, K.PROVIDER_ERROR, K.STALLED, K.SLOW_DRIP, K.INVALID_TOOL_ARGUMENTS,
    K.HTTP_ERROR, K.CONNECT_FAILED, K.INVALID_UTF8,
}  # fmt: skip
WARNINGS = {K.MISSING_TERMINATOR}


@pytest.mark.parametrize("kind", FaultKind)
def test_severity_of_each_kind_by_default(kind):
    expected = "fatal" if kind in FATAL else "warning" if kind in WARNINGS else "note"
    assert fault(kind).severity == expected


@pytest.mark.parametrize("dialect", DIALECTS)
def test_dialect_is_told_from_the_first_frames(dialect):
    body = b"".join(frames("Hi there", dialect=dialect))
    found = recognise(body)
    assert found is not None
    assert found.name == dialect
    if found.wire != "aws-event-stream":  # which is no text
        bom = b"" if dialect == "ollama" else b"\xef\xbb\xbf"
        assert recognise(bom + b"\n\n" + body) is found
    assert check(body).dialect == dialect


@pytest.mark.corpus
@pytest.mark.parametrize("row", corpus_bodies())
def test_dialect_of_a_recorded_body_is_told(row):
    found = recognise((CORPUS / row["file"]).read_bytes())
    if found is None:  # nothing but an error, which several dialects write alike
        assert not row["text"]
        assert not row["tool_calls"]
    else:
        assert found.name == dialect_of(row)


@pytest.mark.parametrize(
    "body", [b"", b"hello", b"<html>", b'{"a": 1}', b"data: {}\n\n", b"\xff\xfe"]
)
def test_body_of_nobody_is_unknown_and_judged_all_the_same(body):
    assert recognise(body) is None
    outcome = check(body)
    assert outcome.status == "failed"
    assert outcome.faults


def test_unknown_dialect_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"no dialect is called 'klingon'.*openai-chat"):
        check(b"", "klingon")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_failing_transport_is_named(dialect):
    body = b"".join(frames("Hi there", dialect=dialect)[:2])
    assert check(body, dialect, "reset").faults[-1].kind is K.CONNECTION_RESET
    assert check(body, dialect, "eof").faults[-1].kind is not K.CONNECTION_RESET


def test_whole_answer_has_its_provenance():
    outcome = check(b"".join(frames("Hi there", usage=(3, 2))))
    (part,) = outcome.provenance
    assert (part.attempt, part.start, part.end, part.guarantee) == (1, 0, 8, "byte-exact")
    assert (outcome.complete, outcome.recoverable, outcome.recoveries) == (True, False, 0)
    assert (outcome.usage.input, outcome.usage.output) == (3, 2)
    assert (outcome.frames, outcome.healed) == (6, False)
    assert check(b"").provenance == []


def test_host_tells_a_declared_variant():
    body = b"".join(frames("Hi there")[:-1])
    assert [f.kind for f in check(body).faults] == [K.MISSING_TERMINATOR]
    assert check(body, host="api.perplexity.ai").faults == []
