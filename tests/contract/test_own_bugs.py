"""A bug of ours, or of a callback, costs the protection of one stream, and nothing else."""

import gc
import logging

import httpx2
import pytest

import unbroken
from tests.contract import rig
from tests.contract.oracle import same
from tests.contract.rig import client_for, guarded, options, plain, script_for
from tests.support.drives import DRIVES, Wire
from tests.support.faults import STORY, reply
from tests.support.faultserver import FaultServer
from unbroken.core.attempt import Attempt
from unbroken.core.checks.liveness import Liveness
from unbroken.core.stream import Stream
from unbroken.transports import _errors, _family

_DRIVES = ("openai-chat", "openai-chat-async", "anthropic", "google-genai-async", "ollama")


class Bug(Exception):
    pass


def _break_after(monkeypatch, owner, method, calls):
    """The method works so many times, and then raises for ever."""
    real, made = getattr(owner, method), []

    def broken(*args, **named):
        made.append(1)
        if len(made) > calls:
            raise Bug
        return real(*args, **named)

    monkeypatch.setattr(owner, method, broken)
    return made


@pytest.mark.parametrize("mode", ["heal", "raise", "observe"])
@pytest.mark.parametrize("name", _DRIVES)
@pytest.mark.parametrize(
    ("owner", "method", "calls"),
    [
        (Stream, "connected", 0),
        (Stream, "receive_eof", 0),
        (Attempt, "receive", 0),
        (Liveness, "resume", 5),
        (Liveness, "event", 3),
        (Attempt, "close", 0),
        (_family, "recognise_request", 0),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_we_step_aside(owner, method, calls, name, mode, monkeypatch, caplog):
    made = _break_after(monkeypatch, owner, method, calls)
    script = reply("ok", DRIVES[name].dialect, pace_s=0.001)
    run = guarded(name, script, mode=mode)
    assert run.drive.error is None
    assert run.drive.text == STORY.text
    assert run.drive.finished
    assert run.leaked == 0
    if len(made) > calls:  # openai stops reading before the end of the body
        assert "stepped aside" in caplog.text
        assert caplog.records[0].levelno == logging.ERROR


@pytest.mark.parametrize("name", ["openai-chat", "anthropic", "google-genai"])
def test_leaving_raises_nothing(name, monkeypatch, caplog):
    _break_after(monkeypatch, Stream, "cancel", 0)
    with FaultServer(reply("stall", DRIVES[name].dialect, at=20)) as server:
        client = client_for(name, options(clocks=None))
        wire = Wire(base_url=server.url, http_client=client, stop_after=3)
        drive = DRIVES[name].function(wire)
        gc.collect()  # openai's streams hold themselves in a cycle
        client.close()
        assert server.wait_for_open(0)
    assert drive.error is None
    assert "Bug" in caplog.text


def test_the_timer_thread_outlives_a_bug(monkeypatch, caplog):
    with monkeypatch.context() as patch:
        _break_after(patch, Liveness, "handle_timer", 1)  # the first is not on the thread
        stuck = reply("stall", "openai-chat")
        run = guarded("openai-chat", stuck, mode="raise", fault="stall", timeout_s=0.5)
        assert run.drive.raised == "openai.APITimeoutError"  # the SDK's own timeout is left
        assert "at a deadline" in caplog.text
    run = guarded("openai-chat", script_for("openai-chat", "stall"), fault="stall")
    assert run.drive.text == STORY.text
    assert run.outcome.attempts[0].fault.detail.startswith("no byte arrived")


def test_an_exception_that_cannot_be_made_is_replaced(monkeypatch, caplog):
    _break_after(monkeypatch, _errors, "_class_for", 0)
    run = guarded("anthropic", reply("cut_rst", "anthropic-messages"), mode="raise")
    assert run.drive.raised == "unbroken.IncompleteStreamError"
    assert "Bug" in caplog.text


@pytest.mark.parametrize("name", _DRIVES)
def test_callbacks_that_raise_do_not_end_a_stream(name, monkeypatch, caplog):
    def fail(_):
        raise Bug

    observer = dict.fromkeys(("on_outcome", "on_stall", "on_reconnect"), fail)
    monkeypatch.setattr(rig.Run, "observer", property(lambda run: observer))
    run = guarded(name, script_for(name, "stall"), fault="stall")
    assert run.drive.error is None
    assert run.drive.text == STORY.text
    assert "on_reconnect raised Bug" in caplog.text
    assert "on_outcome raised Bug" in caplog.text


def test_a_bug_after_a_splice_is_raised(monkeypatch):
    """Then what is on the wire is ours, and what follows does not fit to it any more."""
    _break_after(monkeypatch, Attempt, "close", 1)
    frames_of_both = script_for("google-genai", "cut_clean", at=20)
    run = guarded("google-genai", frames_of_both)
    assert isinstance(run.drive.error, httpx2.RemoteProtocolError)
    assert isinstance(run.drive.error.__cause__, Bug)
    assert STORY.text.startswith(run.drive.text)
    assert unbroken.outcome_of(run.drive.error) is run.outcome
    assert run.outcome.status == "failed"
    assert run.leaked == 0


@pytest.mark.parametrize("fault", ["stall", "cut_rst", "cut_clean", "error_obj"])
@pytest.mark.parametrize("name", _DRIVES)
@pytest.mark.parametrize(("owner", "method"), [(Liveness, "resume"), (Attempt, "receive")])
def test_once_aside_it_is_as_without_us(owner, method, name, fault, monkeypatch):
    script = reply(fault, DRIVES[name].dialect, at=20, pace_s=0.001)
    without = plain(name, script, timeout_s=0.6)
    _break_after(monkeypatch, owner, method, 1)
    run = guarded(name, script, fault=fault, timeout_s=0.6)
    same(run, without)
