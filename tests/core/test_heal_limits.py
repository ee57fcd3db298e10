"""What the request bounds stays bounded when the answer is continued: tokens, stop sequences."""

from __future__ import annotations

import pytest

from tests.core.scripted import Reply, ask, frames, play, until
from tests.core.test_stream_heal import CUT_AT, HOSTED, TEXT, begun_turn, is_whole, obeys, partial
from unbroken.core.dialects import by_name
from unbroken.core.options import Options
from unbroken.core.recovery.room import LEAST_TOKENS, estimate_tokens

LIMITED = {
    "openai-chat": {"max_tokens": 200},
    "anthropic-messages": {"max_tokens": 200, "model": "claude-sonnet-4-5"},
    "gemini": {"generationConfig": {"maxOutputTokens": 200}},
    "ollama": {"options": {"num_predict": 200}},
}


def limit_of(dialect: str, request) -> int | None:
    return by_name(dialect).facts(request).max_tokens


@pytest.mark.parametrize("dialect", LIMITED)
def test_limit_is_lowered_by_what_was_delivered(dialect):
    run = play([Reply(partial(dialect), end="reset"), Reply(obeys(dialect))],
               request=ask(dialect, **LIMITED[dialect]), dialect=dialect)  # fmt: skip
    assert run.rungs == ["first", "prefill"]
    is_whole(run, dialect)
    _, two = run.outcome.provenance
    anchor = TEXT[two.start - two.anchor : two.start]
    expected = 200 - estimate_tokens(TEXT[: two.start]) + estimate_tokens(anchor)
    assert limit_of(dialect, run.requests[1]) == expected


def test_provider_that_counts_as_it_goes_is_believed():
    sent = until(frames(TEXT, dialect="gemini", usage=(9, 50)), TEXT[:CUT_AT], dialect="gemini")
    run = play([Reply(sent, end="reset"), Reply(obeys("gemini"))], dialect="gemini",
               request=ask("gemini", **LIMITED["gemini"]))  # fmt: skip
    _, two = run.outcome.provenance
    anchor = TEXT[two.start - two.anchor : two.start]
    assert limit_of("gemini", run.requests[1]) == 150 + estimate_tokens(anchor)


def test_replay_and_retry_ask_for_as_much_as_before():
    request = ask(max_tokens=200, temperature=0)
    run = play([Reply(end="reset"), Reply(partial(), end="reset"), Reply(frames(TEXT))],
               request=request)  # fmt: skip
    assert run.rungs == ["first", "retry", "replay"]
    assert [limit_of("openai-chat", each) for each in run.requests] == [200] * 3


def test_answer_at_its_limit_is_not_continued_and_the_reason_says_so():
    sent = until(frames(TEXT, dialect="gemini", usage=(9, 50)), TEXT[:CUT_AT], dialect="gemini")
    request = ask("gemini", generationConfig={"maxOutputTokens": 50})
    run = play([Reply(sent, end="reset")], request=request, dialect="gemini")
    assert run.outcome.status == "failed"
    for rung in ("prefill", "user-turn"):
        assert run.skipped(rung) == "the answer was at its limit: 50 of 50 tokens"


def test_estimate_alone_leaves_room_for_a_few_words_near_the_limit():
    request = ask(max_tokens=estimate_tokens(TEXT[:CUT_AT]))
    run = play([Reply(partial(), end="reset"), Reply(obeys())], request=request)
    _, two = run.outcome.provenance
    anchor = TEXT[two.start - two.anchor : two.start]
    assert limit_of("openai-chat", run.requests[1]) == LEAST_TOKENS + estimate_tokens(anchor)


def test_continuation_that_ends_at_the_limit_is_limited():
    def short(asked):
        rest = TEXT[len(begun_turn(asked)) :]
        return frames(rest[:30], finish="limit")

    run = play([Reply(partial(), end="reset"), Reply(short)], request=ask(max_tokens=40))
    assert run.rungs == ["first", "prefill"]
    assert (run.outcome.status, run.raised) == ("limited", None)
    assert run.outcome.stop_reason == "length"
    assert TEXT.startswith(run.outcome.text)


# Stop sequences ---------------------------------------------------------------------------

STOP = "and then the sun END"
BEFORE_STOP = "The sea is salt because rivers carry minerals from the rocks of the land into it "
STOPPED = BEFORE_STOP + STOP + " and this must never be seen by anybody at all."


def test_anchor_reaches_back_to_where_a_stop_sequence_may_have_begun():
    long_stop = "x" * 60
    run = play([Reply(partial(), end="reset"), Reply(obeys())], request=ask(stop=[long_stop]))
    assert run.rungs == ["first", "prefill"]
    is_whole(run)
    assert run.outcome.provenance[1].anchor >= 60
    run = play([Reply(partial(), end="reset"), Reply(obeys())])
    assert run.outcome.provenance[1].anchor < 30


@pytest.mark.parametrize("cut", range(1, len(STOP)))
@pytest.mark.parametrize("url", ["", HOSTED])
def test_nothing_beyond_a_stop_sequence_that_spans_the_seam_is_delivered(cut, url):
    """A model server that looks for stop sequences in new tokens only, after an echo."""
    first = frames(STOPPED, size=1)[: len(BEFORE_STOP) + cut + 1]
    run = play(
        [Reply(first, end="reset"), *[Reply(obeys(text=STOPPED))] * 4],
        request=ask(stop=[STOP], url=url), options=Options(max_added_input=50),
    )  # fmt: skip
    assert STOPPED.startswith(run.outcome.text)
    assert len(run.outcome.text) < len(BEFORE_STOP) + len(STOP)
    assert run.outcome.status == "failed"
    assert any("continuation" in (r.fault.detail if r.fault else "") for r in run.outcome.attempts)


@pytest.mark.parametrize("cut", range(1, len(STOP)))
def test_stop_sequence_begun_at_the_cut_but_not_finished_loses_nothing(cut):
    text = BEFORE_STOP + STOP[:cut] + "~ and so it is with salt in the sea."
    first = frames(text, size=1)[: len(BEFORE_STOP) + cut + 1]
    run = play([Reply(first, end="reset"), Reply(obeys(text=text))], request=ask(stop=[STOP]))
    assert run.rungs == ["first", "prefill"]
    is_whole(run, text=text)


def test_text_that_ends_in_the_middle_of_a_stop_sequence_is_whole():
    text = BEFORE_STOP + STOP[:-1]
    first = frames(text, size=1)[: len(BEFORE_STOP) + 5]
    run = play([Reply(first, end="reset"), Reply(obeys(text=text))], request=ask(stop=[STOP]))
    is_whole(run, text=text)


def test_model_that_stops_within_the_anchor_falls_to_the_next_rung_or_fails():
    def stops(asked):
        return frames("land in")  # the provider took the rest for a stop sequence

    run = play([Reply(partial(), end="reset"), *[Reply(stops)] * 4], request=ask(stop=["to it"]))
    assert run.rungs == ["first", "prefill", "prefill", "user-turn", "user-turn"]
    assert run.outcome.status == "failed"
    assert run.delivered == b"".join(partial())
