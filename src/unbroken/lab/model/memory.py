"""What the model's service remembers: answers that can be read on, and idempotency keys.

Bounded by count and by bytes; what was not used for the longest time goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

from unbroken.lab.model.asks import Asked, Cursor
from unbroken.lab.model.script import Script
from unbroken.lab.model.settings import AnswerSettings
from unbroken.lab.parts import Piece

__all__ = ["Kept", "Memory"]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An answer as it was first given.

    Attributes:
        asked: What was asked.
        settings: How the model answered.
        script: What it says.
        id: Its number, as it stands in ids.
        pieces: Its body, healthy and whole; nobody changes it.
    """

    asked: Asked
    settings: AnswerSettings
    script: Script
    id: str
    pieces: tuple[Piece, ...]

    @property
    def bytes(self) -> int:
        """How long the body is."""
        return sum(len(piece.data) for piece in self.pieces)


class _Store(Generic[_T]):
    """A bounded mapping; what was not used for the longest time goes first."""

    def __init__(self, *, entries: int, bytes_: int) -> None:
        self._entries, self._bytes = entries, bytes_
        self._held = 0
        self._known: OrderedDict[str, tuple[int, _T]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def put(self, key: str, value: _T, size: int) -> None:
        """Keep a value; one too large to be kept at all is forgotten at once."""
        self.drop(key)
        self._known[key] = (size, value)
        self._held += size
        while self._known and (len(self._known) > self._entries or self._held > self._bytes):
            _, (gone, _) = self._known.popitem(last=False)
            self._held -= gone

    def get(self, key: str) -> _T | None:
        """Return a value, or None."""
        known = self._known.get(key)
        if known is None:
            return None
        self._known.move_to_end(key)
        return known[1]

    def drop(self, key: str) -> bool:
        """Forget a value; say whether it was there."""
        known = self._known.pop(key, None)
        self._held -= known[0] if known else 0
        return known is not None


class Memory:
    """What is remembered over requests. One a server; not thread-safe.

    Args:
        most: Most answers that are kept, of each kind.
        most_bytes: Most bytes of their bodies, of each kind.
    """

    def __init__(self, *, most: int = 1_000, most_bytes: int = 64 * 1024 * 1024) -> None:
        self._answers: _Store[Kept] = _Store(entries=most, bytes_=most_bytes)
        self._keys: _Store[Kept] = _Store(entries=most, bytes_=most_bytes)
        self._count = 0

    def next_number(self) -> int:
        """Return the number of a new answer, from 1; ids are made of it."""
        self._count += 1
        return self._count

    # Cursors ------------------------------------------------------------------------------

    def keep(self, service: str, id: str, kept: Kept) -> None:
        """Keep an answer under its id, so that it can be read on."""
        self._answers.put(f"{service} {id}", kept, kept.bytes)

    def kept_at(self, cursor: Cursor) -> Kept | None:
        """Return the answer that a cursor is about, or None if it is not known (any more)."""
        return self._answers.get(f"{cursor.service} {cursor.id}")

    def forget(self, cursor: Cursor) -> Kept | None:
        """Forget an answer, and return what it was."""
        kept = self.kept_at(cursor)
        self._answers.drop(f"{cursor.service} {cursor.id}")
        return kept

    def model_of(self, asked: Asked) -> str:
        """Return the model that a request is about; one with a cursor names none itself.

        ``""`` if that is not known.
        """
        if asked.cursor is None:
            return asked.model
        kept = self.kept_at(asked.cursor)
        return kept.asked.model if kept is not None else ""

    # Idempotency --------------------------------------------------------------------------

    def repeat_of(self, asked: Asked) -> Kept | None:
        """Return what the same request with the same key was answered, or None.

        Another request with the same key is another question: it gets an answer of its own.
        """
        key = asked.idempotency_key
        return self._keys.get(f"{key}\n{asked.fingerprint}") if key else None

    def remember(self, asked: Asked, kept: Kept) -> None:
        """Remember an answer under the request's idempotency key, where it has one."""
        if asked.idempotency_key:
            self._keys.put(f"{asked.idempotency_key}\n{asked.fingerprint}", kept, kept.bytes)
