"""The plain openai SDK, as an application uses it: the one place that knows its API."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import openai

from unbroken.lab.proxy.app import FaultProxy

QUESTION = {"role": "user", "content": "Tell me a story"}
TOKENS = 600
PREFILL_FLAGS = {"continue_final_message": True, "add_generation_prompt": False}


@dataclass
class Answer:
    """What an application has in hand when its loop is over, however it ended."""

    pieces: list[str] = field(default_factory=list)
    finish: str | None = None
    error: Exception | None = None

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def base_of(proxy: FaultProxy) -> str:
    """Return what an OpenAI SDK takes as its ``base_url``."""
    return f"{proxy.url}/v1"


def dealt(proxy: FaultProxy) -> list[str]:
    """Return the faults that really struck, oldest first."""
    return [what.partition(":")[0] for entry in proxy.log.entries() for _, what in entry.strikes]


def client_of(base_url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=base_url, api_key="none", max_retries=0, timeout=20)


def ask(
    base_url: str,
    *,
    prefill: str = "",
    tokens: int = TOKENS,
    on_piece: Any = None,
    **settings: Any,
) -> Answer:
    """Stream one answer; greedy unless told otherwise."""
    messages: list[Any] = [QUESTION]
    if prefill:
        messages.append({"role": "assistant", "content": prefill})
        settings.setdefault("extra_body", PREFILL_FLAGS)
    settings = {"temperature": 0, "max_tokens": tokens} | settings
    answer = Answer()
    with client_of(base_url) as client:
        try:
            stream = client.chat.completions.create(
                model="any", messages=messages, stream=True, **settings
            )
            for event in stream:
                for choice in event.choices:
                    answer.finish = choice.finish_reason or answer.finish
                    if choice.delta.content:
                        answer.pieces.append(choice.delta.content)
                        if on_piece is not None:
                            on_piece(answer)
        except Exception as error:
            answer.error = error
    return answer
