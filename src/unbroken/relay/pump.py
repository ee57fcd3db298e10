"""One request up, its answer's bytes down as they arrive.

What comes in one read of the upstream goes out in one write, before the next read: nothing is
held back, and a downstream that takes no more stops the upstream's socket. A downstream that
leaves closes the upstream at once, also in the middle of a silence. How an upstream ends is
told on: a proper end, an orderly close in mid-body, a reset.

To change the bytes, put a `Downstream` before a downstream: its `write` sees them first, and it
may end the stream by raising `StoppedError`. To only see them, give a ``tap``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from unbroken.relay.messages import ResponseHead, UpstreamError

__all__ = [
    "AbortHow",
    "Downstream",
    "DownstreamLeftError",
    "Ended",
    "Passage",
    "StoppedError",
    "Upstream",
    "Watch",
    "pump",
]

AbortHow = Literal["fin", "rst"]

Ended = Literal["complete", "incomplete", "reset", "silent", "unanswered", "left", "stopped"]
"""How an answer went: whole; three ways in which an upstream breaks; no head of an answer; the
downstream went; or a downstream put in between ended it (`StoppedError`)."""


class DownstreamLeftError(Exception):
    """The downstream is gone; raised by its `write`."""


class StoppedError(Exception):
    """Raised by a downstream that has ended the stream itself; the upstream is closed."""


class Upstream(Protocol):
    """An answer on its way."""

    @property
    def head(self) -> ResponseHead:
        """Its status line and headers."""

    async def read(self) -> bytes:
        """Return what came, at least one byte; ``b""`` at a proper end.

        Raises:
            UpstreamError: If the body breaks; all that came before was returned before.
        """

    def close(self) -> None:
        """Let go of the connection, at once if the body is not at its end. May come twice."""


class Downstream(Protocol):
    """Who is answered."""

    async def start(self, head: ResponseHead) -> None:
        """Send status line and headers; called once, before anything else."""

    async def write(self, data: bytes) -> None:
        """Send a part of the body; returns when there is room for more.

        Raises:
            DownstreamLeftError: If nobody reads any more.
        """

    async def end(self) -> None:
        """Send the body's proper end."""

    async def abort(self, how: AbortHow) -> None:
        """Close the connection with the body unfinished: in an orderly way, or by a reset."""

    def left(self) -> Awaitable[None]:
        """Return what is done when the downstream is gone.

        It is cancelled when that is of no interest any more. A future costs a stream less than
        a coroutine, for which a task is made.
        """


@dataclass(slots=True, kw_only=True)
class Passage:
    """How one answer went through.

    Attributes:
        ended: How it ended.
        head: The upstream's head, where one came.
        read_bytes: Bytes of the body that the upstream gave.
        failure: What the upstream did, where it failed. Nothing was sent downstream where
            `ended` is ``unanswered``: what is said then is the caller's.
    """

    ended: Ended = "complete"
    head: ResponseHead | None = None
    read_bytes: int = 0
    failure: UpstreamError | None = None


async def pump(
    ask: Callable[[], Awaitable[Upstream]],
    downstream: Downstream,
    *,
    tap: Callable[[bytes], None] | None = None,
) -> Passage:
    """Ask an upstream, and pass its answer on to a downstream.

    Args:
        ask: Sends the request; returns when the head of the answer is there.
        downstream: Who is answered.
        tap: Called with each read, before it is written.

    Returns:
        How it went. An upstream or a downstream that fails is no exception here.

    Raises:
        asyncio.CancelledError: If the caller's task is cancelled; the upstream is closed.
    """
    passage = Passage()
    with Watch(downstream) as watch:
        try:
            await _pass(ask, downstream, tap, passage)
        except (DownstreamLeftError, ConnectionError):
            passage.ended = "left"
        except StoppedError:
            passage.ended = "stopped"
        except asyncio.CancelledError:
            if not watch.fired():
                raise
            passage.ended = "left"
    return passage


async def _pass(
    ask: Callable[[], Awaitable[Upstream]],
    downstream: Downstream,
    tap: Callable[[bytes], None] | None,
    passage: Passage,
) -> None:
    try:
        answer = await ask()
    except UpstreamError as failure:
        passage.ended, passage.failure = "unanswered", failure
        return
    try:
        passage.head = answer.head
        await downstream.start(answer.head)
        try:
            while data := await answer.read():
                passage.read_bytes += len(data)
                if tap is not None:
                    tap(data)
                await downstream.write(data)
        except UpstreamError as failure:
            passage.failure = failure
            passage.ended = failure.how if failure.how in ("reset", "silent") else "incomplete"
            answer.close()  # before the downstream is told, which may take its time
            await downstream.abort("rst" if failure.how == "reset" else "fin")
            return
        await downstream.end()
    finally:
        answer.close()


class Watch:
    """Cancels the task that entered it when the downstream leaves; see `fired`.

    One task a stream, and no work for each read. The cancellation is taken back again, as
    `asyncio.timeout` does it, so that one from outside still counts.
    """

    def __init__(self, downstream: Downstream) -> None:
        self._downstream = downstream
        self._cancelled = False

    def __enter__(self) -> Watch:
        self._task = asyncio.current_task()
        self._watching: asyncio.Future[None] | None = asyncio.ensure_future(self._downstream.left())
        self._watching.add_done_callback(self._gone)
        return self

    def __exit__(self, *exc: object) -> None:
        watching, self._watching = self._watching, None
        if watching is not None and not watching.done():
            watching.cancel()

    def _gone(self, watching: asyncio.Future[None]) -> None:
        if watching.cancelled():
            return
        watching.exception()  # a downstream that cannot be watched any more is gone too
        if self._watching is not None and self._task is not None:
            self._cancelled = True
            self._task.cancel()

    def fired(self) -> bool:
        """Whether a cancellation that was just caught was this one, and no other."""
        if not self._cancelled or self._task is None:
            return False
        self._cancelled = False
        return self._task.uncancel() == 0
