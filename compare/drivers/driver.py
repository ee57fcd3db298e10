"""What every driver shares: the contract of a client under test, and how it ends.

A driver is what a careful application writes with one SDK: it skips empty choices and deltas that
say nothing, raises what the SDK hands over as an error, and believes the SDK in all else. It finds
the lab in the variables that SDKs read, prints the text as it comes, and ends with 0, or with 1 and
``Class: message`` as the last line of stderr.

    def drive(job: Job) -> None:
        client = SDK(base_url=job.env("OPENAI_BASE_URL"), api_key=job.env("OPENAI_API_KEY"))
        for event in client.stream(model=job.model, prompt=job.prompt):
            job.say(event.text)

    run(drive)

Three variants: ``--plain`` is the SDK as shipped, ``--configured`` has its own best documented
resilience settings, ``--unbroken`` has Unbroken under the plain one.

Nothing is imported here that an SDK does not import anyway: a comparison starts drivers by the
thousand.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final

__all__ = [
    "FINAL_S",
    "RECOVERY_S",
    "RETRIES",
    "TOOL",
    "VARIANTS",
    "Job",
    "ProviderError",
    "arun",
    "run",
]

TOOL: Final = {
    "name": "record",
    "description": "Record a text.",
    "parameters": {
        "type": "object",
        "properties": {"text": {"type": "string"}},
        "required": ["text"],
        "additionalProperties": False,
    },
}
"""What a request offers where the lab is asked for a tool call."""

RETRIES: Final = 3
"""Further attempts that a configured SDK makes: with waits of 0.5, 1 and 2 s, and a timeout of a
sixth of the patience each, it is done before anybody calls it hung."""

FINAL_S: Final = 0.65
RECOVERY_S: Final = 0.45
"""The shares of the patience after which a deadline for the whole stream fires, and that all
recoveries may take; the rest is for the slowest import, on a busy machine."""

VARIANTS: Final = ("plain", "configured", "unbroken")


class ProviderError(Exception):
    """The SDK handed over, as an event like any other, that the provider reports an error."""


class Job:
    """What a run is to do, from the environment.

    Attributes:
        variant: ``plain``, ``configured`` or ``unbroken``.
        kind: The word before the variant, of a driver that can do more than one thing.
        model: The model's name, which holds what goes wrong.
        prompt: What to send.
        tool: A tool call is asked for; its arguments are printed, and no text.
        patience_s: When somebody calls this client hung.
        limit_s: What is called a stall: the timeouts of configured SDKs and Unbroken's clocks.
            A sixth of the patience, so that an SDK's few retries fit into it.
        seed: A seed to send, or None.
    """

    def __init__(self, argv: list[str], variants: tuple[str, ...] = VARIANTS) -> None:
        words = [word for word in argv if not word.startswith("--")]
        asked = [word[2:] for word in argv if word.startswith("--")]
        if len(asked) != 1 or asked[0] not in variants or len(words) > 1:
            known = " | ".join(f"--{name}" for name in variants)
            raise SystemExit(f"usage: driver [KIND] {known}")
        self.variant = asked[0]
        self.kind = words[0] if words else ""
        self.model = self.env("LAB_MODEL")
        self.prompt = os.environ.get("LAB_PROMPT", "Tell me a story.")
        self.tool = os.environ.get("LAB_SAY", "text") == "tool"
        self.patience_s = float(os.environ.get("LAB_PATIENCE_S", "20"))
        self.limit_s = self.patience_s / 6
        seed = os.environ.get("LAB_SEED")
        self.seed = int(seed) if seed else None
        self._arguments = ""

    @property
    def configured(self) -> bool:
        return self.variant == "configured"

    @property
    def unbroken(self) -> bool:
        return self.variant == "unbroken"

    def env(self, name: str) -> str:
        """A variable that the lab must have set."""
        value = os.environ.get(name)
        if not value:
            raise SystemExit(f"driver: {name} is not set")
        return value

    @property
    def messages(self) -> list[dict[str, str]]:
        """The prompt in the form of the chat dialects."""
        return [{"role": "user", "content": self.prompt}]

    @property
    def function_tool(self) -> dict[str, Any]:
        """The tool in the form of the chat dialects."""
        return {"type": "function", "function": TOOL}

    def options(self) -> Any:
        """Unbroken's options: its defaults, with the clocks scaled to the patience.

        A production's clocks (docs, reference of the options) are minutes; here a stall must be
        found while somebody watches. `floor_chars_per_s` is off by default; a lab that drips
        would otherwise outlast the patience.
        """
        import unbroken

        limit_s = self.limit_s
        return unbroken.Options(
            clocks=unbroken.Clocks(
                connect_s=limit_s,
                first_event_s=limit_s,
                silence_s=limit_s,
                progress_text_s=limit_s,
                progress_slow_s=limit_s,
                notice_s=limit_s / 2,
                total_s=self.patience_s * FINAL_S,
                floor_chars_per_s=10.0,
                floor_window_s=limit_s,
            ),
            max_recovery_s=self.patience_s * RECOVERY_S,
        )

    def http_client(self, library: str = "httpx2") -> Any:
        """Unbroken's HTTP client for an SDK."""
        import unbroken

        return unbroken.http_client(options=self.options(), library=library)

    def async_http_client(self, library: str = "httpx2") -> Any:
        """Its async twin."""
        import unbroken

        return unbroken.async_http_client(options=self.options(), library=library)

    def say(self, text: str | None) -> None:
        """Print text of the answer as it comes, unless a tool call is what is asked for."""
        if text and not self.tool:
            _write(text)

    def call(self, arguments: object) -> None:
        """Print (a part of) a tool call's arguments, if one is asked for.

        SDKs that give no text but what they parsed from it get it written as JSON again.
        """
        if arguments is None or not self.tool:
            return
        if not isinstance(arguments, str):
            import json

            arguments = json.dumps(arguments, ensure_ascii=False)
        self._arguments += arguments
        _write(arguments)

    def act(self) -> None:
        """Read the arguments of a call, as any application does before it acts on one.

        Raises:
            ValueError: They are not JSON.
        """
        if self._arguments:
            import json

            json.loads(self._arguments)


def run(drive: Callable[[Job], None], variants: tuple[str, ...] = VARIANTS) -> None:
    """Do it, and end the process."""
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    try:
        job = Job(sys.argv[1:], variants)
        drive(job)
        job.act()
    except Exception as error:
        words = " ".join(str(error).split())
        _leave(1, f"{type(error).__name__}: {words}")
    _leave(0)


def arun(drive: Callable[[Job], Coroutine[Any, Any, None]], *variants: str) -> None:
    """Do what is async."""
    run(lambda job: asyncio.run(drive(job)), variants or VARIANTS)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _leave(code: int, last_words: str = "") -> None:
    """End at once: waiting for an SDK's pools and threads is no part of what is compared."""
    if last_words:
        sys.stderr.write(f"{last_words}\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
