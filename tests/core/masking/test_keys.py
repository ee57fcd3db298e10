"""Keys are never in a recording, however the bytes were cut; and what is no key stays."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.masking.masked import without_keys
from unbroken.core.masking import Secrets
from unbroken.core.masking.keys import REMOVED

KEY = "sk-proj-Abc1Def2Ghi3Jkl4Mno5"
LOOKS = [
    KEY,
    "sk-ant-api03-AAAAAAAAAAAAAAAAAAAA",
    "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "AKIAIOSFODNN7EXAMPLE",
    "gsk_abcdefghijklmnopqrstuvwx",
    "hf_abcdefghijklmnopqrst",
    "xai-abcdefghijklmnopqrst",
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
        ("x-note", f"see {KEY}"),
    ]
    told = dict(secrets.headers(headers))
    assert told["OpenAI-Organization"] == "org-1"
    assert told["x-ratelimit-remaining-tokens"] == "500"
    assert told["idempotency-key"] == "idem-12345"
    assert told["x-note"] == "see " + "x" * len(KEY)
    assert [name for name, value in told.items() if value == REMOVED] == [
        name for name, _ in headers[:6]
    ]
    known = b" ".join(secrets.values)
    for value in ("plain-value-9", "cookie-value-1", "pass-word-77", "amz-token-123", KEY):
        assert value.encode() in known


@pytest.mark.parametrize(
    ("url", "left"),
    [
        ("https://h/v1?key=abcdef123&alt=sse", "https://h/v1?key=[removed]&alt=sse"),
        ("https://h/v1?a=1&api_key=abcdef123", "https://h/v1?a=1&api_key=[removed]"),
        ("https://h/v1?X-Amz-Signature=abcdef123", "https://h/v1?X-Amz-Signature=[removed]"),
        ("https://me:secret99@h/v1", "https://[removed]@h/v1"),
        ("https://h/v1/chat?model=gpt", "https://h/v1/chat?model=gpt"),
        (f"https://h/{KEY}/v1", "https://h/" + "x" * len(KEY) + "/v1"),
    ],
)
def test_addresses_lose_their_keys(url: str, left: str) -> None:
    assert Secrets().url(url) == left


def test_a_word_that_local_servers_are_sent_is_no_key() -> None:
    assert without_keys(b'{"owned_by":"ollama"}', ["ollama"]) == b'{"owned_by":"ollama"}'
