"""What an attacker found: bad options, hostile bodies, floods, leaving in odd ways, secrets."""

import asyncio
import copy
import gzip
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import traceback
import tracemalloc

import httpx2
import openai
import pytest

import unbroken
from tests.contract.rig import guarded, options
from tests.support.bodies import body
from tests.support.faults import STORY, Break, breaking
from tests.support.faultserver import FaultServer, Gate, Reply
from tests.support.model import Model
from unbroken.core.actions import Deliver
from unbroken.core.dialects import by_name
from unbroken.core.request import Request
from unbroken.core.stream import Stream
from unbroken.telemetry import Callbacks

_FRAMES = body("openai-chat", STORY)
_KEY, _PROMPT = "sk-never-to-be-told", "the never to be told prompt"
_CALL = {"model": "m", "messages": [{"role": "user", "content": _PROMPT}], "stream": True}


def _client(server, outcomes=None, **more):
    http = unbroken.http_client(
        options=options(**more), on_outcome=None if outcomes is None else outcomes.append
    )
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=_KEY, max_retries=0, http_client=http)


def _read(client):
    events = client.chat.completions.create(**_CALL)
    return "".join(e.choices[0].delta.content or "" for e in events if e.choices)


# ---------------------------------------------------------------- wrong options

_WRONG = [
    {"clocks": 5},
    {"clocks": {"total_s": 3}},
    {"rungs": "prefill"},
    {"rungs": None},
    {"max_attempts": "3"},
    {"max_attempts": 2.5},
    {"max_attempts": True},
    {"max_recovery_s": None},
    {"heal_share": "much"},
    {"allow_resend": "no"},
    {"capabilities": {"prefill": True}},
    {"capabilities": ("prefill",)},
    {"authorize": 5},
]


@pytest.mark.parametrize("wrong", _WRONG, ids=str)
def test_an_option_of_a_wrong_type_is_named(wrong):
    with pytest.raises(TypeError, match=next(iter(wrong))):
        unbroken.Options(**wrong)


def test_numbers_that_are_none_are_refused():
    with pytest.raises(ValueError, match="max_recovery_s"):
        unbroken.Options(max_recovery_s=float("nan"))
    with pytest.raises(TypeError, match="silence_s must be a number of seconds"):
        unbroken.Clocks(silence_s="5")


@pytest.mark.parametrize("make", [unbroken.http_client, unbroken.async_http_client])
def test_what_a_stream_would_stumble_over_is_refused_at_once(make):
    for rows in ({"prefil": True},), ({"host": "("},):
        with pytest.raises(ValueError, match="capability row is not valid"):
            make(options=unbroken.Options(capabilities=rows))
        with pytest.raises(ValueError, match="capability row is not valid"):
            unbroken.stream("Hi", model="m", options=unbroken.Options(capabilities=rows))
    with pytest.raises(TypeError, match=r"options must be unbroken\.Options"):
        make(options={"mode": "heal"})
    with pytest.raises(TypeError, match="on_outcome must be a function"):
        make(on_outcome="print")


def test_callbacks_that_nobody_would_await_are_refused():
    async def late(_):
        pass

    for name in ("on_stall", "on_reconnect", "on_outcome"):
        with pytest.raises(TypeError, match=f"{name} must be a plain function"):
            unbroken.async_http_client(**{name: late})
        with pytest.raises(TypeError, match=f"{name} must be a plain function"):
            Callbacks(**{name: late})


def test_a_verdict_is_given_on_bytes_and_on_known_ends():
    with pytest.raises(TypeError, match="bytes of a response, not str"):
        unbroken.check("data: x\n\n")
    with pytest.raises(ValueError, match="end must be one of"):
        unbroken.check(b"data: x\n\n", end="fin")


# ---------------------------------------------------------------- hostile bodies


def test_a_gzip_bomb_takes_no_memory():
    """A megabyte of gzip holds a gigabyte; it is unpacked in pieces, and a limit ends it."""
    bomb = gzip.compress(b"data: " + b"x" * (100 << 20))
    reply = Reply(headers={"content-encoding": "gzip"}, pieces=[bomb])
    tracemalloc.start()
    run = guarded("openai-chat", reply, mode="raise")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert run.drive.raised == "openai.APIConnectionError"
    assert run.outcome.fault.kind == "oversized-event"
    assert most < 20 << 20


