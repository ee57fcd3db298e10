"""Requests in nobody's words: what is read is written the same, and nothing is lost in silence."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbroken.core.dialects import DIALECTS, by_name
from unbroken.core.dialects.anthropic_messages.ask import MAX_TOKENS
from unbroken.core.dialects.ask import Ask, AskedCall, Function, Result, Turn
from unbroken.core.request import Request

NAMES = ("openai-chat", "openai-responses", "anthropic-messages", "gemini", "ollama")
URLS = {
    "openai-chat": "http://x/v1/chat/completions",
    "openai-responses": "http://x/v1/responses",
    "anthropic-messages": "http://x/v1/messages",
    "gemini": "http://x/v1beta/models/m:streamGenerateContent?alt=sse",
    "ollama": "http://x/api/chat",
}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = Function(name="weather", description="Tells it.", parameters=SCHEMA)
TALK = (
    Turn(role="user", texts=("How is it in Paris?",)),
    Turn(
        role="assistant",
        texts=("I look.",),
        calls=(AskedCall(id="call_a", name="weather", arguments='{"city":"Paris"}'),),
    ),
    Turn(role="user", results=(Result(id="call_a", name="weather", text="rain"),)),
)


def request(dialect: str, body: dict[str, Any]) -> Request:
    return Request(method="POST", url=URLS[dialect], body=json.dumps(body).encode())


def again(dialect: str, ask: Ask) -> Ask | str:
    """Write an ask and read it back."""
    body = by_name(dialect).write_ask(ask, "m")
    return body if isinstance(body, str) else by_name(dialect).read_ask(request(dialect, body))


# Round trips -------------------------------------------------------------------------------

_TEXT = st.text(min_size=1, max_size=20)
_ARGUMENTS = st.dictionaries(st.text("ab", min_size=1), st.integers(0, 9) | _TEXT, max_size=2)


@st.composite
def _turns(draw: st.DrawFn) -> tuple[Turn, ...]:
    turns: list[Turn] = []
    for number in range(draw(st.integers(0, 3))):
        turns.append(Turn(role="user", texts=tuple(draw(st.lists(_TEXT, min_size=1, max_size=2)))))
        calls = tuple(
            AskedCall(
                id=f"call_{number}_{at}",
                name=f"f{at}",
                arguments=msgspec.json.encode(draw(_ARGUMENTS)).decode(),
            )
            for at in range(draw(st.integers(0, 2)))
        )
        texts = tuple(draw(st.lists(_TEXT, min_size=not calls, max_size=2)))
        turns.append(Turn(role="assistant", texts=texts, calls=calls))
        if calls:
            results = tuple(Result(id=c.id, name=c.name, text=draw(_TEXT)) for c in calls)
            turns.append(Turn(role="user", results=results))
    if not turns or turns[-1].role == "assistant":
        turns.append(Turn(role="user", texts=(draw(_TEXT),)))
    return tuple(turns)


_TOOLS = st.lists(
    st.builds(
        Function,
        name=st.sampled_from(["f0", "f1", "f2"]),
        description=st.sampled_from(["", "Does it."]),
        parameters=st.sampled_from([SCHEMA, {"type": "object", "properties": {}}]),
        strict=st.booleans(),
    ),
    max_size=2,
    unique_by=lambda tool: tool.name,
).map(tuple)
_ASKS = st.builds(
    Ask,
    system=st.lists(_TEXT, max_size=2).map(tuple),
    turns=_turns(),
    tools=_TOOLS,
    tool_choice=st.sampled_from([None, "auto", "none", "required"]),
    only_tool=st.sampled_from(["", "f0"]),
    parallel_calls=st.sampled_from([None, True, False]),
    max_tokens=st.none() | st.integers(1, 9999),
    temperature=st.none() | st.sampled_from([0, 0.5, 1, 1.5]),
    top_p=st.none() | st.sampled_from([0.1, 1]),
    stop=st.lists(st.sampled_from(["END", "\n\n"]), max_size=2, unique=True).map(tuple),
    seed=st.none() | st.integers(0, 99),
).map(lambda ask: _plain(ask))  # noqa: PLW0108  it is defined below


def _plain(ask: Ask) -> Ask:
    """Return an ask that makes sense: choices are about tools that are there."""
    named = "f0" if ask.only_tool and any(tool.name == "f0" for tool in ask.tools) else ""
    choice = "required" if named else ask.tool_choice
    if not ask.tools:
        return msgspec.structs.replace(ask, tool_choice=None, only_tool="", parallel_calls=None)
    return msgspec.structs.replace(ask, tool_choice=choice, only_tool=named)


def expected(dialect: str, ask: Ask) -> Ask | str:
    """What a dialect makes of an ask: the ask, less what it says otherwise; or no ask at all."""
    strict = any(tool.strict for tool in ask.tools)
    change: dict[str, Any] = {}
    match dialect:
        case "openai-responses":
            if ask.stop:
                return "stop"
            change = {"seed": None}
        case "anthropic-messages":
            if strict or (ask.temperature or 0) > 1:
                return "strict or hot"
            change = {"seed": None, "max_tokens": ask.max_tokens or MAX_TOKENS}
            if ask.parallel_calls is not None and ask.tool_choice is None:
                change["tool_choice"] = "auto"
            if ask.tool_choice == "none":
                change["parallel_calls"] = None
        case "gemini":
            if ask.tools and (strict or ask.parallel_calls is False):
                return "strict or one at a time"
            change = {"parallel_calls": None}
        case "ollama":
            if ask.tool_choice == "none":
                change = {"tools": ()}
            elif strict or ask.tool_choice == "required" or ask.parallel_calls is False:
                return "strict or a choice"
            change |= {"tool_choice": None, "parallel_calls": None}
            change["turns"] = tuple(
                msgspec.structs.replace(t, texts=("\n\n".join(t.texts),) if t.texts else ())
                for t in ask.turns
            )
    return msgspec.structs.replace(ask, **change)


@pytest.mark.parametrize("dialect", NAMES)
@settings(max_examples=150, deadline=None)
@given(ask=_ASKS)
def test_what_is_written_reads_as_it_was_asked(dialect, ask):
    wanted, found = expected(dialect, ask), again(dialect, ask)
    if isinstance(wanted, str):
        assert isinstance(found, str), found
    else:
        assert found == wanted


@pytest.mark.parametrize("dialect", NAMES)
def test_a_talk_with_tools_goes_through_every_dialect(dialect):
    ask = Ask(system=("Be brief.",), turns=TALK, tools=(WEATHER,), max_tokens=99)
    assert again(dialect, ask) == ask


@pytest.mark.parametrize("dialect", NAMES)
def test_a_body_that_is_written_asks_for_a_stream(dialect):
    body = by_name(dialect).write_ask(Ask(turns=TALK[:1]), "m")
    assert isinstance(body, dict)
    assert by_name(dialect).wants_stream(request(dialect, body))


# Strictness --------------------------------------------------------------------------------

PLAIN: dict[str, dict[str, Any]] = {
    "openai-chat": {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hi"}]},
    "openai-responses": {"model": "m", "stream": True, "input": "Hi", "store": False},
    "anthropic-messages": {"model": "m", "stream": True, "max_tokens": 9,
                           "messages": [{"role": "user", "content": "Hi"}]},
    "gemini": {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
    "ollama": {"model": "m", "messages": [{"role": "user", "content": "Hi"}]},
}  # fmt: skip


def read(dialect: str, **body: Any) -> Ask | str:
    return by_name(dialect).read_ask(request(dialect, {**PLAIN[dialect], **body}))


def user(content: Any, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content, **more}]}


@pytest.mark.parametrize("dialect", NAMES)
@given(name=st.text(min_size=1, max_size=60), value=st.just(1) | st.just({"a": [1]}))
def test_no_unknown_field_is_dropped_in_silence(dialect, name, value):
    assert isinstance(read(dialect), Ask)
    if name in PLAIN[dialect]:
        return
    found = read(dialect, **{name: value})
    if isinstance(found, Ask):  # a field that is known: then it is in the ask, or harmless
        assert name in ("user", "metadata") or found != read(dialect)
    else:
        assert len(found) < 120


@pytest.mark.parametrize(
    ("dialect", "body", "why"),
    [
        ("openai-chat", {"n": 2}, "n"),
        ("openai-chat", {"n": True}, "n"),
        ("openai-chat", {"response_format": {"type": "json_object"}}, "response_format"),
        ("openai-chat", {"logprobs": True}, "logprobs"),
        ("openai-chat", {"reasoning_effort": "low"}, "reasoning_effort"),
        ("openai-chat", {"store": True}, "store"),
        ("openai-chat", {"top_k": 4}, "top_k"),
        ("openai-chat", {"presence_penalty": 1}, "presence_penalty"),
        ("openai-chat", {"temperature": "hot"}, "temperature"),
        ("openai-chat", {"max_tokens": 1.5}, "max_tokens"),
        ("openai-chat", {"tools": [{"type": "web_search"}]}, "plain function"),
        ("openai-chat", {"tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ("openai-chat", user([{"type": "image_url", "image_url": {}}]), "image_url"),
        ("openai-chat", user([{"type": "text", "text": "a", "x": 1}]), "part of text.x"),
        ("openai-chat", user("Hi", name="Ann"), "name"),
        ("openai-chat", {"messages": []}, "no turn"),
        ("openai-chat", {"messages": "Hi"}, "not a list"),
        ("openai-chat", {"messages": [{"role": "user", "content": "a"},
                                      {"role": "system", "content": "b"}]}, "middle"),
        ("openai-chat", {"messages": [{"role": "user", "content": "a"},
                                      {"role": "assistant", "content": "b"}]}, "continue"),
        ("openai-chat", {"messages": [{"role": "user", "content": "a"},
                                      {"role": "tool", "tool_call_id": "1", "content": "b"}]},
         "no earlier call"),
        ("openai-chat", {"messages": [{"role": "assistant", "tool_calls": [
            {"id": "1", "type": "custom", "custom": {"name": "f"}}]}]}, "custom"),
        ("openai-responses", {"store": None}, "store"),
        ("openai-responses", {"previous_response_id": "r"}, "previous_response_id"),
        ("openai-responses", {"background": True}, "background"),
        ("openai-responses", {"reasoning": {"effort": "low"}}, "reasoning"),
        ("openai-responses", {"text": {"format": {"type": "json_schema"}}}, "text"),
        ("openai-responses", {"input": [{"type": "item_reference", "id": "x"}]}, "neither"),
        ("openai-responses", {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
         "input_image"),
        ("openai-responses", {"tools": [{"type": "mcp"}]}, "plain function"),
        ("anthropic-messages", {"thinking": {"type": "enabled", "budget_tokens": 9}}, "thinking"),
        ("anthropic-messages", {"top_k": 4}, "top_k"),
        ("anthropic-messages", {"container": "c"}, "container"),
        ("anthropic-messages", {"tools": [{"type": "web_search_1", "name": "w"}]}, "plain"),
        ("anthropic-messages", user([{"type": "document", "source": {}}]), "document"),
        ("anthropic-messages", {"messages": [{"role": "assistant", "content": [
            {"type": "tool_use", "id": "1", "name": "f", "input": {}},
            {"type": "text", "text": "after"}]}]}, "follows a tool call"),
        ("gemini", {"cachedContent": "c"}, "cachedContent"),
        ("gemini", {"generationConfig": {"topK": 4}}, "topK"),
        ("gemini", {"generation_config": {"response_schema": {}}}, "responseSchema"),
        ("gemini", {"safetySettings": [{"category": "x"}]}, "safetySettings"),
        ("gemini", {"tools": [{"googleSearch": {}}]}, "googleSearch"),
        ("gemini", {"contents": [{"parts": [{"inlineData": {}}]}]}, "other than text"),
        ("ollama", {"format": "json"}, "format"),
        ("ollama", {"think": True}, "think"),
        ("ollama", {"options": {"top_k": 4}}, "options.top_k"),
        ("ollama", user("Hi", images=["a"]), "images"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_a_reason(dialect, body, why):
    found = read(dialect, **body)
    assert isinstance(found, str), found
    assert why in found


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        ("openai-chat", {"n": 1, "user": "u", "metadata": {"a": "b"}, "logprobs": False,
                         "store": False, "stream_options": {"include_usage": True},
                         "presence_penalty": 0.0, "response_format": {"type": "text"},
                         "seed": None, "service_tier": "auto"}),
        ("openai-responses", {"user": "u", "metadata": {}, "truncation": "disabled",
                              "text": {"format": {"type": "text"}}, "include": []}),
        ("anthropic-messages", {"metadata": {"user_id": "u"}, "thinking": {"type": "disabled"},
                                "service_tier": "auto"}),
        ("gemini", {"generationConfig": {"candidateCount": 1, "responseMimeType": "text/plain"}}),
        ("ollama", {"keep_alive": "5m", "think": False, "options": {"num_ctx": 4096,
                    "seed": -1, "num_predict": -1}}),
    ],
)  # fmt: skip
def test_what_changes_nothing_in_the_answer_is_no_obstacle(dialect, body):
    assert read(dialect, **body) == read(dialect)


def test_thinking_of_earlier_turns_is_left_out_and_nothing_else():
    thought = {"type": "thinking", "thinking": "hm", "signature": "x"}
    turns = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": [thought, {"type": "text", "text": "b"}]},
        {"role": "user", "content": [{"type": "text", "text": "c", "cache_control": {}}]},
    ]
    found = read("anthropic-messages", messages=turns)
    assert isinstance(found, Ask)
    assert [turn.texts for turn in found.turns] == [("a",), ("b",), ("c",)]


def test_gemini_s_schemas_are_told_in_json_schema():
    declared = {
        "name": "f",
        "parameters": {
            "type": "OBJECT",
            "properties": {"type": {"type": "STRING", "nullable": True},
                           "list": {"type": "ARRAY", "items": {"type": "INTEGER"}}},
            "required": ["type"],
        },
    }  # fmt: skip
    found = read("gemini", tools=[{"function_declarations": [declared]}])
    assert isinstance(found, Ask)
    assert found.tools[0].parameters == {
        "type": "object",
        "properties": {
            "type": {"type": ["string", "null"]},
            "list": {"type": "array", "items": {"type": "integer"}},
        },
        "required": ["type"],
    }
    bound = {"name": "f", "parameters": {"type": "OBJECT", "maxProperties": "1"}}
    assert "schema" in read("gemini", tools=[{"functionDeclarations": [bound]}])


@pytest.mark.parametrize(
    ("model", "field"),
    [("gpt-5-mini", "max_completion_tokens"), ("o3", "max_completion_tokens"),
     ("openai/gpt-6", "max_completion_tokens"), ("gpt-4o", "max_tokens"),
     ("llama-3.3-70b", "max_tokens")],
)  # fmt: skip
def test_chat_s_limit_has_the_name_that_the_model_takes(model, field):
    body = by_name("openai-chat").write_ask(Ask(turns=TALK[:1], max_tokens=7), model)
    assert isinstance(body, dict)
    assert {"max_tokens", "max_completion_tokens"} & body.keys() == {field}


def test_gemini_gets_its_own_word_for_the_signature_of_another_model_s_call():
    body = by_name("gemini").write_ask(Ask(turns=TALK), "m")
    assert isinstance(body, dict)
    (part,) = [part for part in body["contents"][1]["parts"] if "functionCall" in part]
    assert part["thoughtSignature"] == "skip_thought_signature_validator"


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name not in NAMES])
def test_a_dialect_without_words_says_so(dialect):
    found = by_name(dialect).read_ask(Request(method="POST", url="http://x/", body=b"{}"))
    assert isinstance(found, str)


@pytest.mark.parametrize("dialect", NAMES)
@given(body=st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["role", "content", "type", "text", "parts", "tool_calls", "function",
                         "name", "arguments", "functionCall", "functionResponse", "args", "id",
                         "user", "assistant", "tool", "input", "tools", "functionCallingConfig",
                         "mode", "allowedFunctionNames", "functionDeclarations", "parameters",
                         "stop"]), inner, max_size=4),
    max_leaves=12))  # fmt: skip
def test_nothing_that_is_sent_makes_it_raise(dialect, body):
    for name in ("messages", "input", "contents", "tools", "tool_choice", "options", "system",
                 "generationConfig", "toolConfig", "systemInstruction"):  # fmt: skip
        found = read(dialect, **{name: body})
        assert isinstance(found, Ask | str)
