"""What an attempt is said to have used, where its provider had no time to say it."""

from __future__ import annotations

import pytest

from tests.core.scripted import Reply, frames, play
from unbroken.core.options import Options

TEXT = "The sea is salt because rivers wash minerals out of the rocks and carry them down."


@pytest.mark.parametrize("reasoning", [(), ("Rivers carry salt, and the sun takes the water. ",)])
def test_a_placeholder_from_before_the_answer_is_no_usage(reasoning: tuple[str, ...]) -> None:
    whole = frames(TEXT, dialect="anthropic-messages", reasoning=reasoning, usage=(9, 20))
    begins = next(at for at, raw in enumerate(whole) if b"message_delta" in raw)
    assert b'"output_tokens"' in whole[0]
    cut = Reply(whole[:begins], end="reset")
    run = play([cut], dialect="anthropic-messages", options=Options(mode="raise"))
    assert run.raised is not None
    (record,) = run.outcome.attempts
    size = len(TEXT) + sum(map(len, reasoning))
    for usage in (record.usage, run.outcome.usage):
        assert (usage.input, usage.output, usage.estimated) == (9, -(-size // 4), True)


def test_a_count_that_runs_along_is_the_providers() -> None:
    whole = frames(TEXT, dialect="anthropic-messages", usage=(9, 20))
    run = play([Reply(whole)], dialect="anthropic-messages")
    (record,) = run.outcome.attempts
    assert (record.usage.output, record.usage.estimated) == (20, False)
    assert not run.outcome.usage.estimated
