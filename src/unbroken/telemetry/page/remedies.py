"""What a kind of fault means and what to do about it, in a sentence each.

The page shows it beside every fault. It says less than ``docs/reference/faults.md`` and the
knowledge base do: enough for somebody who looks at a page at night.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from unbroken.core.faults import FaultKind

__all__ = ["GIVEN_UP", "REMEDIES", "Remedy", "remedy_for", "title_of"]


class Remedy(NamedTuple):
    """Cause and remedy of a kind of fault.

    Attributes:
        cause: What happened, one sentence.
        remedy: What to do, one sentence.
    """

    cause: str
    remedy: str


_HEAL = "Mode heal continues such an answer; in other modes send the request again."
_K = FaultKind

REMEDIES: Final[dict[FaultKind, Remedy]] = {
    _K.TRUNCATED_BETWEEN_EVENTS: Remedy(
        "The body ended cleanly after a whole event, before the provider said it was done.",
        "Look for a proxy that turns a crash into a clean end. " + _HEAL,
    ),
    _K.TRUNCATED_MID_EVENT: Remedy(
        "The body ended cleanly in the middle of an event.",
        "Look for a proxy that turns a crash into a clean end. " + _HEAL,
    ),
    _K.CONNECTION_RESET: Remedy(
        "The connection to the provider broke before the answer was finished.",
        "Single ones are weather; many at the same age point to a time limit of a proxy or"
        " load balancer in between. " + _HEAL,
    ),
    _K.MISSING_TERMINATOR: Remedy(
        "The answer is whole, but the last marker of the stream did not come.",
        "Nothing to do; usage may be missing for this answer.",
    ),
    _K.MISSING_FINISH: Remedy(
        "The stream said that it was over, but never said that the answer was finished.",
        "Do not take the answer for whole. " + _HEAL,
    ),
    _K.EMPTY_STREAM: Remedy(
        "The stream ended without any content, finish or error.",
        "A retry is safe, since nothing was delivered; mode heal does it.",
    ),
    _K.NOT_A_STREAM: Remedy(
        "The provider answered 200, but with a page or an object instead of a stream.",
        "Check the upstream's address; it is often a proxy's login or error page.",
    ),
    _K.MALFORMED_JSON: Remedy(
        "A whole event came whose payload is not JSON, so a piece of the answer is lost.",
        "Tell the provider; a gateway in between that rewrites events is often the cause. " + _HEAL,
    ),
    _K.INVALID_UTF8: Remedy(
        "An event holds bytes that are not text.",
        "Tell the provider; a gateway that cuts characters in two is often the cause.",
    ),
    _K.OVERSIZED_EVENT: Remedy(
        "One event is larger than the limit.",
        "Raise max_frame_bytes if such events are meant, as with images in the stream.",
    ),
    _K.OUT_OF_ORDER: Remedy(
        "Events came in another order than their numbers say, and were put right.",
        "Nothing to do; something in between sends over several connections.",
    ),
    _K.DUPLICATE_EVENT: Remedy(
        "An event came twice, and was delivered once.",
        "Nothing to do; something in between sends again what had arrived.",
    ),
    _K.MISSING_EVENT: Remedy(
        "By the stream's own numbers an event is missing.",
        "Do not take the answer for whole unless it was repaired. " + _HEAL,
    ),
    _K.PROTOCOL_VIOLATION: Remedy(
        "The events contradict the provider's own protocol.",
        "Tell the provider; a gateway that only resembles the protocol is often the cause.",
    ),
    _K.PROVIDER_ERROR: Remedy(
        "The provider reported an error in the middle of its answer.",
        "Overload passes: retry, or give the route a second target. Anything else stands in"
        " the error that the client got.",
    ),
    _K.STALLED: Remedy(
        "Nothing of the answer came for longer than the limit; pings do not count.",
        "If the model thinks that long, raise progress_timeout_s; if it hangs, mode heal takes"
        " another attempt.",
    ),
    _K.SLOW_DRIP: Remedy(
        "The answer came more slowly than the floor that was set.",
        "Lower the floor if that speed is right for this model, or give the route another target.",
    ),
    _K.INVALID_TOOL_ARGUMENTS: Remedy(
        "The model finished a tool call whose arguments are not JSON.",
        "Ask the model again or use a strict schema; the same request would not be repaired.",
    ),
    _K.LENGTH_LIMIT: Remedy(
        "The answer ended at its token limit: a proven end, but not the model's own.",
        "Raise max_tokens, or ask for the rest.",
    ),
    _K.CONTENT_FILTERED: Remedy(
        "The provider's filter ended the answer.",
        "This is the provider's decision and is never healed around.",
    ),
    _K.HTTP_ERROR: Remedy(
        "The provider refused the request with an error status.",
        "401 and 403: check the key; 429: ask for more or slow down; 5xx: retry later or give"
        " the route another target.",
    ),
    _K.CONNECT_FAILED: Remedy(
        "The provider could not be reached.",
        "Check the upstream's address, name resolution, certificates and egress proxy.",
    ),
    _K.CANCELLED: Remedy(
        "The client left before the answer was finished.",
        "Nothing to do, unless clients leave in numbers: then look at their own time limits.",
    ),
}

_UNKNOWN = Remedy(
    "An error that has no name in Unbroken's list.", "Look into the log of the application."
)


GIVEN_UP: Final = Remedy(
    "A continuation did not fit what was delivered before it, and was thrown away: nothing that"
    " did not fit reached the client.",
    "Nothing to do where the answer ended well. If it happens often, choose other rungs for this"
    " model: docs/reference/ladder-and-capabilities.md.",
)
"""Of an attempt that Unbroken gave up for what the model wrote: no fault of the wire."""


def _given_up(kind: str, detail: str) -> bool:
    # The core has no kind of its own for it, but begins the detail with these words.
    return kind == _K.PROTOCOL_VIOLATION and detail.startswith("the attempt was given up: ")


def title_of(kind: str, detail: str = "") -> str:
    """Return what faults are shown under: the kind, or what tells one cause of it apart."""
    return f"{kind} (continuation thrown away)" if _given_up(kind, detail) else kind


def remedy_for(kind: str, detail: str = "") -> Remedy:
    """Return cause and remedy of a fault, also of a kind that somebody else made up.

    Args:
        kind: Its kind.
        detail: What it says; two causes of one kind are told apart by it.
    """
    if _given_up(kind, detail):
        return GIVEN_UP
    try:
        return REMEDIES[FaultKind(kind)]
    except ValueError:
        return _UNKNOWN
