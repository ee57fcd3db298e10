"""What is said of one stream, and of one fault: plain values that can be shown and sent."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["FaultRow", "StreamError", "StreamRow"]


class StreamError(msgspec.Struct, frozen=True, kw_only=True):
    """An error of one stream.

    Attributes:
        at: When, in seconds since the epoch.
        kind: The fault's stable name, or the class of an exception.
        detail: What was seen, with numbers; never a key, a prompt or model output. Of a stream
            that Unbroken does not drive, the text that `HealthMonitor.record_error` was given.
    """

    at: float
    kind: str
    detail: str = ""


class StreamRow(msgspec.Struct, frozen=True, kw_only=True):
    """One stream, as it is now or as it ended.

    Attributes:
        id: Its id.
        status: ``active``; or how it ended: one of the outcome's words (``complete``,
            ``limited``, ``filtered``, ``paused``, ``unconfirmed``, ``failed``, ``cancelled``),
            ``abandoned`` (nothing was heard of it for too long), or ``unread`` (Unbroken
            itself failed and stepped aside).
        phase: What it does: ``connecting``, ``waiting`` (for content), ``thinking``, ``text``,
            ``tool``, ``ending``, ``recovering`` or ``over``.
        provider: Who was asked.
        model: Which model.
        dialect: How it is spoken to.
        route: The gateway's route, or ``""``.
        team: Whose stream it is, where the gateway knows, or ``""``.
        started_at: Seconds since the epoch.
        ended_at: The same, or None while it runs.
        duration_s: Until now, or until its end.
        bytes: Bytes that were delivered.
        frames: Frames that were delivered.
        tokens: Tokens of output ...
        tokens_counted: ... as the provider told (``usage``), or as pieces of content that came
            (``deltas``).
        ttft_s: Seconds to the first content (time to first token), or None.
        last_gap_s: The wait before what came last.
        longest_gap_s: The longest wait so far between two pieces of content.
        since_progress_s: How long nothing has come; 0 once it is over.
        stalled: A stall notice was given and nothing has come since.
        attempts: Upstream requests.
        reconnects: The ones of them after the first.
        recoveries: How they came about: the rungs, in order.
        seams: Where in the answer's text, in characters, each attempt after the first goes on,
            and by which rung; known at its end.
        cost: What its attempts cost together, by the price list that was given; None if it is
            not in there, or the stream still runs.
        errors: What went wrong, the latest 16.
        buffered: Something in the path collects events and hands them over late.
        left: The client is gone.
    """

    id: str
    status: str = "active"
    phase: str = "connecting"
    provider: str = ""
    model: str = ""
    dialect: str = ""
    route: str = ""
    team: str = ""
    started_at: float = 0.0
    ended_at: float | None = None
    duration_s: float = 0.0
    bytes: int = 0
    frames: int = 0
    tokens: int = 0
    tokens_counted: Literal["deltas", "usage"] = "deltas"
    ttft_s: float | None = None
    last_gap_s: float = 0.0
    longest_gap_s: float = 0.0
    since_progress_s: float = 0.0
    stalled: bool = False
    attempts: int = 1
    reconnects: int = 0
    recoveries: list[str] = []
    seams: list[tuple[int, str]] = []
    cost: float | None = None
    errors: list[StreamError] = []
    buffered: bool = False
    left: bool = False


class FaultRow(msgspec.Struct, frozen=True, kw_only=True):
    """One fault of some stream.

    Attributes:
        stream: The stream's id.
        at: Seconds since the epoch.
        kind: Its stable name; `unbroken explain` has more of it.
        severity: ``fatal``, ``warning`` or ``note``.
        detail: What was seen, with numbers; never a key, a prompt or model output.
        attempt: The attempt it happened in, from 1.
        rung: How the stream goes on after it, or ``""``: it ended, or it needed nothing.
        provider: Who was asked.
        model: Which model.
        route: The gateway's route, or ``""``.
    """

    stream: str
    at: float
    kind: str
    severity: str = "fatal"
    detail: str = ""
    attempt: int = 0
    rung: str = ""
    provider: str = ""
    model: str = ""
    route: str = ""
