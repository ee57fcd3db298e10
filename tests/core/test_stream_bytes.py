"""Bytes that are no UTF-8, as streams show them: never delivered in content unless by the rule."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.scripted import Reply, ask, frames, play, until
from tests.core.test_stream_policy import CALL, DONE, chat, piece, told
from unbroken.core.attempt import Attempt
from unbroken.core.dialects import DIALECTS, by_name
from unbroken.core.faults import FaultKind
from unbroken.core.options import Options
from unbroken.core.verdict import check
from unbroken.core.wire.aws_event_stream import encode_aws_event_stream, headers_of

ANSWER = "The sea is salt because rivers wash minerals out of the rocks and carry them down."
BEFORE = "The sea is salt because "
# In the base64 of bedrock-invoke it is no matter of the wire: malformed-json says so.
NAMES = [name for name in DIALECTS if name != "bedrock-invoke"]
CHAT = frames(ANSWER)


def spoil(raw: bytes, dialect: str, bad: bytes = b"\xff") -> bytes:
    """Return the frame with such bytes in the place of its `rive`."""
    if by_name(dialect).wire == "aws-event-stream":
        (frame,) = Attempt(by_name(dialect)).receive(raw)
        payload = frame.frame.payload.replace(b"rive", bad)
        return encode_aws_event_stream(payload, headers=headers_of(raw))
    assert raw.count(b"rive") == 1
    return raw.replace(b"rive", bad)


def spoilt(dialect: str = "openai-chat", bad: bytes = b"\xff") -> list[bytes]:
    sent = frames(ANSWER, dialect=dialect)
    at = len(until(sent, BEFORE, dialect=dialect))
    return [*sent[:at], spoil(sent[at], dialect, bad), *sent[at + 1 :]]


def reads(body: bytes, size: int) -> list[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)]


SPOILT = spoilt()
AT = next(n for n, raw in enumerate(SPOILT) if b"\xff" in raw)


@pytest.mark.parametrize("bad", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"a\xc3"])
@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("dialect", NAMES)
def test_it_is_never_delivered_and_is_healed(dialect: str, size: int, bad: bytes) -> None:
    sent = frames(ANSWER, dialect=dialect)
    body = b"".join(spoilt(dialect, bad))
    # Where nothing can be spliced, what was delivered cannot go on.
    rungs: dict[str, Any] = {} if by_name(dialect).splices else {"rungs": ()}
    request = ask(dialect, temperature=0)
    run = play(
        [Reply(reads(body, size)), *[Reply(sent)] * 4],
        dialect=dialect, request=request, options=Options(**rungs),
    )  # fmt: skip
    assert bad not in run.delivered
    assert "\ufffd" not in run.outcome.text
    (fault,) = run.outcome.faults
    assert (fault.kind.value, fault.severity, fault.retryable) == ("invalid-utf8", "fatal", True)
    if rungs:
        assert run.raised is not None
        assert run.outcome.text == BEFORE
    else:
        assert run.raised is None
        assert run.outcome.text == ANSWER
        assert run.rungs[0] == "first"
        assert len(run.rungs) == 2


def test_before_content_it_is_asked_again() -> None:
    first = next(n for n, raw in enumerate(CHAT) if b"The" in raw)
    run = play([Reply([*CHAT[:first], CHAT[first].replace(b"The", b"\xff")]), Reply(CHAT)])
    assert run.rungs == ["first", "retry"]
    assert run.delivered == b"".join(CHAT)


@pytest.mark.parametrize(("mode", "rule"), [("heal", "raise"), ("raise", "recover")])
def test_where_nothing_is_to_be_tried_it_fails_at_once(mode: Any, rule: Any) -> None:
    run = play([Reply([*SPOILT])], options=Options(mode=mode, malformed=rule))
    assert run.raised is not None
    assert run.raised.kind is FaultKind.INVALID_UTF8
    assert run.raised.at_byte == b"".join(SPOILT).index(b"\xff")
    assert run.rungs == ["first"]
    assert run.delivered == b"".join(SPOILT[:AT])
    assert run.outcome.recoverable is (rule == "recover")


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_skip_and_observe_pass_it_with_a_warning(size: int) -> None:
    body = b"".join(SPOILT)
    for options in (Options(malformed="skip"), Options(mode="observe")):
        run = play([Reply(reads(body, size))], options=options)
        assert run.raised is None
        assert run.delivered == body
        assert run.outcome.text == ANSWER.replace("rive", "\ufffd")
        assert run.outcome.status == "complete"
        assert told(run) == [("invalid-utf8", "warning")]


def test_a_verdict_on_a_recording_reads_on() -> None:
    outcome = check(b"".join(SPOILT))
    assert outcome.status == "complete"
    assert [(f.kind.value, f.severity) for f in outcome.faults] == [("invalid-utf8", "warning")]


def test_skip_passes_no_arguments_that_are_not_the_models() -> None:
    spoilt_call = piece('{"to": "Ann"}').replace(b"Ann", b"\xff")
    sent = [chat(tool_calls=[CALL]), spoilt_call, chat(finish="tool_calls"), DONE]
    run = play([Reply(sent)], options=Options(malformed="skip", rungs=()))
    assert run.raised is not None
    assert run.raised.kind is FaultKind.INVALID_UTF8
    assert not any(call.complete for call in run.outcome.tool_calls)
    assert b"\xff" not in run.delivered


FINISH = next(n for n, raw in enumerate(CHAT) if b'"stop"' in raw)


@pytest.mark.parametrize(
    ("at", "frame"),
    [
        (AT, b": ping \xff\n\n"),
        (AT, b"x-note: \xff\n\n"),
        (AT, b"id: \xff\n\n"),
        (AT, b'data: {"id":"\xff","choices":[]}\n\n'),
        (FINISH + 1, b'data: {"id":"\xff","choices":[],"usage":{"prompt_tokens":3}}\n\n'),
    ],
)
@pytest.mark.parametrize("rule", ["recover", "raise", "skip"])
def test_without_content_it_passes_with_a_warning(rule: Any, at: int, frame: bytes) -> None:
    sent = [*CHAT[:at], frame, *CHAT[at:]]
    run = play([Reply(sent)], options=Options(malformed=rule))
    assert run.raised is None
    assert run.delivered == b"".join(sent)
    assert told(run) == [("invalid-utf8", "warning")]


def test_content_behind_the_finish_is_left_out() -> None:
    behind = chat(content="more").replace(b"more", b"\xff")
    run = play([Reply([*CHAT[: FINISH + 1], behind, *CHAT[FINISH + 1 :]])])
    assert run.raised is None
    assert run.delivered == b"".join(CHAT)
    assert told(run) == [("invalid-utf8", "warning")]
    assert run.outcome.faults[0].detail.endswith("; it was left out (after the finish)")
    run = play([Reply([*CHAT, behind])])
    assert run.delivered == b"".join(CHAT)


def test_half_a_letter_at_the_cut_end_of_a_body_is_a_cut() -> None:
    for dialect in ("openai-chat", "ollama"):
        sent = until(frames(ANSWER, dialect=dialect), BEFORE, dialect=dialect)
        half = frames("naïve", dialect=dialect)
        at = next(n for n, raw in enumerate(half) if "ï".encode() in raw)
        cut = half[at][: half[at].index("ï".encode()) + 1]
        run = play([Reply([*sent, cut])], dialect=dialect, options=Options(rungs=()))
        assert run.kinds == ["truncated-mid-event"]


@pytest.mark.parametrize(("dialect", "end"), [("openai-chat", b"\n\n"), ("ollama", b"\n")])
def test_a_last_frame_without_its_line_end_is_judged_too(dialect: str, end: bytes) -> None:
    sent = spoilt(dialect)
    at = next(n for n, raw in enumerate(sent) if b"\xff" in raw)
    body = b"".join(sent[: at + 1]).removesuffix(end)
    run = play([Reply([body])], dialect=dialect, options=Options(rungs=()))
    assert run.raised is not None
    assert told(run) == [("invalid-utf8", "fatal")]
    assert run.delivered == b"".join(sent[:at])
    run = play([Reply([body])], dialect=dialect, options=Options(malformed="skip", rungs=()))
    assert ("invalid-utf8", "warning") in told(run)


def test_a_letter_cut_over_two_frames_is_two_bad_frames() -> None:
    """Some engines send the bytes of tokens as they come."""
    whole = chat(content="na#ve")
    first, second = whole.replace(b"#ve", b"\xc3"), whole.replace(b"na#", b"\xaf")
    sent = [*CHAT[:AT], first, second, *CHAT[AT:]]
    run = play([Reply(sent)], options=Options(rungs=()))
    assert told(run) == [("invalid-utf8", "fatal")]
    assert run.delivered == b"".join(CHAT[:AT])
    run = play([Reply(sent)], options=Options(malformed="skip"))
    assert told(run) == [("invalid-utf8", "warning")] * 2
    assert run.delivered == b"".join(sent)


def test_a_frame_that_waited_for_its_turn_is_told_once() -> None:
    sent = spoilt("openai-responses")
    at = next(n for n, raw in enumerate(sent) if b"\xff" in raw)
    swapped = [*sent[: at - 1], sent[at], 1.0, sent[at - 1], *sent[at + 1 :]]
    run = play([Reply(swapped)], dialect="openai-responses", options=Options(rungs=()))
    assert b"\xff" not in run.delivered
    assert ("invalid-utf8", "fatal") in told(run)
    assert run.kinds.count("invalid-utf8") == 1


def test_a_repeated_whole_with_bad_bytes_is_no_hole_in_what_was_delivered() -> None:
    """The deltas were whole: the answer can be asked for again, or read on."""
    sent = frames(ANSWER, dialect="openai-responses")
    done = next(n for n, raw in enumerate(sent) if b'"response.output_text.done"' in raw)
    bad = [*sent[:done], spoil(sent[done], "openai-responses"), *sent[done + 1 :]]
    run = play([Reply(bad)], dialect="openai-responses", options=Options(rungs=()))
    assert told(run) == [("invalid-utf8", "fatal")]
    assert run.outcome.recoverable


def test_a_bad_event_name_is_told_in_the_lane_of_plain_text_too() -> None:
    """Its reads are taken apart without frames, and the name is the same in all of them."""
    dialect = "anthropic-messages"
    sent = frames(ANSWER, dialect=dialect)
    name = b"event: content_block_delta"
    at = len(until(sent, BEFORE, dialect=dialect))
    bad = [*sent[:at], sent[at].replace(name, b"event: \xff"), *sent[at + 1 :]]
    assert bad != sent
    for body in (bad, [b"".join(bad)]):
        run = play([Reply(body)], dialect=dialect, options=Options(rungs=()))
        assert told(run) == [("invalid-utf8", "fatal")]
        assert b"\xff" not in run.delivered


def test_the_providers_own_replacement_character_is_text() -> None:
    sent = [raw.replace(b"rive", "\ufffd".encode()) for raw in CHAT]
    assert b"".join(sent) != b"".join(CHAT)
    run = play([Reply(sent)])
    assert run.delivered == b"".join(sent)
    assert not run.outcome.faults
    assert run.outcome.text.count("\ufffd") == 1


def test_a_frame_that_passes_is_read_once() -> None:
    first = chat(content="one").replace(b"one", b"\xff")
    attempt = Attempt(by_name("openai-chat"), malformed="skip")
    (step,) = attempt.receive(first)
    assert [type(event).__name__ for event in step.events] == ["Start", "Open", "Text"]
