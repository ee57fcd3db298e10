"""Runs of OpenAI's Assistants: read and judged, and never made twice by us."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.core.dialects.helpers import proven, request
from tests.core.scripted import Reply, ask, frames, play
from unbroken.core.dialects.base import MalformedPayloadError
from unbroken.core.dialects.openai_assistants import OpenAIAssistants
from unbroken.core.events import (
    Close,
    End,
    Event,
    Finish,
    Open,
    Other,
    ProviderError,
    Start,
    Text,
    ToolCall,
    UsageReport,
)
from unbroken.core.frames import Frame

DIALECT = OpenAIAssistants()
URL = "https://api.openai.com/v1/threads/t1/runs"
RUN = ("thread.run.created", {"id": "run_1", "model": "m"})


def meaning(*sent: tuple[str, Any]) -> list[Event]:
    reader = DIALECT.reader()
    events: list[Event] = []
    for name, payload in sent:
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        events += reader.read(Frame(name, data, "", None, data, 0))
    return events


def text(value: str, id: str = "m1", **more: Any) -> tuple[str, Any]:
    part = {"index": 0, "type": "text", "text": {"value": value, **more}}
    return "thread.message.delta", {"id": id, "delta": {"content": [part]}}


def step(*calls: dict[str, Any], id: str = "s1") -> tuple[str, Any]:
    details = {"type": "tool_calls", "tool_calls": list(calls)}
    return "thread.run.step.delta", {"id": id, "delta": {"step_details": details}}


def test_a_run_with_a_message():
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    got = meaning(
        RUN, ("thread.run.queued", {}), ("thread.message.created", {"id": "m1"}),
        text("Hi"), text(" you", annotations=[{}]), ("thread.message.completed", {"id": "m1"}),
        ("thread.run.completed", {"usage": usage}), ("done", b"[DONE]"),
    )  # fmt: skip
    assert got == [
        Start("run_1", "m"), Other("thread.run.queued"), Open("text", 0, 0), Text("Hi", 0, 0),
        Text(" you", 0, 0), Other("annotations", content=True), Close(0, 0),
        UsageReport(3, 2), Finish("completed", "stop"), End("[DONE]"),
    ]  # fmt: skip


def test_calls_of_functions_are_pieced_together_and_hosted_tools_are_not_ours():
    got = meaning(
        RUN,
        step({"index": 0, "id": "c1", "type": "function", "function": {"name": "a"}}),
        step({"index": 0, "type": "function", "function": {"arguments": "{}"}}),
        step({"index": 1, "type": "function", "function": {"name": "b", "arguments": ""}}),
        step({"index": 0, "type": "code_interpreter", "code_interpreter": {"input": "1"}}),
        step({"type": "function", "function": {"name": "c"}}, id="s2"),
        ("thread.run.requires_action", {}),
    )
    assert got[1:] == [
        ToolCall(0, id="c1", name="a"), ToolCall(0, "{}"), ToolCall(1, name="b"),
        Other("code_interpreter", content=True), ToolCall(2, name="c"),
        Finish("requires_action", "tool-calls"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("why", "expected"), [("max_completion_tokens", "limit"), ("content_filter", "filter")]
)
def test_a_run_that_was_cut(why, expected):
    end = ("thread.run.incomplete", {"incomplete_details": {"reason": why}})
    assert meaning(RUN, end)[1:] == [Finish("incomplete", expected)]


@pytest.mark.parametrize(
    ("kind", "last_error", "code", "retryable"),
    [
        ("failed", {"code": "server_error", "message": "m"}, "server_error", True),
        ("failed", {"code": "invalid_prompt", "message": "m"}, "invalid_prompt", False),
        ("cancelled", None, "cancelled", True), ("expired", None, "expired", True),
    ],
)  # fmt: skip
def test_a_run_that_failed(kind, last_error, code, retryable):
    error, finish = meaning(RUN, (f"thread.run.{kind}", {"last_error": last_error}))[1:]
    assert type(error) is ProviderError
    assert (error.code, error.retryable) == (code, retryable)
    assert finish == Finish(kind, "fault")


@pytest.mark.parametrize(
    ("name", "payload"),
    [("error", {"message": "m", "code": "x"}), ("error", {"error": {"message": "m"}}),
     ("message", {"error": {"message": "m"}})],
)  # fmt: skip
def test_errors(name, payload):
    (error,) = meaning((name, payload))
    assert type(error) is ProviderError
    assert error.message == "m"


def test_what_is_not_known_passes():
    assert meaning(("thread.created", {})) == [Other("thread.created")]
    assert meaning(("message", {"x": 1})) == [Other("message")]
    for kind in ("thread.run.step.delta", "thread.message.delta"):
        assert meaning((kind, {}))[-1:] == [Other(kind)]
    for broken in (b"{", b"7"):
        with pytest.raises(MalformedPayloadError):
            meaning(("thread.run.created", broken))


def test_done_alone_proves_nothing():
    assert not proven(DIALECT, meaning(RUN, text("Hi"), ("done", b"[DONE]")))


@pytest.mark.parametrize(
    ("path", "is_ours"),
    [
        ("/v1/threads/t1/runs", True), ("/v1/threads/runs", True),
        ("/v1/threads/t1/runs/r1/submit_tool_outputs", True), ("/v1/threads/t1/runs/r1", False),
        ("/v1/threads/t1/messages", False),
    ],
)  # fmt: skip
def test_paths(path, is_ours):
    assert DIALECT.recognises_path(path) == is_ours


def test_facts():
    facts = DIALECT.facts(request(URL, {"model": "m", "max_completion_tokens": 5}))
    assert (facts.model, facts.max_tokens) == ("m", 5)
    assert facts.server_state
    assert facts.server_work
    assert not DIALECT.splices


SAID = "The sea is salt because rivers carry minerals from the rocks."


def test_a_run_is_tried_again_only_while_nothing_arrived():
    whole = frames(SAID, dialect="openai-assistants")
    run = play([Reply(end="reset"), Reply(whole)], dialect="openai-assistants")
    assert run.rungs == ["first", "retry"]
    assert run.delivered == b"".join(whole)
    run = play([Reply(whole[:1], end="reset")], dialect="openai-assistants")
    assert run.raised is not None
    assert "retry_server_tools" in run.skipped("retry")


def test_nothing_goes_on_in_the_middle_of_an_answer():
    whole = frames(SAID, dialect="openai-assistants")
    run = play([Reply(whole[:9], end="reset")], dialect="openai-assistants",
               request=ask("openai-assistants", temperature=0))  # fmt: skip
    assert run.rungs == ["first"]
    assert run.raised is not None
    assert run.delivered == b"".join(whole[:9])
    assert run.outcome.text == SAID[: len(run.outcome.text)]
