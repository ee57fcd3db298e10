"""Rule by rule: what is let in, and the attack that is not."""

from __future__ import annotations

import pytest

from unbroken.gateway.guard import Guard

JSON = ("content-type", "application/json")
HERE = ("host", "127.0.0.1:8411")
LISTED = ("origin", "https://chat.example.com")
SELF = ("origin", "http://127.0.0.1:8411")
GUARD = Guard(
    hosts=["gateway.example.com", "pinned.example.com:8443"],
    origins=["https://chat.example.com"],
    page_token="t0k3n",
    injects_keys=True,
)
CHAT = "/v1/chat/completions"
BODY = ("content-length", "2")

CASES = {
    # name: (method, path, headers, kind of refusal or None)
    "an SDK": ("POST", CHAT, [HERE, JSON, BODY], None),
    "localhost": ("POST", CHAT, [("host", "localhost:8411"), JSON, BODY], None),
    "localhost, forwarded port": ("POST", CHAT, [("host", "localhost:9000"), JSON, BODY], None),
    "a name below localhost": ("GET", CHAT, [("host", "gw.localhost")], None),
    "IPv6 loopback": ("GET", CHAT, [("host", "[::1]:8411")], None),
    "another address of loopback": ("GET", CHAT, [("host", "127.8.9.1")], None),
    "a configured name": ("GET", CHAT, [("host", "Gateway.Example.com")], None),
    "a configured name, with a port": ("GET", CHAT, [("host", "gateway.example.com:443")], None),
    "a configured port": ("GET", CHAT, [("host", "pinned.example.com:8443")], None),
    "another port": ("GET", CHAT, [("host", "pinned.example.com:1")], "host-refused"),
    "the address that was called": ("GET", CHAT, [("host", "10.1.2.3:8411")], None),
    "another address": ("GET", CHAT, [("host", "10.1.2.4:8411")], "host-refused"),
    "DNS rebinding": ("POST", CHAT, [("host", "evil.example:8411"), JSON], "host-refused"),
    "rebinding to the page": ("GET", "/_unbroken/", [("host", "evil.example")], "host-refused"),
    "a name that begins like ours": ("GET", CHAT, [("host", "127.0.0.1.evil.io")], "host-refused"),
    "a name that ends like ours": ("GET", CHAT, [("host", "evillocalhost")], "host-refused"),
    "user info in Host": ("GET", CHAT, [("host", "localhost@evil.example")], "host-refused"),
    "an address in other notation": ("GET", CHAT, [("host", "2130706433")], "host-refused"),
    "no Host": ("GET", CHAT, [], "host-refused"),
    "a probe names its pod": ("GET", "/readyz", [("host", "10.9.9.9:8411")], None),
    "not by POST": ("POST", "/readyz", [("host", "evil.example"), JSON], "host-refused"),
    "a listed origin": ("POST", CHAT, [HERE, LISTED, JSON, BODY], None),
    "listed, with its file": (
        "POST", "/v1/files", [HERE, LISTED, ("content-type", "multipart/form-data; boundary=x")],
        None,
    ),
    "another site's fetch": (
        "POST", CHAT, [HERE, ("origin", "https://evil.example"), JSON], "origin-refused",
    ),
    "another site's GET": (
        "GET", "/v1/models", [HERE, ("origin", "https://evil.example")], "origin-refused",
    ),
    "a preflight of another site": (
        "OPTIONS", CHAT,
        [HERE, ("origin", "https://evil.example"), ("access-control-request-method", "POST")],
        "origin-refused",
    ),
    "a listed name by http": (
        "POST", CHAT, [HERE, ("origin", "http://chat.example.com"), JSON], "origin-refused",
    ),
    "an origin with ours inside": (
        "POST", CHAT, [HERE, ("origin", "http://127.0.0.1:8411.evil.io"), JSON], "origin-refused",
    ),
    "another local server's page": (
        "POST", CHAT, [HERE, ("origin", "http://127.0.0.1:3000"), JSON], "origin-refused",
    ),
    "a sandboxed frame": ("POST", CHAT, [HERE, ("origin", "null"), JSON], "origin-refused"),
    "an image of another site": (
        "GET", "/v1/models",
        [HERE, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")],
        "origin-refused",
    ),
    "a link to the page": (
        "GET", "/_unbroken/", [HERE, ("sec-fetch-site", "cross-site"),
                               ("sec-fetch-mode", "navigate")], None,
    ),
    "a link to a request": (
        "GET", "/v1/models", [HERE, ("sec-fetch-site", "cross-site"),
                              ("sec-fetch-mode", "navigate")], "origin-refused",
    ),
    "a link that only looks like the page's": (
        "GET", "/_unbrokenx", [HERE, ("sec-fetch-site", "cross-site"),
                               ("sec-fetch-mode", "navigate")], "origin-refused",
    ),
    "an address typed in": ("GET", "/_unbroken/", [HERE, ("sec-fetch-site", "none")], None),
    "a simple fetch": (
        "POST", CHAT, [HERE, ("content-type", "text/plain"), BODY], "content-type-refused",
    ),
    "a form": (
        "POST", CHAT, [HERE, ("content-type", "application/x-www-form-urlencoded"), BODY],
        "content-type-refused",
    ),
    "a body without a type": ("POST", CHAT, [HERE, BODY], "content-type-refused"),
    "a streamed body without a type": (
        "POST", CHAT, [HERE, ("transfer-encoding", "chunked")], "content-type-refused",
    ),
    "a type that only ends like JSON's": (
        "POST", CHAT, [HERE, ("content-type", "text/plain; application/json"), BODY],
        "content-type-refused",
    ),
    "JSON with a charset": (
        "POST", CHAT, [HERE, ("Content-Type", "application/json; charset=utf-8"), BODY], None,
    ),
    "an upload": (
        "POST", "/v1/files",
        [HERE, ("content-type", "multipart/form-data; boundary=x"), BODY], None,
    ),
    "an upload by a browser of nobody's": (
        "POST", "/v1/files",
        [HERE, ("sec-fetch-site", "none"), ("content-type", "multipart/form-data; boundary=x")],
        "content-type-refused",
    ),
    "audio": ("POST", "/v1/audio", [HERE, ("content-type", "audio/wav"), BODY], None),
    "a POST that only acts": (
        "POST", "/v1/responses/r/cancel", [HERE, ("content-length", "0")], None,
    ),
    "DELETE": ("DELETE", "/streams/s_1", [HERE], None),
    "the page with its token": (
        "POST", CHAT, [HERE, SELF, JSON, ("x-unbroken-page", "t0k3n")], None,
    ),
    "our origin without the token": ("POST", CHAT, [HERE, SELF, JSON], "page-token-refused"),
    "with another token": (
        "POST", CHAT, [HERE, SELF, JSON, ("x-unbroken-page", "other")], "page-token-refused",
    ),
    "with one that is not ASCII": (
        "POST", CHAT, [HERE, SELF, JSON, ("x-unbroken-page", "tök\u20ac")], "page-token-refused",
    ),
    "our origin's GET of a provider's": (
        "GET", "/v1/models", [HERE, ("sec-fetch-site", "same-origin")], "page-token-refused",
    ),
    "the page's own feed": (
        "GET", "/_unbroken/feed", [HERE, ("sec-fetch-site", "same-origin")], None,
    ),
    "an act through the page": (
        "POST", "/_unbroken/x", [HERE, SELF, JSON], "page-token-refused",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_who_may_come_in(case: str) -> None:
    method, path, headers, kind = CASES[case]
    refusal = GUARD.check(method, path, headers, server="10.1.2.3")
    assert (refusal.kind if refusal else None) == kind
    if refusal is not None:
        assert refusal.status in (403, 415, 421)
        assert "evil" not in refusal.message, "what a client said is not repeated"


def test_without_injected_keys_our_page_needs_no_token() -> None:
    guard = Guard(page_token="t0k3n", injects_keys=False)
    assert guard.check("POST", CHAT, [HERE, SELF, JSON]) is None


def test_a_guard_without_a_token_lets_nobody_in_by_an_empty_one() -> None:
    guard = Guard(injects_keys=True)
    assert guard.check("POST", CHAT, [HERE, SELF, JSON, ("x-unbroken-page", "")]) is not None


def test_a_preflight_of_a_listed_origin_is_answered() -> None:
    asked = [
        HERE, LISTED,
        ("access-control-request-method", "POST"),
        ("access-control-request-headers",
         "authorization,content-type,idempotency-key,last-event-id,x-unbroken-resume,x-evil"),
        ("access-control-request-private-network", "true"),
    ]  # fmt: skip
    assert GUARD.check("OPTIONS", CHAT, asked) is None
    answer = dict(GUARD.preflight("OPTIONS", asked) or [])
    assert answer["access-control-allow-origin"] == "https://chat.example.com"
    assert answer["access-control-allow-headers"] == (
        "authorization, content-type, idempotency-key, last-event-id, x-unbroken-resume"
    )
    assert "DELETE" in answer["access-control-allow-methods"]
    assert answer["access-control-allow-private-network"] == "true"
    assert answer["vary"] == "Origin"
    assert "access-control-allow-credentials" not in answer


def test_what_is_no_preflight_is_passed_on() -> None:
    assert GUARD.preflight("OPTIONS", [HERE]) is None
    assert GUARD.preflight("POST", [HERE, LISTED]) is None


def test_answers_show_our_headers_to_listed_origins_only() -> None:
    told = dict(GUARD.cors([HERE, LISTED]))
    assert told["access-control-allow-origin"] == "https://chat.example.com"
    assert "X-Unbroken-Stream" in told["access-control-expose-headers"]
    assert GUARD.cors([HERE]) == [("vary", "Origin")]
    assert GUARD.cors([HERE, ("origin", "https://evil.example")]) == [("vary", "Origin")]
    assert Guard().cors([HERE, LISTED]) == []
