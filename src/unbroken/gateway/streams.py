"""All streams of one gateway: begun, read on from the journal, stopped.

A plain stream runs in the task of its request. One that its client may come back to runs in a task
of its own and writes to the journal; then the first client is a reader like any other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import ExitStack
from typing import Any, TypeVar

from unbroken.core.dialects import DIALECTS
from unbroken.gateway import resume
from unbroken.gateway.answers import error_frame
from unbroken.gateway.config import OnDisconnect
from unbroken.gateway.exchange import Exchange
from unbroken.gateway.relaying import Asked
from unbroken.gateway.resume import Attach, Begun, NotKept, Refused, ResumeService, serve_reader
from unbroken.gateway.routes import Route
from unbroken.gateway.streaming import INTERRUPTED, Run, relay, write_to_journal
from unbroken.gateway.telling import Telling
from unbroken.gateway.upstreams import Upstreams
from unbroken.journal import JournalError, Writer, WriterLostError
from unbroken.journal.base import End, Reader
from unbroken.relay.messages import Headers, ResponseHead
from unbroken.relay.pump import Watch

__all__ = ["Streams"]

_log = logging.getLogger("unbroken.gateway")
_T = TypeVar("_T")


class Streams:
    """Serves streams.

    Args:
        service: Decides about those that can be read on.
        telling: Observes all of them, and tells of them.
    """

    def __init__(self, service: ResumeService, telling: Telling) -> None:
        self._service = service
        self._telling = telling
        self._monitor = telling.monitor
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def unattended(self) -> int:
        """Streams that run in tasks of their own, whether anybody reads them or not."""
        return len(self._tasks)

    async def aclose(self) -> None:
        """Cut what still runs, and close the journal."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._service.journal.aclose()

    # A request for a stream -----------------------------------------------------------------

    async def serve(
        self,
        exchange: Exchange,
        asked: Asked,
        route: Route,
        upstreams: Upstreams,
        *,
        model: str,
        costs: ExitStack,
    ) -> None:
        """Serve a request for a stream.

        Args:
            exchange: The request.
            asked: What goes upstream.
            route: By which it goes.
            upstreams: All that may be asked.
            model: What the request names.
            costs: What is given back at the end of the request; a stream that outlives it takes
                them over.
        """
        resumable = resume.Asked(
            method=exchange.method,
            target=exchange.target,
            headers=exchange.headers,
            body=asked.request.body,
            scope=None if exchange.caller is None else exchange.caller.scope,
            dialect=asked.dialect.name,
            wire=asked.dialect.wire,
            model=model,
            provider=route.provider,
            route=route.name,
        )
        # It may wait for the head of another's stream.
        begun = await self._while_there(exchange, self._service.begin(resumable))
        if begun is None:
            return
        if isinstance(begun, Refused):
            await self._refuse(exchange, begun)
            return
        if isinstance(begun, Attach):
            await self._read(exchange, begun, route.heartbeat_s)
            return
        health = self._monitor.start(
            begun.writer.meta.id if isinstance(begun, Begun) else None,
            provider=route.provider,
            model=model,
            dialect=asked.dialect.name,
            route=route.name,
            team="" if exchange.caller is None else exchange.caller.team,
        )
        run = Run(self._telling.stream(exchange, asked, health), upstreams, health)
        if isinstance(begun, NotKept):
            if begun.reason:
                exchange.more.append(("x-unbroken-not-kept", begun.reason))
                exchange.facts["not_kept"] = begun.reason
            await self._relay(exchange, run, route)
            return
        keep_s = _keep_s(route.on_disconnect_resumable)
        told = dict(exchange.facts)
        task = asyncio.create_task(self._write(run, begun.writer, keep_s, told, costs.pop_all()))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await self._read(exchange, begun, route.heartbeat_s)

    async def _relay(self, exchange: Exchange, run: Run, route: Route) -> None:
        downstream = exchange.downstream
        try:
            passage = await relay(run, downstream, keep_s=_keep_s(route.on_disconnect))
            if downstream.lost:
                run.health.left(self._monitor.clock())
            if passage.ended == "left" and run.outcome is None:
                run.health.end("cancelled")
        finally:
            exchange.facts.update(self._telling.facts_of(run))

    async def _write(
        self,
        run: Run,
        writer: Writer,
        keep_s: float | None,
        told: dict[str, Any],
        costs: ExitStack,
    ) -> None:
        try:
            passage = await write_to_journal(run, writer, keep_s=keep_s)
            if passage.ended == "left" and run.outcome is None:
                run.health.end("cancelled")
        except Exception as bug:  # noqa: BLE001 - told; its readers hear that it failed
            run.health.internal_error(bug)
            _log.error("a stream ended by a bug of ours (%s)", type(bug).__name__, exc_info=bug)
        finally:
            self._telling.ended(run, told)
            costs.close()

    # Reading from the journal ----------------------------------------------------------------

    async def attach(self, exchange: Exchange, stream_id: str) -> None:
        """Answer ``GET /streams/{id}``: the stream from the place that is asked for."""
        scope = None if exchange.caller is None else exchange.caller.scope
        attaching = self._service.attach(stream_id, exchange.headers, scope)
        found = await self._while_there(exchange, attaching)
        if isinstance(found, Refused):
            await self._refuse(exchange, found)
        elif found is not None:
            await self._read(exchange, found, _HEARTBEAT_S)

    async def stop(self, exchange: Exchange, stream_id: str) -> None:
        """Answer ``DELETE /streams/{id}``: the stream ends for everybody."""
        scope = None if exchange.caller is None else exchange.caller.scope
        stopped = await self._service.stop(stream_id, exchange.headers, scope)
        if isinstance(stopped, Refused):
            await self._refuse(exchange, stopped)
        else:
            await exchange.answer(ResponseHead(status=stopped.status, headers=_EMPTY))

    async def _read(
        self, exchange: Exchange, found: Attach | Begun, heartbeat_s: float | None
    ) -> None:
        """Serve a client from the journal, until the stream's end or its own."""
        reader = found.reader
        self._telling.reading(exchange, reader.meta, attached=isinstance(found, Attach))
        try:
            await self._while_there(exchange, self._read_to_end(exchange, found, heartbeat_s))
        finally:
            await reader.aclose()

    @staticmethod
    async def _while_there(exchange: Exchange, doing: Coroutine[Any, Any, _T]) -> _T | None:
        """Return what comes of it; None if the client left before, by which it was cancelled."""
        with Watch(exchange.downstream) as watch:
            try:
                return await doing
            except asyncio.CancelledError:
                if not watch.fired():
                    raise
                return None

    async def _read_to_end(
        self, exchange: Exchange, found: Attach | Begun, heartbeat_s: float | None
    ) -> None:
        reader, downstream = found.reader, exchange.downstream
        dialect = reader.meta.dialect
        begins_at = reader.offset
        known = DIALECTS.get(dialect)
        framed = False
        try:
            head = found.head if isinstance(found, Attach) else await reader.head()
            if head is None:
                await self._refuse(exchange, _NEVER_BEGAN)
                return
            framed = head.framed and head.status < 300
            more = found.headers if framed else []
            await downstream.start(ResponseHead(status=head.status, headers=[*head.headers, *more]))
            end = await serve_reader(
                reader,
                downstream,
                found.marker if framed else None,
                known.heartbeat if framed and known is not None else None,
                heartbeat_s,
                found.state_prefix if isinstance(found, Attach) else b"",
            )
        except JournalError as error:
            lost = isinstance(error, WriterLostError)
            kind = "writer-lost" if lost else "journal-lost"
            exchange.facts["error"] = kind
            if not downstream.started:
                await self._refuse(exchange, Refused(status=503, kind=kind, text=str(error)))
                return
            if lost and framed:  # an error event says that it failed: nobody reads on after it
                await self._say(exchange, reader, kind, str(error))
            await downstream.abort("fin")
            return
        if end.well or (head.status >= 300 and not end.note):  # a refusal that came whole
            await downstream.end()
        else:
            # Without an error event it looks like a lost connection, and is asked for again.
            if framed and not (_said_in_log(end) and reader.offset > begins_at):
                kind, text = end.note or "failed", "the stream failed"
                if end.status == "cancelled":
                    kind, text = "cancelled", "the stream was stopped"
                await self._say(exchange, reader, kind, text)
            await downstream.abort("fin")

    @staticmethod
    async def _say(exchange: Exchange, reader: Reader, kind: str, text: str) -> None:
        """Write the error event of a stream that comes to no good end."""
        message = f"{kind}: {text}; do not treat the answer as complete"
        begun = reader.offset > 0
        await exchange.downstream.write(
            error_frame(reader.meta.dialect, kind, message, begun=begun)
        )

    @staticmethod
    async def _refuse(exchange: Exchange, refused: Refused) -> None:
        await exchange.refuse(refused.status, refused.kind, refused.text, refused.headers)


def _keep_s(leaving: OnDisconnect) -> float | None:
    return None if leaving.kind == "drain" else leaving.keep_s


def _said_in_log(end: End) -> bool:
    """Whether a stream that failed has an error frame as its log's last."""
    return end.status == "failed" and end.note not in ("", INTERRUPTED)


_HEARTBEAT_S = 15.0
_EMPTY: Headers = [("content-length", "0")]
_NEVER_BEGAN = Refused(
    status=502, kind="stream-not-begun", text="the stream failed before an answer began"
)
