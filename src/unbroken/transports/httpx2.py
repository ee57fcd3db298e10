"""Transports for httpx2. Importing this module imports httpx2."""

from __future__ import annotations

import httpx2

from unbroken.transports import _async, _sync

__all__ = ["AsyncTransport", "Transport"]


class _ByteStream(_sync.ByteStream, httpx2.SyncByteStream):
    pass


class _AsyncByteStream(_async.AsyncByteStream, httpx2.AsyncByteStream):
    pass


class Transport(_sync.SyncTransport, httpx2.BaseTransport):
    """A `httpx2.BaseTransport` that makes streamed answers unbreakable."""

    library = httpx2
    byte_stream = _ByteStream


class AsyncTransport(_async.AsyncTransport, httpx2.AsyncBaseTransport):
    """A `httpx2.AsyncBaseTransport` that makes streamed answers unbreakable."""

    library = httpx2
    byte_stream = _AsyncByteStream
