"""Requests of our own, sent by a whole HTTP client: for streams without an SDK.

The client's transport, proxies, redirects, cookies and authentication are used; its exceptions
are not: who uses no SDK catches `unbroken.StreamingError`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

from unbroken.core.errors import StreamingError, StreamTimeoutError, error_class
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.outcome import Outcome
from unbroken.core.request import Origin, Request
from unbroken.transports import _async, _sync
from unbroken.transports._errors import explain
from unbroken.transports._family import MODE_HEADER

__all__ = ["AsyncClientUpstream", "ClientUpstream"]

_BEFORE_BODY = (FaultKind.CONNECT_FAILED, FaultKind.HTTP_ERROR)


class _Sender:
    """What both kinds share.

    Args:
        library: ``httpx2`` or ``httpx``.
        client: Returns the client, at the first request.
    """

    def __init__(self, library: ModuleType, client: Callable[[], Any]) -> None:
        self._library = library
        self._make = client
        self._client: Any = None
        self._socket: Any = None
        self._timed_out = False
        self._home: Origin | None = None

    def explain(self, error: Exception, *, connecting: bool) -> Fault:
        self._timed_out = isinstance(error, self._library.TimeoutException)
        return explain(self._library, error, connecting=connecting)

    def exception(self, outcome: Outcome, fault: Fault, request: Request) -> Exception:
        kind = error_class(fault)
        if fault.kind in _BEFORE_BODY and not outcome.text:
            kind = StreamTimeoutError if self._timed_out else StreamingError
        return kind(outcome=outcome, fault=fault)

    def abort(self) -> None:
        """Wake a `send` that waits for the response head on a connection of its own."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(2)  # SHUT_RDWR

    def _build(
        self, request: Request, connect_s: float | None, head_s: float | None, trace: Any
    ) -> tuple[Any, dict[str, Any], float | None]:
        if self._client is None:
            self._client = self._make()
        client = self._client
        self._timed_out = False
        self._socket = None
        given = client.timeout.as_dict()
        timeouts = {
            **given,
            "connect": _shorter(given["connect"], connect_s),
            "read": _shorter(given["read"], head_s),
        }
        headers = list(request.headers)
        route = getattr(client, "_transport_for_url", None)
        if route is not None and isinstance(
            route(self._library.URL(request.url)), (_sync.SyncTransport, _async.AsyncTransport)
        ):
            headers.append((MODE_HEADER, "off"))  # a client of ours: once is enough
        extensions = {"timeout": timeouts, "trace": trace}
        if self._is_home(request):
            built = client.build_request(
                request.method,
                request.url,
                headers=headers,
                content=request.body,
                extensions=extensions,
            )
        else:  # the client's headers, cookies and parameters are for the first host
            built = self._library.Request(
                request.method,
                request.url,
                headers=headers,
                content=request.body,
                extensions=extensions,
            )
        return built, timeouts, given["read"]

    def _is_home(self, request: Request) -> bool:
        """Whether a request goes where the first one went."""
        origin = request.origin
        self._home = self._home or origin
        return self._home == origin

    def _auth(self, request: Request) -> dict[str, Any]:
        """Return what keeps the client's authentication from another host."""
        return {} if self._is_home(request) else {"auth": None, "follow_redirects": False}

    def _traced(self, event: str, info: dict[str, Any]) -> None:
        """Keep the socket that a new connection has, so that `abort` can reach it."""
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            stream = info.get("return_value")
            if stream is not None:
                self._socket = stream.get_extra_info("socket")


class ClientUpstream(_Sender):
    """See `unbroken.drivers.upstream.Upstream`."""

    def send(
        self, request: Request, *, connect_s: float | None, head_s: float | None
    ) -> _sync.Body:
        built, timeouts, read_s = self._build(request, connect_s, head_s, self._traced)
        response = self._client.send(built, stream=True, **self._auth(request))
        timeouts["read"] = read_s  # the head is here; from now on the stream's clocks rule
        return _sync.Body(response, built)


class AsyncClientUpstream(_Sender):
    """See `unbroken.drivers.upstream.AsyncUpstream`."""

    async def send(
        self, request: Request, *, connect_s: float | None, head_s: float | None
    ) -> _async.Body:
        async def trace(event: str, info: dict[str, Any]) -> None:
            self._traced(event, info)

        built, timeouts, read_s = self._build(request, connect_s, head_s, trace)
        response = await self._client.send(built, stream=True, **self._auth(request))
        timeouts["read"] = read_s
        return _async.Body(response)


def _shorter(*seconds: float | None) -> float | None:
    return min((each for each in seconds if each is not None), default=None)