@pytest.mark.parametrize("mode", ["raise", "observe"])
def test_gzip_that_is_none_is_the_librarys_error(mode):
    reply = Reply(headers={"content-encoding": "gzip"}, pieces=_FRAMES)
    with (
        FaultServer(reply) as server,
        unbroken.http_client(options=options(mode)) as client,
        client.stream("POST", f"{server.url}/v1/chat/completions", json=_CALL) as response,
        pytest.raises(httpx2.HTTPError) as caught,
    ):
        response.read()
    if mode == "observe":
        assert type(caught.value) is httpx2.DecodingError
    else:
        assert unbroken.outcome_of(caught.value) is not None


def test_encodings_that_the_library_can_read_are_protected():
    packed = gzip.compress(gzip.compress(b"".join(_FRAMES[:20])))
    reply = Reply(headers={"content-encoding": "gzip, gzip"}, pieces=[packed])
    run = guarded("openai-chat", reply, mode="raise")
    assert run.drive.text == "".join(STORY.tokens[:19])
    assert run.outcome.fault.kind == "truncated-between-events"


_FLOODS = {
    "bad UTF-8": b'data: {"choices":[{"index":0,"delta":{"content":"a\xff"}}]}\n\n',
    "bad UTF-8 in comments": b": \xff\n\n",
    "choices": b'data: {"choices":[{"index":%d,"delta":{"content":"a"}}]}\n\n',
    "finishes": b'data: {"choices":[{"index":%d,"delta":{},"finish_reason":"stop"}]}\n\n',
    "calls": b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":%d,"id":"a",'
    b'"function":{"name":"f","arguments":"{}"}}]}}]}\n\n',
}


@pytest.mark.parametrize("mode", ["heal", "raise", "observe"])
@pytest.mark.parametrize("flood", _FLOODS)
def test_what_is_remembered_of_a_flood_has_an_end(flood, mode):
    made = unbroken.Options(mode=mode, max_replay_bytes=65536, max_held_bytes=65536)
    request = Request(method="POST", url="http://h/v1/chat/completions", body=b'{"stream":true}')
    stream = Stream(request, by_name("openai-chat"), options=made, now=0.0, sent=True)
    stream.connected(200, {}, 0.0)
    stream.receive(_FRAMES[1], 0.0)
    tracemalloc.start()
    for number in range(16_000):
        raw = _FLOODS[flood]
        stream.receive(raw % number if b"%d" in raw else raw, 0.0)
        while isinstance(stream.next_action(), Deliver):
            pass
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 3_500_000


@pytest.mark.parametrize("name", ["openai-chat", "openai-chat-async"])
def test_a_flood_without_content_does_not_outlast_the_deadline(name):
    """Where a read never waits, no timer can wake it."""
    piece = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n' * 200

    def endless():
        until = time.monotonic() + 8
        while time.monotonic() < until:
            yield piece

    limits = options(clocks=unbroken.Clocks(progress_slow_s=0.5), max_attempts=1)
    run = guarded(name, Reply(pieces=endless), opts=limits, timeout_s=30)
    assert run.drive.raised == "openai.APITimeoutError"
    assert run.outcome.fault.kind == "stalled"
    assert run.drive.seconds < 4


_ODD = {
    "nothing": Reply(pieces=[], framing="length"),
    "a head and a reset": Reply(pieces=[], end="rst"),
    "no content": Reply(status=None, pieces=[b"HTTP/1.1 204 No Content\r\n\r\n"], end="fin"),
    "another protocol": Reply(status=None, pieces=[b"SSH-2.0-OpenSSH\r\n"], end="fin"),
    "NULs": Reply(pieces=[b"\0" * 100_000]),
    "deep JSON": Reply(pieces=[*_FRAMES[:5], b"data: " + b"[" * 100_000 + b"\n\n", *_FRAMES[5:]]),
    "deep JSON, closed": Reply(
        pieces=[*_FRAMES[:5], b"data: " + b"[" * 10**5 + b"]" * 10**5 + b"\n\n", *_FRAMES[5:]]
    ),
}


