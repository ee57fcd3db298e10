"""The lab's gateway suite against the real gateway: every scenario healed, or an honest error.

The core suite runs here. The whole one is run by hand; what came of it is in
docs/explanation/gateway-proof.md:

    unbroken serve --config gateway.toml      # its upstream: the lab
    unbroken lab score --suite full --gateway http://127.0.0.1:8411 --listen 9100
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.support.gateway import Serving, config_for, serving
from unbroken.lab.score import Card
from unbroken.lab.score.gateway import GatewayPlayer
from unbroken.lab.score.raw_client import DIALECTS
from unbroken.lab.score.runner import Options, score_suite
from unbroken.lab.score.suite import load_suite
from unbroken.lab.server.app import LabServer

SOAK = Path(__file__).parents[2] / "scripts" / "soak_gateway.py"

AS_WRITTEN = {
    "tool-arguments-short": (
        "a call that the model finished with half of its arguments is what it wrote: it passes"
        " unchanged, the application's JSON parser refuses it, and the gateway reports it"
    ),
}
"""What a transparent gateway cannot make an error of, and why."""

_CLOCKS = {
    "first_event_s": 3.0,
    "silence_s": 2.0,
    "progress_text_s": 2.0,
    "progress_slow_s": 3.0,
    "notice_s": 0.5,
}
_LATE_S = 1.0
"""Longest that a healthy piece may come later than without the gateway, on a busy machine."""


@pytest.fixture(scope="module")
def lab() -> Iterator[LabServer]:
    with LabServer() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(lab: LabServer) -> Iterator[Serving]:
    with serving(config_for(lab.url, options={"clocks": _CLOCKS})) as running:
        yield running


def _score(lab: LabServer, gateway: Serving, dialect: str, *only: str, suite: str = "core") -> Card:
    player = GatewayPlayer(gateway.url, lab=lab.url, dialect=dialect)
    options = Options(label="gateway", dialect=dialect, only=only, jobs=12)
    return asyncio.run(score_suite(player, load_suite(suite), lab, options))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_scenario_of_the_core_suite_ends_well(
    lab: LabServer, gateway: Serving, dialect: str
) -> None:
    card = _score(lab, gateway, dialect)
    bad = {
        result.scenario: (result.verdict, result.facts.told, result.facts.error)
        for result in card.results
        if not result.ok and result.scenario not in AS_WRITTEN
    }
    assert not bad
    assert len(card.results) > 30
    assert sum(result.verdict == "healed" for result in card.results) >= 28
    for result in card.results:
        more = result.facts.more
        if "same_events" in more:
            same = {name for name, is_so in more.items() if name.startswith("same_") and is_so}
            assert same == {"same_events", "same_text", "same_ids", "same_usage"}, result.scenario
            assert more["first_token_added_s"] < _LATE_S, result.scenario
            assert more["longest_held_s"] < _LATE_S, result.scenario


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_head_that_never_comes_ends_in_time(
    lab: LabServer, gateway: Serving, dialect: str
) -> None:
    """No SDK's timeout stands over the gateway's own request."""
    card = _score(lab, gateway, dialect, "headers-never", suite="full")
    (result,) = card.results
    assert result.verdict == "honest error", result.facts.told
    assert result.facts.more["status"] == "504"


def test_half_a_call_is_reported(lab: LabServer, gateway: Serving) -> None:
    card = _score(lab, gateway, "openai-chat", *AS_WRITTEN)
    (result,) = card.results
    assert result.facts.requests == 1, "it is never asked for again"
    metrics = httpx2.get(f"{gateway.url}/_unbroken/metrics").text
    assert 'kind="invalid-tool-arguments"' in metrics


@pytest.mark.parametrize("resume", [{}, {"x-unbroken-resume": "1"}], ids=["plain", "resumable"])
@pytest.mark.parametrize("plan", ["http.401+length.short", "http.401+length.long"])
def test_a_refusal_whose_body_never_ends_is_cut_in_time(
    lab: LabServer, gateway: Serving, plan: str, resume: dict[str, str], caplog
) -> None:
    """The lab says more than it sends, and keeps the connection."""
    body = {
        "model": f"lab/{plan};id=refused-{plan[-5:].strip('.')}-{len(resume)}",
        "messages": [{"role": "user", "content": "x"}],
        "stream": True,
    }
    headers = {"authorization": "Bearer k", **resume}
    url = f"{gateway.url}/v1/chat/completions"
    with pytest.raises(httpx2.RemoteProtocolError):
        httpx2.post(url, json=body, headers=headers, timeout=10)
    assert "a bug in the gateway" not in caplog.text


def test_who_reads_on_by_a_freed_key_gets_no_other_answer(lab: LabServer, gateway: Serving) -> None:
    """The stream failed, so its key is free: what begins now is not what the client had."""
    body = {
        "model": "lab/cut@12t*;id=freed;honours=",
        "messages": [{"role": "user", "content": "x"}],
        "stream": True,
    }
    headers = {
        "authorization": "Bearer k",
        "idempotency-key": "freed",
        "x-unbroken-resume": "1",
    }
    url = f"{gateway.url}/v1/chat/completions"
    received = b""
    with httpx2.stream("POST", url, json=body, headers=headers, timeout=20) as response:
        with contextlib.suppress(httpx2.RemoteProtocolError):
            for data in response.iter_bytes():
                received += data
            pytest.fail("the body came to an end")
    mark = received[: received.rindex(b"id: ")].rpartition(b"id: ")[2].split(b"\n")[0].decode()
    asked = len(lab.sessions["freed"].attempts)
    again = httpx2.post(url, json=body, headers={**headers, "last-event-id": mark}, timeout=20)
    assert again.status_code == 410
    assert len(lab.sessions["freed"].attempts) == asked, "nothing is asked, and nothing paid"
    with httpx2.stream("POST", url, json=body, headers=headers, timeout=20) as response:
        assert response.status_code == 200, "without a position it begins anew"
    assert len(lab.sessions["freed"].attempts) > asked


@pytest.mark.parametrize("resume", [{}, {"x-unbroken-resume": "1"}], ids=["plain", "resumable"])
def test_a_byte_order_mark_behind_heartbeats_hides_nothing(
    lab: LabServer, resume: dict[str, str]
) -> None:
    body = {
        "model": f"lab/bom*;id=bom-{len(resume)};ttft=600ms;tokens=4",
        "messages": [{"role": "user", "content": "x"}],
        "stream": True,
    }
    headers = {"authorization": "Bearer k", **resume}
    for heartbeat_s, mark in ((0.1, False), (5.0, True)):  # in front it stays, as all bytes do
        with serving(config_for(lab.url, heartbeat_s=heartbeat_s)) as gateway:
            url = f"{gateway.url}/v1/chat/completions"
            said = httpx2.post(url, json=body, headers=headers, timeout=10).content
        assert said.startswith(b"\xef\xbb\xbf") == mark
        assert (b"\xef\xbb\xbf" in said) == mark
        assert (b": hb\n" in said) != mark


def test_a_few_streams_of_the_soak() -> None:
    """Lab, gateway and clients in processes of their own; clients that hang up and read on."""
    command = [sys.executable, str(SOAK), "--streams", "60", "--width", "15", "--slow", "1"]
    ran = subprocess.run(
        [*command, "--without", "stall", "--without", "slow-head"],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "gateway said          \n" in ran.stdout, "the gateway logged something"
