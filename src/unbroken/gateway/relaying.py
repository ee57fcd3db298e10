"""One LLM stream, healed: the core's driver over an upstream, as something that can be pumped.

    UpstreamClient -> AsyncDriver (the core) -> Healed -> pump -> the client, or a journal

Where the route lists other targets the driver sends the first request too, so that they can take
over when there is no answer at all. Without targets, what fails before a stream began is passed on
as it is: clients retry that themselves, and both would multiply.

Nothing goes downstream before there is something to deliver (or a heartbeat is due), so that a
stream that fails before its first byte still has an HTTP status to say it with.
"""

from __future__ import annotations

import asyncio
import time
from codecs import BOM_UTF8
from collections.abc import Callable
from dataclasses import dataclass

from unbroken.core.dialects.base import Dialect
from unbroken.core.errors import StreamingError
from unbroken.core.events import ProviderError, TextRun
from unbroken.core.faults import FaultKind
from unbroken.core.options import Options
from unbroken.core.outcome import Outcome
from unbroken.core.recording import BodyEndHow
from unbroken.core.request import Request
from unbroken.drivers.asynchronous import AsyncDriver
from unbroken.gateway.answers import error_frame, http_error, status_of
from unbroken.gateway.upstreams import DriverBody, DriverUpstream, Upstreams, refusal_of, relayed
from unbroken.relay.messages import Headers, ResponseHead, UpstreamError
from unbroken.relay.pump import Upstream
from unbroken.relay.upstream import Answer, UpstreamClient
from unbroken.telemetry import Callbacks, Observer
from unbroken.telemetry.health import StreamHealth
from unbroken.telemetry.recording import Tape, Tapes

__all__ = ["Asked", "Healed", "Said", "open_stream"]


_NOBODY = Callbacks()  # hears and does nothing: one for all


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request for a stream, ready to be sent.

    Attributes:
        request: What goes upstream, with its absolute URL.
        dialect: What it speaks.
        options: How the stream is treated.
        client: The upstream that the route chose.
        heartbeat_s: Longest silence downstream, in seconds; None sends no heartbeats.
        observer: Who hears of it beside its health.
        stamp: Sees each request as it goes out, and returns what is sent.
        tapes: Record it.
    """

    request: Request
    dialect: Dialect
    options: Options
    client: UpstreamClient
    heartbeat_s: float | None = 15.0
    observer: Observer = _NOBODY
    stamp: Callable[[Request], Request] | None = None
    tapes: Tapes | None = None

    @property
    def owned(self) -> bool:
        """Whether the first request is the driver's too."""
        return bool(self.options.targets) and self.options.mode == "heal"


async def open_stream(asked: Asked, upstreams: Upstreams, health: StreamHealth) -> Upstream:
    """Send a request for a stream; return its answer once there is something of it to send.

    That may be an answer of the gateway's own, or one of the provider's that is no stream.
    """
    body: DriverBody | None = None
    answer: Answer | None = None
    tape = None if asked.tapes is None else asked.tapes.stream(name=health.id)
    if not asked.owned:
        if tape is not None:
            tape.request(asked.request, 1, "first", asked.dialect.name, time.monotonic())
        try:
            answer = await _answer(asked)
        except UpstreamError as error:
            _left_alone(tape, None, "unanswered", str(error))
            health.error(FaultKind.CONNECT_FAILED.value, str(error))
            health.end("failed")
            return _unanswered(asked.dialect.name, error)
        body = DriverBody(answer)
        if not 200 <= body.status < 300 or not body.readable:
            if body.status >= 300:
                health.error(FaultKind.HTTP_ERROR.value, f"the provider answered {body.status}")
            health.end("failed" if body.status >= 300 else "unread")
            _left_alone(tape, answer.head, "left", "no stream to be watched: it passes unread")
            return _Watched(answer, asked.options)
    asking = DriverUpstream(upstreams, asked.client, asked.stamp)
    try:
        driver = AsyncDriver(
            asked.request,
            asked.dialect,
            options=asked.options,
            observer=asked.observer,
            upstream=asking,
            body=body,
            health=health,
            tape=tape,
        )
    except Exception as bug:
        if answer is None:
            raise
        asked.observer.internal_error(bug)  # told; the answer goes its way without us
        health.stepped_aside()
        return _Watched(answer, asked.options)
    asked.request.forget_json()  # looked at by now; a large one is held as bytes only
    healed = Healed(driver, asked, _head(asked, body))
    try:
        return await healed.begin(asking)
    except BaseException:
        healed.close()
        raise


