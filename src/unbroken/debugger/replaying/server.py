"""A server that says again what was recorded, at the same times and with the same end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Literal

import msgspec

from unbroken.core.recording import RecordingError
from unbroken.core.wire import Wire
from unbroken.debugger.index import AttemptEntry, RecordingIndex
from unbroken.debugger.replaying.choosing import Choice, Chooser
from unbroken.debugger.replaying.cutting import Cut, Piece, pieces_of
from unbroken.debugger.replaying.environment import LOOPBACK, environment_of
from unbroken.debugger.replaying.script import end_of, head_of
from unbroken.relay.messages import RelayRequest
from unbroken.relay.pump import DownstreamLeftError
from unbroken.relay.serving import Reply, ReplyService

__all__ = ["ReplayServer", "Route", "Served", "replay"]

_APART_S = 0.0002
_MOST_APART = 20_000
"""Reads up to which an answer keeps them apart."""
_MOST_WAITED_S = 0.5
"""What keeping them apart may cost an answer, in all."""
_LONG_S = 0.05
_MOST_SERVED = 1000


class Route(msgspec.Struct, frozen=True):
    """What a replay answers: a method, a path, and how many recorded attempts there are for it."""

    method: str
    path: str
    attempts: int


class Served(msgspec.Struct, kw_only=True):
    """One request that was answered.

    Attributes:
        method: Its method.
        path: Its path.
        status: What it got; None where the recording has no response either.
        stream: The recorded stream; 0 where none fitted.
        attempt: The recorded attempt; 0 where none fitted.
        again: It had been given out before.
        pieces: How many writes the body went out in.
        sent_bytes: How many bytes of body.
        ended: ``eof``, ``incomplete``, ``reset``; ``held``: silence until the client left;
            ``left``: the client left before the end; ``refused``: nothing is recorded for it.
        lasted_s: From the request to the end.
    """

    method: str
    path: str
    status: int | None = None
    stream: int = 0
    attempt: int = 0
    again: bool = False
    pieces: int = 0
    sent_bytes: int = 0
    ended: Literal["eof", "incomplete", "reset", "held", "left", "refused"] = "left"
    lasted_s: float = 0.0


class ReplayServer(ReplyService):
    """Serve a recording on the paths and methods that it was made with.

    Use it as a context manager, or call `start` and `close`. Several attempts of a stream answer
    successive requests; further ones get the last again. Memory does not grow with the recording.

    Args:
        path: A recording or HAR.
        streams: Only these streams; None: all.
        speed: 1 keeps the recorded times, 2 is twice as fast, 0 waits for nothing.
        cut: As it was recorded (``reads``), or cut into frames, single bytes, or every so many.
        strict: Answer 404 to requests beyond those that were recorded.
        host: Where to listen.
        port: The port; 0 takes a free one.
        on_served: Called at the end of each request, in the server's thread.

    Raises:
        OSError: If the file cannot be read.
        RecordingError: If it is no recording, has no such stream, or nothing that can be served.
        ValueError: If ``speed`` is below 0.

    Attributes:
        port: The port, known from `start` on.
        served: The last thousand requests.
        notes: What a user should know of the recording.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        streams: Sequence[int] | None = None,
        speed: float = 1.0,
        cut: Cut = "reads",
        strict: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
        on_served: Callable[[Served], None] | None = None,
    ) -> None:
        if not speed >= 0:
            msg = f"speed must be 0 or more, not {speed!r}"
            raise ValueError(msg)
        super().__init__(host=host, port=port, name="unbroken-replay")
        self.served: deque[Served] = deque(maxlen=_MOST_SERVED)
        self._speed = speed
        self._cut = cut
        self._on_served = on_served
        self._index = RecordingIndex(path)
        try:
            chosen = (
                list(self._index.streams.values())
                if streams is None
                else [self._index.stream(number) for number in streams]
            )
            self._chooser = Chooser(chosen, strict=strict)
            entries = [entry for stream in chosen for entry in stream.attempts]
            self.notes = [*self._index.notes, *_notes(entries, self._index)]
            if not self._chooser.routes:
                msg = f"{self._index.name} cannot be replayed: it does not say what was asked for"
                raise RecordingError(msg)
        except BaseException:
            self._index.close()
            raise

    @property
    def routes(self) -> list[Route]:
        """What it answers."""
        return [Route(*key, count) for key, count in self._chooser.routes.items()]

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which SDKs find it: base URLs, keys that are none, no proxy before it."""
        found = environment_of(self.url, [route.path for route in self.routes])
        return {**found, "NO_PROXY": LOOPBACK, "no_proxy": LOOPBACK}

    def close(self) -> None:
        """Stop listening, and close what is open. Calling it twice is fine."""
        super().close()
        self._index.close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- one request -----------------------------------------------------------------------

    async def answer(self, request: RelayRequest, reply: Reply) -> None:
        """Answer one request with what was recorded."""
        path = request.target.partition("?")[0]
        served = Served(method=request.method, path=path)
        self.served.append(served)
        began = time.monotonic()
        try:
            choice = self._chooser.choose(request.method, path, request.body)
            if choice is None:
                served.status, served.ended = 404, "refused"
                await self._refuse(request, reply)
            else:
                await self._play(choice, reply, served)
        except DownstreamLeftError:
            if served.ended not in ("held", "refused"):
                served.ended = "left"
        finally:
            served.sent_bytes = reply.sent_bytes
            served.lasted_s = time.monotonic() - began
            if self._on_served is not None:
                self._on_served(served)

    async def _refuse(self, request: RelayRequest, reply: Reply) -> None:
        path = request.target.partition("?")[0]
        there = "; ".join(f"{route.method} {route.path}" for route in self.routes[:20])
        if (request.method, path) in self._chooser.routes:
            why = f"all that was recorded for {request.method} {path} has been served"
        elif request.method == "GET" and path == "/":
            why = "this is a replay of a recording"
        else:
            why = f"nothing was recorded for {request.method} {path}"
        message = f"unbroken replay: {why}; it answers {there}"
        body = {"error": {"type": "not_recorded", "code": "not_recorded", "message": message}}
        await reply.answer(404, msgspec.json.encode(body) + b"\n", "application/json")

    async def _play(self, choice: Choice, reply: Reply, served: Served) -> None:
        entry = choice.entry
        served.stream, served.attempt = entry.stream, entry.number
        served.again = choice.again
        timing = _Timing(entry, self._speed, reply)
        head = head_of(entry)
        if head is not None:
            assert entry.head is not None
            await timing.until(entry.head.at_s)
            served.status = head.status
            await reply.start(head, true_length=end_of(entry) == "end")
            # What came at almost the same time would be one read again.
            apart_s = _apart_s(entry.reads if self._cut == "reads" else 0)
            for at_s, piece in self._pieces(entry):
                await timing.until(at_s)
                await reply.write(piece)
                served.pieces += 1
                if apart_s:
                    await _apart(apart_s)
        await timing.until(entry.last_s if entry.end is None else entry.end.at_s)
        await self._end(entry, reply, served)

    def _pieces(self, entry: AttemptEntry) -> Iterator[Piece]:
        wire: Wire = "sse"
        if self._cut == "frames":
            known = self._index.dialect_of(entry)
            wire = known.wire if known is not None else wire
        return pieces_of(self._index.reads_of(entry), self._cut, wire)

    async def _end(self, entry: AttemptEntry, reply: Reply, served: Served) -> None:
        how = end_of(entry)
        served.sent_bytes = reply.sent_bytes  # before the client sees the end, and asks for it
        match how:
            case "end" if entry.head is not None:
                served.ended = "eof"
                await reply.end()
            case "hold":
                served.ended = "held"
                await reply.left()
            case "rst":
                served.ended = "reset"
                await reply.abort("rst")
            case _:
                served.ended = "incomplete"
                await reply.abort("fin")


class _Timing:
    """When what was recorded is due, counted from now on."""

    def __init__(self, entry: AttemptEntry, speed: float, reply: Reply) -> None:
        self._began = asyncio.get_running_loop().time()
        self._asked_s = entry.asked_s
        self._speed = speed
        self._reply = reply

    async def until(self, at_s: float) -> None:
        """Return at a time of the recording, or when the client has left."""
        if not self._speed:
            return
        due = self._began + (at_s - self._asked_s) / self._speed
        wait_s = due - asyncio.get_running_loop().time()
        if wait_s > _LONG_S:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._reply.left(), wait_s)
                raise DownstreamLeftError
        elif wait_s > 0:
            await asyncio.sleep(wait_s)


def _apart_s(reads: int) -> float:
    """Return how long is waited after each of so many reads."""
    if reads > _MOST_APART:
        return 0.0
    return min(_APART_S, _MOST_WAITED_S / max(1, reads))


async def _apart(wait_s: float) -> None:
    """Wait a moment that is too short for the loop's clock, so that a client reads meanwhile."""
    until = time.perf_counter() + wait_s
    while time.perf_counter() < until:  # noqa: ASYNC110 - it is time that is waited for
        await asyncio.sleep(0)


