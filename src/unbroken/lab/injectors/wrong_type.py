"""A healthy stream under a wrong name."""

from __future__ import annotations

from typing import ClassVar

from unbroken.lab.injectors.base import AtStart
from unbroken.lab.parts import Head

__all__ = ["WrongType"]

_TYPES = {
    "plain": "text/plain",
    "json": "application/json",
    "html": "text/html",
    "binary": "application/octet-stream",
    "none": "",
}


class WrongType(AtStart):
    """Says another content type, or none. The body is whole, and what it always was."""

    name = "wrong-type"
    summary = "the content type is wrong, or missing; the body is healthy"
    hows: ClassVar[tuple[str, ...]] = tuple(_TYPES)

    @classmethod
    def hows_in(cls, dialect: str) -> tuple[str, ...]:
        """Leave out what is right."""
        known = super().hows_in(dialect)
        return known if dialect != "gemini-array" else tuple(h for h in known if h != "json")

    def head(self, head: Head) -> Head:
        """Say it."""
        if kind := _TYPES[self.how]:
            head.headers["content-type"] = kind
        else:
            head.headers.pop("content-type", None)
        return head
