"""The JavaScript client's files, and the bodies that its tests share with ours."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.support.bodies import DIALECTS, Answer, body, content_type, tokens_of

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "clients" / "javascript"
SERVED = ROOT / "src" / "unbroken" / "gateway" / "chat" / "static"
FILES = ("unbroken.js", "unbroken-reading.js")
NODE = shutil.which("node")

PATHS = {
    "openai-chat": "/v1/chat/completions",
    "openai-responses": "/v1/responses",
    "anthropic-messages": "/v1/messages",
    "gemini": "/v1beta/models/m:streamGenerateContent",
    "ollama": "/api/chat",
}
ANSWER = Answer(
    tokens=tokens_of("The keeper café 灯台 🗼🇯🇵 counted every ship twice."),
    reasoning=("Let me", " think."),
)


def bodies() -> str:
    """Return the content of ``test/bodies.json``."""
    return (
        json.dumps(
            {
                dialect: {
                    "path": PATHS[dialect],
                    "type": content_type(dialect),
                    "text": ANSWER.text,
                    "body": b"".join(body(dialect, ANSWER)).decode(),
                }
                for dialect in DIALECTS
            },
            indent=1,
            ensure_ascii=False,
        )
        + "\n"
    )


if __name__ == "__main__":
    (PACKAGE / "test" / "bodies.json").write_text(bodies(), encoding="utf-8")
