"""The upstreams of a configuration, and how the drivers ask them.

Only what is in the configuration is ever asked: a request that recovery makes goes to the upstream
whose address its URL begins with, or nowhere.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from typing import Any

from unbroken.core.errors import error_class
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.outcome import Outcome
from unbroken.core.request import Request
from unbroken.drivers.base import PROBLEM_BYTES
from unbroken.relay.messages import RelayRequest, ResponseHead, UpstreamError
from unbroken.relay.upstream import Answer, UpstreamClient, UpstreamOptions
from unbroken.transports._decoding import inflater_for

__all__ = ["DriverBody", "DriverUpstream", "Upstreams", "refusal_of", "relayed"]


class Upstreams:
    """The connections to every upstream; an async context manager, bound to its loop.

    Args:
        options: How each is asked, by its name in the configuration.
    """

    def __init__(self, options: Mapping[str, UpstreamOptions]) -> None:
        self._clients = {name: UpstreamClient(each) for name, each in options.items()}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Upstreams:
        for client in self._clients.values():
            await self._stack.enter_async_context(client)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    def named(self, name: str) -> UpstreamClient:
        """Return the client of an upstream.

        Raises:
            KeyError: If the configuration has none of that name.
        """
        return self._clients[name]

    def at(self, url: str) -> UpstreamClient | None:
        """Return the client whose address a URL begins with: the longest, or None."""
        found = [client for client in self._clients.values() if client.target_of(url) is not None]
        return max(found, key=lambda client: len(client.options.url), default=None)


def relayed(request: Request, client: UpstreamClient) -> RelayRequest:
    """Return a request as an upstream is asked that its URL is of."""
    target = client.target_of(request.url)
    assert target is not None, "the URL is that of another upstream"
    return RelayRequest(
        method=request.method, target=target, headers=list(request.headers), body=request.body
    )


class DriverBody:
    """An open answer; an `unbroken.drivers.upstream.AsyncBody`.

    Attributes:
        head: Status line and headers, as they came.
        said: What was read of a body that is not 2xx: the driver looks only into it.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.head = answer.head
        self.status = answer.head.status
        self.headers: Mapping[str, str] = {
            name.lower(): value for name, value in answer.head.headers
        }
        encoding = self.headers.get("content-encoding", "identity").strip().lower()
        self._inflater = inflater_for(encoding)
        self.readable = self._inflater is not None or encoding in ("", "identity")
        # A healthy stream is read without a layer of ours between: it would cost at every read.
        plain = self._inflater is None and self.status < 300
        self.read: Callable[[], Coroutine[Any, Any, bytes | None]] = (
            answer.read if plain else self._read
        )
        self.said = b""
        self._ended = False

    @property
    def can_abort(self) -> bool:
        """Whether `abort` can work: always."""
        return True

    async def _read(self) -> bytes | None:
        if self._inflater is not None:
            return await self._decoded()
        data = await self._answer.read()
        if len(self.said) < PROBLEM_BYTES:
            self.said += data
        return data

    async def _decoded(self) -> bytes | None:
        assert self._inflater is not None
        try:
            if more := self._inflater.more():
                return more
            while not self._ended:
                data = await self._answer.read()
                self._ended = not data
                out = self._inflater.decode(data) if data else self._inflater.flush()
                if out:
                    return out
        except zlib.error as error:
            detail = f"its compressed body cannot be read ({error})"
            address = self._answer.address
            raise UpstreamError(how="incomplete", address=address, detail=detail) from error
        return None

    def abort(self) -> bool:
        self._answer.close()
        return True

    async def aclose(self) -> None:
        self._answer.close()


class DriverUpstream:
    """Asks for one stream; an `unbroken.drivers.upstream.AsyncUpstream`.

    Attributes:
        refused: The last answer that was no stream, with what was read of its body.

    Args:
        upstreams: All that may be asked.
        client: The stream's own.
        stamp: Sees each request as it goes out, and returns what is sent.
    """

    def __init__(
        self,
        upstreams: Upstreams,
        client: UpstreamClient,
        stamp: Callable[[Request], Request] | None = None,
    ) -> None:
        self._upstreams = upstreams
        self._client = client
        self._stamp = stamp
        self.refused: DriverBody | None = None

    async def send(
        self, request: Request, *, connect_s: float | None, head_s: float | None
    ) -> DriverBody:
        client = self._client
        if client.target_of(request.url) is None:
            other = self._upstreams.at(request.url)
            if other is None:
                detail = "the configuration has no upstream of that address"
                raise UpstreamError(how="unreachable", address=request.host, detail=detail)
            client = other
        if self._stamp is not None:
            request = self._stamp(request)
        async with asyncio.timeout(head_s):
            body = DriverBody(await client.ask(relayed(request, client)))
        if body.status >= 300:
            self.refused = body
        return body

    def explain(self, error: Exception, *, connecting: bool) -> Fault:
        """Return the fault that a failed request or read is."""
        if not isinstance(error, UpstreamError):
            if isinstance(error, TimeoutError):
                return Fault.of(FaultKind.STALLED, "no response head in time")
            kind = FaultKind.CONNECT_FAILED if connecting else FaultKind.CONNECTION_RESET
            return Fault.of(kind, f"asking failed ({type(error).__name__})")
        if error.how == "silent":
            return Fault.of(FaultKind.STALLED, str(error))
        if connecting:
            lasting = error.how in ("tls", "not-http")
            return Fault.of(FaultKind.CONNECT_FAILED, str(error), retryable=not lasting)
        return Fault.of(FaultKind.CONNECTION_RESET, str(error))

    def abort(self) -> None:
        """Nothing to do: a `send` that waits is cancelled with its scope."""

    def exception(self, outcome: Outcome, fault: Fault, request: Request) -> Exception:
        return error_class(fault)(outcome=outcome, fault=fault)


def refusal_of(body: DriverBody) -> tuple[ResponseHead, bytes]:
    """Return an answer that was no stream, to be passed on as it came."""
    gone = ("content-length", "content-encoding", "transfer-encoding")
    headers = [pair for pair in body.head.headers if pair[0].lower() not in gone]
    return (
        ResponseHead(
            status=body.status,
            reason=body.head.reason,
            headers=[*headers, ("content-length", str(len(body.said)))],
            framing="length",
        ),
        body.said,
    )
