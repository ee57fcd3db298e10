"""Which names are those of keys, and which names' values say nothing secret.

Of headers and of addresses only what is known to be harmless is kept: a header that nobody knew of
when this was written may hold a key. In bodies it is the other way round, since their fields are
what a recording is for: there the name must be a key's.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import unquote_plus

__all__ = [
    "REASONS",
    "is_harmless_header",
    "is_harmless_pair",
    "is_key_field",
    "is_key_name",
    "may_hold_keys",
]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_STRONG = _words(
    """authorization authorisation authentication apikey apikeys secret secrets password passwords
    passwd pwd pass passphrase passcode credential credentials cookie cookies cookie2 jwt bearer
    pat"""
)
_OF_KEYS = _words(
    """api access secret private auth account subscription session refresh security client service
    bearer id user admin master license licence signing encryption app x openai anthropic azure
    google gemini hf aws mistral cohere groq openrouter gateway"""
)
_JOINED = re.compile(
    r"(?:api|access|secret|private|auth|account|subscription|session|refresh|bearer|security|client"
    r"|service|user|app|id)+(?:keys?|tokens?|secrets?|auth|pass(?:word)?)\Z"
)
_TAILS = frozenset({"value", "string", "plain", "raw", "b64", "base64", "id"})
# Names that end like a key's, and are none.
_NO_KEY_BEFORE = _words(
    """idempotency cache public primary foreign sort partition page bos eos pad stop mask unk cls
    sep special start end next prev previous first last begin continuation group row column image
    max min total input output prompt completion websocket host object dict map ssh pre hot
    dedupe dedup routing"""
)
_EXACT = frozenset({"key", "token", "auth", "ocp-apim-subscription-key", "x-ms-client-principal"})
_MARKS = (
    b"key", b"token", b"secret", b"pass", b"pwd", b"auth", b"cookie", b"credential", b"jwt",
    b"bearer", b"code=", b"name", b"\\u00", b"sig", b"pat", b"header", b"field", b"variable",
)  # fmt: skip


def may_hold_keys(data: bytes) -> bool:
    """Whether a name of a key may stand in bytes, or what leads to one: a quick look."""
    lower = data.lower()
    return any(mark in lower for mark in _MARKS)


@lru_cache(2048)
def is_key_field(name: str) -> bool:
    """Whether a field of this name, in JSON or in a form, holds a key where it holds a text."""
    parts = [part.lower() for part in _PARTS.findall(name)]
    while len(parts) > 1 and (parts[-1].isdigit() or parts[-1] in _TAILS):
        if parts[-1] == "id" and parts[-2] != "key":
            return False
        parts.pop()
    if not parts:
        return False
    if name.lower() in _EXACT:
        return True
    last = parts[-1]
    before = parts[-2] if len(parts) > 1 else ""
    if last in _STRONG or _JOINED.match(last):
        return True
    if last in ("key", "token"):
        return before not in _NO_KEY_BEFORE
    if last == "keys":
        return before in _OF_KEYS
    return last == "auth" and bool(before)


_KEY_WORDS = frozenset(
    {"auth", "key", "keys", "token", "tokens", "session", "sessionid", "sig", "signature"}
    | {"sid", "otp", "ticket", "assertion", "principal"}
)
_NO_KEYS = frozenset({"idempotency-key", "x-idempotency-key", "sec-websocket-key"})


@lru_cache(2048)
def is_key_name(name: str) -> bool:
    """Whether a header, or a part of an address's query, of this name holds a key."""
    name = unquote_plus(name).strip()
    lower = name.lower()
    if lower in _NO_KEYS or "ratelimit" in lower or lower.endswith(("-count", "_count")):
        return False
    words = {part.lower() for part in _PARTS.findall(name)} | set(re.findall(r"[a-z]+", lower))
    return (
        lower == "code"
        or not words.isdisjoint(_KEY_WORDS | _STRONG)
        or any(_JOINED.match(word) for word in words)
        or is_key_field(name)
    )


