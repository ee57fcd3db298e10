"""The verdict: from faults and finishes to one word, for live streams and recordings alike."""

from __future__ import annotations

from typing import get_args

from unbroken.core.attempt import Attempt
from unbroken.core.checks.completeness import BodyEnd
from unbroken.core.checks.tools import judge_calls
from unbroken.core.dialects import DIALECTS, by_name, framed, recognise_frame
from unbroken.core.dialects.base import Dialect
from unbroken.core.events import Finish
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.outcome import AttemptRecord, Outcome, Provenance, Status
from unbroken.core.received import Received
from unbroken.core.wire import Wire, decoder_for, likely_wires

__all__ = ["check", "judge", "recognise", "status_of"]

_READ_BYTES = 64 * 1024


def status_of(faults: list[Fault], finishes: dict[int, Finish]) -> Status:
    """Return the word for how a stream ended."""
    if any(fault.fatal for fault in faults):
        return "failed"
    kinds = {fault.kind for fault in faults}
    if FaultKind.CANCELLED in kinds:
        return "cancelled"
    if FaultKind.MISSING_FINISH in kinds:
        return "unconfirmed"
    meanings = {finish.meaning for finish in finishes.values()}
    for meaning, word in _WORDS:
        if meaning in meanings:
            return word
    return "complete"


_WORDS: tuple[tuple[str, Status], ...] = (
    ("filter", "filtered"),
    ("limit", "limited"),
    ("pause", "paused"),
)


def recognise(body: bytes) -> Dialect | None:
    """Return the dialect that a body's first frames speak, or None."""
    head = body[:_READ_BYTES]
    for wire in likely_wires(head):
        decoder = decoder_for(wire)
        frames = decoder.feed(head) + decoder.feed(_CLOSING.get(wire, b""))
        for frame in frames[:16]:
            found = recognise_frame(frame)
            if found is not None and framed(found, head).wire == wire:
                return framed(found, head)
    return None


_CLOSING: dict[Wire, bytes] = {"sse": b"\n\n", "ndjson": b"\n"}
"""What closes a frame: a body may be one frame, not closed."""


def check(
    body: bytes,
    dialect: str = "auto",
    end: BodyEnd = "eof",
    *,
    host: str = "",
    content_type: str = "",
) -> Outcome:
    """Judge a recorded response body.

    Args:
        body: The body's bytes, as they came.
        dialect: A dialect's name, or ``auto`` to tell it from the first frames.
        end: How the body ended: ``eof`` cleanly, ``reset`` by a failing transport.
        host: The host that sent it, where known: it may tell a declared variant.
        content_type: What the response said it was, as evidence.

    Returns:
        What was received, whether it is whole, and every fault. A body of no known dialect
        is read as OpenAI Chat, which names what is wrong with it.

    Raises:
        TypeError: If the body is not bytes.
        ValueError: If there is no such dialect or end.
    """
    if not isinstance(body, bytes | bytearray | memoryview):
        msg = f"body must be the bytes of a response, not {type(body).__name__}"
        raise TypeError(msg)
    if end not in get_args(BodyEnd):
        msg = f"end must be one of {', '.join(get_args(BodyEnd))}, not {end!r}"
        raise ValueError(msg)
    body = bytes(body)
    known = framed(by_name(dialect), body) if dialect != "auto" else recognise(body)
    if known is None:
        known = DIALECTS["openai-chat"]
    attempt = Attempt(
        known,
        lenient=True,
        host=host,
        content_type=content_type,
        max_held_bytes=len(body) + 1,  # it is in memory already
    )
    received = Received(limit_bytes=1 << 62)
    for at in range(0, len(body), _READ_BYTES):
        for step in attempt.receive(body[at : at + _READ_BYTES]):
            received.add(None, step.events)
    for step in attempt.close(end):
        received.add(None, step.events)
    outcome = judge(attempt, received)
    if dialect == "auto" and not attempt.frames:
        outcome.dialect = "unknown"
    outcome.bytes = outcome.attempts[0].bytes = len(body)
    return outcome


def judge(attempt: Attempt, received: Received) -> Outcome:
    """Return the verdict on one attempt that was closed, and on what was received of it."""
    faults = [*attempt.faults, *judge_calls(received)]
    outcome = Outcome(
        dialect=attempt.dialect.name,
        status=status_of(faults, attempt.completeness.finishes),
        complete=attempt.completeness.finished and attempt.fatal is None,
        recoverable=is_recoverable(faults),
        faults=faults,
        attempts=[AttemptRecord(number=1, fault=attempt.fatal, bytes=attempt.bytes)],
        frames=attempt.frames,
        bytes=attempt.bytes,
    )
    outcome.take(received)
    if outcome.text:
        outcome.provenance = [
            Provenance(
                attempt=1, start=0, end=len(outcome.text), rung="first", guarantee="byte-exact"
            )
        ]
    return outcome


def is_recoverable(faults: list[Fault]) -> bool:
    """Whether the same request, retried, resumed or repaired, can give the whole answer."""
    fatal = [fault for fault in faults if fault.fatal]
    return bool(fatal) and all(fault.retryable for fault in fatal)
