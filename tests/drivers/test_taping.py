"""What the drivers tell a tape, sync and async alike, and what the flight recorder keeps of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import openai
import pytest

import unbroken
from tests.seeds.scenes import QUESTION, breaks
from tests.seeds.scenes import options as healing
from tests.support.faults import STORY, Break, reply
from tests.support.faultserver import FaultServer, unused_url
from unbroken.core.recording import (
    Delivered,
    End,
    Line,
    Lost,
    OutcomeSeen,
    Read,
    RequestSent,
    ResponseHead,
    Sent,
    Wanted,
)
from unbroken.telemetry.recording import FlightRecorder

Reader = Callable[..., Any]


def _sync(url: str, *, pause_s: float = 0.0, **more: Any) -> str:
    http = unbroken.http_client(**more)
    with openai.OpenAI(base_url=f"{url}/v1", api_key="k", http_client=http, max_retries=0) as sdk:
        text = ""
        for event in sdk.chat.completions.create(model="m", messages=QUESTION, stream=True):  # type: ignore[call-overload]
            text += event.choices[0].delta.content or "" if event.choices else ""
            time.sleep(pause_s)
        return text


def _async(url: str, *, pause_s: float = 0.0, **more: Any) -> str:
    async def run() -> str:
        http = unbroken.async_http_client(**more)
        async with openai.AsyncOpenAI(
            base_url=f"{url}/v1", api_key="k", http_client=http, max_retries=0
        ) as sdk:
            text = ""
            stream: Any = await sdk.chat.completions.create(  # type: ignore[call-overload]
                model="m", messages=QUESTION, stream=True
            )
            async for event in stream:
                text += event.choices[0].delta.content or "" if event.choices else ""
                await asyncio.sleep(pause_s)
            return text

    return asyncio.run(run())


both = pytest.mark.parametrize("read", [_sync, _async], ids=["sync", "async"])


class Keeping(FlightRecorder):
    """A flight recorder whose tapes a test can look at after a good end too."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.kept: list[tuple[Line, ...]] = []

    def stream(self, *, name: str = "") -> Any:
        tape = super().stream(name=name)
        keeping = self

        class Tape(type(tape)):  # type: ignore[misc]
            def close(self, now: float) -> None:
                keeping.kept.append(tuple(self.flight()))
                super().close(now)

        return Tape(self, name)


def _of(lines: tuple[Line, ...], *kinds: type) -> list[Any]:
    return [line for line in lines if isinstance(line, kinds)]


@both
def test_every_byte_of_the_body_is_read_on_the_tape(read: Reader) -> None:
    tapes = Keeping(max_bytes=1 << 20)
    script = reply("ok", "openai-chat", at=0)
    with FaultServer(script) as server:
        assert read(server.url, recorder=tapes) == STORY.text
    (lines,) = tapes.kept
    assert isinstance(lines[0], RequestSent)
    assert [line.status for line in _of(lines, ResponseHead)] == [200]
    assert b"".join(line.data for line in _of(lines, Read)) == b"".join(script.pieces)  # type: ignore[arg-type]
    assert b"stream" in _of(lines, Sent)[0].data
    # Behind its last marker the SDK may leave, or read to the end.
    assert next(line.how for line in _of(lines, End)) in ("eof", "left")
    assert [line.at_s for line in lines] == sorted(line.at_s for line in lines)


@both
def test_each_attempt_has_its_request_its_reads_and_its_end(read: Reader) -> None:
    tapes = Keeping(max_bytes=1 << 20)
    with FaultServer(breaks(Break("cut_rst", at=12), Break("cut_clean", at=20))) as server:
        assert read(server.url, recorder=tapes, options=healing()) == STORY.text
    (lines,) = tapes.kept
    assert next((line.attempt, line.rung) for line in _of(lines, RequestSent)) == (1, "first")
    assert [line.attempt for line in _of(lines, RequestSent)] == [1, 2, 3]
    assert [line.how for line in _of(lines, End)][:2] == ["reset", "eof"]
    assert {line.attempt for line in _of(lines, Read)} == {1, 2, 3}


@both
def test_a_failed_stream_has_its_last_reads_in_its_outcome(read: Reader) -> None:
    with FaultServer(reply("cut_rst", "openai-chat", at=12)) as server:
        with pytest.raises(openai.APIConnectionError) as raised:
            read(server.url, options=unbroken.Options(mode="raise"))
    outcome = unbroken.outcome_of(raised.value)
    assert outcome is not None
    last = outcome.flight[-1]
    assert isinstance(last, OutcomeSeen)
    assert last.faults[0].kind == "connection-reset"
    assert b"".join(line.data for line in _of(outcome.flight, Read)).startswith(b"data: ")
    (asked,) = _of(outcome.flight, RequestSent)
    assert ("authorization", "[removed]") in [(n.lower(), v) for n, v in asked.headers]


def test_what_is_kept_is_bounded_and_what_fell_out_is_counted() -> None:
    tapes = FlightRecorder(max_bytes=4096)
    with FaultServer(reply("cut_rst", "openai-chat", at=40)) as server:
        with pytest.raises(openai.APIConnectionError) as raised:
            _sync(server.url, recorder=tapes, options=unbroken.Options(mode="raise"))
    flight = unbroken.outcome_of(raised.value).flight  # type: ignore[union-attr]
    (lost,) = _of(flight, Lost)
    reads = _of(flight, Read)
    assert sum(len(line.data) for line in reads) < 4096
    received = unbroken.outcome_of(raised.value).bytes  # type: ignore[union-attr]
    assert sum(len(line.data) for line in reads) + lost.size == received


def test_a_consumer_that_takes_its_time_is_on_the_tape() -> None:
    tapes = Keeping(max_bytes=1 << 20)
    with FaultServer(reply("ok", "openai-chat", at=0)) as server:
        _sync(server.url, recorder=tapes, pause_s=0.006)
    (lines,) = tapes.kept
    assert _of(lines, Delivered)
    assert len(_of(lines, Wanted)) == len(_of(lines, Delivered))


@both
def test_no_response_is_on_the_tape_and_stays_the_sdks_error(read: Reader) -> None:
    tapes = Keeping()
    with pytest.raises(openai.APIConnectionError):
        read(unused_url(), recorder=tapes)
    (lines,) = tapes.kept
    assert [line.how for line in _of(lines, End)] == ["unanswered"]


@both
@pytest.mark.parametrize("fails", ["answered", "read", "delivered", "wanted", "ended", "outcome"])
def test_a_tape_that_fails_harms_no_stream(read: Reader, fails: str, caplog: Any) -> None:
    class Torn:
        only_late = False

        def __getattr__(self, name: str) -> Any:
            if name != fails:
                return lambda *facts: None

            def fail(*facts: Any) -> None:
                raise ValueError("a tape of a test's")

            return fail

    class Tapes:
        def stream(self, *, name: str = "") -> Any:
            return Torn()

    with FaultServer(reply("ok", "openai-chat", at=0)) as server:
        assert read(server.url, recorder=Tapes()) == STORY.text
    assert len([r for r in caplog.records if "unrecorded" in r.message]) == 1
