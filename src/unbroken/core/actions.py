"""Actions: what the machine asks its driver to do, in order; and notices for observers."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from unbroken.core.checks.liveness import StallNotice
from unbroken.core.events import Event
from unbroken.core.faults import Fault
from unbroken.core.outcome import AttemptRecord, Outcome, Skipped
from unbroken.core.request import Request

__all__ = [
    "Action",
    "Connect",
    "Deliver",
    "Disconnect",
    "Ended",
    "FinishStream",
    "Notice",
    "Receive",
    "Reconnecting",
    "StallNotice",
    "Wait",
]


class Connect(msgspec.Struct, frozen=True):
    """Send a request; then `Stream.connected` or `Stream.failed`."""

    request: Request
    attempt: int


class Disconnect(msgspec.Struct, frozen=True):
    """Close the attempt's connection for good; never read it again."""

    attempt: int


class Wait(msgspec.Struct, frozen=True):
    """Do nothing until a time on the driver's clock, then ask again."""

    until: float


class Receive(msgspec.Struct, frozen=True):
    """Read the open body: `Stream.receive`, `receive_eof` or `failed`.

    Stop waiting at `Stream.next_timer`, and call `Stream.handle_timer` then.
    """


class Deliver(msgspec.Struct, frozen=True):
    """Hand whole frames to the consumer.

    Attributes:
        data: Their bytes.
        events: What they mean, in order.
    """

    data: bytes
    events: Sequence[Event]


class FinishStream(msgspec.Struct, frozen=True):
    """The stream is over. A fault means: raise; the outcome has everything else."""

    outcome: Outcome
    fault: Fault | None


Action = Connect | Disconnect | Wait | Receive | Deliver | FinishStream


class Reconnecting(msgspec.Struct, frozen=True, kw_only=True):
    """A further attempt is about to be made.

    Attributes:
        attempt: Its number.
        rung: How it recovers.
        fault: What ended the one before.
        wait_s: Seconds until it is sent.
        added_bytes: Size of the body that is sent in addition.
        skipped: Rungs that were passed over, and why.
    """

    attempt: int
    rung: str
    fault: Fault
    wait_s: float
    added_bytes: int
    skipped: list[Skipped]


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt is over, and says something of whom it was sent to.

    Attributes:
        record: What is known of it; its fault is None if it ended whole.
        request: What was sent, before it was signed.
        blameless: It was given up for what the model wrote, not for how it came.
    """

    record: AttemptRecord
    request: Request
    blameless: bool = False


Notice = StallNotice | Reconnecting
