"""A stream that does not move ends at its deadline, wherever the clock can be looked at."""

import asyncio
import importlib
import os
import subprocess
import sys
import textwrap
import time

import anyio
import httpx2
import pytest

import unbroken
from tests.contract.oracle import lawful, met
from tests.contract.rig import client_for, guarded, model_for, options, request_for
from tests.support.bodies import body
from tests.support.drives import DRIVES, Wire
from tests.support.faults import STORY, Break, breaking, reply
from tests.support.faultserver import FaultServer, Pause, Reply

_DUE_S = 0.25
_SLACK_S = 1.0
_CLOCKS = unbroken.Clocks(silence_s=_DUE_S, progress_text_s=_DUE_S, first_event_s=_DUE_S)
_PATIENT = unbroken.Clocks(connect_s=20, first_event_s=20, silence_s=20, progress_text_s=20)
_REQUEST = {"model": "m", "messages": [], "stream": True}


class _NoSocket(httpx2.BaseTransport):
    """Somebody's own transport: what it returns names no socket."""

    def __init__(self):
        self._inner = httpx2.HTTPTransport()

    def handle_request(self, request):
        response = self._inner.handle_request(request)
        response.extensions.pop("network_stream")
        return response

    def close(self):
        self._inner.close()


class _NoSocketAsync(httpx2.AsyncBaseTransport):
    def __init__(self):
        self._inner = httpx2.AsyncHTTPTransport()

    async def handle_async_request(self, request):
        response = await self._inner.handle_async_request(request)
        response.extensions.pop("network_stream")
        return response

    async def aclose(self):
        await self._inner.aclose()


@pytest.mark.seed("003-quick-no-data", "003-test-timeouts")
@pytest.mark.parametrize("framing", ["chunked", "close", "length"])
@pytest.mark.parametrize("inner", [None, _NoSocket])
@pytest.mark.parametrize("at", [0, 5])
def test_blocking_code_wakes_up(at, inner, framing):
    frames = body("openai-chat", STORY)
    size = sum(map(len, frames))
    broken = reply("stall", "openai-chat", at=at, framing=framing)
    if framing == "length":
        broken = Reply(
            headers=broken.headers,
            pieces=broken.pieces,
            framing="length",
            content_length=size,
            end="stall",
        )
    more = {} if inner is None else {"transport": inner()}
    opts = options("raise", clocks=_CLOCKS)
    run = guarded("openai-chat", broken, opts=opts, client=more, timeout_s=20)
    lawful(run)
    met(run, "fails", {"stalled"})
    assert _DUE_S <= run.drive.seconds < _DUE_S + _SLACK_S
    assert run.drive.pieces == list(STORY.tokens[:at])


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("inner", [None, _NoSocketAsync])
@pytest.mark.parametrize("at", [0, 5])
def test_event_loops_wake_up(at, inner, backend):
    name = "openai-chat-async"
    opts = options("raise", clocks=_CLOCKS)
    seen = {}

    async def main(server):
        more = {} if inner is None else {"transport": inner()}
        client = client_for(name, opts, **more)
        request = client.build_request("POST", server.url + "/v1/chat/completions", json=_REQUEST)
        response = await client.send(request, stream=True)
        start = time.monotonic()
        with pytest.raises(httpx2.ReadTimeout) as caught:
            async for _ in response.aiter_raw():
                pass
        seen["seconds"] = time.monotonic() - start
        seen["outcome"] = unbroken.outcome_of(caught.value)
        seen["limits"] = response.extensions["unbroken"].limits
        await client.aclose()

    with FaultServer(reply("stall", "openai-chat", at=at)) as server:
        anyio.run(main, server, backend=backend)
        assert server.wait_for_open(0)
    assert _DUE_S - 0.02 <= seen["seconds"] < _DUE_S + _SLACK_S
    assert seen["outcome"].fault.kind == "stalled"
    by_socket = backend == "asyncio" and inner is None
    assert seen["limits"] == ("socket" if by_socket else "scope")


@pytest.mark.parametrize("inner", [None, _NoSocket])
def test_the_record_says_what_limits_a_read(inner):
    more = {} if inner is None else {"transport": inner()}
    with (
        FaultServer(model_for("openai-chat")) as server,
        client_for("openai-chat", options(), **more) as client,
    ):
        url = server.url + "/v1/chat/completions"
        with client.stream("POST", url, json=_REQUEST) as response:
            record = response.extensions["unbroken"]
            assert record.limits == ("socket" if inner is None else "read-timeout")
            assert record.outcome is None
            assert response.read()
            assert record.outcome.status == "complete"
            assert record.text == STORY.text


@pytest.mark.parametrize("mode", ["heal", "raise"])
@pytest.mark.parametrize("name", DRIVES)
def test_a_shorter_read_timeout_of_the_user_wins(name, mode):
    opts = options(mode, clocks=_PATIENT)
    script = breaking(model_for(name), Break("stall", at=12))
    run = guarded(name, script, opts=opts, timeout_s=0.2)
    lawful(run)
    met(run, "healed" if mode == "heal" else "fails", {"stalled"})
    first = run.outcome.attempts[0]
    assert 0.15 < first.ended_at - first.started_at < 0.2 + _SLACK_S
    if mode == "raise" and DRIVES[name].sdk == "openai":
        assert run.drive.raised == "openai.APITimeoutError"


