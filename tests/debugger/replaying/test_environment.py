"""Where SDKs are told that the replay is."""

from __future__ import annotations

import pytest

from unbroken.debugger.replaying.environment import concerned, environment_of, own_with

URL = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("/v1/chat/completions", "OPENAI_BASE_URL", "/v1"),
        ("/openai/deployments/x/chat/completions", "OPENAI_BASE_URL", "/openai/deployments/x"),
        ("/v1/responses", "OPENAI_BASE_URL", "/v1"),
        ("/openai/v1/chat/completions", "GROQ_BASE_URL", ""),
        ("/proxy/v1/messages", "ANTHROPIC_BASE_URL", "/proxy"),
        ("/v1beta/models/g:streamGenerateContent", "GOOGLE_GEMINI_BASE_URL", ""),
        ("/api/chat", "OLLAMA_HOST", ""),
        ("/v2/chat", "CO_API_URL", ""),
        ("/model/x/converse-stream", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME", ""),
    ],
)
def test_the_base_is_what_stands_before_what_the_sdk_adds(path: str, name: str, value: str) -> None:
    assert environment_of(URL, [path])[name] == URL + value
    assert name in concerned([path])


def test_all_sdks_are_led_here_so_that_none_asks_its_provider() -> None:
    found = environment_of(URL, ["/v1/messages"])
    assert found["OPENAI_BASE_URL"] == f"{URL}/v1"
    assert found["OLLAMA_HOST"] == URL
    assert found["OPENAI_API_KEY"] == found["ANTHROPIC_API_KEY"] == "none-needed"


def test_no_proxy_stands_before_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "example.com")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-real")
    found = own_with(environment_of(URL))
    assert found["NO_PROXY"].startswith("example.com,127.0.0.1")
    assert found["OPENAI_API_KEY"] == "none-needed"
