"""Numbered frames that come late, or never: awaited, made good, or named; never skipped."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.core.dialects import responses_kit as kit
from tests.core.scripted import Reply, Run, ask, frames, play, until
from unbroken.core.attempt import Attempt
from unbroken.core.dialects import by_name
from unbroken.core.options import Clocks, Options
from unbroken.core.request import Request
from unbroken.core.stream import Stream

D = "openai-responses"
TEXT = "The sea is salt because rivers carry minerals from the rocks of the land into it."
SENT = frames(TEXT, dialect=D)
AT = len(until(SENT, TEXT[:20], dialect=D))  # a delta in the middle
DONE = next(n for n, raw in enumerate(SENT) if b'"response.output_text.done"' in raw)
BEFORE, LOST, BEHIND = SENT[:AT], SENT[AT], SENT[AT + 1 :]


def run(body: Any, *more: Reply, mode: Any = "heal", end: Any = "eof", **options: Any) -> Run:
    options.setdefault("max_attempts", 1 + len(more))
    return play([Reply(body, end=end), *more], dialect=D, options=Options(mode=mode, **options))


def text_of(run: Run) -> str:
    return "".join(
        payload["delta"]
        for payload in kit.payloads(run.delivered)
        if payload["type"] == "response.output_text.delta"
    )


def severities(run: Run) -> list[tuple[str, str]]:
    return [(fault.kind.value, fault.severity) for fault in run.outcome.faults]


def faults_named(run: Run, kind: str) -> list[str]:
    return [fault.detail for fault in run.outcome.faults if fault.kind == kind]


# Awaited -----------------------------------------------------------------------------------


@pytest.mark.parametrize("late_s", [0.0, 3.0, 4.9])
def test_a_late_frame_is_put_right_and_nothing_behind_it_was_delivered_before(late_s):
    body = [*BEFORE, *BEHIND[:3], late_s, LOST, *BEHIND[3:]]
    for mode in ("heal", "raise"):
        got = run(body, mode=mode)
        assert got.delivered == b"".join(SENT)
        assert severities(got) == [("out-of-order", "note")]
        at = next(n for n, piece in enumerate(got.pieces) if LOST in piece)
        assert got.delivered_at[at] == late_s
        assert b"".join(got.pieces[:at]) == b"".join(BEFORE)


@pytest.mark.parametrize("late_s", [5.1, 60.0])
def test_a_frame_that_was_given_up_still_takes_its_place_while_the_rest_waits(late_s):
    got = run([*BEFORE, *BEHIND[:3], late_s, LOST, *BEHIND[3:]])
    assert got.delivered == b"".join(SENT)
    assert got.raised is None
    (told,) = faults_named(got, "out-of-order")
    assert told == f"number {AT} came after it had been given up; put right"


def test_frames_that_were_given_up_may_come_in_any_order():
    gone = [SENT[AT + n] for n in (2, 0, 1)]
    got = run([*BEFORE, *SENT[AT + 3 : AT + 6], 6.0, *gone, *SENT[AT + 6 :]])
    assert got.delivered == b"".join(SENT)
    assert len(faults_named(got, "out-of-order")) == 3


@pytest.mark.parametrize("wait_s", [0.0, 2.0, 5.0])
def test_without_a_repair_the_time_ends_the_wait(wait_s):
    got = run([*BEFORE, *BEHIND[:3], 30.0, *BEHIND[3:]], mode="raise", reorder_wait_s=wait_s)
    assert got.raised is not None
    assert got.raised.kind == "missing-event"
    assert got.raised.detail == f"expected number {AT} but got {AT + 1}: 1 number is absent"
    assert got.now == wait_s
    assert got.delivered == b"".join(BEFORE)


def test_a_repair_needs_no_more_than_the_whole_text_once_the_time_is_over():
    to_done = DONE - AT
    got = run([*BEFORE, *BEHIND[:2], 6.0, *BEHIND[2:to_done], 50.0, *BEHIND[to_done:]])
    assert text_of(got) == TEXT
    assert got.raised is None
    at = next(n for n, piece in enumerate(got.pieces) if LOST in piece)
    assert got.delivered_at[at] == 6.0


@pytest.mark.parametrize("window", [1, 3])
def test_without_a_repair_a_full_window_ends_the_wait(window):
    got = run([*BEFORE, *BEHIND[: window + 1], 1.0], mode="raise", reorder_window=window,
              end="silence")  # fmt: skip
    assert got.raised is not None
    assert got.raised.kind == "missing-event"
    assert got.now == 0.0


# Never skipped -----------------------------------------------------------------------------


def test_nothing_behind_a_gap_is_delivered_before_it_is_filled():
    body = [*BEFORE]
    for raw in BEHIND:
        body += [10.0, raw]
    got = run(body)
    assert got.raised is None
    assert got.delivered == b"".join(SENT), "the frame is as it was"
    whole_at = 10.0 * (DONE - AT)
    for piece, at in zip(got.pieces, got.delivered_at, strict=True):
        assert at >= whole_at or piece in b"".join(BEFORE)
    assert severities(got) == [("missing-event", "warning")]
    assert got.outcome.status == "complete"
    assert got.outcome.text == TEXT


def test_frames_that_wait_are_progress_and_pings_are_not():
    ping = b'event: keepalive\ndata: {"type":"keepalive"}\n\n'
    clocks = Clocks(progress_text_s=30.0, silence_s=30.0)
    to_done = DONE - AT
    slow = [item for raw in BEHIND[:to_done] for item in (20.0, raw)]
    assert run([*BEFORE, *slow, *BEHIND[to_done:]], clocks=clocks).raised is None
    pings = [item for _ in range(9) for item in (10.0, ping)]
    got = run([*BEFORE, *BEHIND[:2], *pings, *BEHIND[2:]], clocks=clocks)
    assert got.raised is not None
    assert got.raised.kind == "stalled"
    assert "progress" in got.raised.detail


def test_comments_pass_while_frames_wait():
    beat = b": still here\n\n"
    got = run([*BEFORE, *BEHIND[:2], 6.0, beat, 6.0, *BEHIND[2:]])
    at = got.pieces.index(beat)
    assert got.delivered_at[at] == 6.0
    assert text_of(got) == TEXT


@pytest.mark.parametrize("gone", [{AT}, {AT, AT + 3}, {DONE - 1}, set(range(AT, AT + 4))])
@pytest.mark.parametrize("end", ["eof", "reset"])
def test_cut_at_every_frame_behind_a_gap(gone, end):
    """Before the text is repeated the hole stays; after it the stream is cut as any other."""
    body = [(n, raw) for n, raw in enumerate(SENT) if n not in gone]
    first, said = min(gone), TEXT[: 4 * (min(gone) - 4)]
    for cut in range(first, len(body)):
        got = run([raw for _, raw in body[:cut]], end=end)
        assert got.raised is not None
        behind = [n for n, _ in body[:cut] if n > first]
        whole = any(n >= DONE for n in behind)
        assert text_of(got) in ((said, TEXT) if whole else (said,))
        cut_off = "connection-reset" if end == "reset" else "truncated-between-events"
        assert got.raised.kind == (cut_off if whole or not behind else "missing-event")
        assert got.outcome.status == "failed"
        assert not got.outcome.complete


def test_too_much_behind_a_gap_is_a_fault_and_the_ladder_goes_on():
    whole = Reply(SENT)
    request = ask(D, temperature=0)
    got = play([Reply([*BEFORE, *BEHIND[:9], 6.0, *BEHIND[9:]]), whole], dialect=D,
               request=request, options=Options(max_held_bytes=1500))  # fmt: skip
    assert got.raised is None
    assert got.rungs == ["first", "replay"]
    assert text_of(got) == TEXT
    (told,) = faults_named(got, "missing-event")
    assert "bytes were held, and what they carried is not known yet" in told


def test_the_window_is_bounded_by_bytes_too():
    got = run([*BEFORE, *BEHIND[:9], 1.0], mode="raise", max_held_bytes=700, end="silence")
    assert got.raised is not None
    assert got.raised.kind == "missing-event"
    assert got.now == 0.0


# What stays as it was ----------------------------------------------------------------------


def test_observe_changes_nothing_and_says_that_the_consumer_has_a_hole():
    got = run([*BEFORE, *BEHIND], mode="observe")
    assert got.delivered == b"".join([*BEFORE, *BEHIND])
    assert got.raised is None
    assert got.outcome.status == "failed"
    assert severities(got) == [("missing-event", "fatal")]
    assert got.outcome.text == TEXT[: 4 * (AT - 4)] + TEXT[4 * (AT - 3) :]


def test_an_error_frame_passes_while_frames_wait():
    error = {"type": "error", "sequence_number": 90, "code": "server_error", "message": "no"}
    raw = f"event: error\ndata: {json.dumps(error)}\n\n".encode()
    for pause in (0.0, 6.0):
        got = run([*BEFORE, *BEHIND[:3], pause, raw])
        assert got.raised is not None
        assert got.raised.kind == "provider-error"
        assert got.delivered == b"".join([*BEFORE, raw])


def test_a_marker_without_a_number_stays_behind_what_waits():
    marker = b"data: [DONE]\n\n"
    got = run([*BEFORE, *BEHIND, marker])
    assert got.raised is None
    assert got.delivered == b"".join([*SENT, marker])


@pytest.mark.parametrize("order", [(1, 0), (2, 1, 0), (1, 2, 0)])
def test_the_first_frames_may_change_places(order):
    body = [*(SENT[n] for n in order), *SENT[len(order) :]]
    for mode in ("heal", "raise"):
        got = run(body, mode=mode)
        assert got.delivered == b"".join(SENT)
        assert severities(got) == [("out-of-order", "note")]


def test_a_stream_that_counts_from_another_number_waits_for_nothing():
    for first in (1, 7):
        body = []
        for n, raw in enumerate(SENT):
            head, _, data = raw.partition(b"data: ")
            payload = {**json.loads(data), "sequence_number": n + first}
            body.append(head + b"data: " + json.dumps(payload).encode() + b"\n\n")
        got = run([item for raw in body for item in (0.5, raw)])
        assert got.delivered == b"".join(body)
        assert got.kinds == []
        assert got.delivered_at[0] == 0.5 * 5, "with its first content"


def test_an_answer_that_is_read_again_may_begin_anywhere():
    url = "https://api.openai.com/v1/responses/resp_1?stream=true&starting_after=1"
    got = play([Reply(SENT[2:])], dialect=D, request=Request(method="GET", url=url, body=b""))
    assert got.delivered == b"".join(SENT[2:])
    assert got.kinds == []


# The machine's own ways --------------------------------------------------------------------


def opened(**how: Any) -> Attempt:
    return Attempt(by_name(D), from_start=True, **how)


def test_a_look_ahead_leaves_what_waits_alone():
    for lost_for_good in (False, True):
        attempt, looked = opened(reorder_window=1), opened(reorder_window=1)
        found: list[list[bytes]] = [[], []]
        body = [*BEFORE, *BEHIND] if lost_for_good else [*BEFORE, *BEHIND[:1], LOST, *BEHIND[1:]]
        for raw in body:
            found[0] += [step.frame.raw for step in attempt.receive(raw)]
            found[1] += [step.frame.raw for step in looked.receive(raw)]
            assert looked.hidden_faults() == []
        assert found[0] == found[1]
        assert attempt.faults == looked.faults
        assert b"".join(found[0]) == b"".join(SENT)


def test_the_time_is_noticed_with_the_next_bytes_too():
    """A driver may be unable to look at the time without ending a read."""
    attempt = opened(repair=False)
    attempt.receive(b"".join([*BEFORE, *BEHIND[:2]]), 10.0)
    assert attempt.next_timer() == 15.0
    attempt.receive(BEHIND[2], 14.9)
    assert attempt.fatal is None
    attempt.receive(BEHIND[3], 15.0)
    assert attempt.fatal is not None
    assert attempt.fatal.kind == "missing-event"
    assert attempt.next_timer() is None


def test_with_a_frame_of_ours_on_the_wire_nobody_steps_aside():
    stream = Stream(ask(D), by_name(D), options=Options(reorder_window=1), now=0.0, sent=True)
    stream.connected(200, {}, 0.0)
    for raw in [*BEFORE, BEFORE[-1], *BEHIND[: DONE - AT]]:  # as many bytes dropped as written
        stream.receive(raw, 0.0)
    assert stream.salvage(None) is None


# Lost before it was counted ------------------------------------------------------------------


def counted_anew(raws: list[bytes]) -> list[bytes]:
    """The frames as a provider sends them that lost one before it numbered them."""
    out = []
    for number, raw in enumerate(raws):
        data = json.loads(raw.partition(b"data: ")[2])
        out.append(b"data: " + json.dumps({**data, "sequence_number": number}).encode() + b"\n\n")
    return out


def test_text_that_is_missing_inside_what_was_delivered_is_not_healed_around():
    """Only the repetition tells of it; a continuation of the end would leave the hole in."""
    body = counted_anew([*BEFORE, *BEHIND])
    got = run(body, Reply(SENT), Reply(SENT), mode="heal")
    assert got.outcome.status == "failed"
    assert got.raised is not None
    assert len(got.outcome.attempts) == 1
    (skipped,) = got.outcome.skipped
    assert skipped.why == (
        "text is missing inside what was delivered, and nothing can be put in there"
    )
    assert TEXT.startswith(text_of(got)[:20])
    assert not TEXT.startswith(text_of(got))


# Behind the end ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dialect", ["openai-chat", "openai-responses", "anthropic-messages", "ollama", "cohere"]
)
@pytest.mark.parametrize("mode", ["heal", "raise", "observe"])
def test_content_behind_the_proven_end_is_left_out_and_named(dialect, mode):
    sent = frames(TEXT, dialect=dialect)
    delta = sent[len(until(sent, TEXT[:20], dialect=dialect))]
    if dialect == D:
        delta = counted_anew([*sent, delta])[-1]
    reply = Reply([*sent, delta], end="eof")
    got = play([reply], dialect=dialect, options=Options(mode=mode))
    body = b"".join(sent)
    assert got.delivered == (body + delta if mode == "observe" else body)
    assert got.raised is None
    assert got.outcome.status == "complete"
    (told,) = got.outcome.faults
    assert (told.severity, told.detail) == ("warning", "content came after the end")
    assert mode == "observe" or got.outcome.text == TEXT
