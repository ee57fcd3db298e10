"""The resumable streams of llama.cpp's server, which serves several dialects.

A request with the header ``X-Conversation-Id`` is answered into a buffer that outlives the
connection (tools/server/README-dev.md, "Resumable streaming", 2026): ``GET
/v1/stream?conv_id=ID&from=N`` sends the body again from byte N and goes on live. The buffer is a
ring of 4 MiB; an offset before it is a 400, an unknown id a 404, 300 s after the end as well.
"""

from __future__ import annotations

from urllib.parse import urlencode

import msgspec

from unbroken.core.dialects.base import Cursor, Place
from unbroken.core.request import Request

__all__ = ["bodiless", "llama_cursor"]

_HEADER = "x-conversation-id"
_OF_THE_BODY = ("content-type", "content-length", "content-encoding", "transfer-encoding")


def llama_cursor(request: Request, place: Place, *, endpoint: str) -> Cursor | str:
    """Return the request for the rest of the body, or ``""`` where no conversation was named.

    Args:
        request: The request of the attempt that broke.
        place: How far it was read.
        endpoint: The path of the dialect, below the server's root and its ``/v1``.
    """
    conversation = request.header(_HEADER)
    root, found, _ = request.url.partition(endpoint)
    if not conversation or not found:
        return ""
    query = urlencode({"conv_id": conversation, "from": place.bytes})
    return Cursor(
        request=bodiless(request, f"{root.removesuffix('/v1')}/v1/stream?{query}"), mid_frame=True
    )


def bodiless(request: Request, url: str) -> Request:
    """Return a GET of the same caller, with its keys and without its body."""
    headers = tuple(pair for pair in request.headers if pair[0].lower() not in _OF_THE_BODY)
    return msgspec.structs.replace(request, method="GET", url=url, headers=headers, body=b"")
