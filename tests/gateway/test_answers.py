"""The gateway's own errors are errors to whoever reads the dialect."""

from __future__ import annotations

import json

import pytest

import unbroken
from unbroken.core.dialects import DIALECTS
from unbroken.core.dialects.base import Answer
from unbroken.core.faults import FaultKind
from unbroken.gateway.answers import error_frame, http_error

SPOKEN = sorted(set(DIALECTS) - {"bedrock-invoke"})  # which only wraps what others say


@pytest.mark.parametrize("name", SPOKEN)
def test_an_error_frame_is_read_as_the_providers_own(name):
    frame = error_frame(name, "stalled", "no content for 120 s")
    body = frame if DIALECTS[name].wire != "json-array" else b"[" + frame.lstrip(b",\n")
    outcome = unbroken.check(body, dialect=name)
    assert not outcome.complete
    assert outcome.faults[0].kind is FaultKind.PROVIDER_ERROR


@pytest.mark.parametrize("name", ["openai-chat", "anthropic-messages", "openai-responses"])
def test_behind_a_part_of_an_answer_it_ends_nothing(name):
    frames = DIALECTS[name].encode(Answer(text="half of it"))
    begun = b"".join(frames[: len(frames) // 2])
    outcome = unbroken.check(begun + error_frame(name, "stalled", "silent"), dialect=name)
    assert outcome.status == "failed"


@pytest.mark.parametrize(
    ("dialect", "status", "path"),
    [
        ("openai-chat", 502, ("error", "message")),
        ("anthropic-messages", 504, ("error", "message")),
        ("gemini", 429, ("error", "message")),
        ("gemini-array", 400, (0, "error", "message")),
        ("ollama", 502, ("error",)),
        ("cohere", 502, ("message",)),
        ("bedrock-converse", 502, ("message",)),
        ("", 404, ("error", "message")),
    ],
)
def test_an_http_error_has_the_providers_shape(dialect, status, path):
    head, body = http_error(dialect, status, "the-kind", "what happened")
    said = json.loads(body)
    for key in path:
        said = said[key]
    assert said == "what happened"
    assert head.status == status
    assert head.header("content-length") == str(len(body))
    assert head.header("x-unbroken-error") == "the-kind"
