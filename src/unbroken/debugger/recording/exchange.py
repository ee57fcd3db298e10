"""One request and its answer, told to a tape while they pass: what came, what went, and when."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from unbroken.core.dialects import recognise_request
from unbroken.core.masking import Secrets
from unbroken.core.recording import BodyEndHow, Contents
from unbroken.core.request import Request
from unbroken.relay.headers import for_upstream
from unbroken.relay.messages import Framing, RelayRequest, ResponseHead, UpstreamError
from unbroken.relay.pump import AbortHow, Downstream, Upstream
from unbroken.relay.upstream import UpstreamClient, UpstreamOptions
from unbroken.telemetry.recording.recorder import Recorder, RecordingTape

__all__ = ["Exchange", "Recording", "Result", "codings_for"]

_BUSY_S = 0.001
_BEHIND_S = 0.02
_CODINGS = ("gzip", "x-gzip", "deflate", "identity")
_current: ContextVar[Exchange | None] = ContextVar("unbroken_exchange", default=None)


def codings_for(contents: Contents) -> tuple[str, ...]:
    """Return the compressions that a recorded client may ask for.

    Only those that can be looked into for keys; none where contents are to be overwritten, which
    cannot be done in a body that is compressed.
    """
    return _CODINGS if contents == "kept" else ()


class Recording:
    """A client of one upstream whose exchanges are recorded; an async context manager.

    Args:
        options: Who is asked, and how.
        recorder: Where it is written.

    Raises:
        ValueError: On entering, if the options name a file that holds no certificates.
    """

    def __init__(self, options: UpstreamOptions, recorder: Recorder) -> None:
        self.options = options
        self._recorder = recorder
        self._client = _TracedClient(options)

    async def __aenter__(self) -> Recording:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._client.__aexit__(*error)

    def exchange(self, request: RelayRequest) -> Exchange:
        """Begin the recording of a request that is about to be sent."""
        return Exchange(self._client, request, self._recorder)


@dataclass(slots=True)
class Result:
    """What became of one exchange.

    Attributes:
        method: Of the request.
        path: Of the request, without its query and without keys.
        status: HTTP status; 0 where no answer came.
        reason: Its words.
        how: How the body ended.
        detail: What was said of that.
        body_bytes: Of the answer.
        lasted_s: From the request to the end.
    """

    method: str
    path: str
    status: int = 0
    reason: str = ""
    how: BodyEndHow | None = None
    detail: str = ""
    body_bytes: int = 0
    lasted_s: float = 0.0


class Exchange:
    """One request, and all that is heard of its answer.

    Attributes:
        result: What became of it so far.
    """

    def __init__(self, client: UpstreamClient, request: RelayRequest, recorder: Recorder) -> None:
        self._client = client
        self._request = request
        self._recorder = recorder
        self._tape: RecordingTape = recorder.stream()
        self._url = client.options.url.rstrip("/") + request.target
        self._began = time.monotonic()
        secrets = Secrets()  # what is told on a terminal is masked like what is written down
        secrets.headers(request.headers)
        path = secrets.url(request.target).partition("?")[0]
        self.result = Result(method=request.method, path=path)

    async def ask(self) -> Upstream:
        """Send the request; return its answer, which is recorded as it is read.

        Raises:
            UpstreamError: If there is none.
        """
        sent = Request(
            method=self._request.method,
            url=self._url,
            headers=tuple(
                for_upstream(self._request.headers, codings=self._client.options.codings)
            ),
            body=self._request.body,
        )
        dialect = recognise_request(sent)
        name = "" if dialect is None else dialect.name
        self._tape.request(sent, 1, "first", name, time.monotonic())
        token = _current.set(self)
        try:
            answer = await self._client.ask(self._request)
        except UpstreamError as failure:
            self.ended("unanswered", failure.detail)
            raise
        finally:
            _current.reset(token)
        head = answer.head
        self.result.status, self.result.reason = head.status, head.reason
        self._tape.answered(
            1, head.status, head.headers, time.monotonic(), head.reason, head.framing
        )
        return _Heard(self, answer)

    def connected(self, *, reused: bool) -> None:
        """The connection stands."""
        parts = urlsplit(self._url)
        tls = parts.scheme == "https"
        address = f"{parts.hostname}:{parts.port or (443 if tls else 80)}"
        self._tape.connected(1, time.monotonic(), address=address, tls=tls, reused=reused)

    def downstream(self, reply: Downstream) -> Downstream:
        """Return a downstream whose writes are recorded."""
        return _Told(self, reply)

    def ended(self, how: BodyEndHow, detail: str = "") -> None:
        """The exchange is over; the first word counts."""
        if self.result.how is not None:
            return
        now = time.monotonic()
        self.result.how, self.result.detail = how, detail
        self.result.lasted_s = now - self._began
        self._tape.ended(1, how, detail, now)
        self._tape.close(now)

    def delivered(self, data: bytes, began: float) -> None:
        """Bytes went to the consumer, who took them from `began` to now."""
        now = time.monotonic()
        busy = now - began > _BUSY_S
        self._tape.delivered(data, began if busy else now)
        if busy:
            self._tape.wanted(now)

    async def read(self, answer: Upstream) -> bytes:
        """Read on, and record it."""
        while self._recorder.behind:  # noqa: ASYNC110 - this stream waits for the disk, no other
            await asyncio.sleep(_BEHIND_S)
        began = time.monotonic()
        try:
            data = await answer.read()
        except UpstreamError as failure:
            how: BodyEndHow = failure.how if failure.how in ("reset", "silent") else "incomplete"
            self.ended(how, failure.detail)
            raise
        now = time.monotonic()
        if data:
            self.result.body_bytes += len(data)
            self._tape.read(1, data, now, now - began)
        else:
            self.ended("eof")
        return data


class _Heard:
    """An answer whose reads are recorded; an `unbroken.relay.pump.Upstream`."""

    def __init__(self, exchange: Exchange, answer: Upstream) -> None:
        self.head = answer.head
        self._exchange = exchange
        self._answer = answer

    async def read(self) -> bytes:
        return await self._exchange.read(self._answer)

    def close(self) -> None:
        self._answer.close()


class _Told:
    """A downstream whose writes are recorded."""

    def __init__(self, exchange: Exchange, reply: Downstream) -> None:
        self._exchange = exchange
        self._reply = reply
        self._framing: Framing = "none"

    async def start(self, head: ResponseHead) -> None:
        self._framing = head.framing
        await self._reply.start(head)

    async def write(self, data: bytes) -> None:
        began = time.monotonic()
        await self._reply.write(data)
        if self._framing != "none":
            self._exchange.delivered(data, began)

    async def end(self) -> None:
        await self._reply.end()

    async def abort(self, how: AbortHow) -> None:
        await self._reply.abort(how)

    def left(self) -> Awaitable[None]:
        return self._reply.left()


class _TracedClient(UpstreamClient):
    """Tells the exchange that asks when its connection stood."""

    async def __aenter__(self) -> _TracedClient:
        await super().__aenter__()
        assert self._session is not None
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(_created)
        trace.on_connection_reuseconn.append(_reused)
        trace.freeze()
        self._session.trace_configs.append(trace)
        return self


async def _created(*_: Any) -> None:
    exchange = _current.get()
    if exchange is not None:
        exchange.connected(reused=False)


async def _reused(*_: Any) -> None:
    exchange = _current.get()
    if exchange is not None:
        exchange.connected(reused=True)
