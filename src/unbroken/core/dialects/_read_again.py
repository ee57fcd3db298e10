"""Ask for an answer that the provider keeps, by its id and from a place on."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from unbroken.core.dialects._llama_stream import bodiless
from unbroken.core.request import Request

__all__ = ["asks_for_stream", "read_again"]


def read_again(
    request: Request, *, collection: str, id: str, query: Mapping[str, str]
) -> Request | None:
    """Return the GET of one answer as a stream, or None if its id is not known.

    The request's own keys and query stay (``api-version``, ``key``, ``include``); what
    `query` names is replaced.

    Args:
        request: The one that made the answer, or a GET of it.
        collection: The path's part before the id, such as ``/responses``.
        id: The id, or ``""`` to take that of a GET.
        query: What to ask for.
    """
    parts = urlsplit(request.url)
    root, found, own = parts.path.rstrip("/").rpartition(collection)
    if not found or not (id := id or own.lstrip("/")):
        return None
    kept = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] not in query]
    if not id.strip("."):  # it would be another path
        return None
    path = f"{root}{collection}/{quote(id, safe='', errors='replace')}"
    asked = urlencode([*kept, *query.items()], errors="replace")
    return bodiless(request, urlunsplit((parts.scheme, parts.netloc, path, asked, "")))


def asks_for_stream(request: Request) -> bool:
    """Whether a GET asks for its answer as a stream."""
    given = dict(parse_qsl(urlsplit(request.url).query))
    return request.method.upper() == "GET" and given.get("stream", "").lower() == "true"
