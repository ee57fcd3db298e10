"""Policy under the openai SDK: what its user sees of malformed frames and empty answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import openai
import pytest

import unbroken
from tests.support.bodies import Answer, body, content_type
from tests.support.faults import STORY
from tests.support.faultserver import FaultServer, Reply
from unbroken.governor import Breaker, breaker

BROKEN = b'data: {"choices":[{"index":0,"delta":{"content":"lost\n\n'
QUESTION: dict[str, Any] = {
    "model": "a-model",
    "messages": [{"role": "user", "content": "Tell me a story."}],
    "stream": True,
}
Read = Callable[[FaultServer, unbroken.Options | None], tuple[str, list[unbroken.Outcome]]]


def read_sync(
    server: FaultServer, options: unbroken.Options | None
) -> tuple[str, list[unbroken.Outcome]]:
    outcomes: list[unbroken.Outcome] = []
    http = unbroken.http_client(options=options, on_outcome=outcomes.append) if options else None
    with openai.OpenAI(
        base_url=server.url + "/v1", api_key="test-key", http_client=http, max_retries=0
    ) as client:
        stream = client.chat.completions.create(**QUESTION)
        return "".join(e.choices[0].delta.content or "" for e in stream if e.choices), outcomes


def read_async(
    server: FaultServer, options: unbroken.Options | None
) -> tuple[str, list[unbroken.Outcome]]:
    outcomes: list[unbroken.Outcome] = []

    async def read() -> str:
        http = (
            unbroken.async_http_client(options=options, on_outcome=outcomes.append)
            if options
            else None
        )
        async with openai.AsyncOpenAI(
            base_url=server.url + "/v1", api_key="test-key", http_client=http, max_retries=0
        ) as client:
            stream = await client.chat.completions.create(**QUESTION)
            return "".join([e.choices[0].delta.content or "" async for e in stream if e.choices])

    return asyncio.run(read()), outcomes


both = pytest.mark.parametrize("read", [read_sync, read_async], ids=["sync", "async"])


def answering(*pieces: bytes) -> Reply:
    return Reply(headers={"content-type": content_type("openai-chat")}, pieces=list(pieces))


FRAMES = [bytes(frame) for frame in body("openai-chat", STORY)]
WITH_BROKEN = answering(*FRAMES[:4], BROKEN, *FRAMES[4:])
UNDECODABLE = answering(*[raw.replace(b" ships", b" sh\xffips") for raw in FRAMES])
EMPTY = answering(*(bytes(frame) for frame in body("openai-chat", Answer(tokens=()))))


def opts(**more: Any) -> unbroken.Options:
    return unbroken.Options(heals_always=10**6, **more)


@both
def test_the_sdk_alone_raises_on_a_frame_that_is_not_json(read: Read) -> None:
    with FaultServer(WITH_BROKEN) as server, pytest.raises(json.JSONDecodeError):
        read(server, None)


@pytest.mark.seed("003-malformed-skip")
@both
def test_skip_spares_it_the_frame(read: Read) -> None:
    with FaultServer(WITH_BROKEN) as server:
        text, (outcome,) = read(server, opts(malformed="skip"))
    assert text == outcome.text == STORY.text
    assert [(f.kind.value, f.severity) for f in outcome.faults] == [("malformed-json", "warning")]


@pytest.mark.seed("003-malformed-skip")
@both
def test_raise_says_what_it_was(read: Read) -> None:
    with FaultServer(WITH_BROKEN) as server:
        with pytest.raises(openai.APIConnectionError) as caught:
            read(server, opts(malformed="raise"))
        assert len(server.requests) == 1
    outcome = unbroken.outcome_of(caught.value)
    assert outcome is not None
    assert outcome.fault is not None
    assert outcome.fault.kind is unbroken.FaultKind.MALFORMED_JSON


@both
def test_the_sdk_alone_decodes_strictly_and_skip_leaves_it_to_that(read: Read) -> None:
    for options in (None, opts(malformed="skip"), opts(mode="observe")):
        with FaultServer(UNDECODABLE) as server, pytest.raises(UnicodeDecodeError):
            read(server, options)


@both
def test_undecodable_content_is_healed_or_an_error_of_ours(read: Read) -> None:
    with FaultServer([UNDECODABLE, answering(*FRAMES)]) as server:
        text, (outcome,) = read(server, opts())
    assert text == outcome.text == STORY.text
    assert [(f.kind.value, f.severity) for f in outcome.faults] == [("invalid-utf8", "fatal")]
    for options in (opts(malformed="raise"), opts(mode="raise"), opts(rungs=())):
        with (
            FaultServer(UNDECODABLE) as server,
            pytest.raises(openai.APIConnectionError) as caught,
        ):
            read(server, options)
        found = unbroken.outcome_of(caught.value)
        assert found is not None
        assert found.fault is not None
        assert found.fault.kind is unbroken.FaultKind.INVALID_UTF8


@both
def test_a_whole_answer_closes_the_breaker(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the SDK leaves at the last marker."""
    own = Breaker()
    monkeypatch.setattr(breaker, "_shared", own)
    cut = answering(*FRAMES[:5])
    with FaultServer([cut, answering(*FRAMES)]) as server:
        with pytest.raises(openai.APIConnectionError):
            read(server, opts(mode="raise", breaker_failures=1))
        assert not own.quiet
        read(server, opts(breaker_failures=1))
        assert own.quiet


@both
def test_an_empty_answer_is_asked_for_again(read: Read) -> None:
    with FaultServer([EMPTY, answering(*FRAMES)]) as server:
        text, (outcome,) = read(server, opts(empty_answer="recover"))
    assert text == STORY.text
    assert outcome.recoveries == 1
    with FaultServer(EMPTY) as server:
        assert read(server, opts())[0] == ""


@both
def test_a_bug_of_ours_after_a_skipped_frame_passes_the_rest_on(
    read: Read, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And not the frame on which the SDK would raise."""
    from unbroken.core.attempt import Attempt

    real = Attempt.receive

    def receive(self: Attempt, *args: Any, **named: Any) -> Any:
        if self.left_out_bytes:
            raise RuntimeError("a bug")
        return real(self, *args, **named)

    monkeypatch.setattr(Attempt, "receive", receive)
    monkeypatch.setattr(Attempt, "receive_texts", lambda self, data: None)
    paced = Reply(
        headers={"content-type": content_type("openai-chat")},
        pieces=WITH_BROKEN.pieces,
        pace_s=0.002,
    )
    with FaultServer(paced) as server:
        text, _ = read(server, opts(malformed="skip"))
    assert text == STORY.text
    assert "stepped aside" in caplog.text
