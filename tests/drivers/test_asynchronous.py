"""When the async driver looks at the time: at a stream's times, and soon after they moved."""

import asyncio
import gc
import json
import weakref
from typing import ClassVar

import pytest

from unbroken import Clocks, Options
from unbroken.core.dialects import by_name
from unbroken.core.errors import error_class
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.request import Request
from unbroken.drivers.asynchronous import AsyncDriver
from unbroken.telemetry import Callbacks

_NOTICE_S = 0.15
_REQUEST = Request(
    method="POST", url="http://u/v1/chat/completions", body=b'{"model":"m","stream":true}'
)


def _frame(delta, finish=None):
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    said = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return b"data: " + json.dumps({**said, "choices": [choice]}).encode() + b"\n\n"


_ROLE = _frame({"role": "assistant", "content": ""})
_TEXT = _frame({"content": " word"})
_THOUGHT = _frame({"reasoning_content": " hm"})
_END = _frame({}, "stop") + b"data: [DONE]\n\n"


class _Body:
    """Gives out each piece after its time, in seconds; then waits until it is aborted."""

    status = 200
    headers: ClassVar = {"content-type": "text/event-stream"}
    can_abort = True

    def __init__(self, *script):
        self._script = list(script)
        self._aborted = asyncio.Event()

    async def read(self):
        if not self._script:
            await self._aborted.wait()
            raise ConnectionResetError
        wait_s, data = self._script.pop(0)
        await asyncio.sleep(wait_s)
        return data

    def abort(self):
        self._aborted.set()
        return True

    async def aclose(self):
        self.abort()


class _Upstream:
    def explain(self, error, *, connecting):
        return Fault.of(FaultKind.CONNECTION_RESET, type(error).__name__)

    def exception(self, outcome, fault, request):
        return error_class(fault)(outcome=outcome, fault=fault)


async def _drive(*script, notices=None, **clocks):
    """Read a stream to its end; return how often it was looked at, and for how long it ran."""
    looks, stalls = [], [] if notices is None else notices
    loop = asyncio.get_running_loop()
    began = loop.time()
    driver = AsyncDriver(
        _REQUEST,
        by_name("openai-chat"),
        options=Options(mode="raise", clocks=Clocks(**clocks)),
        observer=Callbacks(on_stall=lambda stall: stalls.append(loop.time() - began)),
        upstream=_Upstream(),
        body=_Body(*script),
    )
    handle_timer = driver.stream.handle_timer

    def look(now):
        looks.append(now)
        handle_timer(now)

    driver.stream.handle_timer = look
    async for _ in driver:
        pass
    return len(looks), loop.time() - began


@pytest.fixture
def looks_soon(monkeypatch):
    monkeypatch.setattr("unbroken.drivers.base._LOOK_S", 0.02)


def test_plain_text_and_silence_are_not_looked_at(looks_soon):
    """Fifty pieces of text and a silence, within the times of the stream."""
    script = [(0, _ROLE), *[(0.004, _TEXT)] * 50, (0.3, _TEXT), (0, _END), (0, b"")]
    looks, seconds = asyncio.run(_drive(*script))
    assert seconds > 0.5
    assert looks <= 6


def test_text_after_a_notice_is_noticed_again_in_time(looks_soon):
    notices = []
    script = [
        (0, _ROLE), (0, _TEXT), (0, _TEXT), (0, _TEXT), (0.3, _TEXT), (0.3, _TEXT), (0, _END),
        (0, b""),
    ]  # fmt: skip
    asyncio.run(_drive(*script, notices=notices, notice_s=_NOTICE_S, progress_text_s=60))
    assert len(notices) == 2
    first, second = notices
    assert _NOTICE_S <= first < _NOTICE_S + 0.1
    assert 0.3 + _NOTICE_S <= second < 0.3 + _NOTICE_S + 0.1


def test_text_after_thinking_has_its_own_shorter_time(looks_soon):
    """The time was set by the long wait of thinking; the first text brings it nearer."""
    notices = []
    script = [
        (0, _ROLE),
        (0, _TEXT),
        (0, _THOUGHT),
        (0.1, _TEXT),
        (0.4, _TEXT),
        (0, _END),
        (0, b""),
    ]
    times = {"notice_s": None, "progress_slow_s": 60, "progress_text_s": 3 * _NOTICE_S}
    asyncio.run(_drive(*script, notices=notices, **times))
    assert len(notices) == 1
    assert 0.1 + _NOTICE_S <= notices[0] < 0.1 + _NOTICE_S + 0.1


def test_the_end_of_a_body_is_awaited_for_a_second_only():
    """As in production: the marker came while the next look was ten seconds ahead."""
    _, seconds = asyncio.run(_drive((0, _ROLE), *[(0, _TEXT)] * 5, (0, _END)))
    assert 1.0 <= seconds < 1.7


def test_a_stream_that_is_over_is_let_go_without_looking_for_cycles():
    """A busy server looks for them seldom, and each stream would leave a hundred objects."""

    async def read() -> weakref.ref[AsyncDriver]:
        body = _Body((0, _ROLE + _TEXT), (0, _END), (0, None))
        driver = AsyncDriver(
            _REQUEST,
            by_name("openai-chat"),
            options=Options(),
            observer=Callbacks(),
            upstream=_Upstream(),
            body=body,
        )
        async for _ in driver:
            pass
        return weakref.ref(driver)

    gc.collect()
    gc.disable()
    try:
        assert asyncio.run(read())() is None
    finally:
        gc.enable()