@pytest.mark.parametrize("mode", ["raise", "heal"])
@pytest.mark.parametrize("odd", _ODD)
def test_odd_answers_are_errors_that_users_catch(odd, mode, monkeypatch):
    monkeypatch.setattr("unbroken.core.recovery.machine.backoff_s", lambda *_, **__: 0.0)
    run = guarded("openai-chat", _ODD[odd], mode=mode)
    assert isinstance(run.drive.error, openai.APIConnectionError)
    assert STORY.text.startswith(run.drive.text)
    assert run.leaked == 0


@pytest.mark.parametrize("size", [1, 10**6])
def test_however_the_body_is_cut_into_reads(size):
    raw = b"".join(_FRAMES)
    pieces = [raw[at : at + size] for at in range(0, len(raw), size)]
    run = guarded("openai-chat", Reply(pieces=pieces))
    assert run.drive.text == STORY.text
    assert run.outcome.complete


# ---------------------------------------------------------------- leaving in odd ways


def test_closing_the_client_ends_the_streams_that_are_read():
    """A closed socket does not wake a read in another thread; it would hang for minutes."""
    outcomes = []
    with FaultServer(Reply(pieces=_FRAMES[:8], end="stall")) as server:
        client = _client(server, outcomes, clocks=unbroken.Clocks())
        threading.Timer(0.2, client.close).start()
        began = time.monotonic()
        with pytest.raises(openai.APIConnectionError) as caught:
            _read(client)
        assert time.monotonic() - began < 5
        assert len(server.requests) == 1, "a closed client was used for a recovery"
        assert server.wait_for_open(0)
    assert unbroken.outcome_of(caught.value) is outcomes[0]
    assert outcomes[0].status == "cancelled"


def test_closing_an_async_client_does_too():
    async def main(url):
        http = unbroken.async_http_client(options=options(clocks=unbroken.Clocks()))
        client = openai.AsyncOpenAI(
            base_url=f"{url}/v1", api_key=_KEY, max_retries=0, http_client=http
        )
        events = await client.chat.completions.create(**_CALL)
        closing = asyncio.get_running_loop().call_later(
            0.2, lambda: tasks.append(asyncio.create_task(client.close()))
        )
        tasks = []
        try:
            async for _ in events:
                pass
        finally:
            closing.cancel()
            await asyncio.gather(*tasks)

    with FaultServer(Reply(pieces=_FRAMES[:8], end="stall")) as server:
        with pytest.raises(openai.APIConnectionError):
            asyncio.run(asyncio.wait_for(main(server.url), 5))
        assert server.wait_for_open(0)


def test_a_read_that_was_cancelled_is_not_followed_by_a_clean_end():
    """`asyncio.wait_for` around each event cancels the read when it fires."""
    gate = Gate()

    async def main(url):
        stream = unbroken.astream("Hi", model="m", base_url=url)
        with pytest.raises(TimeoutError):  # noqa: PT012 - which of them it is does not matter
            while True:
                await asyncio.wait_for(anext(stream), 0.2)
        gate.open()
        with pytest.raises(unbroken.IncompleteStreamError, match="cancelled"):
            await anext(stream)
        await stream.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(stream)

    with FaultServer(Reply(pieces=[*_FRAMES[:8], gate, *_FRAMES[8:]])) as server:
        asyncio.run(main(server.url))


_INTERRUPTED = """
import sys, unbroken
try:
    with unbroken.stream("Hi", model="m", base_url=sys.argv[1]) as stream:
        print("begun", flush=True)
        stream.text()
except KeyboardInterrupt:
    print(stream.outcome.status)
"""


