"""Unbroken makes LLM token streams unbreakable.

Every delivered token once, in order; an end that is proven; or an error that says what
happened, what is safe to do, and what was received; and where an answer had to be continued,
the seam is marked, with its evidence.

    client = openai.OpenAI(http_client=unbroken.http_client())
"""

from __future__ import annotations

from unbroken.api import async_http_client, http_client
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

__all__ = [
    "Clocks",
    "Fault",
    "FaultKind",
    "Frame",
    "IncompleteStreamError",
    "NDJSONDecoder",
    "Options",
    "Outcome",
    "Provenance",
    "SSEDecoder",
    "StreamTimeoutError",
    "StreamingError",
    "async_http_client",
    "check",
    "http_client",
    "outcome_of",
]
