"""The modes, and errors: never laundered, never worse than without us."""

from __future__ import annotations

import pytest

from tests.core.scripted import Reply, Run, ask, frames, play, read, until
from unbroken.core.actions import Deliver, FinishStream, Receive
from unbroken.core.dialects import DIALECTS, by_name
from unbroken.core.dialects.base import AnswerCall
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.options import Clocks, Options
from unbroken.core.stream import Stream
from unbroken.core.wire import encode_aws_event_stream

TEXT = "The sea is salt because rivers carry minerals from the rocks of the land into it."
WHOLE = frames(TEXT)
OBSERVE, RAISE = Options(mode="observe"), Options(mode="raise")
DONE = b"data: [DONE]\n\n"

ERRORS = {
    "openai-chat": b'data: {"error":{"type":"server_error","message":"gone"}}\n\n',
    "openai-responses": b'event: error\ndata: {"type":"error","sequence_number":90,'
    b'"code":"server_error","message":"gone","param":null}\n\n',
    "anthropic-messages": b'event: error\ndata: {"type":"error","error":'
    b'{"type":"overloaded_error","message":"gone"}}\n\n',
    "gemini": b'data: {"error":{"code":503,"status":"UNAVAILABLE","message":"gone"}}\r\n\r\n',
    "ollama": b'{"error":"gone"}\n',
    "openai-completions": b'data: {"error":{"type":"server_error","message":"gone"}}\n\n',
    "cohere": b'event: message-end\ndata: {"type":"message-end","delta":{"finish_reason":"ERROR",'
    b'"error":"gone"}}\n\n',
    "gemini-interactions": b'event: error\ndata: {"event_type":"error","error":{"code":"internal",'
    b'"message":"gone"}}\n\n',
    "openai-assistants": b'event: error\ndata: {"type":"server_error","message":"gone"}\n\n',
    "gemini-array": b',\r\n{"error":{"code":503,"message":"gone","status":"UNAVAILABLE"}}',
    **dict.fromkeys(("bedrock-converse", "bedrock-invoke"), encode_aws_event_stream(
        b'{"message":"gone"}', event="internalServerException", failure=True,
    )),
}  # fmt: skip
ONCE = Options(max_attempts=1)
each_dialect = pytest.mark.parametrize("dialect", DIALECTS)


# The provider's own errors ----------------------------------------------------------------


@each_dialect
def test_error_of_the_provider_is_delivered_unchanged_and_last_when_nothing_else_helps(dialect):
    first = until(frames(TEXT, dialect=dialect), TEXT[:30], dialect=dialect)
    body = [*first, ERRORS[dialect]]
    for options in (ONCE, RAISE):
        run = play([Reply(body)], dialect=dialect, options=options)
        assert run.delivered == b"".join(body)
        assert run.pieces[-1].endswith(ERRORS[dialect])
        assert run.kinds == ["provider-error"]
        assert run.raised is not None
        assert run.raised.kind is FaultKind.PROVIDER_ERROR
        assert (run.outcome.status, run.outcome.complete) == ("failed", False)
        assert run.outcome.recoverable


def test_nothing_of_the_provider_follows_its_error():
    run = play([Reply([*WHOLE[:4], ERRORS["openai-chat"] + DONE])], options=ONCE)
    assert run.delivered == b"".join(WHOLE[:4]) + ERRORS["openai-chat"]


def test_error_of_an_attempt_that_was_recovered_from_is_never_delivered():
    first = until(WHOLE, TEXT[:40])
    run = play([Reply([*first, ERRORS["openai-chat"]]), Reply(WHOLE)])
    assert b"error" not in run.delivered
    assert run.outcome.status == "complete"
    assert run.outcome.text == TEXT


def test_error_before_content_is_delivered_alone():
    run = play([Reply([WHOLE[0], ERRORS["openai-chat"]])], options=ONCE)
    assert run.delivered == ERRORS["openai-chat"]


@pytest.mark.parametrize("code", [b"insufficient_quota", b"invalid_api_key",
                                  b"context_length_exceeded", b"model_not_found"])  # fmt: skip
