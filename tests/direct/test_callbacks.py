"""The callbacks: what the handlers of the seeds do, without their bugs."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest

import unbroken
from tests.direct.helpers import asking, good, options, refusal
from tests.support.bodies import body
from tests.support.faults import STORY, Break, breaking, reply
from tests.support.faultserver import FaultServer, Pause, Reply
from tests.support.model import Model

NAMES = ("on_token", "on_error", "on_stall", "on_reconnect", "on_complete", "on_outcome")
forms = pytest.mark.parametrize("form", ["sync", "async"])


class Log:
    """Keeps what was called, in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def callbacks(self) -> dict[str, Any]:
        def keep(name: str) -> Any:
            return lambda value: self.calls.append((name, value))

        return {name: keep(name) for name in NAMES}

    def of(self, name: str) -> list[Any]:
        return [value for called, value in self.calls if called == name]


def read(form: str, arguments: dict[str, Any]) -> str:
    if form == "sync":
        return unbroken.stream(**arguments).text()

    async def main() -> str:
        return await unbroken.astream(**arguments).text()

    return anyio.run(main)


@forms
@pytest.mark.seed("003-handler-on-token", "003-handler-on-complete")
def test_a_whole_answer(form: str) -> None:
    log = Log()
    with FaultServer(good()) as server:
        assert read(form, asking(server, **log.callbacks())) == STORY.text
    assert [name for name, _ in log.calls] == (
        ["on_token"] * len(STORY.tokens) + ["on_outcome", "on_complete"]
    )
    assert tuple(log.of("on_token")) == STORY.tokens
    assert log.of("on_complete") == [STORY.text]


@forms
@pytest.mark.seed("003-handler-on-error", "003-handler-reconnect", "003-handler-no-repeat")
def test_a_broken_one_is_told_and_nothing_is_repeated(form: str) -> None:
    log = Log()
    model = Model(dialect="openai-chat", answer=STORY)
    with FaultServer(breaking(model, Break("cut_clean", at=14), Break("cut_rst", at=3))) as server:
        read(form, asking(server, **log.callbacks()))
    assert "".join(log.of("on_token")) == STORY.text
    errors = log.of("on_error")
    assert [error.code for error in errors] == ["truncated-between-events", "connection-reset"]
    assert errors[0].outcome.text == "".join(STORY.tokens[:14])
    assert [call.attempt for call in log.of("on_reconnect")] == [2, 3]
    assert log.of("on_complete") == [STORY.text]


@forms
def test_an_attempt_that_was_refused_is_told_too(form: str, no_waits: list[int]) -> None:
    log = Log()
    with FaultServer([refusal(503), good()]) as server:
        read(form, asking(server, **log.callbacks()))
    assert [error.code for error in log.of("on_error")] == ["http-error"]
    assert log.of("on_error")[0].outcome.attempts[0].status == 503


@forms
@pytest.mark.parametrize("mode", ["raise", "observe"])
def test_a_failure_is_told_once_and_is_not_complete(form: str, mode: str) -> None:
    log = Log()
    with FaultServer(reply("cut_clean", "openai-chat", at=5)) as server:
        arguments = asking(server, options=options(mode), **log.callbacks())
        if mode == "raise":
            with pytest.raises(unbroken.IncompleteStreamError) as caught:
                read(form, arguments)
            assert log.of("on_error") == [caught.value]
        else:
            read(form, arguments)
            assert [error.code for error in log.of("on_error")] == ["truncated-between-events"]
    assert log.of("on_complete") == []
    assert len(log.of("on_outcome")) == 1


@forms
@pytest.mark.seed("003-handler-activity-warning")
def test_a_stall_is_told_while_the_read_waits(form: str, sharp_clock: None) -> None:
    log = Log()
    frames = body("openai-chat", STORY)
    with FaultServer(Reply(pieces=[*frames[:4], Pause(0.4), *frames[4:]])) as server:
        opts = options(clocks={"notice_s": 0.1})
        assert read(form, asking(server, options=opts, **log.callbacks())) == STORY.text
    names = [name for name, _ in log.calls]
    assert names.index("on_stall") == 3, "after three pieces of text, before the fourth"


@forms
def test_a_callback_may_abort(form: str, sharp_clock: None) -> None:
    """As the handler of the seeds does after ten seconds without activity."""
    found: list[Any] = []
    opts = options(clocks={"notice_s": 0.1})

    def stop(stall: unbroken.StallNotice) -> None:
        found[0].abort()

    async def main() -> None:
        found.append(unbroken.astream(**asking(server, options=opts, on_stall=stop)))
        await found[0].text()

    with FaultServer(reply("stall", "openai-chat", at=5)) as server:
        found += [unbroken.stream(**asking(server, options=opts, on_stall=stop))] * (form == "sync")
        with pytest.raises(unbroken.IncompleteStreamError, match="was aborted"):
            found[0].text() if form == "sync" else anyio.run(main)
        assert server.wait_for_open(0)


@forms
def test_an_exception_in_a_callback_is_logged_once_and_the_stream_lives(
    form: str, caplog: pytest.LogCaptureFixture, sharp_clock: None
) -> None:
    def fail(value: object) -> None:
        message = "a secret"
        raise ValueError(message)

    model = Model(dialect="openai-chat", answer=STORY)
    frames = body("openai-chat", STORY)
    replies = [Reply(pieces=[*frames[:15], Pause(0.3)]), None]

    def script(request: Any) -> Reply:
        return replies[request.index] or model(request)

    with FaultServer(script) as server, caplog.at_level(logging.WARNING, "unbroken"):
        opts = options(clocks={"notice_s": 0.1})
        arguments = asking(server, options=opts, **dict.fromkeys(NAMES, fail))
        assert read(form, arguments) == STORY.text
    for name in NAMES:
        told = [record for record in caplog.records if f"{name} raised" in record.message]
        assert len(told) == 1, name
    assert "a secret" not in caplog.text


@pytest.mark.parametrize("name", NAMES)
def test_a_coroutine_function_is_refused(name: str) -> None:
    async def never_awaited(value: object) -> None:
        pass

    for make in (unbroken.stream, unbroken.astream):
        with pytest.raises(TypeError, match=f"{name} must be a plain function"):
            make("Hi", model="m", **{name: never_awaited})
