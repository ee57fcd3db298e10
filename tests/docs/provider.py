"""The provider that the examples in the docs talk to: every dialect, on one loopback port.

The first part of the path says how it behaves, so that a page can choose with a comment above
a block (`<!-- docs-test: provider=... -->`):

- ``/ok``: answers.
- ``/flaky``: every odd request of a page ends half-way, with a clean end of the body, as behind
  nginx; the even ones answer, going on from a prefill where there is one.
- ``/dead``: every answer ends half-way.
"""

from __future__ import annotations

import json
from typing import Any

from tests.support.bodies import Answer, body, content_type, tokens_of
from tests.support.faultserver import FaultServer, Reply, Request

__all__ = ["ANSWER", "BEHAVIOURS", "DocsProvider", "environment"]

ANSWER = (
    "A token stream is a promise in many small parts. Each part arrives once, in order, and the"
    " last one says that it was the last."
)
BEHAVIOURS = ("ok", "flaky", "dead")

_DIALECTS = {  # by how the path ends
    "/chat/completions": "openai-chat",
    "/responses": "openai-responses",
    "/v1/messages": "anthropic-messages",
    ":streamGenerateContent": "gemini",
    "/api/chat": "ollama",
}


class DocsProvider(FaultServer):
    """A fault server with the script above."""

    def __init__(self) -> None:
        super().__init__(self._reply)
        self._flaky_requests = 0

    def _reply(self, request: Request) -> Reply:
        _, behaviour, rest = request.path.split("/", 2)
        ending = next((e for e in _DIALECTS if ("/" + rest).endswith(e)), None)
        if behaviour not in BEHAVIOURS or ending is None or request.method != "POST":
            return Reply(status=404, pieces=[b"the docs' provider knows no " + rest.encode()])
        dialect = _DIALECTS[ending]
        answer = Answer(tokens=tokens_of(rest_of_answer(request.json)))
        frames: list[bytes] = list(body(dialect, answer))
        if behaviour == "flaky":
            self._flaky_requests += 1
        if behaviour == "dead" or self._flaky_requests % 2:
            frames = frames[: len(frames) // 2]
        return Reply(headers={"content-type": content_type(dialect)}, pieces=frames)


def rest_of_answer(request: Any) -> str:
    """The answer from where a prefill (the assistant's turn, put last) left off."""
    turns = request.get("messages") or request.get("contents") or []
    last = turns[-1] if turns and isinstance(turns[-1], dict) else {}
    if last.get("role") not in ("assistant", "model"):
        return ANSWER
    said = last.get("content") or last.get("parts") or ""
    if isinstance(said, list):
        said = "".join(part.get("text", "") for part in said)
    return ANSWER.removeprefix(said)


def environment(root: str, behaviour: str) -> dict[str, str]:
    """The variables by which the vendors' SDKs find the provider."""
    assert behaviour in BEHAVIOURS, f"no behaviour {behaviour!r}; there are {BEHAVIOURS}"
    base = f"{root}/{behaviour}"
    return {
        "OPENAI_BASE_URL": f"{base}/v1",
        "OPENAI_API_KEY": "not-a-key",
        "ANTHROPIC_BASE_URL": base,
        "ANTHROPIC_API_KEY": "not-a-key",
        "GOOGLE_GEMINI_BASE_URL": base,
        "GEMINI_API_KEY": "not-a-key",
        "OLLAMA_HOST": base,
    }


if __name__ == "__main__":  # to try an example by hand
    with DocsProvider() as provider:
        print(json.dumps(environment(provider.url, "ok"), indent=2))
        input("Enter ends it. ")
