from __future__ import annotations

import pytest

from unbroken.core.request import Request
from unbroken.telemetry.health import names_of

GEMINI = "https://generativelanguage.googleapis.com/v1beta/models/"
BEDROCK = "https://bedrock-runtime.eu-west-1.amazonaws.com/model/"


@pytest.mark.parametrize(
    ("url", "body", "names"),
    [
        ("https://api.openai.com/v1/chat/completions", b'{"model":"gpt-5","messages":[{}]}',
         ("api.openai.com", "gpt-5")),
        (GEMINI + "gemini-3-pro:streamGenerateContent?alt=sse", b'{"contents":[]}',
         ("generativelanguage.googleapis.com", "gemini-3-pro")),
        (GEMINI + "tuned/mine:streamGenerateContent", b"{}",
         ("generativelanguage.googleapis.com", "tuned/mine")),
        (BEDROCK + "anthropic.claude-v1%3A0/converse-stream", b"{}",
         ("bedrock-runtime.eu-west-1.amazonaws.com", "anthropic.claude-v1:0")),
        ("http://127.0.0.1:11434/api/chat", b'{"model": 5}', ("127.0.0.1", "")),
        ("http://[half/v1", b"not json", ("", "")),
        ("http://user:secret@host/v1", b"", ("host", "")),
    ],
    ids=["openai", "gemini", "gemini, tuned", "bedrock", "no name", "no host", "credentials"],
)  # fmt: skip
def test_names(url: str, body: bytes, names: tuple[str, str]) -> None:
    assert names_of(Request(method="POST", url=url, body=body)) == names
