"""Real parts: a llama.cpp server, the lab's own server, and the plain OpenAI SDK."""

from __future__ import annotations

import time

import openai
import pytest

from tests.lab.proxy.rig import entries
from tests.real.plain import ask
from unbroken.lab.llama import LlamaServer, llama_available
from unbroken.lab.model.settings import AnswerSettings
from unbroken.lab.oracle.examine import examine
from unbroken.lab.oracle.numbered import Numbered
from unbroken.lab.proxy.app import FaultProxy
from unbroken.lab.server.app import LabServer

TOKENS = 60


@pytest.fixture(scope="module")
def llama():
    if not llama_available():
        pytest.skip("needs the packages xllamacpp and gguf: pip install xllamacpp gguf")
    with LlamaServer() as server:
        yield server


@pytest.mark.real
def test_llama_cpp_passes_whole_and_breaks_where_it_should(llama: LlamaServer) -> None:
    direct = ask(f"{llama.url}/v1", tokens=TOKENS)
    assert direct.error is None
    with FaultProxy(llama.url) as proxy:
        base_url = f"{proxy.url}/v1"
        whole = ask(base_url, tokens=TOKENS)
        cut, stalled, doubled = (
            ask(base_url, tokens=TOKENS, extra_headers={"x-lab-plan": plan})
            for plan in ("cut@20t", "stall@20t@200ms", "duplicate@20t")
        )
        log = entries(proxy, 4)
    assert (whole.error, whole.text, whole.finish) == (None, direct.text, direct.finish)
    assert (cut.error, cut.finish) == (None, None)  # the SDK takes it for whole
    assert cut.pieces == direct.pieces[: len(cut.pieces)]
    assert 18 <= len(cut.pieces) <= 20
    assert (stalled.error, stalled.text) == (None, direct.text)
    assert doubled.error is None
    assert len(doubled.pieces) == len(direct.pieces) + 1
    assert [entry.went for entry in log] == ["whole", "clean", "whole", "whole"]


@pytest.mark.real
def test_a_llama_cpp_that_is_killed_is_shown_as_it_died(llama: LlamaServer) -> None:
    def kill(answer) -> None:
        if len(answer.pieces) == 10:
            llama.kill()

    try:
        with FaultProxy(llama.url, "ok,cut.rst@1t") as proxy:
            answer = ask(f"{proxy.url}/v1", tokens=2000, on_piece=kill)
            dead = ask(f"{proxy.url}/v1")
            log = entries(proxy, 2)
        assert isinstance(answer.error, openai.APIConnectionError)
        assert len(answer.pieces) >= 10
        assert log[0].went in ("upstream-incomplete", "upstream-reset")
        assert isinstance(dead.error, openai.InternalServerError)
        assert "connection refused" in str(dead.error)
    finally:
        llama.restart()


@pytest.fixture(scope="module")
def lab():
    with LabServer(settings=AnswerSettings(tokens=TOKENS, delta="token")) as running:
        yield running


def test_the_plain_sdk_and_the_oracle(lab: LabServer) -> None:
    """What the oracle says of plain answers through the proxy, in the model's name."""
    expected = Numbered(tokens=TOKENS, seed=0)

    def text_of(plan: str) -> tuple[str, Exception | None, float]:
        began, text = time.monotonic(), ""
        with openai.OpenAI(base_url=f"{proxy.url}/v1", api_key="k", max_retries=0) as client:
            try:
                for event in client.chat.completions.create(
                    model=f"lab/{plan}/any",
                    messages=[{"role": "user", "content": "go"}],
                    stream=True,
                ):
                    text += "".join(choice.delta.content or "" for choice in event.choices)
            except openai.APIError as error:
                return text, error, time.monotonic() - began
        return text, None, time.monotonic() - began

    with FaultProxy(lab.url) as proxy:
        whole, error, _ = text_of("ok")
        assert error is None
        assert examine(whole, expected, ended_well=True).verdict == "whole"

        cut, error, _ = text_of("cut@20t")
        assert error is None
        report = examine(cut, expected, ended_well=True)
        assert (report.verdict, report.laundered) == ("truncated", True)

        reset, error, _ = text_of("cut.rst@20t")
        assert isinstance(error, openai.APIConnectionError)
        assert reset == cut

        stalled, error, took_s = text_of("stall@20t@300ms")
        assert (stalled, error) == (whole, None)
        assert took_s >= 0.3

        doubled, error, _ = text_of("duplicate@20t")
        assert error is None
        assert examine(doubled, expected, ended_well=True).verdict == "corrupted"

        failed, error, _ = text_of("error@20t")
        assert isinstance(error, openai.APIError)
        assert whole.startswith(failed)