def test_errors_that_would_come_again_are_not_healed(code):
    error = b'data: {"error":{"type":"x","code":"' + code + b'"}}\n\n'
    run = play([Reply([WHOLE[0], error])])
    assert run.delivered == error
    assert len(run.requests) == 1
    assert not run.outcome.recoverable


@pytest.mark.parametrize(
    "block",
    [
        b'data: {"error":{"code":"content_filter","message":"no"}}\n\n',
        b'data: {"error":{"type":"guardrail","message":"no"}}\n\n',
        b'data: {"error":{"code":"content_policy_violation","message":"no"}}\n\n',
    ],
)
@pytest.mark.parametrize("before", [0, 12])
def test_safety_block_is_never_healed_around(block, before):
    run = play([Reply([*WHOLE[:before], block])])
    assert len(run.requests) == 1
    assert run.delivered.endswith(block)
    assert run.raised is not None


@pytest.mark.parametrize(
    ("dialect", "finish"), [("openai-chat", "filter"), ("anthropic-messages", "filter")]
)
def test_filtered_end_is_an_end(dialect, finish):
    sent = frames(TEXT, dialect=dialect, finish=finish)
    run = play([Reply(sent)], dialect=dialect)
    assert (run.outcome.status, len(run.requests)) == ("filtered", 1)


def test_refusal_is_content_and_never_continued():
    said = b'data: {"choices":[{"index":0,"delta":{"refusal":"I cannot"}}]}\n\n'
    run = play([Reply([said], end="reset")])
    assert run.delivered == said
    assert run.raised is not None
    assert len(run.requests) == 1


# Failing honestly -------------------------------------------------------------------------


ENDINGS = {
    "truncated-between-events": Reply(WHOLE[:9]),
    "truncated-mid-event": Reply([*WHOLE[:9], WHOLE[9][:20]]),
    "connection-reset": Reply([*WHOLE[:9], WHOLE[9][:20]], end="reset"),
    "missing-finish": Reply([*WHOLE[:9], DONE]),
    "empty-stream": Reply(WHOLE[:1]),
    "not-a-stream": Reply([b"<html></html>"]),
    "malformed-json": Reply([*WHOLE[:9], b"data: {oops\n\n", *WHOLE[9:]]),
    "oversized-event": Reply([*WHOLE[:9], b"data: " + b"x" * 3000]),
    "provider-error": Reply([*WHOLE[:9], ERRORS["openai-chat"]]),
    "stalled": Reply(WHOLE[:9], end="silence"),
    "http-error": Reply(status=500),
    "connect-failed": Reply(status="refused"),
}


@pytest.mark.seed("001-closed-message", "003-do-incomplete")
@pytest.mark.parametrize("kind", ENDINGS)
@pytest.mark.parametrize("mode", ["raise", "heal"])
def test_failure_delivers_a_prefix_and_no_terminal_and_raises_its_kind(kind, mode):
    options = Options(mode=mode, max_attempts=1, max_frame_bytes=2000)
    run = play([ENDINGS[kind]], options=options)
    assert run.raised is not None
    assert run.raised.kind == kind
    assert run.outcome.fault is not None
    assert run.outcome.fault.kind == kind
    whole, tail = b"".join(WHOLE), ERRORS["openai-chat"] if kind == "provider-error" else b""
    assert whole.startswith(run.delivered.removesuffix(tail))
    assert WHOLE[-2] not in run.delivered
    assert DONE not in run.delivered
    assert (run.outcome.status, run.outcome.complete) == ("failed", False)
    assert TEXT.startswith(run.outcome.text)


@pytest.mark.seed("003-quick-terminated")
def test_reset_wins_over_how_the_bytes_look():
    run = play([Reply([*WHOLE[:3], b"data: {"], end="reset")], options=ONCE)
    assert run.kinds == ["connection-reset"]
    assert "peer reset" in run.outcome.faults[0].detail


def test_faults_name_the_attempt_they_came_from():
    first = until(WHOLE, TEXT[:20])
    broken = [Reply(first, end="reset"), Reply(first), Reply([*WHOLE[:2], b"data: {\n\n"]),
              Reply([*WHOLE[:-2], DONE])]  # fmt: skip
    run = play(broken, options=Options(max_attempts=4, max_added_input=9))
    assert [(fault.kind.value, fault.attempt) for fault in run.outcome.faults] == [
        ("connection-reset", 1), ("truncated-between-events", 2), ("malformed-json", 3),
        ("missing-finish", 4),
    ]  # fmt: skip
    assert [record.fault.attempt for record in run.outcome.attempts if record.fault] == [1, 2, 3, 4]


