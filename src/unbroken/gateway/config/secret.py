"""A secret: a value that no text shows, wherever it is printed or logged."""

from __future__ import annotations

import hmac

__all__ = ["Secret", "Value"]


class Secret:
    """A key, password or the like. Its text is given by `reveal` alone.

    In the configuration file it is told by where it is, never by itself:
    ``{ env = "NAME" }`` or ``{ file = "/path" }``.

    Attributes:
        source: Where it came from, to be shown.
    """

    __slots__ = ("_text", "source")

    def __init__(self, text: str, *, source: str = "code") -> None:
        self._text = text
        self.source = source

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret(from {self.source})"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)


class Value(Secret):
    """A setting that is a secret for some: the file may hold it as a plain string too."""

    __slots__ = ()
