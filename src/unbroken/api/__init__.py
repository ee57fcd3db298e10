"""The public functions: clients for SDKs, and streams without an SDK."""

from __future__ import annotations

from unbroken.api.clients import async_http_client, http_client
from unbroken.api.direct import astream, stream
from unbroken.api.event_streams import AsyncEventStream, EventStream
from unbroken.api.reordering import MissingEventError, ReorderBuffer
from unbroken.api.texts import aiter_text, iter_text
from unbroken.api.wrapping import wrap
from unbroken.governor.plugins import register_dialect

__all__ = [
    "AsyncEventStream",
    "EventStream",
    "MissingEventError",
    "ReorderBuffer",
    "aiter_text",
    "astream",
    "async_http_client",
    "http_client",
    "iter_text",
    "register_dialect",
    "stream",
    "wrap",
]
