"""What happened at a moment or took a while, as data; see `unbroken.debugger.facts`."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["Band", "Entry", "FaultMark", "Gap", "Help", "Mark", "Stall", "Tone"]

Tone = Literal["", "good", "warn", "bad", "dim"]


class Help(msgspec.Struct, kw_only=True):
    """What the knowledge base says of a fault.

    Attributes:
        record: The record's id; ``unbroken explain ID`` shows all of it.
        cause: Why it happens.
        do_not: What does not help: ``do not ..., because ...``.
        remedies: What does, the likeliest first.
    """

    record: str
    cause: str
    do_not: list[str] = []
    remedies: list[str] = []


class FaultMark(msgspec.Struct, kw_only=True):
    """A fault, and when it happened.

    Attributes:
        kind: See `unbroken.FaultKind`.
        severity: ``fatal``, ``warning`` or ``note``.
        detail: What was seen; never contents.
        at_s: When the bytes came that show it.
        at_byte: Offset in the attempt's body.
        frame: Number of the frame, from 0.
        attempt: The attempt, from 1.
        phase: What the stream was doing.
        exact: It happened then; False: at some time before, of which nothing was kept.
        recovered: A later attempt made it good.
        help: What is known of it.
    """

    kind: str
    severity: str = "fatal"
    detail: str = ""
    at_s: float = 0.0
    at_byte: int | None = None
    frame: int | None = None
    attempt: int = 1
    phase: str = ""
    exact: bool = True
    recovered: bool = False
    help: Help | None = None


class Gap(msgspec.Struct, kw_only=True):
    """A time without content.

    Attributes:
        at_s: When it began.
        lasted_s: How long.
        attempt: In which attempt.
        phase: What the stream was doing.
        pings: Signs of life meanwhile.
        own_s: How much of it the reader itself took, as far as known.
        open: No content came after it: it lasted until the attempt's end.
    """

    at_s: float
    lasted_s: float
    attempt: int = 1
    phase: str = ""
    pings: int = 0
    own_s: float = 0.0
    open: bool = False


class Stall(msgspec.Struct, kw_only=True):
    """A wait of which the clocks of `unbroken.Options` would have told.

    Attributes:
        clock: ``first-event``, ``silence`` or ``progress``.
        phase: What the stream was doing.
        at_s: When the wait began.
        lasted_s: How long it was; until the recording's end where nothing moved any more.
        attempt: In which attempt.
        pings: Signs of life meanwhile, which hide the stall from a read timeout.
        limit_s: When that clock gives an attempt up.
        over: That limit was passed.
    """

    clock: str
    phase: str
    at_s: float
    lasted_s: float = 0.0
    attempt: int = 1
    pings: int = 0
    limit_s: float | None = None
    over: bool = False


class Band(msgspec.Struct, kw_only=True):
    """A phase: ``connecting``, ``waiting``, ``thinking``, ``text``, ``tool``, ``ending``."""

    phase: str
    from_s: float
    to_s: float
    attempt: int = 1


class Mark(msgspec.Struct, kw_only=True):
    """A moment.

    Attributes:
        at_s: When.
        kind: ``request``, ``connected``, ``response``, ``first-byte``, ``first-content``,
            ``finish``, ``end``, ``seam``, ``notice``, ``lost``.
        text: What, in words.
        attempt: In which attempt.
    """

    at_s: float
    kind: str
    text: str
    attempt: int = 1


class Entry(msgspec.Struct, kw_only=True):
    """A line of the timeline; one may stand for many reads.

    Attributes:
        at_s: When it began.
        until_s: When it ended, for what took a while.
        kind: As of `Mark`; and ``reads``, ``pause``, ``fault``, ``consumer``.
        text: What, in words.
        tone: How it is meant.
        preview: The first characters of what came, where asked for.
    """

    at_s: float
    until_s: float | None = None
    kind: str = ""
    text: str = ""
    tone: Tone = ""
    preview: str = ""
