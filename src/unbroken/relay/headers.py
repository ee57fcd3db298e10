"""Which headers pass a relay, and which belong to one connection (RFC 9110, section 7.6.1)."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from unbroken.relay.messages import Framing, Headers

__all__ = ["HOP_BY_HOP", "for_downstream", "for_upstream", "framing_of"]

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)

# Written anew by whoever sends the request on: the body is sent whole, with its length.
_OF_THE_REQUEST = frozenset({"accept-encoding", "content-length", "expect", "host"})
_BODILESS = frozenset({204, 304})


def for_upstream(
    headers: Iterable[tuple[str, str]], *, drop: Collection[str] = (), codings: Collection[str] = ()
) -> Headers:
    """Return a request's headers as they go upstream.

    Asks for an answer that is not compressed: a frame must be read as soon as it comes, and
    the decoder of a compressed body could hold it back.

    Args:
        headers: As they came.
        drop: More names to leave out, in lower case.
        codings: Compressions that may be asked for all the same, where the headers do.
    """
    headers = list(headers)
    kept = _passing(headers, _OF_THE_REQUEST | frozenset(drop))
    return [*kept, ("Accept-Encoding", _accepted(headers, codings))]


def _accepted(headers: Headers, codings: Collection[str]) -> str:
    said = ",".join(value for name, value in headers if name.lower() == "accept-encoding")
    asked = [part.strip() for part in said.split(",")] if codings else []
    return ", ".join(p for p in asked if p.partition(";")[0].lower() in codings) or "identity"


def for_downstream(headers: Iterable[tuple[str, str]], *, rewritten: bool = False) -> Headers:
    """Return an answer's headers as they go downstream.

    Args:
        headers: As they came.
        rewritten: The body will not be the upstream's bytes, so its length and coding, and
            what was computed over its bytes, are not true any more.
    """
    return _passing(headers, _OF_THE_BYTES if rewritten else frozenset())


_OF_THE_BYTES = frozenset(
    {"content-length", "content-encoding", "content-md5", "content-digest", "etag"}
)


def framing_of(method: str, status: int, headers: Iterable[tuple[str, str]]) -> Framing:
    """Return how an answer with these headers, as they came, tells its end (RFC 9112, 6.3)."""
    if method == "HEAD" or status in _BODILESS:
        return "none"
    known = {name.lower(): value.lower() for name, value in headers}
    if "transfer-encoding" in known:
        return "chunked" if known["transfer-encoding"].endswith("chunked") else "close"
    return "length" if "content-length" in known else "close"


def _passing(headers: Iterable[tuple[str, str]], drop: frozenset[str]) -> Headers:
    headers = list(headers)
    named = {
        token.strip().lower()
        for name, value in headers
        if name.lower() == "connection"
        for token in value.split(",")
    }
    stay = HOP_BY_HOP | named | drop
    return [(name, value) for name, value in headers if name.lower() not in stay]
