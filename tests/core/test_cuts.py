"""A body cut anywhere never proves an end that it has not reached, and no text is made up.

Each body is fed once; at every cut a fork of the attempt is closed there and judged. `make
simulate` cuts the recorded bodies at every byte, `make test` at every frame and in a sample that a
seed draws.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from tests.core.recorded import (
    CORPUS,
    corpus_bodies,
    dialect_of,
    open_attempt,
    own,
    own_bodies,
    take,
)
from unbroken.core.attempt import Attempt
from unbroken.core.dialects import by_name
from unbroken.core.outcome import Outcome
from unbroken.core.received import Received
from unbroken.core.verdict import judge
from unbroken.core.wire import decoder_for

PROVEN = {"complete", "limited", "filtered", "paused"}
SEED = 20_261_121
SAMPLE = 150


class Cut:
    """The verdict on a body that ends after `at` bytes."""

    def __init__(self, at: int, attempt: Attempt, received: Received) -> None:
        self.at = at
        closed = attempt.fork()
        steps = closed.close("eof")
        if steps:
            received = received.fork()
            take(received, steps)
        self.received = received
        self.outcome: Outcome = judge(closed, received)

    @property
    def claims_an_end(self) -> bool:
        return self.outcome.status in PROVEN or self.outcome.complete

    @property
    def answer(self) -> tuple[Any, ...]:
        """All that an application has of the answer."""
        got = self.received
        calls = [(call.name, call.arguments) for call in got.calls.values()]
        reasons = {choice: finish.reason for choice, finish in got.finishes.items()}
        return got.texts, got.reasoning, got.refusal, calls, reasons


def cuts_of(row: dict[str, Any], body: bytes, at: Iterable[int], **how: Any) -> Iterator[Cut]:
    """Feed the body once; yield the verdict at each cut, in order."""
    attempt, received = open_attempt(row, **how), Received()
    fed = 0
    for cut in at:
        take(received, attempt.receive(body[fed:cut]))
        fed = cut
        yield Cut(cut, attempt, received)


def whole_of(row: dict[str, Any], body: bytes, **how: Any) -> Cut:
    (cut,) = cuts_of(row, body, [len(body)], **how)
    return cut


def begins(part: Cut, whole: Cut) -> bool:
    """Whether all that was received is the beginning of what the whole body holds."""
    calls = [call.arguments for call in whole.received.calls.values()]
    started = [call.arguments for call in part.received.calls.values()]
    return (
        all(whole.received.text_of(n).startswith(text) for n, text in part.received.texts.items())
        and whole.received.reasoning.startswith(part.received.reasoning)
        and whole.received.refusal.startswith(part.received.refusal)
        and len(started) <= len(calls)
        and all(have.startswith(got) for have, got in zip(calls, started, strict=False))
    )


@pytest.mark.seed("001-truncated-message", "003-drop-symptom")
@pytest.mark.parametrize("lenient", [True, False], ids=["verdict", "live"])
@pytest.mark.parametrize("row", own_bodies())
def test_own_body_cut_at_every_byte(row, lenient):
    body = own(row["file"])
    whole = whole_of(row, body)
    claimed, proven = row["end_claimed_from_byte"], row["end_proven_from_byte"]
    # A verdict on a recording reads on over a hole in the numbering, a live stream does not.
    holes = lenient and row["file"].startswith("openai-responses/number")
    # And it passes undecodable bytes, at which a live stream ends.
    ends_early = not lenient and row["file"].endswith("/invalid-utf8.sse")
    for cut in cuts_of(row, body, range(len(body) + 1), lenient=lenient):
        assert begins(cut, whole) or holes, f"cut at byte {cut.at}: {cut.received.text!r}"
        if cut.claims_an_end:
            assert claimed is not None, f"no end in this body, but one claimed at byte {cut.at}"
            assert cut.at >= claimed, f"{cut.outcome.status} at byte {cut.at}"
        if ends_early:
            assert not cut.claims_an_end
        elif whole.outcome.status in PROVEN and proven is not None and cut.at >= proven:
            assert cut.claims_an_end, f"byte {cut.at}: {cut.outcome.faults}"
            assert cut.outcome.status == whole.outcome.status


@pytest.mark.corpus
@pytest.mark.parametrize("row", corpus_bodies())
def test_recorded_body_cut_at_frames_and_a_sample(row):
    cut_recorded(row, sampled(row))


@pytest.mark.soak
@pytest.mark.corpus
@pytest.mark.parametrize("row", corpus_bodies())
def test_recorded_body_cut_at_every_byte(row):
    cut_recorded(row, range(row["bytes"] + 1))


def sampled(row: dict[str, Any]) -> list[int]:
    """Return every frame's end, the bytes beside it, and a sample that a seed draws."""
    body = (CORPUS / row["file"]).read_bytes()
    chance = random.Random(f"{SEED} {row['file']}")
    at = {0, len(body), *(chance.randrange(len(body)) for _ in range(SAMPLE))}
    end = 0
    for frame in decoder_for(by_name(dialect_of(row)).wire).blocks(body):
        end += len(frame.raw)
        at |= {end - 1, end, end + 1}
    return sorted(cut for cut in at if cut <= len(body))


def cut_recorded(row: dict[str, Any], at: Iterable[int]) -> None:
    body = (CORPUS / row["file"]).read_bytes()
    whole = whole_of(row, body)
    for cut in cuts_of(row, body, at, lenient=False):
        assert begins(cut, whole), f"cut at byte {cut.at}: {cut.received.text[-80:]!r}"
        if cut.claims_an_end:
            # Whatever is missing came after the end: usage, or the last marker.
            assert cut.answer == whole.answer, f"{cut.outcome.status} at byte {cut.at}"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("", "failed"),
        ('data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n', "failed"),
        ('data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\ndata: [DONE]\n\n', "failed"),
        ('data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n', "complete"),
    ],
)
def test_a_fork_that_is_closed_leaves_its_attempt_as_it_was(sent, status):
    row = {"dialect": "openai-chat"}
    attempt, received = open_attempt(row), Received()
    take(received, attempt.receive(sent.encode()))
    assert not any(fault.fatal for fault in attempt.faults)
    first, again = Cut(0, attempt, received), Cut(0, attempt, received)
    assert first.outcome.status == again.outcome.status == status
    assert first.outcome.faults == again.outcome.faults
    assert not any(fault.fatal for fault in attempt.faults)
    rest = b'data: {"choices":[{"index":0,"delta":{"content":"b"},"finish_reason":"stop"}]}\n\n'
    take(received, attempt.receive(rest))
    assert Cut(0, attempt, received).received.text.endswith("b")
