"""What may follow what: each break is told once, with the weight that its dialect gives it."""

from __future__ import annotations

import pytest

from unbroken.core.checks.grammar import Grammar
from unbroken.core.dialects import by_name
from unbroken.core.events import (
    Close,
    End,
    Finish,
    Open,
    Ping,
    Reasoning,
    Refusal,
    Start,
    Text,
    ToolCall,
    UsageReport,
)

CHAT, CLAUDE, RESPONSES, GEMINI = (
    "openai-chat",
    "anthropic-messages",
    "openai-responses",
    "gemini",
)
STOP, DONE = Finish("stop", "stop"), End("end")
OPEN, CLOSE, DELTA = Open("text", 0, 0), Close(0, 0), Text("a", 0, 0)

GOOD = {
    "chat": (CHAT, [Start(), Open("other"), Text("a"), STOP, UsageReport(1), DONE]),
    "chat, finish twice": (CHAT, [Text("a"), STOP, STOP, DONE]),
    "chat, empty text after the finish": (CHAT, [Text("a"), STOP, Ping(), DONE]),
    "chat, choices side by side": (CHAT, [Text("a"), STOP, Text("b", 1), DONE]),
    "Claude": (CLAUDE, [Start(), OPEN, DELTA, CLOSE, STOP, DONE]),
    "Claude, index used again": (CLAUDE, [Start(), OPEN, CLOSE, OPEN, DELTA, CLOSE]),
    "Responses, blocks side by side": (RESPONSES, [
        Start(), Open("text", 0, (0, 0)), Open("text", 0, (1, 0)), Text("a", 0, (0, 0)),
        Text("a", 0, (1, 0)), Close(0, (0, 0))]),
    "Gemini goes on after a finish": (GEMINI, [Start(), Finish("STOP", "stop"), Text("a"), STOP]),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_good_orders(name):
    dialect, events = GOOD[name]
    grammar = Grammar(by_name(dialect))
    assert [grammar.add(event, frame=0, at_byte=0) for event in events] == [None] * len(events)


BAD = {
    "two starts": (CHAT, [Start(), Text("a"), Start()], "started twice", "fatal"),
    "text after the end": (CHAT, [Text("a"), STOP, DONE, Text("b", 1)], "after the end", "warning"),
    "text after the finish": (CHAT, [Text("a"), STOP, Text("b")], "after the finish", "warning"),
    "refusal after the finish": (CHAT, [STOP, Refusal("b")], "after the finish", "warning"),
    "call after the finish": (CHAT, [STOP, ToolCall(0)], "after the finish", "warning"),
    "delta of no block": (CLAUDE, [Start(), DELTA], "never opened", "fatal"),
    "reasoning of no block": (CLAUDE, [Start(), Reasoning("a", 0, 0)], "never opened", "fatal"),
    "delta of no block, numbered": (RESPONSES, [Start(), Text("a", 0, (0, 0))], "never opened",
                                    "warning"),
    "delta of a closed block": (CLAUDE, [OPEN, DELTA, CLOSE, DELTA], "was closed", "warning"),
    "opened twice": (CLAUDE, [OPEN, OPEN], "opened twice", "warning"),
}  # fmt: skip


@pytest.mark.seed("003-dont-trust")
@pytest.mark.parametrize("name", BAD)
def test_bad_orders(name):
    dialect, events, words, severity = BAD[name]
    grammar = Grammar(by_name(dialect))
    *before, last = events
    assert [grammar.add(event, frame=0, at_byte=0) for event in before] == [None] * len(before)
    fault = grammar.add(last, frame=3, at_byte=44)
    assert fault is not None
    assert (fault.kind, fault.severity) == ("protocol-violation", severity)
    assert words in fault.detail
    assert (fault.frame, fault.at_byte) == (3, 44)
    assert grammar.add(last, frame=4, at_byte=55) is None, "told twice"


def test_fork_goes_its_own_way():
    grammar = Grammar(by_name(CHAT))
    grammar.add(Start(), frame=0, at_byte=0)
    fork = grammar.fork()
    assert fork.add(Start(), frame=0, at_byte=0) is not None
    assert fork.add(STOP, frame=0, at_byte=0) is None
    assert fork.add(Text("a"), frame=0, at_byte=0) is not None
    assert grammar.add(Text("a"), frame=0, at_byte=0) is None
    assert grammar.add(Start(), frame=0, at_byte=0) is not None
