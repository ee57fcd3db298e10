"""One way to run the command line: in a process of its own, as its users do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

COMMAND = [sys.executable, "-m", "unbroken.cli"]
_OURS = ("UNBROKEN_", "OPENAI_", "ANTHROPIC_", "GEMINI_", "GOOGLE_", "OLLAMA_", "FORCE_COLOR")


@dataclass(frozen=True)
class Ran:
    code: int
    out: bytes
    error: str

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def error_line(self) -> str:
        """What it said on standard error, which must be one line."""
        assert self.error.count("\n") == 1, self.error
        assert "Traceback" not in self.error
        return self.error.strip()


Command = Callable[..., Ran]


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_OURS)}
    kept.pop("PYTHONUNBUFFERED", None)  # it would hide that we forgot to flush
    return {**kept, "COLUMNS": "100", **(more or {})}


@pytest.fixture
def unbroken() -> Command:
    def run(
        *arguments: str | os.PathLike[str],
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        timeout_s: float = 60,
    ) -> Ran:
        ran = subprocess.run(
            [*COMMAND, *arguments], input=stdin, capture_output=True, env=environment(env),
            timeout=timeout_s, check=False,
        )  # fmt: skip
        return Ran(ran.returncode, ran.stdout, ran.stderr.decode())

    return run
