"""What the tests of streams without an SDK share."""

from __future__ import annotations

import json
from typing import Any

import unbroken
from tests.support.bodies import Answer, body, content_type
from tests.support.faults import STORY
from tests.support.faultserver import FaultServer, Reply

MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Tell me the story of the lighthouse keeper."},
]
_V1 = ("openai-chat", "openai-responses")


def options(mode: str = "heal", **more: Any) -> unbroken.Options:
    clocks = more.pop("clocks", None)
    chosen: Any = mode
    return unbroken.Options(
        mode=chosen,
        heals_always=10_000,
        clocks=unbroken.Clocks(**clocks) if clocks else None,
        **more,
    )


def asking(server: FaultServer | str, dialect: str = "openai-chat", **more: Any) -> dict[str, Any]:
    """The arguments of `stream` and `astream` for a request to a server."""
    url = server if isinstance(server, str) else server.url
    return {
        "messages": MESSAGES,
        "model": "test-model",
        "dialect": dialect,
        "base_url": url + ("/v1" if dialect in _V1 else ""),
        "api_key": "test-key",
        "options": options(),
        **more,
    }


def good(dialect: str = "openai-chat", answer: Answer = STORY) -> Reply:
    return Reply(headers={"content-type": content_type(dialect)}, pieces=body(dialect, answer))


def refusal(status: int, error: Any = None, **headers: str) -> Reply:
    return Reply(
        status=status,
        headers={"content-type": "application/json"}
        | {name.replace("_", "-"): value for name, value in headers.items()},
        pieces=[json.dumps(error if error is not None else {}).encode()],
        framing="length",
    )
