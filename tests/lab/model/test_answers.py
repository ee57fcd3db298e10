"""Answers of every dialect, read back by our checks, and what settings make of them."""

from __future__ import annotations

import json
import statistics
from typing import Any

import pytest

import unbroken
from tests.lab.model.asking import MODEL, WAYS, ask, dialect_of, limited, offered
from unbroken.core.outcome import Outcome
from unbroken.lab.model import AnswerSettings, Memory, Reply, register_generator, reply_to
from unbroken.lab.model.script import GENERATORS

TOKENS = 12
NO_CALLS = ("openai-completions", "ollama generate")
NO_THINKING = ("openai-completions", "openai-assistants")
WHOLE_CALLS = ("gemini", "gemini-array", "ollama", "ollama generate", "openai-completions")

each_way = pytest.mark.parametrize("way", WAYS)


def reply(way: str, *, asked: dict[str, Any] | None = None, variant: int = 0, **more: Any) -> Reply:
    settings = AnswerSettings(**{"tokens": TOKENS, **more})
    return reply_to(ask(way, **(asked or {})), settings, Memory(), variant)


def body_of(answered: Reply) -> bytes:
    return b"".join(piece.data for piece in answered.pieces)


def read(way: str, answered: Reply) -> Outcome:
    kind = answered.head.headers["content-type"]
    return unbroken.check(body_of(answered), dialect=dialect_of(way), content_type=kind)


@each_way
def test_body_is_whole_and_says_the_numbered_text(way: str) -> None:
    answered = reply(way)
    seen = read(way, answered)
    assert answered.numbered is not None
    assert seen.text == answered.numbered.text == answered.said
    assert seen.complete
    assert seen.faults == []
    assert seen.usage.output in (TOKENS, None)
    assert answered.tokens == TOKENS
    assert answered.way == "whole"


@each_way
def test_dialect_is_told_from_the_body_alone(way: str) -> None:
    assert unbroken.check(body_of(reply(way))).dialect == dialect_of(way)


@each_way
def test_pieces_are_numbered_and_placed(way: str) -> None:
    pieces = reply(way, comments=2, tps=20, ttft_s=1, pings_s=0.5).pieces
    assert [piece.frame for piece in pieces] == list(range(len(pieces)))
    at = 0
    for piece in pieces:
        assert piece.at_byte == at
        at += len(piece.data)
    assert sum(piece.role == "content" for piece in pieces) >= 3


@each_way
def test_usage_is_counted_where_it_is_asked_for(way: str) -> None:
    wanted = {"stream_options": {"include_usage": True}}
    seen = read(way, reply(way, asked=wanted))
    assert seen.usage.output == TOKENS
    assert (seen.usage.input or 0) > 1
    silent = read(way, reply(way, asked=wanted, usage=False))
    assert not silent.usage.output


@each_way
def test_tool_call_holds_the_numbered_text_in_its_arguments(way: str) -> None:
    answered = reply(way, asked=offered(way), say="tool")
    seen = read(way, answered)
    assert seen.complete
    assert answered.numbered is not None
    if way in NO_CALLS:
        assert seen.text == answered.numbered.text
        return
    (call,) = seen.tool_calls
    assert call.name == "note"
    assert call.complete
    assert json.loads(call.arguments) == {"text": answered.numbered.text}
    assert seen.faults == []
    assert seen.text == ""
    frames = [piece for piece in answered.pieces if piece.role == "content"]
    assert (len(frames) == 1) is (way in WHOLE_CALLS)


def test_tool_and_argument_without_an_offer_and_with_another_schema() -> None:
    (call,) = read("openai-chat", reply("openai-chat", say="tool")).tool_calls
    assert call.name == "write"
    schema = {"properties": {"size": {"type": "integer"}, "note": {"type": "string"}}}
    tools = [{"type": "function", "function": {"name": "save", "parameters": schema}}]
    answered = reply("openai-chat", asked={"tools": tools}, say="tool")
    (call,) = read("openai-chat", answered).tool_calls
    assert (call.name, list(json.loads(call.arguments))) == ("save", ["note"])


