"""What the seeds' tests share: the openai SDK over a server that breaks, and the printed loop."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openai

import unbroken
from tests.support.bodies import Answer, WireFrame, body
from tests.support.faults import STORY, Break, breaking
from tests.support.faultserver import FaultServer, Script
from tests.support.model import Model
from unbroken.telemetry.recording import Tapes

__all__ = [
    "QUESTION",
    "asked",
    "breaks",
    "client",
    "options",
    "payloads",
    "plain",
    "printed_loop",
    "protected",
    "read",
]

QUESTION = [{"role": "user", "content": "Tell me the story of the lighthouse keeper."}]


def options(mode: str = "heal", **more: Any) -> unbroken.Options:
    """Options that no other test's heals can use up."""
    chosen: Any = mode
    return unbroken.Options(mode=chosen, heals_always=10_000, **more)


def breaks(*plan: Break | None, answer: Answer = STORY) -> Script:
    """A model of openai-chat that answers; its first requests break as the plan says."""
    return breaking(Model(dialect="openai-chat", answer=answer), *plan)


def client(server: FaultServer, http_client: Any) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=server.url + "/v1", api_key="test-key", http_client=http_client, max_retries=0
    )


@contextmanager
def plain(server: FaultServer) -> Iterator[openai.OpenAI]:
    """The SDK as its vendor ships it."""
    with client(server, None) as sdk:
        yield sdk


@contextmanager
def protected(
    server: FaultServer, mode: str = "heal", *, recorder: Tapes | None = None, **more: Any
) -> Iterator[tuple[openai.OpenAI, list[unbroken.Outcome]]]:
    """The same SDK by the one line, and the outcomes of its streams."""
    outcomes: list[unbroken.Outcome] = []
    http_client = unbroken.http_client(
        options=options(mode, **more), on_outcome=outcomes.append, recorder=recorder
    )
    with client(server, http_client) as sdk:
        yield sdk, outcomes


def asked(**more: Any) -> dict[str, Any]:
    """Arguments of the call; temperature 0, as most who need the same answer twice."""
    return {"model": "a-model", "messages": QUESTION, "temperature": 0, "stream": True, **more}


def read(sdk: openai.OpenAI, **more: Any) -> str:
    """The answer's text as an application puts it together."""
    return "".join(unbroken.iter_text(sdk.chat.completions.create(**asked(**more))))


def printed_loop(sdk: openai.OpenAI, *, tries: int = 3) -> str:
    """What the loop in the record prints: it asks again from the start and prints all it gets."""
    printed = ""
    for _ in range(tries):
        try:
            for event in sdk.chat.completions.create(**asked()):
                if event.choices:
                    printed += event.choices[0].delta.content or ""
        except Exception:
            continue
        break
    return printed


def payloads(answer: Answer = STORY) -> list[dict[str, Any]]:
    """The events of a chat stream as `dict`, as they come without an SDK."""
    found = []
    for frame in body("openai-chat", answer):
        data = WireFrame(frame).strip().removeprefix(b"data: ")
        if data != b"[DONE]":
            found.append(json.loads(data))
    return found
