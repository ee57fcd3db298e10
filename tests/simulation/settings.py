"""Where requests go, and how the user has set Unbroken: what a world has before it begins."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from unbroken.core.options import RUNGS, Clocks, Options

__all__ = ["TARGETS", "Target", "draw_options"]


@dataclass(frozen=True)
class Target:
    """Where requests go, and what the capability table should make of it."""

    url: str
    model: str
    prefill: bool
    with_thinking: bool = True


TARGETS: dict[str, tuple[Target, ...]] = {
    "openai-chat": (
        Target("http://127.0.0.1:8000/v1/chat/completions", "local", True),
        Target("https://api.openai.com/v1/chat/completions", "gpt-5", False),
        Target("https://api.mistral.ai/v1/chat/completions", "mistral-large", True),
        Target("https://api.groq.com/openai/v1/chat/completions", "llama-4", True),
        Target("https://llm.example.com/v1/chat/completions", "some", False),
    ),
    "openai-responses": (
        Target("https://api.openai.com/v1/responses", "gpt-5", False),
        Target("https://llm.example.com/v1/responses", "some", False),
    ),
    "anthropic-messages": (
        Target("https://api.anthropic.com/v1/messages", "claude-sonnet-4-5", True, False),
        Target("https://api.anthropic.com/v1/messages", "claude-opus-4-6", False),
        Target("http://10.0.0.7:8080/v1/messages", "local", True, False),
    ),
    "gemini": (
        Target(
            "https://generativelanguage.googleapis.com/v1beta/models/gemini-3-pro"
            ":streamGenerateContent?alt=sse", "gemini-3-pro", True, False,
        ),
        Target(
            "https://generativelanguage.googleapis.com/v1beta/models/gemini-3.6-flash"
            ":streamGenerateContent?alt=sse", "gemini-3.6-flash", False,
        ),
    ),
    "ollama": (Target("http://localhost:11434/api/chat", "llama", True),),
}  # fmt: skip


def draw_options(draw: Random) -> Options:
    """Return the usual options, or unusual ones."""
    mode = draw.choices(("heal", "raise", "observe"), (80, 8, 12))[0]
    usual = draw.random() < 0.5  # what most users have; else anything
    some = tuple(rung for rung in RUNGS if draw.random() < 0.6)
    rungs = RUNGS if usual or draw.random() < 0.3 else some
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
        )

    def rare(default: Any, *others: Any) -> Any:
        return default if usual or draw.random() < 0.7 else draw.choice(others)

    return Options(
        mode=mode,  # type: ignore[arg-type]
        profile=draw.choice(("default", "default", "interactive")),
        clocks=clocks,
        rungs=rungs,
        allow_resend=usual or draw.random() < 0.94,
        tool_calls=draw.choice(("hold", "hold", "stream")),
        max_attempts=rare(5, 1, 2, 3, 8),
        max_recovery_s=rare(120.0, 0.0, 3.0, 15.0),
        max_added_input=rare(3.0, 0.0, 1.0, 8.0),
        max_replay_bytes=rare(4 * 1024 * 1024, 0, 300, 700, 2000),
        max_held_bytes=rare(1024 * 1024, 0, 300, 2000),
        max_held_s=rare(30.0, 0.0, 0.5, 5.0),
        max_frame_bytes=rare(32 * 1024 * 1024, 1500, 40_000),
    )
