"""The request to another target: where it goes, what it asks, and whose key it carries."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from unbroken.core.dialects import by_name
from unbroken.core.recovery.retarget import retarget
from unbroken.core.request import Request
from unbroken.core.target import Target

NAMES = ("openai-chat", "openai-responses", "anthropic-messages", "gemini", "ollama")
URLS = {
    "openai-chat": "https://api.openai.com/v1/chat/completions",
    "openai-responses": "https://api.openai.com/v1/responses",
    "anthropic-messages": "https://api.anthropic.com/v1/messages",
    "gemini": "https://generativelanguage.googleapis.com/v1beta/models/gemini-9"
    ":streamGenerateContent?alt=sse",
    "ollama": "http://127.0.0.1:11434/api/chat",
}
BODIES: dict[str, dict[str, Any]] = {
    "openai-chat": {"model": "gpt-9", "messages": [{"role": "user", "content": "Hi"}],
                    "stream": True},
    "openai-responses": {"model": "gpt-9", "input": "Hi", "stream": True, "store": False},
    "anthropic-messages": {"model": "claude-9", "max_tokens": 9, "stream": True,
                           "messages": [{"role": "user", "content": "Hi"}]},
    "gemini": {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
    "ollama": {"model": "llama-9", "messages": [{"role": "user", "content": "Hi"}]},
}  # fmt: skip
BASES = {
    "openai-chat": ("https://api.groq.com/openai/v1", "/openai/v1/chat/completions"),
    "openai-responses": ("https://other.example/v1/", "/v1/responses"),
    "anthropic-messages": ("https://other.example", "/v1/messages"),
    "gemini": ("https://other.example", "/v1beta/models/m-2:streamGenerateContent"),
    "ollama": ("http://127.0.0.1:9999", "/api/chat"),
}
KEY = "sk-secret-0123456789"


def ask(
    dialect: str, *, headers: dict[str, str] | None = None, url: str = "", **body: Any
) -> Request:
    given = headers or by_name(dialect).key_headers(KEY)
    content = json.dumps({**BODIES[dialect], **body}).encode()
    pairs = (("content-type", "application/json"), ("host", "home"), *given.items())
    return Request(method="POST", url=url or URLS[dialect], headers=pairs, body=content)


def to(request: Request, home: str, /, **target: Any) -> Request:
    found = retarget(request, by_name(home), Target(**target))
    assert isinstance(found, Request), found
    return found


@pytest.mark.parametrize("dialect", NAMES)
def test_another_model_is_all_that_changes(dialect):
    request = ask(dialect)
    found = to(request, dialect, model="m-2")
    assert by_name(dialect).facts(found).model == "m-2"
    assert found.host == request.host
    kept = [pair for pair in request.headers if pair[0] != "host"]
    assert list(found.headers) == kept
    if dialect == "gemini":
        assert found.body == request.body
        assert found.url == request.url.replace("gemini-9", "m-2")
    else:
        assert found.url == request.url
        assert found.json == {**request.json, "model": "m-2"}


@pytest.mark.parametrize("dialect", NAMES)
def test_another_host_gets_its_own_key_and_the_path_of_its_sdk(dialect):
    base, path = BASES[dialect]
    found = to(ask(dialect), dialect, base_url=base, api_key="sk-theirs-1\n", model="m-2")
    assert urlsplit(found.url).path == path
    assert by_name(dialect).recognises_path(found.path)
    assert by_name(dialect).wants_stream(found)
    assert by_name(dialect).facts(found).model == "m-2"
    for name, value in by_name(dialect).key_headers("sk-theirs-1").items():
        assert found.header(name) == value
    assert found.header("host") is None
    assert KEY not in repr((found.url, found.headers, found.body))


@pytest.mark.parametrize("home", NAMES)
@pytest.mark.parametrize("other", NAMES)
def test_another_dialect_is_asked_in_its_own_words(home, other):
    if home == other:
        pytest.skip("the same")
    base, path = BASES[other]
    request = ask(home, headers={"authorization": f"Bearer {KEY}", "anthropic-beta": "x-1"})
    found = to(request, home, base_url=base, dialect=other, api_key="sk-theirs-1", model="m-2")
    dialect = by_name(other)
    assert urlsplit(found.url).path == path
    assert dialect.wants_stream(found)
    assert dialect.facts(found).model == "m-2"
    assert found.header("content-type") == "application/json"
    assert found.header("accept") == ", ".join(dialect.content_types)
    assert (found.header("anthropic-version") is not None) == (other == "anthropic-messages")
    assert found.header("anthropic-beta") is None
    for name, value in dialect.key_headers("sk-theirs-1").items():
        assert found.header(name) == value
    read = dialect.read_ask(found)
    assert not isinstance(read, str), read
    assert read.turns == by_name(home).read_ask(request).turns


def test_the_model_of_the_request_goes_along_where_none_is_given():
    found = to(ask("gemini"), "gemini", base_url="https://other.example", api_key="k")
    assert found.path == "/v1beta/models/gemini-9:streamGenerateContent"


@pytest.mark.parametrize(
    ("url", "key", "gone"),
    [
        (URLS["gemini"] + "&key=" + KEY, {}, True),
        ("https://user:pass-word-1@api.openai.com/v1/chat/completions", {}, True),
        (URLS["openai-chat"], {"api-key": KEY}, True),
        (URLS["openai-chat"], {"openai-organization": "org-1", "authorization": KEY}, True),
        (URLS["openai-chat"], {"x-trace": "keep me", "authorization": KEY}, False),
    ],
)
def test_another_key_replaces_the_one_of_the_request(url, key, gone):
    dialect = "gemini" if "gemini" in url else "openai-chat"
    request = ask(dialect, url=url, headers={"x-any": "1", **key})
    found = to(request, dialect, api_key="sk-theirs-1")
    said = repr((found.url, found.headers))
    assert KEY not in said
    assert "pass-word-1" not in said
    assert "org-1" not in said
    assert found.header("x-any") == "1"
    assert (found.header("x-trace") is None) == gone
    expected = {"api-key": "sk-theirs-1"} if "api-key" in key else {}
    assert all(found.header(name) == value for name, value in expected.items())


@pytest.mark.parametrize(
    "base", ["http://api.openai.com/v1", "https://api.openai.com:8443/v1", "https://openai.com/v1"]
)
def test_another_scheme_or_port_is_another_host(base):
    found = to(ask("openai-chat"), "openai-chat", base_url=base)
    assert found.header("authorization") is None
    same = to(ask("openai-chat"), "openai-chat", base_url="https://API.openai.com:443/v2")
    assert same.header("authorization") == f"Bearer {KEY}"


def test_azure_takes_its_key_by_its_own_name_and_its_deployment_in_the_path():
    base = "https://x.openai.azure.com/openai/deployments/d-1?api-version=2026"
    found = to(ask("openai-chat"), "openai-chat", base_url=base, api_key="k-1", model="d-1")
    path = "/openai/deployments/d-1/chat/completions?api-version=2026"
    assert found.url == f"https://x.openai.azure.com{path}"
    assert found.header("api-key") == "k-1"
    assert found.header("authorization") is None
    again = to(found, "openai-chat", model="d-2")
    assert again.url == found.url.replace("d-1", "d-2")


def test_on_one_host_the_key_goes_along_under_the_other_dialect_s_name():
    found = to(
        ask("openai-chat"), "openai-chat",
        base_url="https://api.openai.com", dialect="anthropic-messages", model="m-2",
    )  # fmt: skip
    assert found.header("x-api-key") == KEY
    assert found.header("authorization") is None


def test_headers_of_the_target_win():
    found = to(
        ask("openai-chat"), "openai-chat", base_url="https://other.example/v1", api_key="k-1",
        headers={"Authorization": "Basic abc", "x-route": "1"},
    )  # fmt: skip
    assert found.header("authorization") == "Basic abc"
    assert sum(name.lower() == "authorization" for name, _ in found.headers) == 1
    assert found.header("x-route") == "1"


MCP = {"type": "mcp", "server_url": "https://tools.example", "authorization": "tool-token"}


@pytest.mark.parametrize(
    ("dialect", "body", "why"),
    [
        ("openai-responses", {"previous_response_id": "resp_1"}, "previous_response_id"),
        ("openai-responses", {"tools": [MCP]}, "token for a tool server"),
        ("anthropic-messages", {"mcp_servers": [{"authorization_token": "x"}]}, "token for a tool"),
        ("anthropic-messages", {"container": "c-1"}, "container"),
        ("gemini", {"cachedContent": "cachedContents/1"}, "cachedContent"),
        ("openai-chat", {"metadata": {"k": KEY}}, "key in its body"),
    ],
)
def test_what_only_the_first_provider_has_stays_there(dialect, body, why):
    target = Target(base_url="https://other.example", api_key="k-1", model="m-2")
    found = retarget(ask(dialect, **body), by_name(dialect), target)
    assert isinstance(found, str)
    assert why in found
    assert KEY not in found


def test_a_reason_is_given_for_what_another_dialect_cannot_say():
    image = [{"type": "image_url", "image_url": {"url": "data:..."}}]
    request = ask("openai-chat", messages=[{"role": "user", "content": image}])
    target = Target(base_url="https://other.example", dialect="ollama", model="m-2")
    found = retarget(request, by_name("openai-chat"), target)
    assert isinstance(found, str)
    assert "ollama" in found
    assert "image_url" in found


# Keys --------------------------------------------------------------------------------------

_SECRET = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", min_size=12,
                  max_size=40)  # fmt: skip
_NAMES = st.sampled_from(
    [
        "Authorization", "x-api-key", "api-key", "X-Goog-Api-Key", "cookie", "Proxy-Authorization",
        "x-amz-security-token", "x-auth-token", "cf-aig-authorization", "helicone-auth",
        "x-portkey-api-key", "anthropic-organization", "openai-project",
    ]
) | st.from_regex(r"\Ax-[a-z]{1,12}\Z")  # fmt: skip
_FORMS = st.sampled_from(["{}", "Bearer {}", "session={}; a=b", "AWS4-HMAC-SHA256 Credential={}/x"])
_COPIES = st.sampled_from(["user-agent", "accept-language", "x-stainless-lang", "anthropic-beta"])


@settings(max_examples=300, deadline=None)
@given(data=st.data(), secret=_SECRET, home=st.sampled_from(NAMES), other=st.sampled_from(NAMES))
def test_no_key_of_the_request_ever_reaches_another_host(data, secret, home, other):
    headers = {
        name: form.format(secret)
        for name, form in data.draw(st.dictionaries(_NAMES, _FORMS, min_size=1)).items()
    }
    if any(name.lower() in ("authorization", "x-api-key", "cookie") for name in headers):
        # A header that may go along holds a copy of the key: then it may not.
        headers |= dict.fromkeys(data.draw(st.sets(_COPIES, max_size=2)), f"client/{secret}")
    url = URLS[home]
    where = data.draw(st.sampled_from(["", "query", "user"]))
    if where == "query":
        url += ("&" if "?" in url else "?") + f"key={secret}"
    elif where == "user":
        url = url.replace("://", f"://me:{quote(secret)}@")
        headers["user-agent"] = f"client {secret}"
    target = Target(
        base_url=data.draw(st.sampled_from([BASES[other][0], "https://else.example:444/v1"])),
        dialect=other,
        model=data.draw(st.sampled_from([None, "m-2"])),
        api_key=data.draw(st.sampled_from([None, "another-key-1"])),
    )
    assume(secret not in repr(retarget(ask(home), by_name(home), target)))  # a word of ours
    request = ask(home, headers=headers, url=url)
    found = retarget(request, by_name(home), target)
    assert isinstance(found, Request), found
    assert secret not in repr((found.method, found.url, found.headers, found.body))


@settings(max_examples=200, deadline=None)
@given(data=st.data(), secret=_SECRET, home=st.sampled_from(NAMES))
def test_no_key_of_the_request_goes_along_with_another_one(data, secret, home):
    known = st.sampled_from(["Authorization", "x-api-key", "api-key", "cookie", "x-auth-token"])
    headers = {
        name: form.format(secret)
        for name, form in data.draw(st.dictionaries(known, _FORMS, min_size=1)).items()
    } | {"x-copy": f"id {secret}"}
    assume(secret not in repr(to(ask(home), home, api_key="another-key-1")))  # a word of ours
    found = to(ask(home, headers=headers), home, api_key="another-key-1")
    assert secret not in repr((found.url, found.headers, found.body))
    assert "another-key-1" in repr(found.headers)
