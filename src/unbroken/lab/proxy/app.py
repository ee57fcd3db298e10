"""The fault proxy: relay, plans, faults and log, joined.

    request -> control (what is asked of the proxy itself)
            -> choosing -> session -> upstream -> pump -> [breaking ->] the client

`FaultProxy` runs an event loop in a thread of its own, as `LabServer` does; `serve` runs it in a
loop that is there already.

    with FaultProxy("https://api.openai.com", plan="cut.rst@30t") as proxy:
        client = openai.OpenAI(base_url=f"{proxy.url}/v1")
        ...
        assert proxy.log.entries()[0].went == "rst"
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from unbroken.lab.injectors.base import FaultError
from unbroken.lab.proxy.breaking import Breaking
from unbroken.lab.proxy.choosing import Choice, choose, read_plan
from unbroken.lab.proxy.control import ROOT, control
from unbroken.lab.proxy.log import Entry, Log, Went
from unbroken.lab.server.sessions import Attempt, Finish, Session, Sessions
from unbroken.lab.shapes import error_body
from unbroken.relay.messages import RelayRequest, ResponseHead, UpstreamError
from unbroken.relay.pump import Downstream, DownstreamLeftError, Passage, Upstream, pump
from unbroken.relay.serving import Connection, Reply, ReplyConnection, ReplyService
from unbroken.relay.upstream import UpstreamClient, UpstreamOptions

__all__ = ["FaultProxy"]

_logger = logging.getLogger(__name__)


class FaultProxy(ReplyService):
    """Stands between clients and a real upstream, and breaks its answers as planned.

    What no plan names passes byte for byte, each read of the upstream as it comes. Use it as a
    context manager, or call `start` and `close`. All methods may be called from any thread.

    Args:
        upstream: The root of the server behind, such as ``https://api.openai.com``; a path in
            it is put before the path of each request.
        plan: For requests that name none themselves, in the order in which they come; see
            `unbroken.lab.proxy.choosing`.
        host: Where to listen.
        port: The port; 0 takes a free one.
        scenarios: Plans by names, which may stand in a plan's place.
        verify: Whether the certificate of a TLS upstream must be good.
        cafile: A PEM file with the authorities to trust, in place of the system's.
        connect_s: Longest time for a connection to the upstream; None waits for ever.
        silence_s: Longest silence of the upstream; None waits for ever.
        trust_env: Whether ``HTTPS_PROXY`` and its like are obeyed.
        on_request: Called at the end of each request, in the proxy's thread.

    Attributes:
        port: The port, known from `start` on.
        log: The last thousand requests.

    Raises:
        FaultError: If a plan cannot be, or needs to know the whole answer (a share of it).
        ValueError: If ``upstream`` is no address, or there is no ``cafile``.
    """

    def __init__(
        self,
        upstream: str,
        plan: str = "",
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        scenarios: Mapping[str, str] | None = None,
        verify: bool = True,
        cafile: str | Path | None = None,
        connect_s: float | None = 10.0,
        silence_s: float | None = None,
        trust_env: bool = False,
        on_request: Callable[[Entry], None] | None = None,
    ) -> None:
        super().__init__(host=host, port=port, name="unbroken-lab-proxy")
        self.log = Log()
        self._options = UpstreamOptions(
            url=upstream,
            connect_s=connect_s,
            silence_s=silence_s,
            verify=verify,
            cafile=cafile,
            trust_env=trust_env,
        )
        self._scenarios = dict(scenarios or {})
        self._first_plan = plan
        self._sessions = self._counted(plan)
        self._client: UpstreamClient | None = None
        if on_request is not None:
            self.log.listen(on_request)

    # -- what tests and commands use -------------------------------------------------------

    @property
    def upstream(self) -> str:
        """Who is asked: scheme, host and port."""
        return self._options.address

    @property
    def plan(self) -> str:
        """The plan for requests that name none themselves."""
        return self._sessions.plan

    def set_plan(self, plan: str) -> None:
        """Take another plan, and count attempts anew.

        Raises:
            FaultError: If it cannot be, or needs to know the whole answer.
        """
        self._sessions = self._counted(plan)

    def reset(self) -> None:
        """Forget the log and all counts, and take the first plan again."""
        self.log.clear()
        self._sessions = self._counted(self._first_plan)

    def state(self) -> dict[str, Any]:
        """Return what this is, for JSON."""
        return {
            "upstream": self.upstream,
            "plan": self.plan,
            "scenarios": sorted(self._scenarios),
            "requests": self.log.count,
            "open": sum(entry.went == "open" for entry in self.log.entries()),
        }

    @contextlib.asynccontextmanager
    async def around(self) -> AsyncIterator[None]:
        """Have the client of the upstream while it serves."""
        async with UpstreamClient(self._options) as self._client:
            yield

    def connection(self) -> Connection:
        """Make the connection for a client that has come."""
        return _Connection(self.answer, self._connections, self._tasks)

    # -- one request -----------------------------------------------------------------------

    def _counted(self, plan: str) -> Sessions:
        """Return sessions that have counted nothing yet, once all plans are known to be good."""
        read_plan(plan, self._scenarios)
        return Sessions(plan=plan, scenarios=self._scenarios)

    async def answer(self, request: RelayRequest, reply: Reply) -> None:
        """Answer one request: by the proxy itself, or by its upstream, broken as planned."""
        path = request.target.partition("?")[0]
        if path == ROOT or path.startswith(ROOT + "/"):
            with contextlib.suppress(DownstreamLeftError):
                await control(self, request, reply)
            return
        entry = self.log.begin(request.method, path)
        settling = reply.settle = _Settling(self.log, entry, reply)
        went: Went = "failed"
        try:
            went = await self._pass(request, reply, entry, settling)
        except DownstreamLeftError:
            went = "left"
        except asyncio.CancelledError:
            went = "left"  # the proxy is closing
            raise
        except Exception:
            # An injector failed, or the proxy. The client sees a reset, the log sees why.
            _logger.exception("the proxy failed at %s", path)
            entry.stopped = "failed"
            with contextlib.suppress(DownstreamLeftError):
                await reply.abort("rst")
        finally:
            settling(went)  # as a rule it is settled already

    async def _pass(
        self, request: RelayRequest, reply: Reply, entry: Entry, settling: _Settling
    ) -> Went:
        dialect = "openai-chat"
        try:
            choice = choose(request)
            entry.path = choice.request.target.partition("?")[0]  # less a plan in it
            if choice.dialect is not None:
                dialect = entry.dialect = choice.dialect.name
            session = self._session_of(choice)
            if session is None:
                return await self._relay(choice, reply, reply, entry)
            attempt = session.begin()
            settling.counted = lambda went: session.end(attempt.log, _FINISHES.get(went, "rst"))
            entry.plan, entry.attempt = str(session.plan), attempt.log.number
            entry.faults = attempt.log.faults
            client = self._broken(choice, reply, attempt, entry)
        except (ValueError, OverflowError) as error:  # FaultError, or numbers beyond all measure
            return await _refuse(reply, entry, dialect, str(error))
        try:
            return await self._relay(choice, client, reply, entry)
        except FaultError as error:
            return await _refuse(reply, entry, dialect, str(error))

    def _session_of(self, choice: Choice) -> Session | None:
        """Return by which session a request is counted; None if it passes untouched."""
        if choice.plan is not None:
            read_plan(choice.plan, self._scenarios)
            return self._sessions.pick(choice.model, choice.plan or "ok")
        if not self._sessions.plan or not choice.of_a_model:
            return None
        # All of them together, as a stream's second attempt may be a GET without a model.
        return self._sessions.pick("")

    def _broken(self, choice: Choice, reply: Reply, attempt: Attempt, entry: Entry) -> Downstream:
        if not attempt.faults:
            return reply
        return Breaking(
            reply, attempt.faults, dialect=choice.dialect, chance=attempt.random, entry=entry
        )

    async def _relay(
        self, choice: Choice, downstream: Downstream, reply: Reply, entry: Entry
    ) -> Went:
        client = self._client
        assert client is not None

        async def ask() -> Upstream:
            if isinstance(downstream, Breaking) and downstream.needs_no_upstream:
                return _Nothing()
            answer = await client.ask(choice.request)
            entry.status = answer.head.status
            return _Noting(answer, entry)

        def tap(data: bytes) -> None:
            if entry.first_byte_s is None:
                entry.first_byte_s = entry.passed_s()
            entry.read_bytes += len(data)

        passage = await pump(ask, downstream, tap=tap)
        if passage.failure is not None:
            entry.failure = str(passage.failure)
        if passage.ended == "unanswered":
            body = error_body(entry.dialect or "openai-chat", 502, f"lab proxy: {entry.failure}")
            entry.status, entry.stopped = 502, "unanswered"
            await reply.answer(502, body, "application/json")
        return _went(passage, entry)


class _Connection(ReplyConnection):
    who = "lab"
    server = "unbroken-lab"


class _Settling:
    """Closes the entry of a request, once, before its client can see the end."""

    def __init__(self, log: Log, entry: Entry, reply: Reply) -> None:
        self._log = log
        self._entry = entry
        self._reply = reply
        self._over = False
        self.counted: Callable[[Went], None] | None = None

    def __call__(self, went: Went) -> None:
        if self._over:
            return
        self._over = True
        if went != "left" and self._entry.stopped is not None:
            went = self._entry.stopped
        self._entry.sent_bytes = self._reply.sent_bytes
        if self.counted is not None:
            self.counted(went)
        self._log.end(self._entry, went)


class _Noting:
    """An upstream's answer; how it breaks is in the log before the client is told."""

    def __init__(self, answer: Upstream, entry: Entry) -> None:
        self.head = answer.head
        self._answer = answer
        self._entry = entry

    async def read(self) -> bytes:
        try:
            return await self._answer.read()
        except UpstreamError as failure:
            self._entry.failure = str(failure)
            self._entry.stopped = _BROKE.get(failure.how, "upstream-incomplete")
            raise

    def close(self) -> None:
        """Let go of the connection."""
        self._answer.close()


