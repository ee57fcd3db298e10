"""Prose without a known message: what it finds, and what it must not."""

from __future__ import annotations

import pytest

from tests.knowledge.make import bare, known
from unbroken.knowledge import explain
from unbroken.knowledge.concepts import CONCEPTS, CONTEXTS, LOOKS
from unbroken.knowledge.field import of_elsewhere, of_the_field
from unbroken.knowledge.patterns import trouble
from unbroken.knowledge.prose import concepts_in, stem

BASE = known(
    *(bare(f"llm/{kind}", structure={"fault_kinds": [kind]}) for kind in LOOKS),
    bare("proxy/balancer", tags=["load balancer"], root_cause="It closes idle connections."),
    bare("proxy/gzip", tags=["gzip"], root_cause="A compressor waits for a block."),
)

# prose, and what must come first
PROSE = [
    ("the LLM answer is cut off in the middle of a sentence", "llm/truncated-between-events"),
    ("chat completion froze and never returned", "llm/stalled"),
    ("GPT tokens trickle in very slowly", "llm/slow-drip"),
    ("every token of the stream is emitted twice", "llm/duplicate-event"),
    ("streamed tokens come interleaved", "llm/out-of-order"),
    ("the first token of each streamed answer is missing", "llm/missing-event"),
    ("the model returned an empty answer", "llm/empty-stream"),
    ("stream closed without a finish_reason", "llm/missing-finish"),
    ("no [DONE] marker at the end of the SSE stream", "llm/missing-terminator"),
    ("emoji turn into mojibake in the streamed output", "llm/invalid-utf8"),
    ("大模型流式输出经常截断", "llm/truncated-between-events"),
    ("模型回答一直卡住", "llm/stalled"),
    ("our ALB drops the LLM stream when it is idle", "proxy/balancer"),
    ("SSE does not work when gzip is enabled", "proxy/gzip"),
]


@pytest.mark.parametrize(("text", "best"), PROSE, ids=[text for text, _ in PROSE])
def test_prose_finds_its_record(text: str, best: str) -> None:
    assert [match.record.id for match in explain(text, records=BASE).matches][:1] == [best]


@pytest.mark.parametrize(
    "text",
    [
        "the video stream freezes after 30 seconds",
        "Kafka consumer stuck, events are processed twice after rebalance",
        "git push hangs forever on large repositories",
        "the printer stops in the middle of a page",
        "how do I count the tokens of a prompt?",
        "add tool calls to the streaming docs",
        "support for structured outputs in chat completions",
        "INFO POST /v1/chat/completions 200 stream closed after 1.2 s",
        "2026-11-21 12:00:07 npm install is slow and times out",
    ],
)
def test_other_prose_finds_nothing(text: str) -> None:
    assert explain(text, records=BASE).matches == []


def test_what_it_is_about_is_told() -> None:
    match = explain("the LLM stream hangs", records=BASE).matches[0]
    assert "about: stalled" in str(match.why[-1])


def test_forms_of_a_word_are_one() -> None:
    assert len({stem(word) for word in ("buffer", "buffers", "buffered", "buffering")}) == 1


def test_the_words_of_a_concept_are_one() -> None:
    for word in ("hangs", "stuck", "froze", "卡住"):
        assert "stalled" in concepts_in(f"it {word} again")
    assert "stalled" not in concepts_in("socket hang up")


def test_words_of_other_fields_count_only_without_ours() -> None:
    assert of_elsewhere("kafka stream lags")
    assert not of_elsewhere("openai stream over kafka lags")
    assert of_the_field("https://github.com/x/llm") == 0.0  # an address is no word


def test_concepts_are_sound() -> None:
    assert set(CONTEXTS) <= set(CONCEPTS)
    assert {name for looks in LOOKS.values() for name in looks} <= set(CONCEPTS)
    patterns = [pattern for patterns in CONCEPTS.values() for pattern in patterns]
    assert {pattern: why for pattern in patterns if (why := trouble(pattern))} == {}
