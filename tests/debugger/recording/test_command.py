"""Whom a command asks, told by its words or by what its SDKs read."""

from __future__ import annotations

import pytest

from unbroken.debugger.recording.command import plan_command

ONE, TWO = "http://127.0.0.1:1", "http://127.0.0.1:1/_to/1"


@pytest.mark.parametrize(
    ("words", "upstreams", "left"),
    [
        (
            ["curl", "-N", "https://api.openai.com/v1/x?a=b#c", "-H", "a: https://no.example"],
            ["https://api.openai.com"],
            ["curl", "-N", f"{ONE}/v1/x?a=b#c", "-H", "a: https://no.example"],
        ),
        (["curl", "HTTPS://H:8443"], ["HTTPS://H:8443"], ["curl", f"{ONE}/"]),
        (["x", "--base-url=http://h/v1"], ["http://h"], ["x", f"--base-url={ONE}/v1"]),
        (
            ["curl", "http://a/1", "http://b/2", "http://a/3"],
            ["http://a", "http://b"],
            ["curl", f"{ONE}/1", f"{TWO}/2", f"{ONE}/3"],
        ),
        (
            ["curl", "-d", "https://img.example/x.png", "-x", "http://proxy:1", "http://a/1"],
            ["http://a"],
            ["curl", "-d", "https://img.example/x.png", "-x", "http://proxy:1", f"{ONE}/1"],
        ),
        (
            ["curl", "-d", '{"image": "https://img.example/x.png"}', "http://a/1"],
            ["http://a"],
            ["curl", "-d", '{"image": "https://img.example/x.png"}', f"{ONE}/1"],
        ),
    ],
)
def test_addresses_among_the_words_become_the_proxys(
    words: list[str], upstreams: list[str], left: list[str]
) -> None:
    plan = plan_command(words, environment={})
    assert plan.found
    assert list(plan.upstreams) == upstreams
    assert plan.arguments([ONE, TWO]) == left
    assert "OPENAI_BASE_URL" not in plan.environment([ONE, TWO], {})


def test_without_an_address_sdks_are_told_by_their_variables() -> None:
    now = {"ANTHROPIC_BASE_URL": "http://own:1/a/", "PATH": "/bin", "NO_PROXY": "h"}
    plan = plan_command(["python", "app.py"], environment=now)
    assert not plan.found
    addresses = [f"http://p/{number}" for number in range(len(plan.upstreams))]
    made = plan.environment(addresses, now)
    at = dict(zip(plan.upstreams, addresses, strict=True))
    assert made["OPENAI_BASE_URL"] == at["https://api.openai.com"] + "/v1"
    assert made["ANTHROPIC_BASE_URL"] == at["http://own:1"] + "/a"
    assert made["OLLAMA_HOST"] == at["http://127.0.0.1:11434"]
    assert made["PATH"] == "/bin"
    assert made["NO_PROXY"] == "h,127.0.0.1,localhost"


@pytest.mark.parametrize(
    ("upstream", "openai"), [("http://u", "/v1"), ("http://u/", "/v1"), ("http://u/x/v1", "")]
)
def test_an_upstream_that_is_named_is_meant_by_all(upstream: str, openai: str) -> None:
    plan = plan_command(["app"], upstream, {})
    made = plan.environment([ONE], {})
    assert plan.upstreams == (upstream.rstrip("/"),)
    assert made["OPENAI_BASE_URL"] == ONE + openai
    assert made["ANTHROPIC_BASE_URL"] == ONE


def test_a_password_in_an_address_is_refused_without_being_shown() -> None:
    with pytest.raises(ValueError, match="user or password") as refused:
        plan_command(["curl", "https://me:secret@h/"])
    assert "secret" not in str(refused.value)
