"""Transports for httpx. Importing this module imports httpx."""

from __future__ import annotations

import httpx

from unbroken.transports import _async, _sync

__all__ = ["AsyncTransport", "Transport"]


class _ByteStream(_sync.ByteStream, httpx.SyncByteStream):
    pass


class _AsyncByteStream(_async.AsyncByteStream, httpx.AsyncByteStream):
    pass


class Transport(_sync.SyncTransport, httpx.BaseTransport):
    """A `httpx.BaseTransport` that makes streamed answers unbreakable."""

    library = httpx
    byte_stream = _ByteStream


class AsyncTransport(_async.AsyncTransport, httpx.AsyncBaseTransport):
    """A `httpx.AsyncBaseTransport` that makes streamed answers unbreakable."""

    library = httpx
    byte_stream = _AsyncByteStream
