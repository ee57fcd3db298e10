"""Every body of ours gets the verdict that its index says, whether or not the dialect is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.core.recorded import own, own_bodies
from unbroken.core.outcome import Outcome
from unbroken.core.verdict import check

PROVEN = {"complete", "limited", "filtered", "paused"}

# Bodies in which no frame tells who sent them: read as OpenAI Chat, and said to be unknown.
NOBODY: dict[str, dict[str, Any]] = {
    "openai-chat/empty.sse": {},
    "openai-chat/only-comments.sse": {},
    "openai-chat/html.html": {},
    "openai-chat/json-error.json": {},
    "openai-chat/json-error-xai.json": {},
    "anthropic-messages/json-error.json": {},
    "gemini/empty.sse": {},
    "gemini/json-error.json": {},
    "ollama/error-first.ndjson": {"faults": ["not-a-stream"]},
    "ollama/html.html": {},
    "bedrock-converse/html.html": {},
    "bedrock-converse/json-error.json": {},
    "gemini-array/empty-array.json": {"faults": ["not-a-stream"]},
    "gemini-array/json-error.json": {},
    "gemini-array/only-begun.json": {"faults": ["not-a-stream"]},
}

each_body = pytest.mark.parametrize("row", own_bodies())


def as_index_says(outcome: Outcome, row: dict[str, Any]) -> dict[str, Any]:
    """Return the verdict in the form of the index."""
    faults = [fault.kind.value for fault in outcome.faults]
    if outcome.fault is not None:
        first = outcome.fault.kind.value
        faults.remove(first)
        faults.insert(0, first)
    usage = {name: getattr(outcome.usage, name) for name in row["usage"] or ("input", "output")}
    said: dict[str, Any] = {
        "status": outcome.status,
        "faults": faults,
        "text": outcome.text,
        "reasoning": outcome.reasoning,
        "refusal": outcome.refusal,
        "tool_calls": [[call.name, arguments(call.arguments)] for call in outcome.tool_calls],
        "usage": None if set(usage.values()) == {None} else usage,
        "stop_reason": outcome.stop_reason,
    }
    if "texts_by_choice" in row:
        said["texts_by_choice"] = {str(choice): text for choice, text in outcome.texts.items()}
    if "error" in row:
        said["retryable"] = outcome.recoverable
    return said


def arguments(written: str) -> Any:
    """Objects are compared by value: gemini and ollama send no text that could be compared."""
    try:
        return json.loads(written)
    except ValueError:
        return written


def readings(row: dict[str, Any], **other: Any) -> list[dict[str, Any]]:
    """Return what the index accepts: its own reading, and another that can be defended."""
    accepted = []
    for changes in ({}, row.get("also_accepted", {})):
        told = {**row, **changes, **other}
        reading = {
            key: told[key] for key in ("status", "faults", "text", "reasoning", "refusal", "usage")
        }
        reading["tool_calls"] = [
            [call["name"], arguments(call["arguments"])] for call in told["tool_calls"]
        ]
        reading["stop_reason"] = next(iter(told["finish_reasons"]), None)
        if "texts_by_choice" in told:
            reading["texts_by_choice"] = told["texts_by_choice"]
        if "error" in told:
            reading["retryable"] = told["error"]["retryable"]
        accepted.append(reading)
    return accepted


@each_body
def test_verdict_is_what_the_index_says(row):
    outcome = check(own(row["file"]), row["dialect"], host=row["host"])
    assert outcome.dialect == row["dialect"]
    assert as_index_says(outcome, row) in readings(row)


@each_body
def test_verdict_is_the_same_when_the_dialect_is_not_told(row):
    outcome = check(own(row["file"]), host=row["host"])
    nobody = row["file"] in NOBODY
    assert outcome.dialect == ("unknown" if nobody else row["dialect"])
    assert as_index_says(outcome, row) in readings(row, **NOBODY.get(row["file"], {}))


@each_body
def test_complete_is_said_of_proven_ends_alone(row):
    outcome = check(own(row["file"]), row["dialect"], host=row["host"])
    fatal = {fault.kind.value for fault in outcome.faults if fault.fatal}
    # A call that the model wrote badly is all there: finished, and of no use.
    finished = outcome.status in PROVEN or fatal == {"invalid-tool-arguments"}
    assert outcome.complete == finished


@each_body
def test_printed_object_has_every_key_and_no_payload_in_its_faults(row):
    printed = check(own(row["file"]), row["dialect"], host=row["host"]).to_dict()
    assert list(printed) == [
        "dialect", "status", "complete", "recoverable", "stop_reason", "text", "reasoning",
        "tool_calls", "usage", "faults", "frames", "bytes",
    ]  # fmt: skip
    assert json.loads(json.dumps(printed)) == printed
    assert printed["bytes"] == len(own(row["file"]))
    for fault in printed["faults"]:
        assert list(fault) == ["kind", "severity", "at_byte", "frame", "detail", "records"]
        assert len(row["text"]) < 4 or row["text"] not in fault["detail"]
