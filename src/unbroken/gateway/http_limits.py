"""What a client may take of us, and the one sweep that sees to it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from unbroken.gateway.config import LimitsConfig

__all__ = ["HttpLimits", "Sweeper", "Waiting"]

_SWEEP_S = 1.0


class HttpLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a client may take of us.

    Attributes:
        max_connections: Connections at once.
        max_line_bytes: Largest request target.
        max_head_bytes: Largest head, the request line included.
        max_headers: Most header fields.
        head_s: Seconds for a head to arrive.
        body_idle_s: Seconds that a body may be silent, or behind `min_body_bytes_per_s`.
        min_body_bytes_per_s: Slowest body, measured over all of it.
        keep_alive_s: Seconds that an idle connection is kept.
        write_stall_s: Seconds in which a client must take something of what waits for it; None
            waits for ever.
        write_buffer_bytes: Most bytes that wait for a slow client before the writer does.
        unsent_bytes: Most bytes that wait in the kernel, where it can be told so.
    """

    max_connections: int = 20_000
    max_line_bytes: int = 16_384
    max_head_bytes: int = 65_536
    max_headers: int = 128
    head_s: float = 10.0
    body_idle_s: float = 30.0
    min_body_bytes_per_s: float = 1024.0
    keep_alive_s: float = 75.0
    write_stall_s: float | None = 600.0
    write_buffer_bytes: int = 32_768
    unsent_bytes: int = 131_072

    @classmethod
    def of(cls, limits: LimitsConfig) -> HttpLimits:
        """Return what the configuration sets of them."""
        return cls(
            max_connections=limits.max_connections,
            max_head_bytes=limits.max_head_bytes,
            head_s=limits.head_s,
            body_idle_s=limits.body_idle_s,
            keep_alive_s=limits.keep_alive_s,
        )


class Waiting(Protocol):
    """A connection that something is awaited of."""

    loop: asyncio.AbstractEventLoop

    def overdue(self, now: float) -> None:
        """The deadline has passed."""


class Sweeper:
    """Keeps the deadlines of all connections of a process, and what they share.

    Attributes:
        limits: What holds for requests from now on; may be replaced at any time.
        refused: How many requests were refused, by reason.
        lingering: Connections that only wait for their client to read the last answer.
    """

    def __init__(self, limits: HttpLimits) -> None:
        self.limits = limits
        self.refused: dict[str, int] = {}
        self.lingering = 0
        self._waiting: dict[Waiting, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def expect(self, protocol: Waiting, deadline: float) -> None:
        """Call `Waiting.overdue` about when the loop's clock shows ``deadline``."""
        self._waiting[protocol] = deadline
        if self._timer is None:
            self._timer = protocol.loop.call_later(_SWEEP_S, self._sweep, protocol.loop)

    def content(self, protocol: Waiting) -> None:
        self._waiting.pop(protocol, None)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for protocol in [p for p, deadline in self._waiting.items() if deadline <= now]:
            self._waiting.pop(protocol, None)
            protocol.overdue(now)
        self._timer = loop.call_later(_SWEEP_S, self._sweep, loop) if self._waiting else None