class _Nothing:
    """An empty answer, in place of an upstream that need not be asked."""

    def __init__(self) -> None:
        self.head = ResponseHead(status=200, headers=[])

    async def read(self) -> bytes:
        return b""

    def close(self) -> None:
        """Close nothing."""


_FINISHES: dict[Went, Finish] = {
    "whole": "whole", "clean": "clean", "fin": "fin", "rst": "rst", "left": "left",
    "refused": "refused", "unanswered": "refused",
}  # fmt: skip


_BROKE: dict[str, Went] = {"reset": "upstream-reset", "silent": "upstream-silent"}


def _went(passage: Passage, entry: Entry) -> Went:
    match passage.ended:
        case "complete":
            return "whole"
        case "stopped":
            return entry.stopped or "clean"
        case "left":
            return "left"
        case "unanswered":
            return "unanswered"
        case "reset":
            return "upstream-reset"
        case "silent":
            return "upstream-silent"
        case "incomplete":
            return "upstream-incomplete"


async def _refuse(reply: Reply, entry: Entry, dialect: str, why: str) -> Went:
    """Say in the dialect's own shape that what was asked cannot be broken so."""
    entry.status, entry.failure, entry.stopped = 400, why, "refused"
    await reply.answer(400, error_body(dialect, 400, f"lab proxy: {why}"), "application/json")
    return "refused"
