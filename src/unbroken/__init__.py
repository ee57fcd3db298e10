"""Unbroken makes LLM token streams unbreakable.

Every delivered token once, in order; an end that is proven; or an error that says what
happened, what is safe to do, and what was received; and where an answer had to be continued,
the seam is marked, with its evidence.

    client = openai.OpenAI(http_client=unbroken.http_client())
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unbroken.core import events
from unbroken.core.actions import Reconnecting, StallNotice
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
from unbroken.core.verdict import check
from unbroken.core.wire import NDJSONDecoder, SSEDecoder

if TYPE_CHECKING:
    from unbroken.api import (
        AsyncEventStream,
        EventStream,
        aiter_text,
        astream,
        async_http_client,
        http_client,
        iter_text,
        stream,
        wrap,
    )

__all__ = [
    "AsyncEventStream",
    "Clocks",
    "EventStream",
    "Fault",
    "FaultKind",
    "Frame",
    "IncompleteStreamError",
    "NDJSONDecoder",
    "Options",
    "Outcome",
    "Provenance",
    "Reconnecting",
    "SSEDecoder",
    "StallNotice",
    "StreamTimeoutError",
    "StreamingError",
    "aiter_text",
    "astream",
    "async_http_client",
    "check",
    "events",
    "http_client",
    "iter_text",
    "outcome_of",
    "stream",
    "wrap",
]


def __getattr__(name: str) -> Any:
    # Later than the rest: the core has to be there without what drives it.
    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from unbroken import api

    value = globals()[name] = getattr(api, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