def _left_alone(tape: Tape | None, head: ResponseHead | None, how: BodyEndHow, detail: str) -> None:
    """Note on the tape what becomes of a request whose answer no driver reads."""
    if tape is None:
        return
    now = time.monotonic()
    if head is not None:
        tape.answered(1, head.status, head.headers, now, head.reason, head.framing)
    tape.ended(1, how, detail, now)
    tape.close(now)


class Healed:
    """A stream on its way through the core; an `unbroken.relay.pump.Upstream`.

    Attributes:
        head: Status line and headers for the client.
    """

    def __init__(self, driver: AsyncDriver, asked: Asked, head: ResponseHead) -> None:
        self.head = head
        self._driver = driver
        self._asked = asked
        self._first: asyncio.Future[bytes] | None = None
        self._late = False  # the first delivery may come behind heartbeats
        self._told = False  # the provider's own error frame, or ours
        self._failure: UpstreamError | None = None

    @property
    def outcome(self) -> Outcome:
        """The outcome; final once the stream is over."""
        return self._driver.outcome

    @property
    def between_frames(self) -> bool:
        """Whether what was sent ends with a whole frame, so that a heartbeat may follow."""
        return self._driver.whole_frames

    async def begin(self, asking: DriverUpstream) -> Upstream:
        """Wait for the first delivery, but no longer than a client may be left in silence.

        Returns:
            This stream, or what is said in its place if it failed before anything was sent.
        """
        first = asyncio.ensure_future(self._delivered())
        try:
            await asyncio.wait((first,), timeout=self._asked.heartbeat_s)
        except asyncio.CancelledError:
            first.cancel()
            raise
        self._first = first
        self._late = not first.done()
        if self._late or first.exception() is None:
            return self
        error = first.exception()
        self._first = None
        if isinstance(error, StreamingError):
            return self._instead(error, asking)
        if isinstance(error, UpstreamError):  # only observed: as without us
            return _unanswered(self._asked.dialect.name, error)
        assert error is not None
        raise error

    def _instead(self, error: StreamingError, asking: DriverUpstream) -> Upstream:
        if error.fault.kind is FaultKind.HTTP_ERROR and asking.refused is not None:
            return Said(*refusal_of(asking.refused))
        status = 504 if error.fault.kind in (FaultKind.STALLED, FaultKind.SLOW_DRIP) else 502
        # What the ladder allows was tried; the client's own retries would do it all again.
        headers: Headers = [("x-should-retry", "false")] if error.outcome.recoveries else []
        name = self._asked.dialect.name
        return Said(*http_error(name, status, error.code, _message(error), headers=headers))

    async def read(self) -> bytes:
        """Return the next whole frames; ``b""`` at a proven end.

        Raises:
            UpstreamError: If the stream failed; the frame that says so was returned before.
        """
        if self._failure is not None:
            raise self._failure
        first, self._first = self._first, None
        try:
            if first is None:
                return await self._delivered()
            data = await first
            # Behind a heartbeat a byte order mark would hide the first event from its reader.
            return data.removeprefix(BOM_UTF8) if self._late else data
        except StreamingError as error:
            self._failure = UpstreamError(
                how="incomplete", address=self._asked.request.host, detail=error.code
            )
            if self._told:
                raise self._failure from error
            return error_frame(self._asked.dialect.name, error.code, _message(error))

    async def _delivered(self) -> bytes:
        driver = self._driver
        try:
            while True:
                delivery = await driver.__anext__()
                events = delivery.events
                if type(events) is not TextRun and not self._told:
                    self._told = any(type(event) is ProviderError for event in events)
                if delivery.data:
                    return delivery.data
        except StopAsyncIteration:
            return b""

    def close(self) -> None:
        """Let go of the connection, and settle the outcome. May come twice."""
        if self._first is not None:
            self._first.cancel()
        self._driver.leave()


