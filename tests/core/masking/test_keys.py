"""Keys are never in a recording, however the bytes were cut; and what is no key stays."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.masking.masked import without_keys
from unbroken.core.masking import KeyMask, Secrets
from unbroken.core.masking.keys import REMOVED

KEY = "sk-proj-Abc1Def2Ghi3Jkl4Mno5"
LOOKS = [
    KEY,
    "sk-ant-api03-AAAAAAAAAAAAAAAAAAAA",
    "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "AKIAIOSFODNN7EXAMPLE",
    "gsk_abcdefghijklmnop1rstuvwx",
    "hf_abcDefghijklmnopqrst",
    "xai-abcdefghijklmnopqrs7",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "ya29.a0AfH6SMBabcdefghijklmn",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
]
NO_KEYS = [
    "risk-adjusted-return-of-something-long",
    "task_of_the_day_and_more_words",
    "sk-learn",
    "AKIA",
    "the AI zone",
    "eyJhbGciOiJIUzI1NiJ9",
    "chatcmpl-1234567890abcdefghijklmnop",
    "call_1234567890abcdefghijklmnop",
    "hf_hub_download_with_progress",
    "npm_config_user_agent_x",
    "sk-fading-circle-container",
    "pk_constraint_name_users",
]


@pytest.mark.parametrize("key", LOOKS)
@pytest.mark.parametrize("before", ["", " ", '"', "\\n", "=", "key: "])
def test_what_looks_like_a_key_is_overwritten_at_equal_length(key: str, before: str) -> None:
    data = f'{{"a":"{before}{key}", "b": 1}}'.encode()
    masked = without_keys(data)
    assert masked == data.replace(key.encode(), b"x" * len(key))


@pytest.mark.parametrize("text", NO_KEYS)
def test_what_only_begins_like_a_key_stays(text: str) -> None:
    data = f"here is {text}, and more".encode()
    assert without_keys(data) == data
    assert without_keys(data, cuts=range(len(data))) == data


_PIECES = [*LOOKS, *NO_KEYS, "secret-value-1", "secret-value-1secret", "s", "sk-", "A", "eyJ", ".",
           " ", '"', "\\n", "secret-", "x", "é", "-----"]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(_PIECES), max_size=8), st.data())
def test_however_it_is_cut_the_same_is_left(pieces: list[str], data: st.DataObject) -> None:
    body = "".join(pieces).encode()
    secrets = ["secret-value-1", "1secret-value"]
    whole = without_keys(body, secrets)
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=12))
    assert without_keys(body, secrets, cuts) == whole
    assert without_keys(body, secrets, range(len(body))) == whole
    assert len(whole) == len(body)
    assert not any(secret.encode() in whole for secret in secrets)


def test_half_a_known_key_at_the_end_goes_too() -> None:
    assert without_keys(b"it is secret-val", ["secret-value-1"]) == b"it is xxxxxxxxxx"


def test_headers_lose_the_values_of_keys_and_those_are_known_from_then_on() -> None:
    secrets = Secrets()
    basic = base64.b64encode(b"me:pass-word-77").decode()
    headers = [
        ("Authorization", f"Bearer {KEY}"),
        ("X-Api-Key", "plain-value-9"),
        ("x-goog-api-key", "goog-value-99"),
        ("Cookie", "session=cookie-value-1; b=2"),
        ("Proxy-Authorization", f"Basic {basic}"),
        ("X-Amz-Security-Token", "amz-token-123"),
        ("OpenAI-Organization", "org-1"),
        ("x-ratelimit-remaining-tokens", "500"),
        ("idempotency-key", "idem-12345"),
        ("user-agent", f"see {KEY}"),
        ("X-Nobody-Knew", "what this is"),
    ]
    told = dict(secrets.headers(headers))
    assert told["OpenAI-Organization"] == "org-1"
    assert told["x-ratelimit-remaining-tokens"] == "500"
    assert told["idempotency-key"] == "idem-12345"
    assert told["user-agent"] == "see " + "x" * len(KEY)
    assert told["X-Nobody-Knew"] == REMOVED
    assert [name for name, value in told.items() if value == REMOVED] == [
        *[name for name, _ in headers[:6]],
        "X-Nobody-Knew",
    ]
    known = b" ".join(secrets.values)
    for value in ("plain-value-9", "cookie-value-1", "pass-word-77", "amz-token-123", KEY):
        assert value.encode() in known


@pytest.mark.parametrize(
    ("url", "left"),
    [
        ("https://h/v1?key=abcdef123&alt=sse", "https://h/v1?key=[removed]&alt=sse"),
        ("https://h/v1?a=1&api_key=abcdef123", "https://h/v1?a=[removed]&api_key=[removed]"),
        ("https://h/v1?X-Amz-Signature=abcdef123", "https://h/v1?X-Amz-Signature=[removed]"),
        ("https://me:secret99@h/v1", "https://[removed]@h/v1"),
        (
            "https://h/v1?accessToken=a&pwd=b&code=c",
            "https://h/v1?accessToken=[removed]&pwd=[removed]&code=[removed]",
        ),
        ("https://h/v1?alt=sse;api_key=K", "https://h/v1?alt=[removed]"),
        ("https://h/v1?u=x%3Fapi_key%3DK", "https://h/v1?u=[removed]"),
        ("https://h/v1/chat?model=gpt", "https://h/v1/chat?model=gpt"),
        (f"https://h/{KEY}/v1", "https://h/" + "x" * len(KEY) + "/v1"),
    ],
)
def test_addresses_lose_their_keys(url: str, left: str) -> None:
    assert Secrets().url(url) == left


def test_a_word_that_local_servers_are_sent_is_no_key() -> None:
    assert without_keys(b'{"owned_by":"ollama"}', ["ollama"]) == b'{"owned_by":"ollama"}'


_KEY_NAMES = [
    "X-ApiToken", "X-AuthToken", "accessToken", "X-OpenAIKey", "X-GatewayKey", "Authentication",
    "authorisation", "apikeys", "X-Tokens", "sessionid", "X-PAT", "X-Pass", "x-pwd", "X-Api_Key1",
    "X-MS-CLIENT-PRINCIPAL", "cf-access-client-secret",
]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    _KEY_NAMES,
)
def test_headers_are_removed_however_a_keys_name_is_written(name: str) -> None:
    assert Secrets().headers([(name, "value")]) == [(name, REMOVED)]


def test_an_address_in_a_header_loses_its_keys() -> None:
    secrets = Secrets()
    ((_, told),) = secrets.headers([("Location", "https://me:pass-word-77@h/x?code=abc&model=m")])
    assert told == "https://[removed]@h/x?code=[removed]&model=m"


@pytest.mark.parametrize(
    "told",
    [
        ("Set-Cookie", "a=b1; SameSite=Strict-mode-1234; domain=.api.openai.example1"),
        ("Cookie", "theme=system"),
        ("x-auth-type", "message"),
        ("x-session-affinity", "gpt-4o-2024-08-06"),
        ("Authorization", "Bearer content"),
    ],
)
def test_a_word_under_a_keys_name_is_not_looked_for_in_answers(told: tuple[str, str]) -> None:
    secrets = Secrets()
    secrets.headers([told])
    body = b'{"message":"content Strict-mode-1234 .api.openai.example1 system gpt-4o-2024-08-06"}'
    mask = KeyMask(secrets)
    assert mask.feed(body) + mask.end() == body


@pytest.mark.parametrize(
    "form",
    [
        base64.b64encode(b"a" + b"p-Val/ue=77xyz" + b"bc"),
        base64.b64encode(b"ab" + b"p-Val/ue=77xyz"),
        base64.urlsafe_b64encode(b"p-Val/ue=77xyz"),
        rb"p-Val\/ue=77xyz", rb"p-Val/ue\u003d77xyz", rb"p\u002dVal\u002fue\u003d77xyz",
        b"p-Val%2Fue%3D77xyz", b"p-Val%2fue%3d77xyz",
    ],
)  # fmt: skip
def test_a_known_key_is_found_in_other_forms(form: bytes) -> None:
    masked = without_keys(b"it is " + form + b" here", ["p-Val/ue=77xyz"])
    assert b"xxxxxxxxxxxx" in masked
    assert len(masked) == len(form) + 11