@pytest.mark.parametrize("where", ["a read", "a pause"])
def test_an_interrupt_ends_it_and_leaves_nothing_behind(where):
    reply = Reply(pieces=_FRAMES[:8], end="stall") if where == "a read" else Reply(status=503)
    with FaultServer(reply) as server:
        command = [sys.executable, "-c", _INTERRUPTED, server.url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert server.wait_for(lambda: len(server.requests) > 0, within_s=10)
            time.sleep(0.2)  # from the request to the read or the pause after it
            process.send_signal(signal.SIGINT)
            said, _ = process.communicate(timeout=5)
        assert server.wait_for_open(0)
    assert said.split() == ["begun", "cancelled"]
    assert process.returncode == 0


def test_a_timeout_around_a_stream_cancels_nothing_else():
    async def main(url):
        async with unbroken.astream("Hi", model="m", base_url=url) as stream:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await stream.text()
            await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    with FaultServer(Reply(pieces=_FRAMES[:8], end="stall")) as server:
        assert asyncio.run(main(server.url)) == 0
        assert server.wait_for_open(0)


def test_a_client_is_used_again_after_heals_and_keeps_few_connections():
    model = Model(dialect="openai-chat", answer=STORY)
    with FaultServer(breaking(model, *[Break("cut_clean", at=12), None] * 5)) as server:
        with _client(server) as client:
            assert [_read(client) for _ in range(5)] == [STORY.text] * 5
            assert server.open_connections <= 1  # the server may have closed the last one
        assert server.wait_for_open(0)


@pytest.mark.parametrize("used", [False, True])
def test_a_forked_child_heals_with_the_parents_client(used):
    model = Model(dialect="openai-chat", answer=STORY)
    plan = [None] * used + [Break("cut_rst", at=12)]
    with FaultServer(breaking(model, *plan)) as server, _client(server) as client:
        if used:
            assert _read(client) == STORY.text
        came, said = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.write(said, b"whole" if _read(client) == STORY.text else b"not whole")
            except BaseException as error:
                os.write(said, repr(error).encode()[:200])
            os._exit(0)
        os.close(said)
        assert os.read(came, 200) == b"whole"
        os.close(came)
        os.waitpid(child, 0)
        assert _read(client) == STORY.text


# ---------------------------------------------------------------- exceptions, and secrets


def _failed(**reply):
    with (
        FaultServer(Reply(**reply)) as server,
        _client(server, mode="raise") as client,
        pytest.raises(openai.APIConnectionError) as caught,
    ):
        _read(client)
    return caught.value


def test_an_exception_can_be_pickled_and_copied():
    error = _failed(pieces=_FRAMES[:20]).__cause__
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert isinstance(twin, unbroken.IncompleteStreamError)
        assert str(twin) == str(error)
        assert unbroken.outcome_of(twin) == unbroken.outcome_of(error)


def test_outcomes_are_found_in_groups_and_not_elsewhere():
    error = _failed(pieces=_FRAMES[:20])
    group = ExceptionGroup("of a task group", [ValueError("x"), error])
    assert unbroken.outcome_of(group) is unbroken.outcome_of(error) is not None
    loop = ValueError("x")
    loop.__cause__ = loop
    for other in (None, loop, KeyError("outcome"), ExceptionGroup("g", [loop])):
        assert unbroken.outcome_of(other) is None


_TELLING = {
    "text": _FRAMES[:20],
    "error": [
        *_FRAMES[:20],
        b"data: "
        + json.dumps({"error": {"message": f"{_PROMPT} {_KEY}", "type": "server_error"}}).encode()
        + b"\n\n",
    ],
    "page": [f"<html>{_PROMPT} {_KEY}</html>".encode()],
    "payload": [f'data: {{"x": {_PROMPT} {_KEY}\n\n'.encode()],
}


@pytest.mark.parametrize("mode", ["raise", "heal"])
@pytest.mark.parametrize("telling", _TELLING)
def test_no_secret_is_in_an_error_a_log_or_a_request(telling, mode, monkeypatch, caplog):
    monkeypatch.setattr("unbroken.core.recovery.machine.backoff_s", lambda *_, **__: 0.0)
    caplog.set_level("DEBUG")
    with FaultServer(Reply(pieces=_TELLING[telling])) as server:
        stream = unbroken.stream(
            _PROMPT, model="m", base_url=server.url, api_key=_KEY, options=options(mode)
        )
        with pytest.raises(unbroken.StreamingError) as caught:
            stream.text()
    told = "".join(
        [
            *traceback.format_exception(caught.value),
            repr(caught.value),
            repr(stream.request),
            caplog.text,
        ]
    )
    for secret in (_KEY, _PROMPT, STORY.text[:20]):
        assert secret not in told
