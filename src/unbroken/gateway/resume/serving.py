"""A reader's bytes to its client."""

from __future__ import annotations

import asyncio
from typing import Protocol

from unbroken.gateway.resume.marking import PROBE_BYTES, Marker, ends_block
from unbroken.journal.base import READ_BYTES, End, Reader

__all__ = ["Writable", "serve_reader"]


class Writable(Protocol):
    """Where a body goes."""

    async def write(self, data: bytes) -> None:
        """Send a part of the body; returns when there is room for more."""


async def serve_reader(
    reader: Reader,
    downstream: Writable,
    marker: Marker | None,
    heartbeat: bytes | None = None,
    heartbeat_s: float | None = None,
    state_prefix: bytes = b"",
) -> End:
    """Write what a reader gives until the stream's end, in pieces of at most 64 KiB.

    The reader is not closed. What it raises passes through: there is no end then, and the
    client's body must not get one.

    Args:
        reader: Where it comes from.
        downstream: Where it goes.
        marker: Puts event ids on; None leaves the body as it is.
        heartbeat: Written where nothing came for `heartbeat_s`, between frames only; None and
            None for a client that takes none.
        heartbeat_s: In seconds.
        state_prefix: Written first, without ids.

    Returns:
        How the stream ended: whether the body may end too is the caller's to say.
    """
    for at in range(0, len(state_prefix), READ_BYTES):
        await downstream.write(state_prefix[at : at + READ_BYTES])
    clock = _Clock(reader, heartbeat_s) if heartbeat and heartbeat_s else None
    sse = reader.meta.wire == "sse"
    last = b""  # without a marker it is looked at for a block's end
    try:
        while True:
            data = reader.read_now()
            if data:
                if marker is not None:
                    data = marker.mark(data)
                else:
                    last = data
                if len(data) <= READ_BYTES:
                    if data:
                        await downstream.write(data)
                else:
                    for at in range(0, len(data), READ_BYTES):
                        await downstream.write(data[at : at + READ_BYTES])
                if clock is not None:
                    clock.touch()
            elif (end := reader.end) is not None:
                rest = b"" if marker is None else marker.close()
                if rest and end.well:  # part of an event is none, and an error may follow it
                    await downstream.write(rest)
                return end
            else:
                await reader.wait()
                if clock is not None and clock.due():
                    between = (
                        marker.between_blocks
                        if marker is not None
                        else not sse or ends_block(last[-PROBE_BYTES:])
                    )
                    if heartbeat and between:
                        await downstream.write(heartbeat)
                    clock.touch()
    finally:
        if clock is not None:
            clock.stop()


class _Clock:
    """Wakes a reader that is silent. One timer a stream, not one a read."""

    __slots__ = ("_every_s", "_handle", "_last", "_loop", "_reader")

    def __init__(self, reader: Reader, every_s: float) -> None:
        self._reader = reader
        self._every_s = every_s
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._handle = self._loop.call_later(every_s, self._fire)

    def touch(self) -> None:
        """Something was written."""
        self._last = self._loop.time()

    def due(self) -> bool:
        """Whether nothing was written for so long."""
        # A timer may fire within the clock's resolution before its time.
        return self._loop.time() >= self._last + self._every_s - 0.001

    def stop(self) -> None:
        """Fire no more."""
        self._handle.cancel()

    def _fire(self) -> None:
        now = self._loop.time()
        if self.due():
            self._reader.wake()
            self._handle = self._loop.call_later(self._every_s, self._fire)
        else:
            self._handle = self._loop.call_at(
                max(self._last + self._every_s, now + 0.001), self._fire
            )
