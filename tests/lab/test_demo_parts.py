"""What the demo stands on: whole where it is asked directly, broken by plan for each side."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from itertools import pairwise

import httpx2
import pytest

from tests.real.plain import ask
from unbroken.lab import demo_parts
from unbroken.lab.demo_client import HandWritten
from unbroken.lab.demo_parts import Upstream, start_upstream
from unbroken.lab.llama import llama_available

WORDS = 40
PLAN = "cut.clean@7t,stall.comment@12t@0.6s,cut.rst@20t,cut.fin@30t"


@pytest.fixture(scope="module", params=["llama", "scripted"])
def upstream(request: pytest.FixtureRequest) -> Iterator[Upstream]:
    prefer_llama = request.param == "llama"
    if prefer_llama and not llama_available():
        pytest.skip("needs the packages xllamacpp and gguf: pip install xllamacpp gguf")
    started = start_upstream(prefer_llama=prefer_llama, words=WORDS)
    assert started.uses_proxy == prefer_llama
    assert ("llama.cpp" in started.name) == prefer_llama
    assert ("built-in" in started.name) != prefer_llama
    yield started
    started.close()


def words(base_url: str) -> list[str]:
    return ask(base_url, tokens=WORDS).pieces


def test_asked_directly_it_is_whole_and_repeats(upstream: Upstream) -> None:
    whole = words(upstream.base_url)
    assert len(whole) == WORDS
    assert words(upstream.base_url) == whole


def test_each_side_meets_its_own_faults_where_the_plan_says(upstream: Upstream) -> None:
    whole = words(upstream.base_url)
    with (
        upstream.breaking(PLAN, tokens_per_second=2000) as one,
        upstream.breaking("cut.clean@9t", tokens_per_second=2000) as other,
    ):
        seen = [words(one.base_url) for _ in range(5)]
        assert other.dealt() == []
        assert words(other.base_url) == whole[:9]
        told, told_other = one.dealt(), other.dealt()
    assert seen == [whole[:7], whole, whole[:20], whole[:30], whole]
    assert [(dealt.attempt, dealt.words) for dealt in told] == [(1, 7), (2, 12), (3, 20), (4, 30)]
    assert ",".join(str(dealt.fault) for dealt in told) == PLAN
    assert [(dealt.attempt, dealt.words) for dealt in told_other] == [(1, 9)]


def test_pace_is_kept(upstream: Upstream) -> None:
    times: list[float] = []
    with upstream.breaking("cut.clean@30t", tokens_per_second=50) as breaker:
        ask(breaker.base_url, tokens=WORDS, on_piece=lambda _: times.append(time.monotonic()))
    gaps = sorted(after - before for before, after in pairwise(times))
    assert len(gaps) == 29
    assert 0.012 < gaps[15] < 0.05  # 20 ms each; nothing was saved up
    assert 0.4 < times[-1] - times[0] < 2


def test_silence_is_behind_pings(upstream: Upstream) -> None:
    request = {"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 9}
    with upstream.breaking("stall.comment@5t@1.1s", tokens_per_second=2000) as breaker:
        answer = httpx2.post(
            f"{breaker.base_url}/chat/completions", json=request | {"stream": True}, timeout=20
        )
    lines = answer.text.splitlines()
    assert 2 <= sum(line.startswith(":") for line in lines) <= 3
    assert lines[-2:] == ["data: [DONE]", ""]


def test_seed_chooses_the_scripted_text() -> None:
    def text(seed: int) -> str:
        server = start_upstream(prefer_llama=False, words=WORDS, seed=seed)
        pieces: list[str] = []
        request = {"model": server.model, "messages": [{"role": "user", "content": "x"}]}
        try:
            HandWritten().ask(server.base_url, request, pieces.append)
        finally:
            server.close()
        return "".join(pieces)

    assert text(3) == text(3) != text(4)


@pytest.mark.parametrize(
    ("llama", "aiohttp", "reason"),
    [
        (False, True, "xllamacpp or gguf is not installed"),
        (True, False, "aiohttp is not installed"),
    ],
)
def test_what_is_missing_is_said(
    monkeypatch: pytest.MonkeyPatch, llama: bool, aiohttp: bool, reason: str
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(demo_parts, "llama_available", lambda: llama)
    monkeypatch.setattr(
        demo_parts, "find_spec",
        lambda name: None if name == "aiohttp" and not aiohttp else find(name),
    )  # fmt: skip
    server = start_upstream()
    server.close()
    assert server.name == f"the built-in model server ({reason})"
    assert not server.uses_proxy
