"""The stream as drivers see it: what passes, when it ends, and what stays invisible."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.core.recorded import own, own_bodies
from tests.core.scripted import NO_FILTER, SPLICED, Reply, ask, frames, play, until
from unbroken.core.actions import Connect, Disconnect, FinishStream, Receive
from unbroken.core.dialects import DIALECTS, by_name
from unbroken.core.dialects.base import AnswerCall
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.options import Options
from unbroken.core.stream import Stream

TEXT = "The sea is salt because rivers carry minerals from the rocks of the land into it."
each_dialect = pytest.mark.parametrize("dialect", DIALECTS)

SEED = 20_261_121
HI = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"


# Transparent while healthy ----------------------------------------------------------------


@each_dialect
def test_healthy_stream_passes_byte_for_byte(dialect):
    sent = frames(TEXT, dialect=dialect, reasoning=("Hm. ",), usage=(9, 20))
    body = b"".join(sent)
    for size in (1, 13, 700, len(body)):
        reads = [body[at : at + size] for at in range(0, len(body), size)]
        run = play([Reply(reads)], dialect=dialect)
        assert run.delivered == body
        assert run.raised is None
        assert (run.outcome.status, run.outcome.complete) == ("complete", True)
        assert (run.outcome.text, run.kinds) == (TEXT, [])
        assert not run.outcome.healed
        assert not run.outcome.recoverable


@pytest.mark.seed("000-dead-end-no-streaming", "003-memory-incremental")
@each_dialect
def test_each_frame_passes_with_the_read_that_ends_it_and_never_in_part(dialect):
    sent = frames(TEXT, dialect=dialect)
    reads = [piece for raw in sent for piece in (raw[:-1], raw[-1:])]
    run = play([Reply(reads)], dialect=dialect)
    assert run.pieces[-1] == sent[-1]
    assert b"".join(run.pieces) == b"".join(sent)
    ends = set()
    at = 0
    for raw in sent:
        at += len(raw)
        ends.add(at)
    at = 0
    for piece in run.pieces:
        at += len(piece)
        assert at in ends, "part of a frame was delivered"


@pytest.mark.parametrize("row", own_bodies())
@pytest.mark.parametrize("mode", ["raise", "heal"])
def test_own_body_gives_the_same_stream_however_it_is_cut(row, mode):
    """Through the whole machine, with its short cuts for runs of text."""
    body, chance = own(row["file"]), random.Random(f"{SEED} {row['file']}")
    options = Options(mode=mode, max_attempts=1)
    url = f"https://{row['host']}/v1/x" if row["host"] else ""
    request = ask(row["dialect"], url=url, n=len(row.get("texts_by_choice", [1])))
    seen = []
    for most in (1 << 20, 700, 60, 7, 1):
        reads, at = [], 0
        while at < len(body):
            reads.append(body[at : at + chance.randint(1, most)])
            at += len(reads[-1])
        run = play([Reply(reads)], request=request, dialect=row["dialect"], options=options)
        outcome = run.outcome
        outcome.bytes = outcome.attempts[0].bytes = 0  # the read that stopped it counts whole
        seen.append((run.delivered, run.raised, outcome))
    assert seen == [seen[0]] * 5
    if row["status"] in ("complete", "limited", "filtered", "paused") and not row["faults"]:
        delivered = seen[0][0]
        assert delivered.startswith(body.rstrip(b"\n"))
        assert delivered.strip() == body.strip()


def test_whole_frames_of_one_read_are_delivered_together():
    body = HI * 16
    run = play([Reply([HI, body + HI[:7], HI[7:] + STOP + DONE])])
    assert run.pieces == [HI, body, HI + STOP + DONE]


def test_comments_and_odd_line_ends_pass_unchanged():
    body = b": hi\r\n\r\nretry: 3\n\n" + HI.replace(b"\n", b"\r\n") + b"\n\n" + STOP + DONE + b"\n"
    run = play([Reply([body])])
    assert run.delivered == body
    assert run.kinds == []


@pytest.mark.seed("003-dont-trust")
def test_identical_events_are_delivered_each():
    run = play([Reply([HI, HI, HI + HI, STOP + DONE])])
    assert run.delivered == HI * 4 + STOP + DONE
    assert run.outcome.text == "Hi" * 4


def test_provenance_of_a_whole_answer():
    (part,) = play([Reply(frames(TEXT))]).outcome.provenance
    assert (part.attempt, part.start, part.end) == (1, 0, len(TEXT))
    assert (part.rung, part.guarantee, part.anchor) == ("first", "byte-exact", 0)


def test_provenance_counts_characters_also_where_a_pair_was_cut_over_two_deltas():
    rocket = (b'data: {"choices":[{"index":0,"delta":{"content":"Go \\ud83d"}}]}\n\n'
              b'data: {"choices":[{"index":0,"delta":{"content":"\\ude80!"}}]}\n\n')  # fmt: skip
    run = play([Reply([rocket + STOP + DONE])])
    assert run.delivered == rocket + STOP + DONE
    assert run.outcome.text == "Go 🚀!"
    assert run.outcome.provenance[-1].end == len("Go 🚀!")


# Lifecycle is held until content ----------------------------------------------------------


@each_dialect
def test_nothing_is_delivered_before_the_first_content(dialect):
    sent = frames(TEXT, dialect=dialect)
    before = [raw for raw in sent if raw not in frames_from_content(sent, dialect)]
    stream = Stream(ask(dialect), by_name(dialect), options=Options(), now=0.0, sent=True)
    stream.connected(200, {}, 0.0)
    for raw in before:
        stream.receive(raw, 0.0)
        assert isinstance(stream.next_action(), Receive)
    stream.receive(sent[len(before)], 0.0)
    action: Any = stream.next_action()
    assert action.data == b"".join(sent[: len(before) + 1])


def frames_from_content(sent: list[bytes], dialect: str) -> list[bytes]:
    return sent[len(until(sent, TEXT[:1], dialect=dialect)) - 1 :]


BEFORE_CONTENT = {
    "refused": Reply(status="refused"),
    "503": Reply(status=503),
    "nothing": Reply(),
    "reset at once": Reply(end="reset"),
    "reset after the role": Reply(frames(TEXT)[:1], end="reset"),
    "clean end after the role": Reply(frames(TEXT)[:1]),
    "half a frame": Reply([frames(TEXT)[0], frames(TEXT)[1][:30]]),
    "only comments": Reply([b": PROCESSING\n\n" * 3]),
    "an error of the provider": Reply([b'data: {"error":{"code":503}}\n\n']),
    "not a stream": Reply([b"<html>Bad gateway</html>"]),
    "malformed": Reply([frames(TEXT)[0], b"data: {oops\n\n"]),
    "empty, but for [DONE]": Reply([DONE]),
    "finished without a word, as a fault": Reply(
        [b'data: {"choices":[{"delta":{},"finish_reason":"error"}]}\n\n' + DONE]
    ),
}


@pytest.mark.parametrize("name", BEFORE_CONTENT)
def test_failure_before_content_stays_invisible(name):
    sent = frames(TEXT)
    run = play([BEFORE_CONTENT[name], Reply(sent)])
    assert run.delivered == b"".join(sent)
    assert run.rungs == ["first", "retry"]
    assert run.requests[1] is run.requests[0]
    assert run.raised is None
    assert (run.outcome.status, run.outcome.complete, run.outcome.healed) == ("complete",) + (
        True,
    ) * 2
    assert len(run.kinds) == 1
    assert run.outcome.faults[0].attempt == 1
    (part,) = run.outcome.provenance
    assert (part.attempt, part.rung, part.guarantee) == (2, "retry", "byte-exact")


@pytest.mark.parametrize("dialect", SPLICED)
def test_retry_before_content_is_byte_exact_in_every_dialect(dialect):
    sent = frames(TEXT, dialect=dialect)
    start = sent[: len(until(sent, TEXT[:1], dialect=dialect)) - 1]
    run = play([Reply(start, end="reset"), Reply(sent)], dialect=dialect)
    assert run.delivered == b"".join(sent)
    assert run.rungs == ["first", "retry"]


# The end ----------------------------------------------------------------------------------


@pytest.mark.seed("003-quick-no-done", "003-handler-finish-reason")
@pytest.mark.parametrize("how", ["eof", "reset"])
@pytest.mark.parametrize(
    ("tail", "kinds"), [(b"", ["missing-terminator"]), (USAGE, ["missing-terminator"]), (DONE, [])]
)
def test_missing_terminator_is_told_and_never_retried(tail, kinds, how):
    run = play([Reply([HI + STOP + tail], end=how)])
    assert run.delivered == HI + STOP + tail
    assert run.kinds == kinds
    assert (run.outcome.status, run.outcome.complete, run.raised) == ("complete", True, None)


@pytest.mark.seed("003-handler-done-marker")
def test_end_is_awaited_for_a_second_after_the_last_marker():
    run = play([Reply([HI, STOP + DONE], end="silence")])
    assert run.outcome.status == "complete"
    assert run.kinds == []
    assert run.now == pytest.approx(1.0)


def test_usage_is_awaited_after_the_finish():
    run = play([Reply([HI, STOP, 5.0, USAGE, 2.0, DONE])])
    assert run.delivered == HI + STOP + USAGE + DONE
    assert run.outcome.usage.output == 2


ENDS = [
    ("stop", "complete", []),
    ("limit", "limited", ["length-limit"]),
    ("filter", "filtered", ["content-filtered"]),
]


@pytest.mark.parametrize(("finish", "status", "kinds"), ENDS)
@each_dialect
def test_ends_that_the_provider_chose_are_proven_and_never_healed(dialect, finish, status, kinds):
    if dialect in NO_FILTER and finish == "filter":
        finish, status, kinds = "stop", "complete", []
    sent = frames(TEXT, dialect=dialect, finish=finish)
    run = play([Reply(sent)], dialect=dialect)
    assert (run.outcome.status, run.outcome.complete) == (status, True)
    assert run.kinds == kinds
    assert run.raised is None
    assert run.delivered == b"".join(sent)


def test_invalid_tool_arguments_fail_the_verdict_and_are_delivered_as_written():
    call = AnswerCall(name="add", arguments=('{"a": ', "oops"))
    sent = frames(calls=(call,), finish="tool-calls")
    run = play([Reply(sent)])
    assert run.delivered == b"".join(sent)
    assert run.kinds == ["invalid-tool-arguments"]
    assert (run.outcome.status, run.raised, run.outcome.recoverable) == ("failed", None, False)


def test_unconfirmed_where_the_service_ends_good_answers_so():
    request = ask(url="https://acme.snowflakecomputing.com/v1/chat/completions")
    run = play([Reply([HI + DONE])], request=request)
    assert run.delivered == HI + DONE
    assert (run.outcome.status, run.outcome.complete) == ("unconfirmed", False)
    assert run.kinds == ["missing-finish"]


@pytest.mark.seed("003-quick-no-finish", "003-dont-trust")
def test_end_marker_without_a_finish_is_not_passed_on_as_an_end():
    run = play([Reply([HI, DONE])], options=Options(mode="raise"))
    assert DONE not in run.delivered
    assert run.raised is not None
    assert run.raised.kind is FaultKind.MISSING_FINISH


# The consumer leaves ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reads", "after", "status", "kinds"),
    [
        ([HI, HI, STOP], 1, "cancelled", ["cancelled"]),
        ([HI, STOP, DONE], 2, "complete", []),
        ([HI, STOP, DONE], 3, "complete", []),
    ],
)
def test_leaving_before_the_finish_is_cancelled_and_after_it_is_not(reads, after, status, kinds):
    run = play([Reply(reads)], cancel_after=after)
    assert run.outcome.status == status
    assert run.outcome.complete == (status == "complete")
    assert run.kinds == kinds
    assert run.raised is None
    assert len(run.pieces) == after


def test_leaving_before_anything_came():
    stream = Stream(ask(), by_name("openai-chat"), options=Options(), now=0.0)
    assert isinstance(stream.next_action(), Connect)
    stream.cancel(1.0)
    stream.cancel(2.0)
    assert isinstance(stream.next_action(), Disconnect)
    end: Any = stream.next_action()
    assert isinstance(end, FinishStream)
    assert (end.outcome.status, end.fault) == ("cancelled", None)
    assert stream.next_action() is None
    assert stream.over


def test_nothing_is_taken_after_the_end():
    stream = Stream(ask(), by_name("openai-chat"), options=Options(), now=0.0, sent=True)
    stream.connected(200, {}, 0.0)
    stream.receive(HI + STOP + DONE, 0.0)
    stream.receive_eof(0.0)
    while stream.next_action() is not None:
        pass
    stream.receive(HI, 1.0)
    stream.receive_eof(1.0)
    stream.failed(Fault.of(FaultKind.CONNECTION_RESET, "late"), 1.0)
    stream.connected(200, {}, 1.0)
    stream.handle_timer(99.0)
    assert stream.next_action() is None
    assert stream.next_timer() is None
    assert stream.outcome.text == "Hi"


@pytest.mark.seed("000-single-consumer")
def test_late_bytes_of_an_attempt_that_was_given_up_are_not_taken():
    stream = Stream(ask(), by_name("openai-chat"), options=Options(), now=0.0, sent=True)
    stream.connected(200, {}, 0.0)
    stream.receive(HI, 0.0)
    stream.failed(Fault.of(FaultKind.CONNECTION_RESET, "cut"), 0.0)
    stream.receive(HI, 0.0)
    stream.receive_eof(0.0)
    actions = []
    while (action := stream.next_action()) is not None:
        actions.append(type(action).__name__)
    assert actions == ["Deliver", "Disconnect", "Connect"]
    stream.receive(HI, 0.0)
    assert stream.next_action() is None
    assert stream.received.text == "Hi"


def test_first_attempt_that_the_sdk_sent_is_not_asked_for():
    stream = Stream(ask(), by_name("openai-chat"), options=Options(), now=0.0, sent=True)
    assert stream.next_action() is None


def test_times_and_request_ids_are_kept_by_attempt():
    run = play(
        [
            Reply([2.0, HI], end="reset", headers={"x-request-id": "req-1"}, after_s=1.0),
            Reply([HI, 4.0, STOP + DONE], headers={"request-id": "req-2"}),
        ]
    )
    first, second = run.outcome.attempts
    assert (first.request_id, second.request_id) == ("req-1", "req-2")
    assert (first.status, first.bytes, first.started_at) == (200, len(HI), 0.0)
    assert first.fault is not None
    assert second.ended_at == pytest.approx(run.outcome.duration_s)
    assert run.outcome.first_content_s == pytest.approx(3.0)
    assert run.outcome.bytes == len(HI + HI + STOP + DONE)
