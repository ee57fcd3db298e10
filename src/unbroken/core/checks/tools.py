"""Tool arguments: a finished call whose arguments are not JSON is told, never retried."""

from __future__ import annotations

import msgspec

from unbroken.core.faults import Fault, FaultKind
from unbroken.core.received import Call, Received

__all__ = ["arguments_valid", "judge_calls"]


def arguments_valid(call: Call) -> bool:
    """Whether the call can be acted on. No arguments at all is how some write ``{}``."""
    arguments = call.arguments.strip()
    if call.kind != "function" or not arguments or call.dropped:
        return True
    try:
        msgspec.json.decode(arguments)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return False
    return True


def judge_calls(received: Received) -> list[Fault]:
    """Return a fault for each finished call whose arguments are not JSON.

    A call that the token limit or a filter cut is no surprise and no fault of its own.
    """
    faults: list[Fault] = []
    for call in received.calls.values():
        finish = received.finishes.get(call.choice)
        cut = finish is not None and finish.meaning in ("limit", "filter")
        if call.complete and not cut and not arguments_valid(call):
            faults.append(
                Fault.of(
                    FaultKind.INVALID_TOOL_ARGUMENTS,
                    f"tool call {call.index} finished, but its {len(call.arguments)} characters"
                    " of arguments are not JSON",
                    retryable=False,
                )
            )
    return faults
