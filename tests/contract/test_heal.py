"""Healing at every place, by every rung, and with models that do not do as they are told."""

import json

import pytest

from tests.contract.oracle import lawful, met
from tests.contract.rig import guarded, model_for, request_for
from tests.support.bodies import Answer, ToolCall, body, tokens_of
from tests.support.drives import DRIVES
from tests.support.faults import STORY, Break, breaking, reply
from tests.support.faultserver import Reply
from tests.support.model import BEHAVIOURS

_LAST = len(STORY.tokens)
_KINDS = {
    "cut_clean": {"truncated-between-events"},
    "cut_rst": {"connection-reset"},
    "cut_midline": {"truncated-mid-event"},
}
_CREATE = tuple(name for name in DRIVES if "helper" not in name)


@pytest.mark.seed("003-do-reconnect", "003-handler-no-repeat")
@pytest.mark.parametrize(
    ("at", "fault"),
    [
        (0, "cut_clean"),
        (0, "cut_midline"),
        (1, "cut_rst"),
        (4, "cut_clean"),
        (20, "cut_midline"),
        (30, "cut_rst"),  # after letters of three and four bytes
        (_LAST, "cut_clean"),
        (_LAST, "cut_midline"),  # in the finish itself
    ],
)
@pytest.mark.parametrize("name", DRIVES)
def test_at_any_place(name, at, fault):
    run = guarded(name, breaking(model_for(name), Break(fault, at=at)))
    lawful(run)
    kinds = _KINDS[fault] | ({"empty-stream", "truncated-mid-event"} if at == 0 else set())
    met(run, "healed", kinds)
    delivered_s = len("".join(STORY.tokens[:at]))
    rung = run.outcome.attempts[1].rung
    assert rung == _rung(name, at), f"{delivered_s} characters were delivered"


def _rung(name, at):
    if at == 0:
        return "retry"
    if at == 1 or len("".join(STORY.tokens[:at])) < 64:
        return "replay"
    return "user-turn" if DRIVES[name].dialect == "openai-responses" else "prefill"


@pytest.mark.parametrize("name", DRIVES)
def test_a_deterministic_answer_is_replayed_and_compared(name):
    request = request_for(name, deterministic=True)
    run = guarded(name, breaking(model_for(name), Break("cut_clean", at=20)), request=request)
    lawful(run)
    assert [part.rung for part in run.outcome.provenance] == ["first", "replay"]
    assert run.outcome.provenance[1].guarantee == "prefix-verified"


@pytest.mark.parametrize("name", _CREATE)
def test_two_breaks_one_after_the_other(name):
    plan = (Break("cut_rst", at=14), Break("cut_clean", at=6))
    run = guarded(name, breaking(model_for(name), *plan))
    lawful(run)
    met(run, "healed", {"connection-reset"})
    assert len(run.exchanges) == 3


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
@pytest.mark.parametrize("name", DRIVES)
def test_a_model_that_does_not_obey_never_spoils_the_answer(name, behaviour):
    model = model_for(name, behaviour=behaviour)
    run = guarded(name, breaking(model, Break("cut_clean", at=20)))
    lawful(run, deadlines=4)
    mends = {"obey", "echo", "echo-fused", "restart"}
    if DRIVES[name].dialect == "openai-responses":
        # No begun turn that could be echoed whole, and part of one proves too little.
        mends -= {"echo", "echo-fused"}
    assert (run.drive.error is None) == (behaviour in mends)


@pytest.mark.parametrize("name", [name for name in _CREATE if "responses" not in name])
def test_a_refused_prefill_falls_to_the_next_rung(name):
    model = model_for(name, prefill="refuse")
    run = guarded(name, breaking(model, Break("cut_clean", at=20)))
    lawful(run, deadlines=3)
    assert run.drive.error is None
    assert [record.rung for record in run.outcome.attempts] == ["first", "prefill", "user-turn"]


@pytest.mark.parametrize("name", ["openai-responses", "openai-responses-helper-async"])
def test_an_answer_kept_at_the_provider_is_not_continued(name):
    run = guarded(name, breaking(model_for(name), Break("cut_clean", at=20)), request={})
    lawful(run)
    met(run, "fails", {"truncated-between-events"})


@pytest.mark.parametrize("name", DRIVES)
def test_a_last_marker_after_half_an_answer_is_not_passed_on(name):
    """Relays close a broken answer with `[DONE]`; the openai SDK reads nothing after that."""
    frames = body(DRIVES[name].dialect, STORY)
    texts = [number for number, frame in enumerate(frames) if frame.role == "text"]
    ends = [frame for frame in frames if frame.role == "end"]
    half = reply("ok", DRIVES[name].dialect, [*frames[: texts[12]], *ends], at=0)
    kind = "missing-finish" if ends else "truncated-between-events"
    model = model_for(name)

    def script(request):
        frames = model.frames(request)
        assert not isinstance(frames, Reply)
        again = reply("ok", DRIVES[name].dialect, frames, at=0)
        return half if len(model.attempts) == 1 else again

    run = guarded(name, script)
    lawful(run)
    met(run, "healed", {kind})
    run = guarded(name, half, mode="raise")
    lawful(run)
    met(run, "fails", {kind})


# ---------------------------------------------------------------- more than text

_TOOLS = Answer(
    reasoning=tokens_of("The user wants the weather and the time."),
    tokens=tokens_of("Let me look at that for you, one moment please."),
    tools=(
        ToolCall(name="weather", fragments=('{"city": "東', '京", "da', 'ys": 2}'), id="call_a"),
        ToolCall(name="now", fragments=('{"zone": ', '"JST"}'), id="call_b"),
    ),
)
_TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def _asking(name):
    # the chat helper reports tool calls of tools that it knows of
    return request_for(name) | ({"tools": [_TOOL]} if name.startswith("openai-chat") else {})


@pytest.mark.parametrize("mode", ["heal", "raise"])
@pytest.mark.parametrize(("role", "at"), [("reasoning", 3), ("text", 3), ("tool", 1), ("tool", 2)])
@pytest.mark.parametrize("name", DRIVES)
def test_reasoning_and_tool_calls(name, role, at, mode):
    model = model_for(name, answer=_TOOLS)
    script = breaking(model, Break("cut_rst", at=at, role=role))
    run = guarded(name, script, mode=mode, request=_asking(name))
    if run.drive.error is not None:
        _no_cut_call_looks_whole(run.drive)
    lawful(run, _TOOLS)
    if mode == "raise":
        met(run, "fails", {"connection-reset"})


def _no_cut_call_looks_whole(drive):
    for call, given in zip(_TOOLS.tools, drive.tools, strict=False):
        # google-genai and ollama only know whole calls, which they write anew
        assert call.arguments.startswith(given["arguments"]) or (
            json.loads(given["arguments"]) == json.loads(call.arguments)
        )


@pytest.mark.parametrize("name", DRIVES)
def test_a_deterministic_tool_call_is_replayed(name):
    request = _asking(name) | request_for(name, deterministic=True)
    model = model_for(name, answer=_TOOLS)
    run = guarded(name, breaking(model, Break("cut_rst", at=1, role="tool")), request=request)
    assert run.drive.error is None, run.drive.error
    assert run.drive.reasoning == "".join(_TOOLS.reasoning)
    assert len(run.exchanges) == 2
