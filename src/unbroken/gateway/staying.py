"""What happens to a stream when its client goes: the policy of the route."""

from __future__ import annotations

import asyncio

from unbroken.relay.messages import ResponseHead
from unbroken.relay.pump import AbortHow, Downstream, DownstreamLeftError

__all__ = ["Staying"]


class Staying:
    """Read an answer to its end for a client that has gone, so that it is known and billed whole.

    An `unbroken.relay.pump.Downstream` before another.

    Args:
        inner: Who is answered.
        keep_s: How long the upstream is read on, in seconds; None to its end.
    """

    def __init__(self, inner: Downstream, keep_s: float | None) -> None:
        self._inner = inner
        self._keep_s = keep_s
        self._gone = False

    async def start(self, head: ResponseHead) -> None:
        if not self._gone:
            await self._inner.start(head)

    async def write(self, data: bytes) -> None:
        if not self._gone:
            try:
                await self._inner.write(data)
            except DownstreamLeftError:
                self._gone = True

    async def end(self) -> None:
        if not self._gone:
            await self._inner.end()

    async def abort(self, how: AbortHow) -> None:
        if not self._gone:
            await self._inner.abort(how)

    async def left(self) -> None:
        """Return when the stream is over for want of a client."""
        await self._inner.left()
        self._gone = True
        if self._keep_s is None:
            await asyncio.get_running_loop().create_future()  # cancelled with the stream
        else:
            await asyncio.sleep(self._keep_s)