def test_a_longer_read_timeout_does_not_lengthen_ours():
    opts = options("raise", clocks=_CLOCKS)
    run = guarded("anthropic", reply("stall", "anthropic-messages"), opts=opts, timeout_s=600)
    lawful(run)
    assert run.drive.seconds < _DUE_S + _SLACK_S
    import anthropic

    assert isinstance(run.drive.error, anthropic.APITimeoutError)


@pytest.mark.parametrize("name", ["openai-chat", "openai-chat-async"])
def test_time_that_the_consumer_takes_does_not_count(name):
    opts = options("raise", clocks=_CLOCKS)

    def dawdle(piece):
        if piece in STORY.tokens[3:5]:
            time.sleep(2 * _DUE_S)

    gate = reply("ok", "openai-chat", pace_s=0.005)
    run = guarded(name, gate, opts=opts, on_text=dawdle)
    lawful(run)
    met(run, "whole", set())


@pytest.mark.seed("003-drop-activity", "003-do-monitor")
@pytest.mark.parametrize("name", ["openai-chat", "openai-chat-async", "anthropic", "ollama-async"])
def test_a_stall_is_told_at_a_third_and_nothing_is_done(name):
    clocks = unbroken.Clocks(silence_s=3, progress_text_s=3, notice_s=0.1)
    frames = body(DRIVES[name].dialect, STORY)
    pieces = [*frames[:14], Pause(0.8), *frames[14:]]
    healthy = reply("ok", DRIVES[name].dialect)
    script = Reply(headers=healthy.headers, pieces=pieces)
    run = guarded(name, script, opts=options(clocks=clocks))
    lawful(run)
    met(run, "whole", set())
    told = [notice for notice in run.stalls if notice.clock == "progress"]
    assert len(told) == 1
    assert 0.1 <= told[0].waited_s < 0.8
    assert told[0].phase == "text"


@pytest.mark.parametrize("name", ["openai-chat", "google-genai-async", "ollama"])
def test_own_requests_have_deadlines_too(name):
    """The second request is never answered, the third is refused, the fourth is whole."""
    plan = (Break("cut_clean", at=2), Break("no_head", at=2), Break("http503", at=2))
    run = guarded(name, breaking(model_for(name), *plan), opts=options(clocks=_CLOCKS))
    lawful(run, deadlines=4)
    met(run, "healed", {"truncated-between-events"})
    kinds = [record.fault.kind for record in run.outcome.attempts[1:3]]
    assert kinds == ["stalled", "http-error"]


@pytest.mark.parametrize("name", ["openai-chat", "openai-chat-async", "anthropic-async"])
def test_the_whole_stream_has_a_deadline_if_one_is_set(name):
    clocks = unbroken.Clocks(total_s=0.3)
    slow = reply("ok", DRIVES[name].dialect, pace_s=0.03)
    run = guarded(name, slow, opts=options(clocks=clocks), timeout_s=20)
    lawful(run)
    met(run, "fails", {"stalled"})
    assert 0.3 <= run.drive.seconds < 0.3 + _SLACK_S


@pytest.mark.parametrize("name", ["openai-chat", "openai-chat-async"])
def test_recovery_takes_no_longer_than_allowed(name):
    opts = options(max_recovery_s=0.4)
    run = guarded(name, reply("cut_clean", "openai-chat", at=12), opts=opts)
    lawful(run)
    assert run.drive.error is not None
    assert run.drive.seconds < 0.4 + _SLACK_S


def test_a_stalled_stream_does_not_hold_up_the_loop():
    """While one stream waits for its deadline, others go on, and at their own pace."""
    name = "openai-chat-async"

    async def main(server, other):
        client = client_for(name, options("raise", clocks=_CLOCKS))
        stuck = Wire(base_url=server.url, http_client=client, request=request_for(name))
        fine = Wire(base_url=other.url, http_client=client, request=request_for(name))
        one, two = await asyncio.gather(DRIVES[name].function(stuck), DRIVES[name].function(fine))
        await client.aclose()
        return one, two

    with (
        FaultServer(reply("stall", "openai-chat")) as server,
        FaultServer(reply("ok", "openai-chat")) as other,
    ):
        one, two = asyncio.run(main(server, other))
    assert one.error is not None
    assert two.text == STORY.text
    assert two.seconds < one.seconds


# The timer thread does not survive a fork; the child starts its own.
_FORK = """
    import os, sys
    from tests.contract.rig import guarded, script_for
    from tests.support.faults import STORY

    def healed():
        run = guarded("openai-chat", script_for("openai-chat", "stall"), fault="stall")
        assert run.drive.text == STORY.text, run.drive.error
        assert run.outcome.attempts[0].fault.kind == "stalled"
        assert run.drive.seconds < 2

    if sys.argv[1] == "used":
        healed()  # the thread runs
    child = os.fork()
    if child == 0:
        healed()
        os._exit(0)
    healed()
    assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("before", ["imported", "used"])
def test_a_fork_after_import(before):
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_FORK), before],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_importing_starts_no_thread():
    code = "import threading, unbroken, unbroken.transports.httpx2; print(threading.active_count())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "1"
    assert importlib.import_module("unbroken")
