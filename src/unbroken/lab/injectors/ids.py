"""Ids and models that change in mid-stream, as behind a gateway with several upstreams."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

from unbroken.lab.framing import compact, record_of, with_payload
from unbroken.lab.injectors.at_place import AtPlace
from unbroken.lab.parts import Part, Piece

__all__ = ["Ids"]

# Where a frame in mid-answer says its id and its model; other dialects say them only once.
_KEYS: dict[str, dict[str, str]] = {
    "openai-chat": {"id": "id", "model": "model"},
    "openai-completions": {"id": "id", "model": "model"},
    "openai-responses": {"id": "item_id"},
    "gemini": {"id": "responseId", "model": "modelVersion"},
    "gemini-array": {"id": "responseId", "model": "modelVersion"},
    "ollama": {"model": "model"},
}


class Ids(AtPlace):
    """Says another id, or another model, from a place on. The answer is whole."""

    name = "ids"
    summary = "the answer's id, or its model, is another one from a place on"
    hows: ClassVar[tuple[str, ...]] = ("id", "model")
    dialects = frozenset(_KEYS)
    _struck = False

    @classmethod
    def hows_in(cls, dialect: str) -> tuple[str, ...]:
        """Leave out what frames do not say."""
        return tuple(how for how in cls.hows if how in _KEYS.get(dialect, {}))

    between_frames = True

    def strike(self, rest: Piece | None) -> Iterable[Part]:
        """Begin with the next frame."""
        if rest is not None:
            yield from self.after(rest)

    def after(self, piece: Piece) -> Iterable[Part]:
        """Change what the frame says of itself."""
        dialect = self.scene.dialect
        value = record_of(dialect, piece.data)
        key = _KEYS[dialect][self.how]
        if isinstance(value.get(key), str) and value[key]:
            value[key] += "-other"
            if not self._struck:
                self._struck = True
                self.struck()
            piece = replace(piece, data=with_payload(dialect, piece.data, compact(value)))
        yield self.passed(piece)
