"""A provider that repeats a finished text shows by it what was lost on the way."""

from __future__ import annotations

import pytest

from unbroken.core.checks.repeats import Repeats
from unbroken.core.events import Text, ToolCall, Whole

HERE, THERE = (0, 0), (1, 0)
WHOLE = Whole("text", "Hello", block=HERE)

CASES = {
    "the same": ([Text("Hel", block=HERE), Text("lo", block=HERE), WHOLE], False),
    "a delta is missing": ([Text("Hel", block=HERE), WHOLE], True),
    "a delta came twice": ([Text("Hel", block=HERE), *[Text("lo", block=HERE)] * 2, WHOLE], True),
    "other words, as long": ([Text("Hallo", block=HERE), WHOLE], True),
    "nothing came": ([WHOLE], True),
    "nothing was said": ([Whole("text", "", block=HERE)], False),
    "text of another block": ([Text("Hello", block=THERE), WHOLE], True),
    "of another choice": ([Text("Hello", 1, HERE), WHOLE], True),
    "text for arguments": (
        [Text("{}", block=HERE), Whole("arguments", "{}", block=HERE)], True,
    ),
    "arguments": (
        [ToolCall(0, "{", block=HERE), ToolCall(0, "}", block=HERE),
         Whole("arguments", "{}", block=HERE)], False,
    ),
    "arguments cut": (
        [ToolCall(0, "{", block=HERE), Whole("arguments", "{}", block=HERE)], True,
    ),
    "a pair cut over two deltas": (
        [Text("\ud83d", block=HERE), Text("\ude80", block=HERE), Whole("text", "🚀", block=HERE)],
        False,
    ),
    "a pair of which a half is missing": (
        [Text("\ud83d", block=HERE), Whole("text", "🚀", block=HERE)], True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_whole_is_compared_with_its_deltas(name):
    events, lost = CASES[name]
    repeats = Repeats()
    faults = [repeats.add(event, frame=7, at_byte=99) for event in events]
    assert faults[:-1] == [None] * (len(events) - 1)
    fault = faults[-1]
    assert (fault is not None) == lost
    if fault is not None:
        assert (fault.kind, fault.severity) == ("missing-event", "fatal")
        assert (fault.frame, fault.at_byte, fault.retryable) == (7, 99, True)
        assert "Hello" not in fault.detail


def test_fork_counts_on_its_own():
    repeats = Repeats()
    repeats.add(Text("Hel", block=HERE), frame=0, at_byte=0)
    fork = repeats.fork()
    fork.add(Text("lo", block=HERE), frame=0, at_byte=0)
    assert fork.add(WHOLE, frame=0, at_byte=0) is None
    assert repeats.add(WHOLE, frame=0, at_byte=0) is not None
