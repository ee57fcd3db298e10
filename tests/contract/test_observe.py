"""`observe` changes nothing but that it tells; `off` does not even look."""

import pytest

from tests.contract.expectations import BEFORE, cases, kinds_of
from tests.contract.oracle import same, tells
from tests.contract.rig import CLOCKS, guarded, options, plain, script_for
from tests.support.bodies import body
from tests.support.drives import DRIVES, SYNC_DRIVES
from tests.support.faults import FAULTS, STORY, reply
from tests.support.faultserver import Pause, Reply
from unbroken import Clocks

# Without us these last for ever, or as long as the SDK's own timeout lets them.
_ENDLESS = tuple(name for name, row in FAULTS.items() if row.endless)
_LEFT_OUT = (*_ENDLESS, *BEFORE, "slow_drip")
_DRIVES = (*SYNC_DRIVES, "openai-chat-async", "google-genai-async")  # one for each library
_QUICK = Clocks(
    first_event_s=CLOCKS.first_event_s,
    silence_s=0.1,
    progress_text_s=0.1,
    progress_slow_s=0.1,
)


@pytest.mark.parametrize(("name", "fault"), cases(drives=_DRIVES, but=_LEFT_OUT))
def test_observe_is_as_without_us_and_names_the_fault(name, fault):
    timing = {"every_s": 0.02, "for_s": 0.3} if fault == "ka_stall" else {}
    run = guarded(name, script_for(name, fault, **timing), opts=options("observe", clocks=_QUICK))
    same(run, plain(name, script_for(name, fault, **timing)))
    assert len(run.exchanges) == 1
    if run.outcomes:
        tells(run, kinds_of(name, fault))
        if FAULTS[fault].carries == "prefix":
            # What was received, also of a frame that the SDK dropped or failed on.
            assert run.outcome.text.startswith(run.drive.text)
    else:
        # An SDK that fails in its own loop leaves the stream to the garbage collector, and
        # here the exception's traceback still holds it.
        assert run.drive.error is not None


@pytest.mark.parametrize("name", ["openai-chat", "openai-responses-async", "anthropic", "ollama"])
def test_observe_does_not_shorten_a_stall(name):
    opts = options("observe", clocks=_QUICK)
    run = guarded(name, script_for(name, "stall"), opts=opts, timeout_s=0.4)
    same(run, plain(name, script_for(name, "stall"), timeout_s=0.4))
    assert run.drive.seconds >= 0.4
    assert "stalled" in {found.kind for found in run.outcome.faults}
    assert run.stalls
    assert run.outcome.status == "failed"


@pytest.mark.parametrize("name", DRIVES)
def test_observe_says_what_healing_would_have_done(name):
    run = guarded(name, script_for(name, "cut_clean"), mode="observe")
    would = run.outcome.skipped[-1]
    assert "would have sent" in would.why
    healed = guarded(name, script_for(name, "cut_clean"), mode="heal")
    assert healed.outcome.attempts[1].rung == would.rung


@pytest.mark.parametrize(
    "fault", ["ok", "cut_rst", "cut_clean", "bad_json", "error_obj", "html200"]
)
@pytest.mark.parametrize("name", _DRIVES)
def test_off_is_a_bypass(name, fault):
    run = guarded(name, script_for(name, fault), mode="off")
    same(run, plain(name, script_for(name, fault)))
    assert run.outcomes == run.stalls == run.reconnects == []


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("openai-chat", "asyncio"),
        ("ollama", "asyncio"),
        ("openai-chat-async", "asyncio"),
        ("openai-chat-async", "trio"),
        ("anthropic-async", "trio"),
    ],
)
def test_observe_ends_nothing_at_a_deadline(name, backend):
    """Not by its own clocks, and not by a limit on the whole stream either."""
    clocks = Clocks(silence_s=0.05, progress_text_s=0.05, progress_slow_s=0.05, total_s=0.2)
    frames = body(DRIVES[name].dialect, STORY)
    pieces = [*frames[:9], Pause(0.3), *frames[9:20], Pause(0.3), *frames[20:]]
    paused = Reply(headers=reply("ok", DRIVES[name].dialect).headers, pieces=pieces)
    run = guarded(name, paused, opts=options("observe", clocks=clocks), backend=backend)
    assert run.drive.verdict(STORY.text) == "ok"
    assert run.drive.finished
    tells(run, {"stalled"})
