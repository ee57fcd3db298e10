"""A partial answer as a turn of the request, for the dialects whose parts have no type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unbroken.core.dialects.payloads import record

__all__ = ["with_answer"]


def with_answer(
    turns: Any, text: str, fields: Mapping[str, Any], *, role: str, parts: str
) -> list[dict[str, Any]] | None:
    """Return a request's turns with the partial answer as the last one, or None.

    A request that already ends with a turn of the model's began the answer itself: then the
    text goes on in that turn, in its last part if that is plain text.

    Args:
        turns: The turns, if they are what they should be.
        text: The partial answer.
        fields: What the turn holds beside.
        role: The model's.
        parts: The field with the parts of a turn, each ``{"text": ...}`` where it is text.
    """
    if not isinstance(turns, list) or not turns:
        return None
    last = turns[-1]
    if not isinstance(last, dict) or last.get("role") != role:
        return [*turns, {"role": role, parts: [{"text": text}], **fields}]
    given = last.get(parts)
    if not isinstance(given, list):
        return None
    end = record(given[-1]) if given else {}
    if end.keys() == {"text"} and isinstance(end["text"], str):
        joined = [*given[:-1], {"text": end["text"] + text}]
    else:
        joined = [*given, {"text": text}]
    return [*turns[:-1], {**last, parts: joined, **fields}]