def _notes(entries: list[AttemptEntry], index: RecordingIndex) -> list[str]:
    notes: list[str] = []
    if any(entry.size_bytes != entry.kept_bytes for entry in entries):
        notes.append("of some reads only the size was kept: their bytes are left out")
    if any(entry.lost for entry in entries):
        notes.append("a flight recorder had no room for all: what it lost is left out")
    if any(entry.end is None for entry in entries):
        notes.append("the recording stops before an attempt's end: its connection is closed there")
    if any(entry.end is not None and entry.end.how in ("left", "given-up") for entry in entries):
        notes.append("a reader left before the end: what it had read is cut off there")
    if index.opening.contents != "kept":
        notes.append(f"its contents are {index.opening.contents}, and are served so")
    if index.opening.side == "har":
        notes.append("it is from a HAR: each body is one read, where nothing tells more")
    return notes


def replay(
    path: str | os.PathLike[str],
    *,
    streams: Sequence[int] | None = None,
    speed: float = 1.0,
    cut: Cut = "reads",
    strict: bool = False,
    host: str = "127.0.0.1",
    port: int = 0,
) -> ReplayServer:
    """Return a server that says a recording again; see `ReplayServer` for the arguments.

        with unbroken.debugger.replay("stream.jsonl") as server:
            client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none")

    Raises:
        OSError: If the file cannot be read.
        RecordingError: If it is no recording, or has nothing that can be served.
    """
    return ReplayServer(
        path, streams=streams, speed=speed, cut=cut, strict=strict, host=host, port=port
    )
