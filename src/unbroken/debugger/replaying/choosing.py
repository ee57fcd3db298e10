"""Which recorded attempt answers a request."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from unbroken.debugger.index import AttemptEntry, StreamEntry, digest_of

__all__ = ["Choice", "Chooser"]


class Choice(msgspec.Struct, frozen=True):
    """What answers a request.

    Attributes:
        entry: The attempt.
        again: All that was recorded for the path had been given out, so it is the last once more.
    """

    entry: AttemptEntry
    again: bool


class Chooser:
    """Give out the attempts of streams, each once and in their order.

    A request whose body is the very one of a recorded request belongs to that stream; any other
    gets the next attempt of the first stream that has one left for its method and path.

    Args:
        streams: They.
        strict: Never give an attempt out again.
    """

    def __init__(self, streams: Iterable[StreamEntry], *, strict: bool = False) -> None:
        self._strict = strict
        self._left = [[a for a in stream.attempts if a.path] for stream in streams]
        self._last: dict[tuple[str, str], AttemptEntry] = {}
        self.routes: dict[tuple[str, str], int] = {}
        for attempts in self._left:
            for entry in attempts:
                key = (entry.method, entry.path)
                self.routes[key] = self.routes.get(key, 0) + 1

    def choose(self, method: str, path: str, body: bytes) -> Choice | None:
        """Return what answers a request, or None where nothing does (any more)."""
        key = (method, path)
        if key not in self.routes:
            return None
        digest = digest_of(body)
        found: list[AttemptEntry] | None = None
        for attempts in self._left:
            entry = _next(attempts, key)
            if entry is None:
                continue
            if entry.sent == digest:
                found = attempts
                break
            found = attempts if found is None else found
        if found is not None:
            entry = _next(found, key)
            assert entry is not None
            found.remove(entry)
            self._last[key] = entry
            return Choice(entry, again=False)
        return None if self._strict else Choice(self._last[key], again=True)


def _next(attempts: list[AttemptEntry], key: tuple[str, str]) -> AttemptEntry | None:
    return next((entry for entry in attempts if (entry.method, entry.path) == key), None)
