"""Errors as facts: the classes that users catch without an SDK, and the one message template."""

from __future__ import annotations

from unbroken.core.faults import Fault, FaultKind
from unbroken.core.outcome import Outcome

__all__ = [
    "IncompleteStreamError",
    "StreamTimeoutError",
    "StreamingError",
    "error_class",
    "message_for",
    "outcome_of",
]

_TIMEOUTS = (FaultKind.STALLED, FaultKind.SLOW_DRIP)


class StreamingError(Exception):
    """A stream failed, after everything that could safely be tried.

    Attributes:
        outcome: How it ended, with evidence: what was received, and what was tried.
        fault: What went wrong.
        code: The fault's stable name.
    """

    def __init__(self, *, outcome: Outcome, fault: Fault) -> None:
        # Not `super()`: transports mix in the classes of HTTP libraries and SDKs, whose own
        # `__init__` want other arguments.
        Exception.__init__(self, message_for(outcome, fault))
        self.outcome = outcome
        self.fault = fault
        self.code = fault.kind.value

    def __reduce__(self) -> tuple[object, ...]:
        bare = type(self) is StreamingError
        kind = StreamingError if bare else error_class(self.fault)
        return (_rebuild, (kind, self.outcome, self.fault))


class IncompleteStreamError(StreamingError):
    """The stream ended, but not with a proven end."""


class StreamTimeoutError(StreamingError):
    """A deadline passed."""


def _rebuild(kind: type[StreamingError], outcome: Outcome, fault: Fault) -> StreamingError:
    return kind(outcome=outcome, fault=fault)


def error_class(fault: Fault) -> type[StreamingError]:
    """Return the class that fits a fault."""
    return StreamTimeoutError if fault.kind in _TIMEOUTS else IncompleteStreamError


def message_for(outcome: Outcome, fault: Fault) -> str:
    """Return the message of an error: what happened, what was tried, what to do.

    It holds numbers and stable names, never a key, a prompt or output.
    """
    parts = [f"{fault.kind.value}: {fault.detail}"]
    if outcome.recoveries:
        ways = ", ".join(record.rung for record in outcome.attempts[1:])
        parts.append(f"{outcome.recoveries} recoveries tried ({ways})")
    elif outcome.skipped:
        last = outcome.skipped[-1]
        parts.append(f"not recovered ({last.rung}: {last.why})")
    calls = len(outcome.tool_calls)
    got = f"{len(outcome.text)} characters"
    if outcome.overflowed and outcome.characters > len(outcome.text):
        got = f"the first {len(outcome.text)} of {outcome.characters} characters"
    if calls:
        whole = sum(1 for call in outcome.tool_calls if call.complete)
        got += f", {calls} tool calls ({whole} whole)"
    parts.append(f"do not treat the answer as complete; what was received ({got}) is in .outcome")
    if outcome.provider_error is not None and outcome.provider_error.message:
        parts.append("the provider's words are in .outcome.provider_error")
    ids = [record.request_id for record in outcome.attempts if record.request_id]
    if ids:
        parts.append(f"provider request ids: {', '.join(ids)}")
    return "; ".join(parts)


def outcome_of(error: BaseException | None) -> Outcome | None:
    """Return the outcome that hangs on an exception, or None if none does.

    Walks causes, contexts and groups, so it works for whatever an SDK made of it.
    """
    seen: set[int] = set()
    todo = [error]
    while todo:
        current = todo.pop(0)
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        outcome = getattr(current, "outcome", None)
        if isinstance(outcome, Outcome):
            return outcome
        todo += [current.__cause__, current.__context__]
        if isinstance(current, BaseExceptionGroup):  # as task groups raise
            todo += current.exceptions
    return None
