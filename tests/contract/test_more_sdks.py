"""The second row of SDKs: each kind of fault once, in every mode; and leaving early.

They sit on wires that the first row has proven, so what counts here is what is their own: what
they make of our exceptions, of the bytes after a splice, and of a stream that is left.
"""

import asyncio
import contextlib
import gc
import importlib.metadata
import json

import anyio
import pytest

from tests.contract.matrix import judge
from tests.contract.oracle import lawful, same
from tests.contract.rig import client_for, guarded, model_for, options, plain, request_for
from tests.support.bodies import Answer, ToolCall, WireFrame, tokens_of
from tests.support.drives import SECOND_ROW, Wire, spec_of
from tests.support.environments import environment
from tests.support.faults import FAULTS, STORY, Break, breaking, reply
from tests.support.faultserver import FaultServer
from unbroken import Clocks

# One or two of each kind, and what is harmless but unusual.
_FAULTS = (
    "ok",
    "sliced",
    "warm",
    "gzip",
    "no_content",
    "empty_choices",
    "cut_clean",
    "cut_midline",
    "cut_no_blank",
    "cut_rst",
    "gzip_cut",
    "no_done",
    "no_finish",
    "bad_json",
    "invalid_utf8",
    "huge_line",
    "error_obj",
    "html200",
    "json200",
    "empty",
    "after_finish",
    "dup",
    "stall",
    "ka_dead",
    "cut_before",
    "http503",
)
_ELSEWHERE = ("instructor", "litellm")
_ELSEWHERE_FAULTS = (
    "ok",
    "no_content",
    "cut_clean",
    "cut_midline",
    "cut_rst",
    "no_finish",
    "bad_json",
    "error_obj",
    "html200",
    "empty",
    "dup",
    "http503",
)
_HERE = tuple(name for name, spec in SECOND_ROW.items() if spec.sdk not in _ELSEWHERE)
# One for each SDK; for the async twins a few faults will do besides those that are healed.
_ONE_EACH = ("mistralai", "groq", "cohere", "langchain-openai", "pydantic-ai-async")
_FEW = ("cut_clean", "cut_rst", "bad_json", "error_obj", "html200", "stall")
_SYNC = tuple(name for name in _HERE if not spec_of(name).is_async)
_ASYNC = tuple(name for name in _HERE if spec_of(name).is_async)


def _need(name):
    sdk = spec_of(name).sdk
    try:
        importlib.metadata.version(sdk)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{sdk} is not installed")


def _cases(names, *, but=()):
    return [
        (name, fault)
        for name in names
        for fault in _FAULTS
        if spec_of(name).dialect in FAULTS[fault].dialects and fault not in but
    ]


# ---------------------------------------------------------------- every kind of fault


_LAW = [(name, fault, "heal") for name, fault in _cases(_HERE)] + [
    (name, fault, "raise") for name, fault in _cases(_HERE) if name in _ONE_EACH or fault in _FEW
]


@pytest.mark.parametrize(("name", "fault", "mode"), _LAW)
def test_the_law_under_every_kind_of_fault(name, fault, mode):
    _need(name)
    judge(name, fault, mode)


@pytest.mark.parametrize(("name", "fault"), _cases(_ONE_EACH, but=("stall", "ka_dead")))
def test_observe_is_as_without_us(name, fault):
    _need(name)
    judge(name, fault, "observe")


@pytest.mark.parametrize("mode", ["heal", "raise"])
@pytest.mark.parametrize("name", _HERE)
def test_a_healthy_stream_is_as_without_us(name, mode):
    _need(name)
    run = guarded(name, model_for(name), mode=mode)
    same(run, plain(name, model_for(name)))
    assert run.drive.text == STORY.text
    assert run.outcome.status == "complete"


@pytest.mark.parametrize("mode", ["heal", "raise", "observe"])
@pytest.mark.parametrize("env", _ELSEWHERE)
def test_the_law_in_an_environment_of_its_own(env, mode):
    names = [name for name, spec in SECOND_ROW.items() if spec.sdk == env]
    faults = _ELSEWHERE_FAULTS if mode == "observe" else (*_ELSEWHERE_FAULTS, "stall")
    job = {"drives": names, "faults": faults, "modes": [mode]}
    out = environment(env).run("-m", "tests.contract.matrix", stdin=json.dumps(job), timeout_s=110)
    assert json.loads(out.splitlines()[-1]) == []


# ---------------------------------------------------------------- where an answer is healed


@pytest.mark.parametrize(
    ("at", "fault", "rung"),
    [
        (0, "cut_clean", "retry"),
        (5, "cut_midline", "replay"),  # few letters: asked for once more
        (20, "cut_rst", "prefill"),
        (len(STORY.tokens), "cut_clean", "prefill"),  # the finish alone is missing
    ],
)
@pytest.mark.parametrize("name", _HERE)
def test_healed_at_any_place(name, at, fault, rung):
    _need(name)
    run = guarded(name, breaking(model_for(name), Break(fault, at=at)))
    lawful(run)
    assert run.drive.error is None
    if rung == "prefill" and spec_of(name).dialect == "cohere":
        rung = "user-turn"  # it is not known to go on from a begun turn
    assert [record.rung for record in run.outcome.attempts] == ["first", rung]


