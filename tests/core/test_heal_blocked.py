"""A safety block of a later attempt ends the recovery: it is never healed around."""

from __future__ import annotations

import json

import pytest

from tests.core.scripted import Reply, ask, frames, play
from tests.core.test_stream_heal import TEXT, is_whole, obeys, partial

FILTERED = {
    "openai-chat": {},
    "anthropic-messages": {"model": "claude-sonnet-4-5"},
    "gemini": {},
}


@pytest.mark.parametrize("dialect", FILTERED)
def test_continuation_that_is_filtered_before_its_seam_is_the_last(dialect):
    blocked = frames("", dialect=dialect, finish="filter")
    run = play([Reply(partial(dialect), end="reset"), Reply(blocked)],
               request=ask(dialect, **FILTERED[dialect]), dialect=dialect)  # fmt: skip
    assert run.rungs == ["first", "prefill"]
    assert run.outcome.status == "failed"
    assert run.delivered == b"".join(partial(dialect))
    assert "would fail again" in run.outcome.skipped[0].why


def test_continuation_that_refuses_before_its_seam_is_the_last():
    delta = {"choices": [{"index": 0, "delta": {"refusal": "I cannot help with that."}}]}
    refusal = b"data: " + json.dumps(delta).encode() + b"\n\n"
    run = play([Reply(partial(), end="reset"), Reply([frames("")[0], refusal])])
    assert run.rungs == ["first", "prefill"]
    assert run.outcome.status == "failed"
    assert b"cannot help" not in run.delivered


def test_continuation_that_is_filtered_after_its_seam_is_a_proven_end():
    def some(asked):
        return [*obeys()(asked)[:12], *frames("", finish="filter")[1:]]

    run = play([Reply(partial(), end="reset"), Reply(some)])
    assert (run.outcome.status, run.raised) == ("filtered", None)
    assert TEXT.startswith(run.outcome.text)


def test_continuation_that_ends_otherwise_before_its_seam_leads_on():
    run = play([Reply(partial(), end="reset"), Reply(frames("Sorry!")), Reply(obeys())])
    assert run.rungs == ["first", "prefill", "prefill"]
    is_whole(run)
