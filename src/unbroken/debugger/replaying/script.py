"""How a recorded attempt is said again: its head, its framing, and its end."""

from __future__ import annotations

from typing import Literal, TypeAlias

from unbroken.debugger.index import AttemptEntry
from unbroken.relay.headers import for_downstream, framing_of
from unbroken.relay.messages import Framing, ResponseHead

__all__ = ["HowToEnd", "end_of", "head_of"]

HowToEnd: TypeAlias = Literal["end", "fin", "rst", "hold"]
"""By the body's proper end; by closing with the body unfinished; by a reset; by saying nothing
more until the client leaves."""

_FRAMINGS: tuple[Framing, ...] = ("chunked", "length", "close", "none")
_HELD = frozenset({"silent", "deadline"})


def head_of(entry: AttemptEntry) -> ResponseHead | None:
    """Return the head as it is sent again; None where the recording has none."""
    seen = entry.head
    if seen is None:
        return None
    headers = for_downstream(seen.headers)
    framing = _framing(entry)
    length = _length(entry)
    if framing != "length":
        headers = [pair for pair in headers if pair[0].lower() != "content-length"]
    elif length is None or (length != entry.kept_bytes and _is_whole(entry)):
        # What it said is not true of what is sent, as where a coding was taken off.
        headers = [pair for pair in headers if pair[0].lower() != "content-length"]
        missing = 0 if _is_whole(entry) else 1
        headers.append(("Content-Length", str(entry.kept_bytes + missing)))
    return ResponseHead(status=seen.status, reason=seen.reason, headers=headers, framing=framing)


def end_of(entry: AttemptEntry) -> HowToEnd:
    """Return how an attempt ends when it is said again."""
    how = entry.end.how if entry.end is not None else ""
    if how == "eof":
        return "end"
    if how in _HELD:
        return "hold"
    if how == "reset" or (how != "unanswered" and _framing(entry) == "close"):
        # Without HTTP's own framing an orderly close would be a clean end, which it was not.
        return "rst"
    return "fin"


def _framing(entry: AttemptEntry) -> Framing:
    seen = entry.head
    if seen is None:
        return "none"
    if seen.framing in _FRAMINGS:
        return seen.framing
    told = framing_of(entry.method, seen.status, seen.headers)
    if told == "close":  # HTTP/2 and 3 need neither header
        return "chunked"
    if told == "length" and _is_whole(entry) and _length(entry) != entry.kept_bytes:
        return "chunked"
    return told


def _is_whole(entry: AttemptEntry) -> bool:
    return entry.end is not None and entry.end.how == "eof"


def _length(entry: AttemptEntry) -> int | None:
    headers = entry.head.headers if entry.head is not None else []
    said = next((value for name, value in headers if name.lower() == "content-length"), "")
    return int(said) if said.isdecimal() else None
