"""Which rung is open: the one that proves most first, and a reason for each that is closed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.core.scripted import ask
from unbroken.core.dialects import by_name
from unbroken.core.events import Finish, Other, Reasoning, Refusal, Text, ToolCall
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.options import Options
from unbroken.core.received import Received
from unbroken.core.recovery.ladder import choose
from unbroken.core.recovery.situation import Situation
from unbroken.core.request import Request

SHORT = "The sea is salt because rivers"
LONG = SHORT + " carry minerals from the rocks of the land into it"
CUT = Fault.of(FaultKind.CONNECTION_RESET, "cut")
HOSTED = "https://api.openai.com/v1/chat/completions"


def situation(*events, dialect="openai-chat", url="", fault=CUT, options=None, body=None, **more):
    received = Received(limit_bytes=(options or Options()).max_replay_bytes)
    received.add(None, list(events))
    return Situation(
        request=ask(dialect, url=url, **(body or {})),
        dialect=by_name(dialect),
        options=options or Options(),
        delivered=received,
        fault=fault,
        **more,
    )


def chosen(now: Situation) -> tuple[str | None, dict[str, str]]:
    plan, skipped = choose(now)
    return (plan and plan.rung), {skip.rung: skip.why for skip in skipped}


CALL = ToolCall(0, '{"a":1}', id="c1", name="add", whole=True)
TEMPERATURE_0: dict[str, Any] = {"temperature": 0}

OPEN = {
    # name: (events, arguments, rung that is taken)
    "nothing delivered": ((), {}, "retry"),
    "little text": ((Text(SHORT),), {}, "replay"),
    "text": ((Text(LONG),), {}, "prefill"),
    "text, temperature 0": ((Text(LONG),), {"body": TEMPERATURE_0}, "replay"),
    "text, a seed": ((Text(LONG),), {"body": {"seed": 7}}, "replay"),
    "text, no prefill there": ((Text(LONG),), {"url": HOSTED}, "user-turn"),
    "reasoning alone": ((Reasoning("Hm."),), {}, "retry"),
    "reasoning and text": ((Reasoning("Hm."), Text(LONG)), {}, "prefill"),
    "reasoning alone, Claude": ((Reasoning("Hm."),), {"dialect": "anthropic-messages"}, None),
    "a call": ((CALL,), {}, None),
    "a call, temperature 0": ((CALL,), {"body": TEMPERATURE_0}, "replay"),
    "text and a call": ((Text(LONG), CALL), {}, None),
    "text and a call, temperature 0": ((Text(SHORT), CALL), {"body": TEMPERATURE_0}, "replay"),
    "a refusal": ((Refusal("No."),), {}, None),
    "an image": ((Text(SHORT), Other("image", content=True)), {"body": TEMPERATURE_0}, None),
    "JSON mode": (
        (Text('{"a": ' + "1" * 80),), {"body": {"response_format": {"type": "json_object"}}}, None,
    ),
    "JSON mode, nothing delivered": (
        (), {"body": {"response_format": {"type": "json_schema"}}}, "retry",
    ),
    "JSON mode, temperature 0": (
        (Text('{"a": ' + "1" * 80),),
        {"body": {"response_format": {"type": "json_object"}, **TEMPERATURE_0}}, "replay",
    ),
    "two choices, nothing delivered": ((), {"body": {"n": 2}}, "retry"),
    "two choices": ((Text(SHORT), Text("b", 1)), {"body": {"n": 2}}, None),
    "two choices, temperature 0": (
        (Text(SHORT), Text("b", 1)), {"body": {"n": 2, **TEMPERATURE_0}}, "replay",
    ),
    "two choices, one finished, temperature 0": (
        (Text(SHORT), Text("b", 1), Finish("stop", "stop", 1)),
        {"body": {"n": 2, **TEMPERATURE_0}}, "replay",
    ),
    "two choices, both finished": (
        (Text(SHORT), Finish("stop", "stop"), Text("b", 1), Finish("stop", "stop", 1)),
        {"body": {"n": 2, **TEMPERATURE_0}}, None,
    ),
    "two candidates, temperature 0": (
        (Text(SHORT), Text("b", 1)),
        {"dialect": "gemini",
         "body": {"generationConfig": {"candidateCount": 2, "temperature": 0}}}, None,
    ),
    "half a custom tool's input, temperature 0": (
        (Text(LONG), ToolCall(0, "SELECT", id="c1", name="sql", kind="custom")),
        {"body": TEMPERATURE_0}, None,
    ),
    "stored response with a call, temperature 0": (
        (Text(LONG), CALL), {"dialect": "openai-responses", "body": TEMPERATURE_0}, None,
    ),
    "text, too short for any anchor": ((Text("a" * 5),), {"options": Options(
        rungs=("prefill", "user-turn"))}, None),
    "no letters to hold on to": ((Text("." * 100),), {"url": HOSTED}, None),
    "stored response": (
        (Text(LONG),), {"dialect": "openai-responses"}, None,
    ),
    "response not stored": (
        (Text(LONG),), {"dialect": "openai-responses", "body": {"store": False}}, "user-turn",
    ),
    "response not stored, but in a conversation": (
        (Text(LONG),),
        {"dialect": "openai-responses", "body": {"store": False, "conversation": "c"}}, None,
    ),
    "stored response, temperature 0": (
        (Text(LONG),), {"dialect": "openai-responses", "body": TEMPERATURE_0}, "replay",
    ),
    "Claude 4.5": (
        (Text(LONG),), {"dialect": "anthropic-messages", "body": {"model": "claude-sonnet-4-5"}},
        "prefill",
    ),
    "Claude 5": (
        (Text(LONG),), {"dialect": "anthropic-messages", "body": {"model": "claude-sonnet-5"}},
        "user-turn",
    ),
    "Gemini": ((Text(LONG),), {"dialect": "gemini"}, "prefill"),
    "Ollama": ((Text(LONG),), {"dialect": "ollama"}, "prefill"),
}  # fmt: skip


@pytest.mark.parametrize("name", OPEN)
def test_rung_that_is_taken(name):
    events, how, rung = OPEN[name]
    taken, skipped = chosen(situation(*events, **how))
    assert taken == rung, skipped
    assert all(skipped.values()), "a rung was passed over without a reason"


FOR_ALL = {
    "not retryable": {"fault": Fault.of(FaultKind.PROVIDER_ERROR, "", retryable=False)},
    "arguments of the model": {"fault": Fault.of(FaultKind.INVALID_TOOL_ARGUMENTS, "")},
    "allow_resend is off": {"options": Options(allow_resend=False)},
    "max_attempts": {"attempts": 5},
    "part of a call is out": {"open_call_delivered": True},
    "more than can be replayed": {"options": Options(max_replay_bytes=10)},
}


@pytest.mark.parametrize("name", FOR_ALL)
def test_what_closes_the_whole_ladder(name):
    rung, skipped = chosen(situation(Text(LONG), **FOR_ALL[name]))
    assert rung is None
    assert list(skipped) == ["all"]


def test_rungs_restrict_the_ladder_and_keep_its_order():
    now = situation(Text(SHORT), options=Options(rungs=("user-turn", "prefill")))
    rung, skipped = chosen(now)
    assert rung == "prefill"
    assert skipped == dict.fromkeys(("cursor", "retry", "replay"), "not in options.rungs")


def test_refused_rung_and_tried_rung_fall_to_the_next():
    assert chosen(situation(Text(LONG), refused={"prefill"}))[0] == "user-turn"
    assert chosen(situation(Text(LONG), tries={"prefill": 1}))[0] == "prefill"
    assert chosen(situation(Text(LONG), tries={"prefill": 2}))[0] == "user-turn"
    assert chosen(situation(Text(LONG), tries={"prefill": 2, "user-turn": 2}))[0] is None
    assert chosen(situation(Text(SHORT), refused={"replay"}))[0] == "prefill"


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [{"type": "web_search"}]},
        {"tools": [{"type": "mcp", "server_label": "x"}]},
        {"background": True},
        {"conversation": "conv_1"},
    ],
)
def test_work_at_the_provider_is_repeated_only_if_nothing_but_a_status_arrived(body):
    how: dict[str, Any] = {"dialect": "openai-responses", "body": {"store": False, **body}}
    assert chosen(situation(anything_arrived=False, **how))[0] == "retry"
    rung, skipped = chosen(situation(anything_arrived=True, **how))
    assert rung is None
    assert "repeat work" in skipped["retry"]
    again = Options(retry_server_tools=True)
    assert chosen(situation(anything_arrived=True, options=again, **how))[0] == "retry"


def test_added_input_is_limited_to_a_multiple_of_one_request():
    one = len(ask().body)
    fits = situation(added_bytes=2 * one)
    over = situation(added_bytes=2 * one + 1)
    assert chosen(fits)[0] == "retry"
    rung, skipped = chosen(over)
    assert rung is None
    assert "max_added_input" in skipped["retry"]
    assert chosen(situation(options=Options(max_added_input=0)))[0] is None


def test_anchors_hold_eight_letters_for_a_prefill_and_sixteen_for_a_user_turn():
    prefill, _ = choose(situation(Text(LONG)))
    turn, _ = choose(situation(Text(LONG), url=HOSTED))
    assert prefill is not None
    assert turn is not None
    # LONG ends with "... from the rocks of the land into it"
    assert prefill.anchor == len("land into it")
    assert turn.anchor == len("rocks of the land into it")
    assert (prefill.guarantee, turn.guarantee) == ("seam-verified", "seam-verified")


def test_prefill_sends_the_answer_less_its_anchor_and_no_white_space_at_its_end():
    plan, _ = choose(situation(Text(LONG)))
    assert plan is not None
    asked = plan.request.json
    assert asked["messages"][-1] == {
        "role": "assistant",
        "content": LONG.removesuffix(" land into it"),
    }
    assert asked["continue_final_message"] is True
    assert plan.matcher.feed("land into it now") == " now" or plan.matcher.finish() == " now"


def test_user_turn_quotes_the_anchor_and_sends_the_whole_answer():
    plan, _ = choose(situation(Text(LONG), url=HOSTED))
    assert plan is not None
    *_, answer, turn = plan.request.json["messages"]
    assert answer == {"role": "assistant", "content": LONG}
    assert turn["role"] == "user"
    assert "Begin with exactly: rocks of the land into it\n" in turn["content"]


def test_an_anchor_of_several_lines_is_put_between_tags():
    plan, _ = choose(situation(Text(LONG + "\n- salt\n- sun"), url=HOSTED))
    assert plan is not None
    said = plan.request.json["messages"][-1]["content"]
    assert "Begin with exactly: <cut>land into it\n- salt\n- sun</cut>\n" in said
    assert "No greeting, no apology, no summary, no quotation marks or tags around it." in said


def test_text_whose_last_words_came_before_gets_a_longer_anchor_or_is_not_continued():
    plan, _ = choose(situation(Text(LONG + " and again " + LONG)))
    assert plan is not None
    assert len(LONG) < plan.anchor < len(LONG + " and again " + LONG)
    plan, skipped = choose(situation(Text("ha " * 300)))
    assert plan is None
    whys = {each.rung: each.why for each in skipped}
    assert "repeat what came before" in whys["prefill"]
    assert "repeat what came before" in whys["user-turn"]


def test_retry_and_replay_send_the_request_as_it_was():
    for now in (situation(), situation(Text(SHORT))):
        plan, _ = choose(now)
        assert plan is not None
        assert plan.request is now.request


@pytest.mark.parametrize(
    ("events", "guarantee", "spliced"),
    [((), "byte-exact", False), ((Reasoning("x"),), "byte-exact", True),
     ((Text(SHORT),), "prefix-verified", True)],
)  # fmt: skip
def test_what_a_rung_guarantees(events, guarantee, spliced):
    plan, _ = choose(situation(*events))
    assert plan is not None
    assert (plan.guarantee, plan.spliced) == (guarantee, spliced)


def test_a_dialect_on_another_wire_has_the_capabilities_of_its_family():
    request = Request(
        method="POST", body=b'{"contents": []}',
        url="https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-pro"
        ":streamGenerateContent",
    )  # fmt: skip
    now = replace(situation(Text(LONG)), request=request, dialect=by_name("gemini-array"))
    assert now.capability.prefill
