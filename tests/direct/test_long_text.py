"""Texts longer than what is kept: never a part of one in place of the whole."""

from __future__ import annotations

import asyncio

import pytest

import unbroken
from tests.direct.helpers import asking, good, options
from tests.support.bodies import Answer, body, tokens_of
from tests.support.faultserver import FaultServer, Reply

TEXT = "The keeper wrote every ship into his book, and the weather too. 🌊 " * 20
ANSWER = Answer(tokens=tokens_of(TEXT))


def given(server: FaultServer, **more):
    return asking(server) | {"options": options(max_replay_bytes=500, **more)}


@pytest.mark.seed("003-memory-limits")
def test_text_is_whole_though_the_outcome_keeps_only_its_beginning():
    completed = []
    with FaultServer(good(answer=ANSWER)) as server:
        with unbroken.stream(on_complete=completed.append, **given(server)) as stream:
            assert stream.text() == TEXT
        outcome = stream.outcome
    assert outcome.overflowed
    assert outcome.characters == len(TEXT)
    assert completed == [outcome.text]
    assert TEXT.startswith(outcome.text)
    assert 400 < len(outcome.text) <= 500


def test_async_text_is_whole_too():
    async def run(server: FaultServer) -> str:
        async with unbroken.astream(**given(server)) as stream:
            return await stream.text()

    with FaultServer(good(answer=ANSWER)) as server:
        assert asyncio.run(run(server)) == TEXT


def test_text_of_which_the_beginning_is_gone_is_refused():
    with (
        FaultServer(good(answer=ANSWER)) as server,
        unbroken.stream(**given(server)) as stream,
    ):
        next(stream.iter_text())
        with pytest.raises(ValueError, match=r"max_replay_bytes.*iter_text"):
            stream.text()


def test_error_says_how_much_of_the_text_it_has():
    frames = body("openai-chat", ANSWER)[:-3]
    with (
        FaultServer(Reply(pieces=frames)) as server,
        unbroken.stream(**given(server, mode="raise")) as stream,
        pytest.raises(unbroken.IncompleteStreamError, match=r"the first \d+ of \d{4} characters"),
    ):
        stream.text()


def test_answer_longer_than_memory_is_healed_with_a_file(tmp_path):
    frames = body("openai-chat", ANSWER)
    replies = [Reply(pieces=frames[: len(frames) // 2], end="rst"), good(answer=ANSWER)]
    with FaultServer(replies) as server:
        asked = given(server, spill_dir=str(tmp_path))
        with unbroken.stream(temperature=0, **asked) as stream:
            assert stream.text() == TEXT
    assert [attempt.rung for attempt in stream.outcome.attempts] == ["first", "replay"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("spill", [{"spill_dir": "/missing/folder"}, {"max_spill_bytes": 0}])
def test_answer_that_cannot_be_remembered_passes_and_is_not_healed(spill):
    frames = body("openai-chat", ANSWER)
    with (
        FaultServer(good(answer=ANSWER)) as server,
        unbroken.stream(temperature=0, **given(server, **spill)) as stream,
    ):
        assert stream.text() == TEXT
    with (
        FaultServer(Reply(pieces=frames[: len(frames) // 2])) as server,
        unbroken.stream(temperature=0, **given(server, **spill)) as stream,
        pytest.raises(unbroken.IncompleteStreamError, match="max_replay_bytes"),
    ):
        stream.text()
