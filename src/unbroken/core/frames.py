"""The frame: one whole unit of the wire, with its exact bytes."""

from __future__ import annotations

import msgspec

__all__ = ["Frame"]


class Frame(msgspec.Struct, gc=False, frozen=True):
    """One SSE block, NDJSON line or AWS event-stream message.

    Attributes:
        event: The event's name; ``"message"`` where the wire gave none (WHATWG).
        payload: The data as UTF-8 bytes, SSE data lines joined by LF. Undecodable
            bytes have been replaced by U+FFFD.
        id: The last event id in force at dispatch; ``""`` where there is none.
        retry: Reconnection time in milliseconds that this block set, or None.
        raw: The exact bytes, the line ends that close the frame included. Joined over
            all frames (dispatched or not) they give back the body.
        offset: Position of the first byte of `raw` in the body.
        dispatched: False for a block that WHATWG does not dispatch (only comments,
            an event without data, unknown fields): kept so that its bytes can pass.
        unknown: Lines with field names that the wire does not define, as they came.
            Evidence: llama.cpp has written errors as a field ``error:``.
        failure: The wire itself calls this an error (an AWS message of the type
            ``exception`` or ``error``); `event` is its name.
        undecodable_at: Position in the body of the first byte that is no UTF-8; None where
            all are.
    """

    event: str
    payload: bytes
    id: str
    retry: int | None
    raw: bytes
    offset: int
    dispatched: bool = True
    unknown: tuple[str, ...] = ()
    failure: bool = False
    undecodable_at: int | None = None

    @property
    def data(self) -> str:
        """The payload as text."""
        return self.payload.decode("utf-8", "replace")
