"""Heartbeats: so that nothing on the way takes silence for death.

Proxies cut connections on which nothing moves, and clients wait only so long for a byte.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from unbroken.gateway.asgi import AsgiDownstream

__all__ = ["Heartbeat"]

_LOOKS = 4
"""How often it is looked in the time after which a heartbeat is due; so late it may come."""


class Heartbeat:
    """Sends heartbeats to a client while its answer is silent; a context manager.

    It looks now and then whether anything was sent, so that a delivery costs nothing for it.

    Args:
        downstream: Who is answered.
        heartbeat: What is sent.
        every_s: After how much silence, in seconds; up to a quarter more.
        between_frames: Whether what was sent ends with a whole frame.
    """

    def __init__(
        self,
        downstream: AsgiDownstream,
        heartbeat: bytes,
        every_s: float,
        between_frames: Callable[[], bool],
    ) -> None:
        self._downstream = downstream
        self._heartbeat = heartbeat
        self._look_s = every_s / _LOOKS
        self._between_frames = between_frames
        self._seen_bytes = -1
        self._silent = 0
        self._beating: asyncio.Task[None] | None = None  # the loop alone could forget it

    def __enter__(self) -> Heartbeat:
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(self._look_s, self._look)
        return self

    def __exit__(self, *exc: object) -> None:
        self._timer.cancel()
        if self._beating is not None:
            self._beating.cancel()  # it may not have begun, and the body has ended by now

    def _look(self) -> None:
        self._timer = self._loop.call_later(self._look_s, self._look)
        downstream = self._downstream
        if not downstream.started or downstream.sent_bytes != self._seen_bytes:
            self._seen_bytes, self._silent = downstream.sent_bytes, 0
            return
        self._silent += 1
        if self._silent >= _LOOKS and not downstream.stuck and self._between_frames():
            self._silent = 0
            self._beating = self._loop.create_task(downstream.write(self._heartbeat))
            self._seen_bytes = downstream.sent_bytes + len(self._heartbeat)