class _Watched:
    """An answer that no driver reads, under the clock of silence all the same.

    A server that announces more than it sends, and keeps the connection, would hold the client
    for ever.
    """

    def __init__(self, answer: Answer, options: Options) -> None:
        self.head = answer.head
        self._answer = answer
        self._silence_s = options.timing.silence_s if options.mode in ("heal", "raise") else None

    async def read(self) -> bytes:
        try:
            async with asyncio.timeout(self._silence_s):
                return await self._answer.read()
        except TimeoutError:
            detail = f"sent nothing for {self._silence_s:g} s"
            address = self._answer.address
            raise UpstreamError(how="silent", address=address, detail=detail) from None

    def close(self) -> None:
        self._answer.close()


class Said:
    """A whole answer that is there already; an `unbroken.relay.pump.Upstream`."""

    def __init__(self, head: ResponseHead, body: bytes) -> None:
        self.head = head
        self._body = body

    async def read(self) -> bytes:
        body, self._body = self._body, b""
        return body

    def close(self) -> None:
        pass


async def _answer(asked: Asked) -> Answer:
    """Send the first request. No SDK's timeout stands over it here, so the clock is ours."""
    options = asked.options
    request = asked.request if asked.stamp is None else asked.stamp(asked.request)
    head_s = options.timing.first_event_s if options.mode in ("heal", "raise") else None
    try:
        async with asyncio.timeout(head_s):
            return await asked.client.ask(relayed(request, asked.client))
    except TimeoutError:
        detail = f"no response head in {head_s:g} s"
        address = asked.client.options.address
        raise UpstreamError(how="silent", address=address, detail=detail) from None


def _head(asked: Asked, body: DriverBody | None) -> ResponseHead:
    """Return the head for the client: the provider's, but for what no longer holds."""
    kind = asked.dialect.content_types[0]
    given = [] if body is None else body.head.headers
    headers = [pair for pair in given if pair[0].lower() not in _WRITTEN_HERE]
    typed = "" if body is None else body.headers.get("content-type", "")
    plain = typed.partition(";")[0].strip().lower()
    if asked.options.mode == "observe" or plain in asked.dialect.content_types:
        kind = typed or kind
    headers += [
        ("content-type", kind),
        ("cache-control", "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
    ]
    return ResponseHead(status=200 if body is None else body.status, headers=headers)


_WRITTEN_HERE = frozenset(
    {"cache-control", "content-encoding", "content-length", "content-type", "x-accel-buffering"}
)


def _unanswered(dialect: str, error: UpstreamError) -> Said:
    message = f"{error}; nothing of an answer came"
    return Said(*http_error(dialect, status_of(error), FaultKind.CONNECT_FAILED.value, message))


def _message(error: StreamingError) -> str:
    """Return what happened, for a client of any language: without the names of Python's API."""
    outcome = error.outcome
    parts = [f"{error.code}: {error.fault.detail}"]
    if outcome.recoveries:
        ways = ", ".join(record.rung for record in outcome.attempts[1:])
        parts.append(f"{outcome.recoveries} recoveries tried ({ways})")
    elif outcome.skipped:
        parts.append(f"not recovered ({outcome.skipped[-1].rung}: {outcome.skipped[-1].why})")
    parts.append("do not treat the answer as complete")
    return "; ".join(parts)