# raise ------------------------------------------------------------------------------------


def test_raise_recovers_nothing_and_holds_nothing_back():
    call = AnswerCall(name="add", arguments=('{"a":', "1}"), id="c1")
    sent = frames("Hi.", calls=(call,), finish="tool-calls")
    run = play([Reply(sent[:5], end="reset")], options=RAISE)
    assert run.pieces == sent[:5]
    assert len(run.requests) == 1
    assert run.raised is not None


def test_raise_says_what_healing_would_have_done():
    run = play([Reply(until(WHOLE, TEXT[:70]), end="reset")], options=RAISE)
    assert "mode raise: would have sent" in run.skipped("prefill")


# observe ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ENDINGS)
def test_observe_delivers_every_byte_as_it_came_and_raises_nothing_of_its_own(kind):
    options = Options(mode="observe", max_frame_bytes=2000)
    reply = ENDINGS[kind]
    if kind == "stalled":
        reply = Reply([*WHOLE[:9], 121.0], end="reset")
    run = play_sent(reply, options)
    body = b"".join(piece for piece in reply.body if isinstance(piece, bytes))
    assert run.delivered == body
    assert run.raised is None
    assert len(run.requests) <= 1
    assert run.outcome.status == "failed"
    assert kind in run.kinds


def play_sent(reply: Reply, options: Options) -> Run:
    """Play one attempt that the SDK sent itself."""
    run = Run(Stream(ask(), by_name("openai-chat"), options=options, now=0.0, sent=True))
    if reply.status == "refused":
        run.stream.failed(Fault.of(FaultKind.CONNECT_FAILED, "refused"), 0.0)
    else:
        run.stream.connected(reply.status, reply.headers, 0.0)
    reads = list(reply.body)
    while (action := run.stream.next_action()) is not None:
        run.notices += run.stream.take_notices()
        if isinstance(action, Receive):
            read(run, reply, reads)
        elif isinstance(action, Deliver):
            run.pieces.append(action.data)
        elif isinstance(action, FinishStream):
            run.over, run.raised = True, action.fault
    return run


@each_dialect
def test_observe_passes_a_healthy_stream_read_by_read(dialect):
    body = b"".join(frames(TEXT, dialect=dialect))
    reads = [body[at : at + 37] for at in range(0, len(body), 37)]
    run = play([Reply(reads)], dialect=dialect, options=OBSERVE)
    assert [piece for piece in run.pieces if piece] == reads
    assert (run.outcome.status, run.outcome.text, run.kinds) == ("complete", TEXT, [])


def test_observe_says_what_healing_would_have_done_and_cost():
    run = play_sent(Reply(until(WHOLE, TEXT[:70]), end="reset"), OBSERVE)
    why = run.skipped("prefill")
    assert "mode observe: would have sent" in why
    assert "bytes more" in why
    assert run.outcome.recoverable


def test_observe_reads_on_after_a_fault_as_the_sdk_does():
    body = [*WHOLE[:9], b"data: {oops\n\n", *WHOLE[9:]]
    run = play_sent(Reply(body), OBSERVE)
    assert run.delivered == b"".join(body)
    assert run.kinds == ["malformed-json"]
    assert run.outcome.text == TEXT


def test_observe_ends_nothing_that_is_merely_slow():
    run = play_sent(Reply([*WHOLE[:9], 500.0, *WHOLE[9:]]), OBSERVE)
    assert run.delivered == b"".join(WHOLE)
    assert run.outcome.text == TEXT
    assert "stalled" in run.kinds


def test_observe_remembers_a_bounded_number_of_stalls():
    silence: list[bytes | float] = [frames("So far.")[1], *[4.0] * 200]
    options = Options(mode="observe", clocks=Clocks(progress_text_s=2, silence_s=2, notice_s=None))
    run = play([Reply(silence, end="eof")], options=options)
    assert run.kinds.count("stalled") == 16
