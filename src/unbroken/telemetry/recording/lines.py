"""Lines of a recording, from what a tape is told. Each function takes the time first."""

from __future__ import annotations

from collections.abc import Iterable

from unbroken.core.outcome import Outcome
from unbroken.core.recording import (
    BodyEndHow,
    Delivered,
    End,
    FaultSeen,
    Line,
    NoticeSeen,
    OutcomeSeen,
    Read,
    RequestSent,
    ResponseHead,
    Sent,
    Wanted,
    bytes_fields,
)
from unbroken.core.request import Request

__all__ = [
    "delivered_lines",
    "end_lines",
    "notice_lines",
    "outcome_lines",
    "read_lines",
    "request_lines",
    "response_lines",
    "unkept_read_lines",
    "wanted_lines",
]


def request_lines(
    at_s: float,
    request: Request,
    attempt: int,
    rung: str,
    dialect: str,
    left_out_bytes: int = 0,
) -> list[Line]:
    """Return a request's lines. They hold its keys: what writes them takes them out.

    Args:
        at_s: When.
        request: It.
        attempt: Which.
        rung: How it came about.
        dialect: What it speaks.
        left_out_bytes: How large its body was, where that was not kept.
    """
    said = RequestSent(
        at_s=at_s,
        attempt=attempt,
        method=request.method,
        url=request.url,
        headers=list(request.headers),
        dialect=dialect,
        rung=rung,
    )
    if left_out_bytes:
        return [said, Sent(at_s=at_s, attempt=attempt, size=left_out_bytes)]
    if not request.body:
        return [said]
    return [said, Sent(at_s=at_s, attempt=attempt, **bytes_fields(request.body))]


def response_lines(
    at_s: float,
    attempt: int,
    status: int,
    headers: Iterable[tuple[str, str]],
    reason: str,
    framing: str,
) -> list[Line]:
    """Return the line of a response's head."""
    return [
        ResponseHead(
            at_s=at_s,
            attempt=attempt,
            status=status,
            reason=reason,
            headers=list(headers),
            framing=framing,
        )
    ]


def read_lines(at_s: float, attempt: int, data: bytes) -> list[Line]:
    """Return the line of a read."""
    return [Read(at_s=at_s, attempt=attempt, **bytes_fields(data))]


def unkept_read_lines(at_s: float, attempt: int, size: int) -> list[Line]:
    """Return the line of a read of which only the size was kept."""
    return [Read(at_s=at_s, attempt=attempt, size=size)]


def delivered_lines(at_s: float, size: int) -> list[Line]:
    """Return the line of a delivery of what was read."""
    return [Delivered(at_s=at_s, size=size)]


def wanted_lines(at_s: float) -> list[Line]:
    """Return the line of a consumer that came back."""
    return [Wanted(at_s=at_s)]


def end_lines(at_s: float, attempt: int, how: BodyEndHow, detail: str) -> list[Line]:
    """Return the line of an attempt's end."""
    return [End(at_s=at_s, attempt=attempt, how=how, detail=detail)]


def notice_lines(at_s: float, kind: str, detail: str, attempt: int) -> list[Line]:
    """Return the line of a notice."""
    return [NoticeSeen(at_s=at_s, kind=kind, detail=detail, attempt=attempt)]


def outcome_lines(at_s: float, outcome: Outcome) -> list[Line]:
    """Return the line of a stream's outcome."""
    faults = [
        FaultSeen(
            kind=fault.kind.value,
            detail=fault.detail,
            severity=fault.severity,
            at_byte=fault.at_byte,
            frame=fault.frame,
            attempt=fault.attempt,
        )
        for fault in outcome.faults
    ]
    return [
        OutcomeSeen(at_s=at_s, status=outcome.status, faults=faults, recoveries=outcome.recoveries)
    ]