_HEADERS = _words(
    """accept accept-charset accept-encoding accept-language accept-ranges
    access-control-allow-origin
    access-control-allow-credentials access-control-allow-headers access-control-allow-methods
    access-control-expose-headers access-control-max-age age allow alt-svc baggage cache-control
    cdn-cache-control cf-cache-status cf-ray cf-mitigated connection content-disposition
    content-encoding content-language content-length content-range content-security-policy
    content-type cross-origin-opener-policy cross-origin-resource-policy date dnt etag expect
    expires host idempotency-key x-idempotency-key if-modified-since if-none-match keep-alive
    last-event-id last-modified link location max-forwards nel origin permissions-policy pragma
    priority proxy-connection proxy-status range referer referrer-policy refresh report-to
    request-id retry-after retry-after-ms server server-timing strict-transport-security te
    timing-allow-origin traceparent tracestate trailer transfer-encoding upgrade
    upgrade-insecure-requests user-agent vary via warning www-authenticate x-accel-buffering
    x-amz-cf-pop x-amzn-errortype x-aspnet-version x-azure-ref x-cache x-cache-hits
    x-cloud-trace-context
    x-content-type-options x-correlation-id x-dns-prefetch-control x-envoy-decorator-operation
    x-envoy-upstream-service-time x-forwarded-host x-forwarded-port x-forwarded-proto
    x-frame-options x-powered-by x-proxy-cache x-real-server x-request-id x-requested-with
    x-robots-tag x-served-by x-should-retry x-timer x-trace-id x-varnish x-vercel-id
    x-xss-protection
    x-goog-api-client x-goog-request-params x-ms-region x-ms-client-request-id x-ms-request-id
    x-groq-region x-inference-time x-compute-type x-compute-time fly-request-id
    function-execution-id
    inference-id num-tokens helicone-id modal-function-call-id ms-azureml-model-session
    azureml-model-session apim-request-id x-ai-eg-model x-kong-proxy-latency
    x-kong-upstream-latency x-kong-request-id x-app x-title http-referer b3
    :status :authority :method :path :scheme"""
)
_HEADER_STARTS = (
    "x-ratelimit-", "ratelimit", "x-rate-limit", "openai-", "anthropic-", "x-stainless-", "x-lab-",
    "x-unbroken-", "unbroken-", "sec-fetch-", "sec-ch-", "x-amzn-requestid", "x-amzn-bedrock-",
    "x-amz-cf-id", "x-amz-request-id", "x-b3-", "llm_provider-", "x-litellm-", "x-envoy-",
    "x-request-", "x-total-", "x-response-", "x-runtime", "cf-", "fastly-", "x-fastly-",
    "x-upstream-",
)  # fmt: skip


@lru_cache(2048)
def is_harmless_header(name: str) -> bool:
    """Whether a header's value may be written down; what is not known may not."""
    name = name.lower()
    if is_key_name(name) and name not in _HEADERS:
        return False
    return name in _HEADERS or name.startswith(_HEADER_STARTS)


_PAIRS = _words(
    """alt api-version api_version apiversion stream model version format beta starting_after after
    before limit order offset page page_size pagesize include_usage timeout deployment deployment_id
    encoding response_format prettyprint pretty $format fields view lang language include
    include[] stream_options region mode"""
)
_PLAIN_VALUE = re.compile(r"(?:[A-Za-z0-9._,:+/~\[\]-]|%2[FfCc]|%3[Aa]|%5[BbDd]){0,64}\Z")


def is_harmless_pair(name: str, value: str) -> bool:
    """Whether a part of an address's query may be written down."""
    return unquote_plus(name).lower() in _PAIRS and _PLAIN_VALUE.match(value) is not None


REASONS = frozenset(
    (
        "", "ok", "created", "accepted", "no content", "partial content",
        "moved permanently", "found", "see other", "not modified", "temporary redirect",
        "permanent redirect", "bad request", "unauthorized", "payment required", "forbidden",
        "not found", "method not allowed", "not acceptable", "request timeout", "conflict", "gone",
        "length required", "precondition failed", "payload too large", "content too large",
        "request entity too large", "uri too long", "unsupported media type",
        "unprocessable entity", "unprocessable content", "too early", "upgrade required",
        "too many requests", "request header fields too large", "unavailable for legal reasons",
        "internal server error", "not implemented", "bad gateway", "service unavailable",
        "service temporarily unavailable", "gateway timeout", "gateway time-out",
        "http version not supported", "unknown",
    )
)  # fmt: skip
"""Words of a status line, in small letters, that say nothing but the status."""