_TOOLS = Answer(
    tokens=tokens_of("Let me look at that for you, one moment please."),
    tools=(
        ToolCall(name="weather", fragments=('{"city": "東', '京", "da', 'ys": 2}'), id="call_a"),
        ToolCall(name="now", fragments=('{"zone": ', '"JST"}'), id="call_b"),
    ),
)


# pydantic-ai would run the tools, and mistralai bears no call in parts.
_PARTS = tuple(name for name in _HERE if spec_of(name).sdk not in ("pydantic-ai-slim", "mistralai"))


@pytest.mark.parametrize("at", [1, 4])
@pytest.mark.parametrize("name", _PARTS)
def test_a_tool_call_that_broke_is_whole_or_not_there(name, at):
    _need(name)
    model = model_for(name, answer=_TOOLS)
    request = request_for(name, deterministic=True)
    script = breaking(model, Break("cut_rst", at=at, role="tool"))
    run = guarded(name, script, request=request)
    lawful(run, _TOOLS)
    assert run.drive.error is None
    said = [json.loads(call["arguments"]) for call in run.drive.tools]
    assert said == [json.loads(call.arguments) for call in _TOOLS.tools]


def _in_one_frame(frames):
    """The calls as Mistral sends them: all of them whole, with the finish."""
    calls, out = [], []
    for frame in frames:
        if frame.role == "open":
            calls.append(frame.payload["choices"][0]["delta"]["tool_calls"][0])
        elif frame.role == "tool":
            delta = frame.payload["choices"][0]["delta"]["tool_calls"][0]
            calls[-1]["function"]["arguments"] += delta["function"]["arguments"]
        elif frame.role == "finish":
            payload = frame.payload
            payload["choices"][0]["delta"] = {"content": "", "tool_calls": calls}
            out.append(frame.with_payload(payload))
        else:
            out.append(frame)
    return out


@pytest.mark.parametrize("name", ["mistralai", "mistralai-async"])
def test_calls_in_one_frame(name):
    _need(name)
    model = model_for(name, answer=_TOOLS)

    def script(request):
        frames = _in_one_frame(model.frames(request))
        finish = next(number for number, frame in enumerate(frames) if frame.role == "finish")
        if len(model.attempts) == 1:
            frames = [*frames[:finish], WireFrame(frames[finish][:80])]
        return reply("ok", "openai-chat", frames, at=0)

    run = guarded(name, script)
    lawful(run, _TOOLS)
    assert run.drive.error is None
    assert [call["arguments"] for call in run.drive.tools] == [c.arguments for c in _TOOLS.tools]
    assert len(run.exchanges) == 2


# ---------------------------------------------------------------- leaving early

_PATIENT = Clocks(silence_s=30, progress_text_s=30)
_WITHIN_S = 1.0
# Where the SDK's own stream holds itself in a cycle, with or without us, a plain `break` waits
# for the collector.
_CYCLES = ("groq", "groq-async", "langchain-openai", "langchain-openai-async")


def _wire(name, server, client, **more):
    request = request_for(name)
    return Wire(base_url=server.url, http_client=client, timeout_s=20, request=request, **more)


def _hanging(name):
    return reply("stall", spec_of(name).dialect, at=20)


@pytest.mark.parametrize("mode", ["heal", "observe"])
@pytest.mark.parametrize("name", _SYNC)
def test_leaving_early_lets_go_of_the_connection(name, mode):
    _need(name)
    told = []
    with FaultServer(_hanging(name)) as server:
        client = client_for(name, options(mode, clocks=_PATIENT), on_outcome=told.append)
        drive = spec_of(name).function(_wire(name, server, client, stop_after=5))
        assert drive.pieces == list(STORY.tokens[:5])
        if name in _CYCLES:
            gc.collect()
        assert server.wait_for_open(0, _WITHIN_S)
        assert [outcome.status for outcome in told] == ["cancelled"]
        server.script = model_for(name)  # the pool can be used again
        assert spec_of(name).function(_wire(name, server, client)).text == STORY.text
        client.close()


async def _closed(server, told, *, collect):
    with anyio.fail_after(5.0 if collect else _WITHIN_S):
        while server.open_connections or not told:
            await anyio.sleep(0.005)
            if collect:
                gc.collect()


@pytest.mark.parametrize("cancel", [False, True], ids=["break", "cancel"])
@pytest.mark.parametrize("name", _ASYNC)
def test_leaving_early_in_an_event_loop(name, cancel):
    _need(name)
    told = []

    async def main(server):
        client = client_for(name, options(clocks=_PATIENT), on_outcome=told.append)
        if cancel:
            arrived = asyncio.Event()
            wire = _wire(name, server, client, on_text=lambda _: arrived.set())
            task = asyncio.create_task(spec_of(name).function(wire))
            await arrived.wait()
            await asyncio.sleep(0.02)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            assert task.cancelled()
            del task  # its traceback holds the stream
        else:
            await spec_of(name).function(_wire(name, server, client, stop_after=5))
        await _closed(server, told, collect=name in _CYCLES)
        await client.aclose()

    with FaultServer(_hanging(name)) as server:
        asyncio.run(main(server))
    assert [outcome.status for outcome in told] == ["cancelled"]
