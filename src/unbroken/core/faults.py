"""Faults: the broken promises, with the stable names that everything else shares."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

__all__ = ["Fault", "FaultKind", "Severity"]

Severity = Literal["fatal", "warning", "note"]


class FaultKind(StrEnum):
    """Stable names; exceptions, metrics, lab, knowledge and command line share them."""

    TRUNCATED_BETWEEN_EVENTS = "truncated-between-events"
    TRUNCATED_MID_EVENT = "truncated-mid-event"
    CONNECTION_RESET = "connection-reset"
    MISSING_TERMINATOR = "missing-terminator"
    MISSING_FINISH = "missing-finish"
    EMPTY_STREAM = "empty-stream"
    NOT_A_STREAM = "not-a-stream"
    MALFORMED_JSON = "malformed-json"
    INVALID_UTF8 = "invalid-utf8"
    OVERSIZED_EVENT = "oversized-event"
    OUT_OF_ORDER = "out-of-order"
    DUPLICATE_EVENT = "duplicate-event"
    MISSING_EVENT = "missing-event"
    PROTOCOL_VIOLATION = "protocol-violation"
    PROVIDER_ERROR = "provider-error"
    STALLED = "stalled"
    SLOW_DRIP = "slow-drip"
    INVALID_TOOL_ARGUMENTS = "invalid-tool-arguments"
    LENGTH_LIMIT = "length-limit"
    CONTENT_FILTERED = "content-filtered"
    HTTP_ERROR = "http-error"
    CONNECT_FAILED = "connect-failed"
    CANCELLED = "cancelled"


_SEVERITY: dict[FaultKind, Severity] = {
    FaultKind.MISSING_TERMINATOR: "warning",
    FaultKind.OUT_OF_ORDER: "note",
    FaultKind.DUPLICATE_EVENT: "note",
    FaultKind.LENGTH_LIMIT: "note",
    FaultKind.CONTENT_FILTERED: "note",
    FaultKind.CANCELLED: "note",
}


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One broken promise, with where and why.

    Attributes:
        kind: Its stable name.
        severity: ``fatal``, ``warning`` or ``note``; by default what the kind says.
        detail: What was seen, with numbers; never a key, a prompt or model output.
        at_byte: Offset in the attempt's body, or None where no byte is at fault.
        frame: Number of the frame, from 0, or None.
        attempt: The attempt it happened in, from 1; 0 where it is not known yet.
        retryable: False where the same request would fail again (say, a bad key).
        elsewhere: True where another key, model or provider may answer it all the same.
    """

    kind: FaultKind
    detail: str
    severity: Severity = "fatal"
    at_byte: int | None = None
    frame: int | None = None
    attempt: int = 0
    retryable: bool = True
    elsewhere: bool = False

    @classmethod
    def of(
        cls,
        kind: FaultKind,
        detail: str,
        *,
        severity: Severity | None = None,
        at_byte: int | None = None,
        frame: int | None = None,
        retryable: bool = True,
        elsewhere: bool = False,
    ) -> Fault:
        """Make a fault with the severity that its kind has unless told otherwise."""
        return cls(
            kind=kind,
            detail=detail,
            severity=severity or _SEVERITY.get(kind, "fatal"),
            at_byte=at_byte,
            frame=frame,
            retryable=retryable,
            elsewhere=elsewhere,
        )

    @property
    def fatal(self) -> bool:
        """Whether the stream cannot be taken for whole because of it."""
        return self.severity == "fatal"