@each_way
def test_thinking_comes_first_and_is_no_token_of_the_answer(way: str) -> None:
    answered = reply(way, say="thinking", asked={"stream_options": {"include_usage": True}})
    seen = read(way, answered)
    assert seen.complete
    assert answered.numbered is not None
    assert seen.text == answered.numbered.text
    assert bool(seen.reasoning) is (way not in NO_THINKING)
    assert not set(seen.reasoning.split()) & set(answered.numbered)
    thought = len(seen.reasoning.split())
    assert seen.usage.output == TOKENS + thought


@each_way
@pytest.mark.parametrize("most", [1, 5, TOKENS, TOKENS + 1])
def test_limit_is_kept(way: str, most: int) -> None:
    answered = reply(way, asked=limited(way, most))
    seen = read(way, answered)
    assert answered.numbered is not None
    assert seen.text == " ".join(list(answered.numbered)[:most])
    assert seen.text == answered.said
    assert seen.status == ("limited" if most < TOKENS else "complete")
    assert seen.complete


@each_way
def test_limit_in_a_tool_call_leaves_its_arguments_open(way: str) -> None:
    seen = read(way, reply(way, asked={**offered(way), **limited(way, 5)}, say="tool"))
    assert seen.stop_reason is not None
    for call in seen.tool_calls:
        with pytest.raises(ValueError, match="Unterminated"):
            json.loads(call.arguments)


@pytest.mark.parametrize(
    ("way", "median"),
    [("openai-chat", 4), ("anthropic-messages", 12), ("gemini", 26), ("cohere", 4)],
)
def test_deltas_are_as_the_provider_cuts_them(way: str, median: int) -> None:
    settings = AnswerSettings(tokens=400)
    pieces = reply_to(ask(way), settings, Memory()).pieces
    sizes = [len(piece.data) for piece in pieces if piece.role == "content"]
    text = len(read(way, reply_to(ask(way), settings, Memory())).text)
    assert statistics.mean([text / len(sizes)]) == pytest.approx(median, rel=0.35)
    assert len(set(sizes)) > 3


def test_deltas_of_tokens_and_of_a_size() -> None:
    tokens = [p for p in reply("openai-chat", delta="token").pieces if p.role == "content"]
    assert len(tokens) == TOKENS
    ones = [p for p in reply("openai-chat", delta=1).pieces if p.role == "content"]
    assert len(ones) == len(reply("openai-chat").said)


def test_same_order_gives_the_same_bytes_but_for_ids() -> None:
    memory, settings = Memory(), AnswerSettings(tokens=TOKENS)
    for way in WAYS:
        first = reply_to(ask(way), settings, memory)
        second = reply_to(ask(way), settings, memory)
        assert [p.role for p in first.pieces] == [p.role for p in second.pieces]
        assert len(body_of(first)) == len(body_of(second))
        assert (body_of(first) == body_of(second)) is (
            way in ("bedrock-converse", "ollama", "ollama generate")  # no ids
        )


def test_changing_the_pieces_of_one_answer_changes_no_other() -> None:
    settings, memory = AnswerSettings(tokens=TOKENS), Memory()
    first = reply_to(ask("gemini"), settings, memory)
    for piece in first.pieces:
        piece.data = b""
    assert read("gemini", reply_to(ask("gemini"), settings, memory)).complete


def test_text_that_is_given_is_said() -> None:
    text = 'Two  spaces, a "quotation",\nand the end: 🚢.\n'
    answered = reply("openai-chat", text=text)
    assert read("openai-chat", answered).text == text
    assert (answered.numbered, answered.tokens) == (None, 0)
    called = reply("openai-chat", text=text, say="tool")
    (call,) = read("openai-chat", called).tool_calls
    assert json.loads(call.arguments) == {"text": text}


def test_generator_of_another_package() -> None:
    register_generator("count", lambda asked, settings, variant: f"{asked.model} {variant}")
    try:
        answered = reply("openai-chat", generator="count", variant=2)
        assert answered.said == f"{MODEL} 2"
        with pytest.raises(ValueError, match="already"):
            register_generator("count", lambda asked, settings, variant: "")
    finally:
        del GENERATORS["count"]


