"""What file sinks write of events and outcomes."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any, get_args

import msgspec

from unbroken.core import events
from unbroken.core.events import Event
from unbroken.core.outcome import Outcome

__all__ = ["KINDS", "encoded", "fields_of", "now_text", "summary_of"]

KINDS: dict[type, str] = {
    kind: re.sub(r"(?<=[a-z])(?=[A-Z])", "-", kind.__name__).lower()
    for kind in get_args(events.Event)
}
"""What each event is called: ``text``, ``tool-call``, ``usage-report`` ..."""


def fields_of(event: Event) -> dict[str, Any]:
    """Return an event's fields, those left out that say nothing."""
    return {
        name: value
        for name, value in msgspec.to_builtins(event).items()
        if value is not None and not (name == "choice" and value == 0)
    }


def encoded(value: dict[str, Any]) -> bytes:
    """Return one JSON value; half of a surrogate pair is written as its escape."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def summary_of(outcome: Outcome) -> dict[str, Any]:
    """Return how a stream ended: the outcome without what the events have said already."""
    told = outcome.to_dict()
    for name in ("text", "reasoning", "tool_calls"):
        del told[name]
    return {
        **told,
        "attempts": len(outcome.attempts),
        "provenance": msgspec.to_builtins(outcome.provenance),
        "first_content_s": outcome.first_content_s,
        "duration_s": outcome.duration_s,
    }


def now_text() -> str:
    """Return the time, as text, in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
