"""A proxy that passes everything byte for byte, and records it on both sides."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

from unbroken.debugger.recording.exchange import Exchange, Recording, Result, codings_for
from unbroken.relay.messages import RelayRequest
from unbroken.relay.pump import DownstreamLeftError, pump
from unbroken.relay.serving import Reply, ReplyService
from unbroken.relay.upstream import UpstreamOptions
from unbroken.telemetry.recording.recorder import Recorder

__all__ = ["RecordingProxy"]

_PREFIX = "/_to/"
_POLL_S = 0.01
_MOST_BODY_BYTES = 256 * 1024 * 1024


class RecordingProxy(ReplyService):
    """Stands between clients and providers, and records what passes.

    Each read of an upstream goes on in one write before the next; a slow client slows the
    upstream down. Use it as a context manager, or call `start` and `close`.

    Args:
        recorder: Where it is written; not closed here.
        upstreams: Whom to ask, such as ``https://api.openai.com``; `address_of` says how the
            second, third, ... are reached.
        host: Where to listen.
        port: The port; 0 takes a free one.
        verify: Whether the certificate of a TLS upstream must be good.
        cafile: A PEM file with the authorities to trust, in place of the system's.
        connect_s: Longest time for a connection to an upstream; None waits for ever.
        trust_env: Whether ``HTTPS_PROXY`` and its like are obeyed.
        on_end: Called at the end of each exchange, in the proxy's thread.

    Raises:
        ValueError: If an upstream is no address, or there is no ``cafile``.
    """

    most_body_bytes = _MOST_BODY_BYTES

    def __init__(
        self,
        recorder: Recorder,
        upstreams: Sequence[str],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        verify: bool = True,
        cafile: str | Path | None = None,
        connect_s: float | None = 10.0,
        trust_env: bool = False,
        on_end: Callable[[Result], None] | None = None,
    ) -> None:
        super().__init__(host=host, port=port, name="unbroken-record")
        self._recordings = [
            Recording(
                UpstreamOptions(
                    url=url,
                    verify=verify,
                    cafile=cafile,
                    connect_s=connect_s,
                    trust_env=trust_env,
                    codings=codings_for(recorder.contents),
                ),
                recorder,
            )
            for url in upstreams
        ]
        self._on_end = on_end

    def settle(self, patience_s: float) -> None:
        """Let exchanges that their client has left come to their ends, for so long at most."""
        until = time.monotonic() + patience_s
        while self._tasks and time.monotonic() < until:
            time.sleep(_POLL_S)

    def address_of(self, number: int = 0) -> str:
        """Return the address of the proxy that stands for an upstream, by its place in the list."""
        return self.url + (f"{_PREFIX}{number}" if number else "")

    @asynccontextmanager
    async def around(self) -> AsyncIterator[None]:
        """Have clients of the upstreams while it serves."""
        async with AsyncExitStack() as stack:
            for recording in self._recordings:
                await stack.enter_async_context(recording)
            yield

    async def answer(self, request: RelayRequest, reply: Reply) -> None:
        """Pass one request on, and its answer back."""
        recording, request = self._route(request)
        exchange = recording.exchange(request)
        try:
            await self._pass(exchange, reply)
        except DownstreamLeftError:
            exchange.ended("left", "the client closed the connection")
        finally:
            exchange.ended("left", "the proxy was closed")
            if self._on_end is not None:
                self._on_end(exchange.result)

    async def _pass(self, exchange: Exchange, reply: Reply) -> None:
        passage = await pump(exchange.ask, exchange.downstream(reply))
        if passage.ended == "left":
            exchange.ended("left", "the client closed the connection")
        if passage.ended == "unanswered":
            said = {"message": f"unbroken record: {passage.failure}", "type": "upstream_error"}
            with suppress(DownstreamLeftError):
                body = json.dumps({"error": said}).encode()
                await reply.answer(502, body, "application/json")

    def _route(self, request: RelayRequest) -> tuple[Recording, RelayRequest]:
        if request.target.startswith(_PREFIX):
            number, slash, rest = request.target.removeprefix(_PREFIX).partition("/")
            if number.isdecimal() and int(number) < len(self._recordings):
                return self._recordings[int(number)], replace(request, target=slash + rest or "/")
        return self._recordings[0], request
