"""Unbroken makes LLM token streams unbreakable.

Every delivered token once, in order; an end that is proven; or an error that says what
happened, what is safe to do, and what was received; and where an answer had to be continued,
the seam is marked, with its evidence.

    client = openai.OpenAI(http_client=unbroken.http_client())
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from unbroken.core import dialects as _dialects
from unbroken.core import events
from unbroken.core.actions import Reconnecting, StallNotice
from unbroken.core.dialects.base import Dialect
from unbroken.core.errors import (
    IncompleteStreamError,
    StreamingError,
    StreamTimeoutError,
    outcome_of,
)
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.frames import Frame
from unbroken.core.options import Clocks, Options
from unbroken.core.outcome import Outcome, Provenance
from unbroken.core.request import Request
from unbroken.core.target import Target
from unbroken.core.verdict import check
from unbroken.core.wire import NDJSONDecoder, SSEDecoder

if TYPE_CHECKING:
    from unbroken import sinks
    from unbroken.api import (
        AsyncEventStream,
        EventStream,
        MissingEventError,
        ReorderBuffer,
        aiter_text,
        astream,
        async_http_client,
        http_client,
        iter_text,
        register_dialect,
        stream,
        wrap,
    )
    from unbroken.knowledge import explain

__all__ = [
    "AsyncEventStream",
    "Clocks",
    "Dialect",
    "EventStream",
    "Fault",
    "FaultKind",
    "Frame",
    "IncompleteStreamError",
    "MissingEventError",
    "NDJSONDecoder",
    "Options",
    "Outcome",
    "Provenance",
    "Reconnecting",
    "ReorderBuffer",
    "Request",
    "SSEDecoder",
    "StallNotice",
    "StreamTimeoutError",
    "StreamingError",
    "Target",
    "aiter_text",
    "astream",
    "async_http_client",
    "check",
    "events",
    "explain",
    "http_client",
    "iter_text",
    "outcome_of",
    "register_dialect",
    "sinks",
    "stream",
    "wrap",
]


def _load_dialects() -> None:
    # Later than the rest: reading what is installed takes time that not all programs need.
    from unbroken.governor.plugins import load_dialects

    load_dialects()


_dialects.load_with(_load_dialects)


def __getattr__(name: str) -> Any:
    # Later than the rest: the core has to be there without what drives it.
    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    if name == "sinks":
        return import_module("unbroken.sinks")  # which sets the name here
    if name == "explain":
        knowledge = import_module("unbroken.knowledge")
        value = globals()[name] = knowledge.explain
        return value
    from unbroken import api

    value = globals()[name] = getattr(api, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
