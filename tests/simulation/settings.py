"""Where requests go, and how the user has set Unbroken: what a world has before it begins."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from unbroken.core import target as core
from unbroken.core.faults import FaultKind
from unbroken.core.options import RUNGS, Clocks, Options

__all__ = ["HOME_KEY", "TARGETS", "TRANSLATES", "Target", "draw_options", "draw_targets"]

HOME_KEY = "sk-of-the-first-request-0123456789"


@dataclass(frozen=True)
class Target:
    """Where requests go, and what the capability table should make of it.

    Attributes:
        url: Where a streamed request to it goes.
        model: The model.
        prefill: Whether it goes on with a begun turn.
        with_thinking: Whether it does so beside thinking.
        dialect: What it speaks.
        base: Its base URL, as an SDK takes it.
        key: Its key.
        asked: The same as the user lists it; None for the request's own.
    """

    url: str
    model: str
    prefill: bool
    with_thinking: bool = True
    dialect: str = ""
    base: str = ""
    key: str = HOME_KEY
    asked: core.Target | None = field(default=None, compare=False)


_GOOGLE = "https://generativelanguage.googleapis.com"
_AWS = "https://bedrock-runtime.us-east-1.amazonaws.com"


def _gemini(model: str, *, prefill: bool, sse: bool) -> Target:
    url = f"{_GOOGLE}/v1beta/models/{model}:streamGenerateContent" + ("?alt=sse" if sse else "")
    return Target(url, model, prefill, with_thinking=False, base=_GOOGLE)


def _bedrock(model: str, call: str, *, prefill: bool) -> Target:
    path = model.replace(":", "%3A")
    return Target(f"{_AWS}/model/{path}/{call}", model, prefill, with_thinking=False, base=_AWS)


def _chat(base: str, model: str, *, prefill: bool) -> Target:
    return Target(f"{base}/chat/completions", model, prefill, base=base)


_CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"
_LISTED: dict[str, tuple[Target, ...]] = {
    "openai-chat": (
        _chat("http://127.0.0.1:8000/v1", "local", prefill=True),
        _chat("https://api.openai.com/v1", "gpt-5", prefill=False),
        _chat("https://api.mistral.ai/v1", "mistral-large", prefill=True),
        _chat("https://api.groq.com/openai/v1", "llama-4", prefill=True),
        _chat("https://llm.example.com/v1", "some", prefill=False),
    ),
    "openai-responses": (
        Target("https://api.openai.com/v1/responses", "gpt-5", False,
               base="https://api.openai.com/v1"),
        Target("https://llm.example.com/v1/responses", "some", False,
               base="https://llm.example.com/v1"),
    ),
    "anthropic-messages": (
        Target("https://api.anthropic.com/v1/messages", "claude-sonnet-4-5", True, False,
               base="https://api.anthropic.com"),
        Target("https://api.anthropic.com/v1/messages", "claude-opus-4-6", False,
               base="https://api.anthropic.com"),
        Target("http://10.0.0.7:8080/v1/messages", "local", True, False,
               base="http://10.0.0.7:8080"),
    ),
    "gemini": (
        _gemini("gemini-3-pro", prefill=True, sse=True),
        _gemini("gemini-3.6-flash", prefill=False, sse=True),
    ),
    "gemini-array": (
        _gemini("gemini-3-pro", prefill=True, sse=False),
        _gemini("gemini-3.6-flash", prefill=False, sse=False),
    ),
    "ollama": (
        Target("http://localhost:11434/api/chat", "llama", True, base="http://localhost:11434"),
    ),
    "openai-completions": (
        Target("http://127.0.0.1:8000/v1/completions", "local", True,
               base="http://127.0.0.1:8000/v1"),
        Target("https://llm.example.com/v1/completions", "base", True,
               base="https://llm.example.com/v1"),
    ),
    "cohere": (
        Target("https://api.cohere.com/v2/chat", "command-a", False,
               base="https://api.cohere.com"),
    ),
    "gemini-interactions": (
        Target(f"{_GOOGLE}/v1beta/interactions", "gemini-3-pro", False, base=_GOOGLE),
    ),
    "bedrock-converse": (
        _bedrock(_CLAUDE, "converse-stream", prefill=True),
        _bedrock("amazon.nova-pro-v1:0", "converse-stream", prefill=False),
    ),
    "bedrock-invoke": (
        _bedrock(_CLAUDE, "invoke-with-response-stream", prefill=True),
    ),
}  # fmt: skip
TARGETS: dict[str, tuple[Target, ...]] = {
    name: tuple(replace(each, dialect=name) for each in listed) for name, listed in _LISTED.items()
}
TRANSLATES = (
    "openai-chat", "openai-responses", "anthropic-messages", "gemini", "gemini-array", "ollama",
)  # fmt: skip
"""Dialects between which an answer can be translated."""
_KINDS = tuple(kind for kind in FaultKind if kind.value != "cancelled")


def draw_targets(draw: Random, home: Target) -> tuple[Target, ...]:
    """Return who else may take over: as a rule nobody."""
    if draw.random() < 0.6:
        return ()
    drawn = [_draw_target(draw, home, number) for number in range(draw.choice((1, 1, 2)))]
    places = [(each.url, each.key, each.model) for each in drawn]
    return tuple(drawn[: len(set(places))])


def _draw_target(draw: Random, home: Target, number: int) -> Target:
    key = f"sk-of-target-{number}-9876543210"
    way = draw.random()
    given: dict[str, Any] = {"name": f"target-{number}"}
    if draw.random() < 0.15:
        given["when"] = frozenset(draw.sample(_KINDS, 8))
    if draw.random() < 0.15:
        given["mid_answer"] = False
    bedrock = home.dialect.startswith("bedrock")
    if way < 0.15 and not bedrock:  # another key of the same account's provider
        return replace(home, key=key, asked=core.Target(api_key=key, **given))
    others = [each for each in TARGETS[home.dialect] if each != home]
    if way < 0.5 and others:
        found = draw.choice(others)
    elif home.dialect in TRANSLATES and way < 0.95:
        dialect = draw.choice([each for each in TRANSLATES if each != home.dialect])
        found = draw.choice(TARGETS[dialect])
        given["dialect"] = dialect
    else:
        found = replace(home, base="https://other.example.net/v1", prefill=home.prefill)
        return _elsewhere(found, home, key, given)
    return replace(
        found, key=key,
        asked=core.Target(base_url=found.base, model=found.model, api_key=key, **given),
    )  # fmt: skip


def _elsewhere(found: Target, home: Target, key: str, given: dict[str, Any]) -> Target:
    """Another model of the same host, with the same key."""
    model = home.model + "-mini"
    url = home.url.replace(home.model.replace(":", "%3A"), model.replace(":", "%3A"))
    return replace(home, url=url, model=model, asked=core.Target(model=model, **given))


def draw_options(draw: Random, targets: tuple[Target, ...] = ()) -> Options:
    """Return the usual options, or unusual ones."""
    mode = draw.choices(("heal", "raise", "observe"), (80, 8, 12))[0]
    usual = draw.random() < 0.5  # what most users have; else anything
    some = tuple(rung for rung in RUNGS if draw.random() < 0.6)
    rungs = RUNGS if usual or draw.random() < 0.3 else some
    if targets and draw.random() < 0.5:
        rungs = draw.choice((("retry", "target"), ("target",), ("cursor", "target")))
    clocks = None
    if draw.random() < 0.7:
        silence, text = draw.choice((5.0, 20.0, 90.0)), draw.choice((4.0, 12.0, 60.0))
        clocks = Clocks(
            connect_s=draw.choice((3.0, 10.0)),
            first_event_s=draw.choice((6.0, 30.0, 120.0)),
            silence_s=silence,
            progress_text_s=text,
            progress_slow_s=draw.choice((8.0, 30.0, 120.0)),
            notice_s=draw.choice((1.0, 10.0, None)),
            total_s=None if usual else draw.choice((None, None, 30.0, 200.0)),
            floor_chars_per_s=None if usual else draw.choice((None, None, 3.0)),
            floor_window_s=draw.choice((4.0, 30.0)),
        )

    def rare(default: Any, *others: Any) -> Any:
        return default if usual or draw.random() < 0.7 else draw.choice(others)

    return Options(
        mode=mode,  # type: ignore[arg-type]
        profile=draw.choice(("default", "default", "interactive")),
        clocks=clocks,
        rungs=rungs,
        allow_resend=usual or draw.random() < 0.94,
        retry_server_tools=draw.random() < 0.5,
        tool_calls=draw.choice(("hold", "hold", "stream")),
        max_attempts=rare(5, 1, 2, 3, 8),
        max_recovery_s=rare(120.0, 0.0, 3.0, 15.0),
        max_added_input=rare(3.0, 0.0, 1.0, 8.0),
        max_replay_bytes=rare(4 * 1024 * 1024, 0, 20, 60, 300, 2000),
        max_held_bytes=rare(1024 * 1024, 0, 300, 2000),
        max_held_s=rare(30.0, 0.0, 0.5, 5.0),
        max_frame_bytes=rare(32 * 1024 * 1024, 1500, 40_000),
        malformed=rare("recover", "raise", "skip", "skip"),
        empty_answer=rare("accept", "recover", "raise"),
        reorder_window=rare(64, 1, 3),
        reorder_wait_s=rare(5.0, 0.0, 0.3),
        log_raw=draw.choice(("never", "on-fault", "on-fault", "on-fault-with-contents")),
        targets=tuple(each.asked for each in targets if each.asked is not None),
    )
