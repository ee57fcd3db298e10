from __future__ import annotations

import pytest


@pytest.fixture
def no_waits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Make the pauses before a further attempt nothing; return the tries they were asked for."""
    asked: list[int] = []

    def backoff_s(tries: int, *, jitter: float) -> float:
        asked.append(tries)
        return 0.0

    monkeypatch.setattr("unbroken.core.recovery.machine.backoff_s", backoff_s)
    return asked


@pytest.fixture
def sharp_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the drivers look at the time more often than production needs."""
    monkeypatch.setattr("unbroken.drivers.base._LOOK_S", 0.02)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, address or mode of the machine reaches a test."""
    for name in (
        "OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL",
        "GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GEMINI_BASE_URL", "OLLAMA_HOST",
        "OLLAMA_API_KEY", "UNBROKEN_MODE",
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
