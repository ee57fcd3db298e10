"""What a provider says when it refuses a request: the body of a response that is not 2xx."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from unbroken.core.dialects.base import error_from
from unbroken.core.events import ProviderError

__all__ = ["error_in", "short_words"]


def error_in(body: bytes, *, final: frozenset[str] = frozenset()) -> ProviderError | None:
    """Return the error that a body holds, in any provider's shape, or None.

    Args:
        body: The body, or its beginning.
        final: Types and codes for which the same request would fail again.
    """
    try:
        return error_from(msgspec.json.decode(body), final=final)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None


def short_words(names: Iterable[str]) -> str:
    """Return the names that are safe in a message: short ones, never free text."""
    return ", ".join(name for name in names if 0 < len(name) <= 64 and name.isprintable())
