"""The tokens that are left for a continuation."""

from __future__ import annotations

import pytest

from tests.core.scripted import ask
from unbroken.core.dialects import by_name
from unbroken.core.events import Reasoning, Text, ToolCall, UsageReport
from unbroken.core.received import Received
from unbroken.core.recovery.room import LEAST_TOKENS, Written, estimate_tokens, room_for, written


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("海水", 2), ("海水 abcd", 4), ("é" * 8, 2)],
)
def test_estimate_is_four_characters_a_token_and_an_ideograph_one(text, tokens):
    assert estimate_tokens(text) == tokens


def so_far(*events, thinking_apart: bool = False) -> Written:
    received = Received()
    received.add(None, list(events))
    return written(received, thinking_apart=thinking_apart)


TOLD = {
    # name: (events, thinking counted apart, what is taken)
    "nothing said": ((Text("abcd" * 10),), False, Written(10, True)),
    "said after all of it": (
        (Text("abcd" * 10), UsageReport(output=13)), False, Written(13, False),
    ),
    "said at the beginning only (Anthropic)": (
        (UsageReport(output=1), Text("abcd" * 10)), False, Written(10, True),
    ),
    "more was said than is estimated": (
        (Text("ab"), UsageReport(output=30), Text("cd")), False, Written(30, True),
    ),
    "a figure of the last attempt alone": (
        (Text("abcd" * 100), UsageReport(output=3)), False, Written(100, True),
    ),
    "thinking and arguments count": (
        (Reasoning("abcd" * 5), Text("abcd"), ToolCall(0, "abcd" * 2, name="f")), False,
        Written(8, True),
    ),
    "thinking told apart (Gemini)": (
        (Reasoning("abcd"), Text("abcd"), UsageReport(output=2, reasoning=40)), True,
        Written(42, False),
    ),
    "thinking told as a part": (
        (Text("abcd"), UsageReport(output=42, reasoning=40)), False, Written(42, False),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TOLD)
def test_what_was_written_so_far(name):
    events, apart, expected = TOLD[name]
    assert so_far(*events, thinking_apart=apart) == expected


def test_room_is_the_limit_less_what_was_written_and_the_anchor_again():
    assert room_for(100, Written(40, False), "abcd" * 3) == 63
    assert room_for(100, Written(99, False), "abcd" * 3) == LEAST_TOKENS + 3


def test_no_room_where_the_provider_said_so_or_the_estimate_leaves_no_doubt():
    assert room_for(100, Written(100, False), "a") == (
        "the answer was at its limit: 100 of 100 tokens"
    )
    assert room_for(100, Written(120, True), "abcd") == LEAST_TOKENS + 1
    assert room_for(100, Written(150, True), "a") == (
        "the answer was at its limit: about 150 of 100 tokens, estimated"
    )


FIELDS = {
    # dialect: (fields of the request, where the limit is)
    "openai-chat": ({"max_tokens": 200}, ("max_tokens",)),
    "openai-responses": ({"max_output_tokens": 200}, ("max_output_tokens",)),
    "anthropic-messages": ({"max_tokens": 200}, ("max_tokens",)),
    "gemini": ({"generationConfig": {"maxOutputTokens": 200, "topK": 1}},
               ("generationConfig", "maxOutputTokens")),
    "ollama": ({"options": {"num_predict": 200, "top_k": 1}}, ("options", "num_predict")),
}  # fmt: skip


@pytest.mark.parametrize("name", FIELDS)
def test_each_dialect_reads_and_sets_its_limit_and_nothing_else(name):
    body, path = FIELDS[name]
    dialect, request = by_name(name), ask(name, **body)
    assert dialect.facts(request).max_tokens == 200
    changed = dialect.with_max_tokens(request, 77).json
    assert dialect.facts(dialect.with_max_tokens(request, 77)).max_tokens == 77
    expected = request.json
    inner = expected
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = 77
    assert changed == expected
    assert dialect.facts(ask(name)).max_tokens is None


def test_other_names_of_the_limit():
    chat = by_name("openai-chat")
    both = chat.with_max_tokens(ask(max_tokens=5, max_completion_tokens=9), 7).json
    assert (both["max_tokens"], both["max_completion_tokens"]) == (7, 7)
    assert chat.facts(ask(max_completion_tokens=9)).max_tokens == 9
    assert chat.facts(ask(max_tokens=None)).max_tokens is None
    snake = ask("gemini", generation_config={"max_output_tokens": 9})
    assert by_name("gemini").facts(snake).max_tokens == 9
    assert by_name("gemini").with_max_tokens(snake, 7).json["generation_config"] == {
        "max_output_tokens": 7
    }
    assert by_name("ollama").facts(ask("ollama", options={"num_predict": -1})).max_tokens is None


@pytest.mark.parametrize(
    ("limit", "thinking"),
    [(5000, {"type": "enabled", "budget_tokens": 2000}),
     (1500, {"type": "enabled", "budget_tokens": 1499}),
     (300, {"type": "disabled"})],
)  # fmt: skip
def test_thinking_budget_of_claude_stays_below_the_limit(limit, thinking):
    request = ask("anthropic-messages", max_tokens=9000,
                  thinking={"type": "enabled", "budget_tokens": 2000})  # fmt: skip
    changed = by_name("anthropic-messages").with_max_tokens(request, limit).json
    assert (changed["max_tokens"], changed["thinking"]) == (limit, thinking)


STOPS = {
    "openai-chat": {"stop": ["END", "\n\nHuman:"]},
    "anthropic-messages": {"stop_sequences": ["END", "\n\nHuman:"]},
    "gemini": {"generationConfig": {"stopSequences": ["END", "\n\nHuman:"]}},
    "ollama": {"options": {"stop": ["END", "\n\nHuman:"]}},
}


@pytest.mark.parametrize("name", STOPS)
def test_each_dialect_reads_its_stop_sequences(name):
    facts = by_name(name).facts(ask(name, **STOPS[name]))
    assert facts.stop == ("END", "\n\nHuman:")
    assert by_name(name).facts(ask(name)).stop == ()


def test_a_lone_stop_sequence_and_an_empty_one():
    chat = by_name("openai-chat")
    assert chat.facts(ask(stop="END")).stop == ("END",)
    assert chat.facts(ask(stop=["", None, "END"])).stop == ("END",)