def test_request_is_named_in_the_head() -> None:
    for way, name in (("openai-chat", "x-request-id"), ("anthropic-messages", "request-id")):
        assert reply(way).head.headers[name] == "req_lab00000001"


def test_model_is_named_in_the_answer() -> None:
    assert f'"model":"{MODEL}"'.encode() in body_of(reply("openai-chat"))


# Pace --------------------------------------------------------------------------------------


@each_way
def test_first_content_and_pace(way: str) -> None:
    pieces = reply(way, ttft_s=2.0, tps=10.0).pieces
    content = [piece.pace_s for piece in pieces if piece.role == "content"]
    assert content[0] == 2.0
    assert set(content[1:]) == {0.1}
    assert {piece.pace_s for piece in pieces if piece.role != "content"} <= {0.0}


def test_jitter_and_burst_keep_the_mean() -> None:
    pieces = reply("openai-chat", tokens=400, tps=20.0, jitter=0.5, burst=4).pieces
    gaps = [piece.pace_s for piece in pieces if piece.role == "content"][1:]
    assert gaps[:3] == [0.0, 0.0, 0.0]
    waits = [gap for gap in gaps if gap]
    assert 0.1 <= min(waits) < max(waits) <= 0.3
    assert sum(gaps) == pytest.approx(len(gaps) / 20, rel=0.05)


def test_pings_fill_long_gaps_and_take_no_time_of_their_own() -> None:
    plain = reply("anthropic-messages", tps=0.5, ttft_s=3.5)
    pinged = reply("anthropic-messages", tps=0.5, ttft_s=3.5, pings_s=1.0)
    assert sum(p.pace_s for p in plain.pieces) == sum(p.pace_s for p in pinged.pieces)
    assert len(pinged.pieces) > len(plain.pieces)
    assert max(p.pace_s for p in pinged.pieces) <= 1.0
    assert read("anthropic-messages", pinged).complete


def test_comments_come_before_the_first_frame_where_they_may() -> None:
    pieces = reply("openai-chat", comments=2).pieces
    assert [piece.data for piece in pieces[:2]] == [b": OPENROUTER PROCESSING\n\n"] * 2
    assert [piece.event for piece in pieces[:3]] == [False, False, True]
    assert body_of(reply("gemini", comments=2)) == body_of(reply("gemini"))


# Not streamed ------------------------------------------------------------------------------


def text_in(way: str, value: Any) -> str:
    match way:
        case "openai-chat":
            return str(value["choices"][0]["message"]["content"])
        case "openai-completions":
            return str(value["choices"][0]["text"])
        case "openai-responses":
            return str(value["output"][-1]["content"][0]["text"])
        case "anthropic-messages" | "bedrock-invoke":
            return str(value["content"][-1]["text"])
        case "gemini" | "gemini-array":
            return str(value["candidates"][0]["content"]["parts"][-1]["text"])
        case "ollama":
            return str(value["message"]["content"])
        case "ollama generate":
            return str(value["response"])
        case "cohere":
            return str(value["message"]["content"][-1]["text"])
        case "bedrock-converse":
            return str(value["output"]["message"]["content"][-1]["text"])
        case "gemini-interactions":
            return str(value["steps"][-1]["content"][0]["text"])
    raise AssertionError(way)


@pytest.mark.parametrize("way", [w for w in WAYS if w not in ("gemini-array", "openai-assistants")])
@pytest.mark.parametrize("say", ["text", "thinking", "tool"])
def test_whole_answer_says_the_same(way: str, say: Any) -> None:
    settings = AnswerSettings(tokens=TOKENS, say=say, ttft_s=1.0, tps=6.0)
    answered = reply_to(ask(way, stream=False), settings, Memory())
    assert answered.numbered is not None
    assert answered.head.framing == "length"
    assert answered.head.headers["content-type"] == "application/json"
    (piece,) = answered.pieces
    assert piece.pace_s == 3.0
    value = json.loads(piece.data)
    if say == "tool" and way not in NO_CALLS:
        told = json.dumps(value, ensure_ascii=False)
        assert answered.numbered.text in told
        assert "write" in told
    else:
        assert text_in(way, value) == answered.numbered.text
