"""Whether the end is proven, by the dialect's own rules, and what it is called if not."""

from __future__ import annotations

import pytest

from unbroken.core.checks.completeness import Completeness
from unbroken.core.dialects import by_name
from unbroken.core.dialects.base import Variant
from unbroken.core.events import (
    End,
    Finish,
    Open,
    Other,
    ProviderError,
    Reasoning,
    Refusal,
    Start,
    Text,
    ToolCall,
)

CHAT, GEMINI = "openai-chat", "gemini"
STOP, DONE = Finish("stop", "stop"), End("[DONE]")
STRICT = Variant(name="strict")
NO_MARKER = Variant(name="x", missing_marker_legal=True)
NO_FINISH = Variant(name="x", missing_finish_legal=True)


def judged(events, *, dialect=CHAT, end="eof", variant=STRICT, pending=0, choices=1):
    account = Completeness(by_name(dialect), choices=choices)
    for event in events:
        account.add(event)
    faults = account.judge(end, variant=variant, pending=pending, at_byte=500, frames=9)
    return account, [(fault.kind.value, fault.severity) for fault in faults]


FINISHED = {
    "finish and marker": ([Text("a"), STOP, DONE], {}, []),
    "finish, no marker": ([Text("a"), STOP], {}, [("missing-terminator", "warning")]),
    "finish, then reset": ([STOP], {"end": "reset"}, [("missing-terminator", "warning")]),
    "finish, half a frame": ([STOP], {"pending": 7}, [("missing-terminator", "warning")]),
    "finish, no marker, legal": ([STOP], {"variant": NO_MARKER}, []),
    "finish, of a dialect without a marker": ([STOP], {"dialect": GEMINI}, []),
    "finish alone": ([STOP, DONE], {}, []),
    "two choices": ([Text("a"), Text("b", 1), STOP, Finish("stop", "stop", 1), DONE],
                    {"choices": 2}, []),
}  # fmt: skip


@pytest.mark.seed("003-handler-finish-reason")
@pytest.mark.parametrize("name", FINISHED)
def test_proven(name):
    events, how, faults = FINISHED[name]
    account, found = judged(events, **how)
    assert account.finished
    assert found == faults


UNFINISHED = {
    "text": ([Start(), Text("a")], {}, "truncated-between-events"),
    "half a frame": ([Text("a")], {"pending": 7}, "truncated-mid-event"),
    "reset": ([Text("a")], {"end": "reset"}, "connection-reset"),
    "reset in half a frame": ([Text("a")], {"end": "reset", "pending": 7}, "connection-reset"),
    "reset at once": ([], {"end": "reset"}, "connection-reset"),
    "nothing": ([], {}, "empty-stream"),
    "half a first frame": ([], {"pending": 7}, "truncated-mid-event"),
    "lifecycle alone": ([Start(), Open("other")], {}, "empty-stream"),
    "empty text": ([Start(), Text("")], {}, "empty-stream"),
    "reasoning": ([Reasoning("a")], {}, "truncated-between-events"),
    "a refusal": ([Refusal("a")], {}, "truncated-between-events"),
    "a call": ([ToolCall(0)], {}, "truncated-between-events"),
    "an image": ([Other("image", content=True)], {}, "truncated-between-events"),
    "marker alone": ([Text("a"), DONE], {}, "missing-finish"),
    "marker, then reset": ([Text("a"), DONE], {"end": "reset"}, "connection-reset"),
    "one of two choices": ([Text("a"), Text("b", 1), STOP, DONE], {"choices": 2}, "missing-finish"),
    "second choice never came": ([Text("a"), STOP, DONE], {"choices": 2}, "missing-finish"),
    "second choice opened unasked": ([Text("a"), Open("other", 1), STOP], {},
                                     "truncated-between-events"),
    "finish that may not be the last": ([Text("a"), Finish("STOP", "stop", final=False)],
                                        {"dialect": GEMINI}, "truncated-between-events"),
}  # fmt: skip


@pytest.mark.seed("001-truncated-message", "003-do-incomplete")
@pytest.mark.parametrize("name", UNFINISHED)
def test_unproven(name):
    events, how, kind = UNFINISHED[name]
    _, found = judged(events, **how)
    assert found == [(kind, "fatal")]


def test_marker_without_a_finish_where_good_answers_end_so_is_a_warning():
    account, found = judged([Text("a"), DONE], variant=NO_FINISH)
    assert found == [("missing-finish", "warning")]
    assert not account.finished


def test_after_an_error_nothing_else_is_reported_missing():
    for events in ([ProviderError()], [Text("a"), ProviderError(), DONE]):
        assert judged(events)[1] == []


ENDED = [
    (CHAT, [STOP], False), (CHAT, [STOP, DONE], True), (CHAT, [DONE], False),
    (CHAT, [Text("a"), Text("b", 1), STOP, DONE], False),
    (GEMINI, [Text("a"), Finish("STOP", "stop", final=False)], False),
]  # fmt: skip


@pytest.mark.parametrize(("dialect", "events", "ended"), ENDED)
def test_ended_says_that_nothing_more_can_come(dialect, events, ended):
    assert judged(events, dialect=dialect)[0].ended == ended


def test_stop_of_a_dialect_that_may_go_on_is_no_end_before_the_body_ends():
    """Gemini stamps STOP on frames that others follow; only the end of the body settles it."""
    assert not judged([Text("a"), STOP], dialect=GEMINI)[0].ended


def test_details_have_numbers_and_say_what_happened():
    account = Completeness(by_name(CHAT))
    account.add(Text("a"))
    (fault,) = account.judge("eof", variant=STRICT, pending=7, at_byte=500, frames=9)
    assert fault.detail == (
        "the body ended after 9 frames (500 bytes), without a finish, 7 bytes into a frame"
    )
    assert (fault.at_byte, fault.retryable) == (500, True)


def test_fork_goes_its_own_way():
    account = Completeness(by_name(CHAT))
    account.add(Text("a"))
    fork = account.fork()
    fork.add(STOP)
    assert fork.finished
    assert not account.finished
