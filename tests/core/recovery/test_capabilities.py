"""What providers and models can do: the table, and the rows that a user adds."""

from __future__ import annotations

import re

import pytest

from unbroken.core.dialects import DIALECTS
from unbroken.core.recovery.capabilities import built_in_rows, capability_for


def known(dialect, host, model="", path="/v1/x", extra=()):
    return capability_for(dialect=dialect, host=host, path=path, model=model, extra=extra)


CHAT, CLAUDE = "openai-chat", "anthropic-messages"
BEDROCK = "bedrock-runtime.us-east-1.amazonaws.com"

PREFILL = [
    # dialect, host, path, model, takes a prefill
    (CLAUDE, "api.anthropic.com", "/v1/messages", "claude-sonnet-4-5-20250929", True),
    (CLAUDE, "api.anthropic.com", "/v1/messages", "claude-3-5-haiku-latest", True),
    (CLAUDE, "api.anthropic.com", "/v1/messages", "claude-opus-4-1", True),
    (CLAUDE, "api.anthropic.com", "/v1/messages", "claude-opus-4-6", False),
    (CLAUDE, "api.anthropic.com", "/v1/messages", "claude-sonnet-4-10", False),
    (CLAUDE, "api.anthropic.com", "/v1/messages", "claude-sonnet-5", False),
    (CLAUDE, "api.anthropic.com", "/v1/messages", "claude-sonnet-4-20250514", True),
    (CLAUDE, "openrouter.ai", "/api/v1/messages", "anthropic/claude-sonnet-5", False),
    (CHAT, "openrouter.ai", "/api/v1/chat/completions", "anthropic/claude-opus-4-6", False),
    (CHAT, "openrouter.ai", "/api/v1/chat/completions", "meta/llama", True),
    (CHAT, "api.openai.com", "/v1/chat/completions", "gpt-5", False),
    (CHAT, "x.openai.azure.com", "/openai/v1/chat/completions", "gpt-5", False),
    (CHAT, "api.x.ai", "/v1/chat/completions", "grok-4", False),
    (CHAT, "notopenai.com", "/v1/chat/completions", "gpt-5", False),
    (CHAT, "api.mistral.ai", "/v1/chat/completions", "mistral-small", True),
    (CHAT, "api.deepseek.com", "/beta/chat/completions", "deepseek-chat", True),
    (CHAT, "api.deepseek.com", "/chat/completions", "deepseek-chat", False),
    (CHAT, "api.groq.com", "/openai/v1/chat/completions", "llama", True),
    (CHAT, "127.0.0.1", "/v1/chat/completions", "any", True),
    (CHAT, "localhost", "/v1/chat/completions", "any", True),
    (CHAT, "vllm", "/v1/chat/completions", "any", True),
    (CHAT, "gpu.internal", "/v1/chat/completions", "any", True),
    (CHAT, "10.0.0.7", "/v1/chat/completions", "any", True),
    (CHAT, "8.8.8.8", "/v1/chat/completions", "any", False),
    (CHAT, "llm.example.com", "/v1/chat/completions", "any", False),
    ("openai-responses", "api.openai.com", "/v1/responses", "gpt-5", False),
    ("gemini", "generativelanguage.googleapis.com", "/v1beta/x", "gemini-2.5-pro", True),
    ("gemini", "generativelanguage.googleapis.com", "/v1beta/x", "gemini-3.6-flash", False),
    ("ollama", "127.0.0.1", "/api/chat", "llama3", True),
    *((dialect, BEDROCK, "/model/x", model, takes)
      for dialect in ("bedrock-converse", "bedrock-invoke")
      for model, takes in (
          ("anthropic.claude-3-5-sonnet-20240620-v1:0", True),
          ("us.anthropic.claude-sonnet-4-20250514-v1:0", True),
          ("us.anthropic.claude-haiku-4-5-20251001-v1:0", True),
          ("anthropic.claude-v2", True),
          ("global.anthropic.claude-opus-4-6-v1", False),
          ("us.anthropic.claude-sonnet-5", False),
          ("amazon.nova-pro-v1:0", False),
          ("arn:aws:bedrock:us-east-1:1:application-inference-profile/x", False),
      )),
    ("bedrock-converse", "bedrock.example.com", "/model/x", "anthropic.claude-3-haiku", False),
    ("openai-completions", "api.openai.com", "/v1/completions", "davinci-002", True),
    ("openai-completions", "127.0.0.1", "/v1/completions", "any", True),
    ("cohere", "api.cohere.com", "/v2/chat", "command-a-03-2025", False),
    ("gemini-interactions", "generativelanguage.googleapis.com", "/v1beta/x", "any", False),
    ("openai-assistants", "api.openai.com", "/v1/threads/runs", "gpt-4o", False),
]  # fmt: skip


@pytest.mark.parametrize(("dialect", "host", "path", "model", "takes"), PREFILL)
def test_who_takes_a_prefill(dialect, host, path, model, takes):
    assert known(dialect, host, model, path).prefill == takes


@pytest.mark.parametrize(
    ("host", "message", "body"),
    [
        ("api.mistral.ai", {"prefix": True}, {}),
        ("127.0.0.1", {}, {"continue_final_message": True, "add_generation_prompt": False}),
        ("api.groq.com", {}, {}),
    ],
)
def test_flags_that_a_prefill_needs(host, message, body):
    row = known(CHAT, host)
    assert (row.message, row.body) == (message, body)


def test_claude_does_not_take_a_prefill_while_thinking():
    assert not known(CLAUDE, "api.anthropic.com", "claude-sonnet-4-5").with_thinking


def test_unknown_target_is_trusted_with_nothing():
    row = known(CHAT, "llm.example.com")
    assert not row.prefill
    assert not row.deterministic


def test_rows_of_the_user_come_first_and_the_first_that_matches_counts():
    extra = (
        {"host": "example\\.com$", "model": "^good", "prefill": True, "deterministic": True},
        {"host": "127\\.0\\.0\\.1", "prefill": False},
        {"host": "127\\.0\\.0\\.1", "prefill": True},
    )
    assert known(CHAT, "llm.example.com", "good-1", extra=extra).prefill
    assert not known(CHAT, "llm.example.com", "bad-1", extra=extra).prefill
    assert not known(CHAT, "127.0.0.1", extra=extra).prefill
    assert known(CHAT, "127.0.0.2", extra=extra).prefill


@pytest.mark.parametrize("row", [{"prefil": True}, {"prefill": "yes"}, {"model": 7}])
def test_row_of_another_form_is_refused_by_name(row):
    with pytest.raises(ValueError, match="capability row is not valid"):
        known(CHAT, "127.0.0.1", extra=(row,))


def test_built_in_rows_are_sound():
    rows = built_in_rows()
    assert len(rows) > 10
    for row in rows:
        assert row.dialect is None or row.dialect in DIALECTS
        for pattern in (row.host, row.path, row.model):
            re.compile(pattern or "")
