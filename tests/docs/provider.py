"""The provider that the examples in the docs talk to: every dialect, on one loopback port.

The first part of the path says how it behaves, so that a page can choose with a comment above
a block (`<!-- docs-test: provider=... -->`):

- ``/ok``: answers.
- ``/flaky``: every odd request of a page ends half-way, with a clean end of the body, as behind
  nginx; the even ones answer, going on from a prefill or an anchor where there is one.
- ``/dead``: every answer ends half-way.
- ``/garbled``: every answer holds a frame that is not JSON.
- ``/silent``: every odd request of a page gets an answer without a word, the even ones a good one.
"""

from __future__ import annotations

import json
from typing import Any

from tests.support import aws
from tests.support.aws import bedrock_frames
from tests.support.bodies import Answer, body, content_type, tokens_of
from tests.support.faultserver import FaultServer, Reply, Request
from tests.support.model import find_anchor

__all__ = ["ANSWER", "BEHAVIOURS", "DocsProvider", "environment", "redirect"]

ANSWER = (
    "A token stream is a promise in many small parts. Each part arrives once, in order, and the"
    " last one says that it was the last."
)
BEHAVIOURS = ("ok", "flaky", "dead", "garbled", "silent")
_GARBLED = b'data: {"choices": [{"index": 0, "delta": {"content": "lost\n\n'

_DIALECTS = {  # by how the path ends
    "/chat/completions": "openai-chat",
    "/responses": "openai-responses",
    "/v1/messages": "anthropic-messages",
    ":streamGenerateContent": "gemini",
    "/api/chat": "ollama",
    "/v2/chat": "cohere",
    "/invoke-with-response-stream": "bedrock-invoke",
}


class DocsProvider(FaultServer):
    """A fault server with the script above."""

    def __init__(self) -> None:
        super().__init__(self._reply)
        self._flaky_requests = 0
        self._silent_requests = 0

    def _reply(self, request: Request) -> Reply:
        _, behaviour, rest = request.path.split("/", 2)
        ending = next((e for e in _DIALECTS if ("/" + rest).endswith(e)), None)
        if behaviour not in BEHAVIOURS or ending is None or request.method != "POST":
            return Reply(status=404, pieces=[b"the docs' provider knows no " + rest.encode()])
        dialect = _DIALECTS[ending]
        answer = Answer(tokens=tokens_of(rest_of_answer(request.json)))
        if behaviour == "silent":
            self._silent_requests += 1
            answer = Answer(tokens=()) if self._silent_requests % 2 else answer
        if dialect == "bedrock-invoke":
            frames: list[bytes] = list(bedrock_frames(body("anthropic-messages", answer)))
            headers = {"content-type": aws.CONTENT_TYPE}
        else:
            frames = list(body(dialect, answer))
            headers = {"content-type": content_type(dialect)}
        if behaviour == "garbled":
            frames.insert(4, _GARBLED)
        if behaviour == "flaky":
            self._flaky_requests += 1
        if behaviour == "dead" or self._flaky_requests % 2:
            frames = frames[: len(frames) // 2]
        return Reply(headers=headers, pieces=frames)


def rest_of_answer(request: Any) -> str:
    """The answer from where a prefill (the assistant's turn, put last) left off."""
    if "response_format" in request:
        return json.dumps({"text": ANSWER})
    turns = request.get("messages") or request.get("contents") or []
    last = turns[-1] if turns and isinstance(turns[-1], dict) else {}
    said = last.get("content") or last.get("parts") or ""
    if isinstance(said, list):
        said = "".join(part.get("text", "") for part in said)
    if last.get("role") in ("assistant", "model"):
        return ANSWER.removeprefix(said)
    anchor = find_anchor(said, ANSWER)
    return ANSWER if anchor is None else ANSWER[ANSWER.index(anchor) :]


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
        "GROQ_BASE_URL": base,
        "GROQ_API_KEY": "not-a-key",
        "CO_API_KEY": "not-a-key",
        "MISTRAL_API_KEY": "not-a-key",
        "ANTHROPIC_BEDROCK_BASE_URL": base,
        "AWS_ACCESS_KEY_ID": "not-a-key",
        "AWS_SECRET_ACCESS_KEY": "not-a-secret",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        # so that it does not fetch a list of prices when it is imported
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }


def redirect(sdk: str, root: str, behaviour: str) -> None:
    """Tell an SDK that no variable tells where the provider is."""
    base = f"{root}/{behaviour}"
    if sdk == "mistralai":
        from mistralai.client import sdkconfiguration

        sdkconfiguration.SERVERS = dict.fromkeys(sdkconfiguration.SERVERS, base)
    elif sdk == "cohere":
        from cohere.environment import ClientEnvironment

        ClientEnvironment.PRODUCTION._value_ = base


if __name__ == "__main__":  # to try an example by hand
    with DocsProvider() as provider:
        print(json.dumps(environment(provider.url, "ok"), indent=2))
        input("Enter ends it. ")
