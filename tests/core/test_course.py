"""One answer: what comes of bytes, ends and time is a value, and decides nothing."""

from __future__ import annotations

import pytest

from tests.core.scripted import ask, frames, until
from unbroken.core.actions import Deliver
from unbroken.core.checks.liveness import StallNotice
from unbroken.core.course import WHOLE, Broke, Course
from unbroken.core.dialects import by_name
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.options import Clocks, Mode, Options
from unbroken.core.stream import Stream

TEXT = "The sea is salt because rivers carry minerals from the rocks of the land into it."
WHOLE_BODY = frames(TEXT)
PART = until(WHOLE_BODY, TEXT[:40])
RESET = Fault.of(FaultKind.CONNECTION_RESET, "reset by peer")


def opened(**options: object) -> tuple[Course, Stream]:
    """Return the course of a stream whose response head came at 0 s."""
    given = Options(**options)  # type: ignore[arg-type]
    stream = Stream(ask(), by_name("openai-chat"), options=given, now=0.0)
    stream.next_action()
    stream.connected(200, {}, 0.0)
    return stream._course, stream


def said(stream: Stream) -> bytes:
    return b"".join(each.data for each in stream._actions if isinstance(each, Deliver))


@pytest.mark.parametrize("mode", ["heal", "raise", "observe"])
def test_a_whole_body_is_whole(mode: Mode) -> None:
    course, stream = opened(mode=mode)
    assert [course.receive(raw, 1.0) for raw in WHOLE_BODY] == [None] * len(WHOLE_BODY)
    assert course.close("eof", 2.0) is WHOLE
    assert said(stream) == b"".join(WHOLE_BODY)
    assert stream.reading, "what follows is for the stream to say"


def test_a_cut_body_broke_and_keeps_the_half_frame_for_a_cursor() -> None:
    course, stream = opened()
    for raw in PART:
        course.receive(raw, 1.0)
    course.receive(WHOLE_BODY[len(PART)][:9], 1.0)
    broke = course.close("reset", 2.0, transport=RESET)
    assert isinstance(broke, Broke)
    assert broke.fault.kind is FaultKind.CONNECTION_RESET
    assert broke.fault.detail.endswith(": reset by peer")
    assert broke.fault in course.attempt.faults  # type: ignore[union-attr]
    assert not broke.diverged
    assert broke.kept is not None
    assert broke.kept.pending == WHOLE_BODY[len(PART)][:9]
    assert course.broken is None
    course.broke_off(broke.kept)
    assert course.broken is not None
    assert course.broken.place.bytes == sum(map(len, PART)) + 9
    assert said(stream) == b"".join(PART)


def test_what_is_found_ends_an_attempt_but_for_an_observer() -> None:
    bad = b"data: {nonsense\n\n"
    course, stream = opened()
    assert course.receive(PART[0], 1.0) is None
    broke = course.receive(bad, 1.0)
    assert isinstance(broke, Broke)
    assert broke.fault.kind is FaultKind.MALFORMED_JSON
    course, stream = opened(mode="observe")
    assert course.receive(bad, 1.0) is None
    assert said(stream) == bad
    assert isinstance(course.close("eof", 1.0), Broke)


def test_the_end_of_the_body_is_awaited_for_a_second() -> None:
    course, _ = opened()
    for raw in WHOLE_BODY:
        course.receive(raw, 5.0)
    assert course.next_timer() == course.deadline() == 6.0
    assert course.handle_timer(5.9) is None
    assert course.handle_timer(6.0) is WHOLE


def test_silence_is_told_then_ends_the_attempt() -> None:
    course, _ = opened(clocks=Clocks(silence_s=30.0))
    course.receive(b"".join(PART), 0.0)
    assert course.next_timer() == 10.0
    assert isinstance(course.handle_timer(10.0), StallNotice)
    assert course.deadline() == 30.0
    broke = course.handle_timer(30.0)
    assert isinstance(broke, Broke)
    assert broke.fault.kind is FaultKind.STALLED


def test_silence_is_only_told_where_nothing_is_ended_and_not_for_ever() -> None:
    course, _ = opened(mode="observe", clocks=Clocks(silence_s=30.0, progress_text_s=None))
    course.receive(b"".join(PART), 0.0)
    told, now = [], 0.0
    for _ in range(40):
        now = course.deadline() or now
        told.append(course.handle_timer(now))
    warned = [each for each in told if each is not None]
    assert all(isinstance(each, Fault) and each.severity == "warning" for each in warned)
    assert len(warned) == 16
    assert course.receive(WHOLE_BODY[len(PART)], now) is None


@pytest.mark.parametrize(
    ("read", "left"),
    [(0, ["cancelled"]), (len(PART), ["cancelled"]), (len(WHOLE_BODY), [])],
)
def test_leaving(read: int, left: list[str]) -> None:
    course, _ = opened()
    for raw in WHOLE_BODY[:read]:
        course.receive(raw, 1.0)
    assert [fault.kind.value for fault in course.leave("the reader left")] == left


def test_leaving_before_an_answer() -> None:
    stream = Stream(ask(), by_name("openai-chat"), options=Options(), now=0.0)
    (fault,) = stream._course.leave("the reader left")
    assert fault.detail == "the reader left before an answer"


def test_the_clocks_of_a_further_request_begin_with_it() -> None:
    """A driver asks for the deadline before it says that the answer came."""
    stream = Stream(
        ask(), by_name("openai-chat"), options=Options(clocks=Clocks(silence_s=30.0)), now=0.0
    )
    stream.connected(200, {}, 0.0)
    stream.receive(b"".join(PART[:2]), 1.0)
    stream.handle_timer(31.0)
    assert stream.connecting
    assert stream.attempt_number == 2
    assert stream.next_deadline() == 61.0


@pytest.mark.parametrize("mode", ["heal", "observe"])
def test_what_is_owed_is_told_to_the_byte(mode: Mode) -> None:
    course, stream = opened(mode=mode)
    half = WHOLE_BODY[len(PART)][:9]
    for raw in (*PART, half):
        course.receive(raw, 1.0)
    out = said(stream)
    assert out + (course.undelivered(None) or b"") == b"".join(PART) + half
    course._bytes_in += 4  # of a read in which Unbroken failed
    assert out + (course.undelivered(b"more") or b"") == b"".join(PART) + half + b"more"
    course._bytes_in += 1
    assert course.undelivered(b"more") is None
