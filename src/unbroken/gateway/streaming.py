"""Requests for a stream: as they come, or by way of the journal where the client may come back.

Plain:      upstream -> Healed -> pump -> the client
Resumable:  upstream -> Healed -> pump -> journal, in a task of the gateway's
                                          journal -> any number of clients, from any place
"""

from __future__ import annotations

import asyncio

from unbroken.core.outcome import Outcome
from unbroken.gateway.asgi import AsgiDownstream
from unbroken.gateway.heartbeat import Heartbeat
from unbroken.gateway.relaying import Asked, Healed, open_stream
from unbroken.gateway.staying import Staying
from unbroken.gateway.upstreams import Upstreams
from unbroken.journal.base import EndStatus, Head, Writer
from unbroken.relay.messages import ResponseHead
from unbroken.relay.pump import AbortHow, Downstream, Passage, Upstream, pump
from unbroken.telemetry.health import StreamHealth

__all__ = ["INTERRUPTED", "Run", "relay", "write_to_journal"]

INTERRUPTED = "interrupted"
"""Note of the `End` of a stream that broke off, without an error frame that says so in its log."""


class Run:
    """One stream while it runs.

    Attributes:
        asked: What was asked.
        health: Who observes it.
        outcome: How it ended, once it has; None where no stream ever began.
    """

    def __init__(self, asked: Asked, upstreams: Upstreams, health: StreamHealth) -> None:
        self.asked = asked
        self.health = health
        self._upstreams = upstreams
        self._stream: Healed | None = None

    @property
    def outcome(self) -> Outcome | None:
        return None if self._stream is None else self._stream.outcome

    async def ask(self) -> Upstream:
        """Send the request; return the answer once there is something of it to send."""
        upstream = await open_stream(self.asked, self._upstreams, self.health)
        if isinstance(upstream, Healed):
            self._stream = upstream
        return upstream

    @property
    def framed(self) -> bool:
        """Whether the answer is a stream that the core reads, and not one that is passed on."""
        return self._stream is not None

    def between_frames(self) -> bool:
        """Whether a heartbeat may be sent now."""
        return self._stream is not None and self._stream.between_frames


async def relay(run: Run, client: AsgiDownstream, *, keep_s: float | None) -> Passage:
    """Pass a stream on to its client, with heartbeats where it is silent.

    Args:
        run: The stream.
        client: Who is answered.
        keep_s: How long the upstream is read on when the client is gone, in seconds; None to
            its end.
    """
    downstream: Downstream = client if keep_s == 0.0 else Staying(client, keep_s)
    heartbeat, every_s = run.asked.dialect.heartbeat, run.asked.heartbeat_s
    if heartbeat is None or every_s is None:
        return await pump(run.ask, downstream)
    with Heartbeat(client, heartbeat, every_s, run.between_frames):
        return await pump(run.ask, downstream)


async def write_to_journal(run: Run, writer: Writer, *, keep_s: float | None) -> Passage:
    """Write a stream to the journal, from where its clients read it.

    Args:
        run: The stream.
        writer: Where to.
        keep_s: How long the upstream is read while nobody reads the journal, in seconds; None
            to its end.

    Returns:
        How it went.
    """
    into = _ToJournal(run, writer, keep_s)
    status: EndStatus = "failed"
    note = INTERRUPTED
    try:
        passage = await pump(run.ask, into)
        outcome = run.outcome
        if into.ended:
            note = ""
        elif passage.failure is not None and run.between_frames():
            note = passage.failure.detail  # the error's code; its frame is in the log
        if passage.ended == "left":
            status = "cancelled"
        elif into.ended and outcome is not None:
            status = outcome.status
        elif into.ended and into.status < 300:
            status = "unconfirmed"  # it passed unread
    finally:
        await writer.end(status, note)
    return passage


class _ToJournal:
    """A journal's writer as an `unbroken.relay.pump.Downstream`."""

    def __init__(self, run: Run, writer: Writer, keep_s: float | None) -> None:
        self._run = run
        self._writer = writer
        self._keep_s = keep_s
        self.ended = False
        self.status = 0

    async def start(self, head: ResponseHead) -> None:
        self.status = head.status
        self._writer.open(Head(head.status, tuple(head.headers), self._run.framed))

    async def write(self, data: bytes) -> None:
        await self._writer.append(data)

    async def end(self) -> None:
        self.ended = True

    async def abort(self, how: AbortHow) -> None:
        """Its end is ``failed``; readers are told by it."""

    async def left(self) -> None:
        """Return when the stream is to end for want of readers, or since somebody stopped it."""
        waited = {self._writer.stop_asked()}
        if self._keep_s is not None:
            waited.add(self._writer.unread_for(self._keep_s))
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
