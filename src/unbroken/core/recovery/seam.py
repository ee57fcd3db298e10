"""The seam: is what a later attempt writes the continuation of what was delivered?

A matcher is fed the later attempt's text as it comes. It gives back only text that is new,
and nothing at all until the seam is proven. Time is linear, memory is what is undecided.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["AnchorMatch", "Matcher", "NoMatch", "ReplayMatch"]


class Matcher(Protocol):
    """Decides whether text continues what was delivered."""

    diverged: bool
    """The text is not a continuation; nothing more is given back."""
    matched: bool
    """The seam is proven; all further text is new."""

    def feed(self, text: str) -> str:
        """Take the next piece; return what of it is proven and new."""
        ...

    def finish(self) -> str:
        """The attempt finished its text; return what is new, or set `diverged`."""
        ...


class NoMatch:
    """No text was delivered: all of it is new."""

    diverged = False
    matched = True

    def feed(self, text: str) -> str:
        return text

    def finish(self) -> str:
        return ""


class _Expected:
    """One way the text may begin. What follows it is the rest."""

    def __init__(self, expected: str) -> None:
        self._expected = expected
        self._at = 0
        self.possible = True
        self.rest: list[str] = []

    @property
    def done(self) -> bool:
        return self.possible and self._at == len(self._expected)

    def feed(self, text: str) -> None:
        if not self.possible:
            return
        size = min(len(text), len(self._expected) - self._at)
        if not self._expected.startswith(text[:size], self._at):
            self.possible = False
            self.rest.clear()
            return
        self._at += size
        if size < len(text):
            self.rest.append(text[size:])


class ReplayMatch:
    """The same request again: its text must begin with all that was delivered."""

    def __init__(self, delivered: str) -> None:
        self._expected = _Expected(delivered)
        self.diverged = False
        self.matched = not delivered

    def feed(self, text: str) -> str:
        if self.matched:
            return text
        if self.diverged:
            return ""
        self._expected.feed(text)
        self.diverged = not self._expected.possible
        self.matched = self._expected.done
        return "".join(self._expected.rest) if self.matched else ""

    def finish(self) -> str:
        self.diverged = not self.matched
        return ""


class AnchorMatch:
    """The answer goes on from a begun turn: it must first write the anchor again.

    Two beginnings are accepted: the anchor (the model continues), and all of the text that
    was sent, then the anchor (the engine echoes the begun turn, or the model repeats it). Both
    are compared to the letter, but for white space in front of the whole, which was
    delivered already and may have been taken off for the provider's sake. Where the first is
    met but the second is still possible, the second is waited for.
    """

    def __init__(self, *, sent: str, anchor: str) -> None:
        self._direct = _Expected(anchor.lstrip())
        self._echo = _Expected((sent + anchor).lstrip())
        if not sent.strip():
            self._echo.possible = False  # the same as the direct way
        self._begun = False
        self.diverged = False
        self.matched = False

    def feed(self, text: str) -> str:
        if self.matched:
            return text
        if self.diverged:
            return ""
        if not self._begun:
            text = text.lstrip()
            if not text:
                return ""
            self._begun = True
        self._direct.feed(text)
        self._echo.feed(text)
        if self._echo.done:
            return self._take(self._echo)
        if self._direct.done and not self._echo.possible:
            return self._take(self._direct)
        self.diverged = not (self._direct.possible or self._echo.possible)
        return ""

    def finish(self) -> str:
        if self.matched or self.diverged:
            return ""
        if self._direct.done:
            return self._take(self._direct)
        self.diverged = True
        return ""

    def _take(self, way: _Expected) -> str:
        self.matched = True
        return "".join(way.rest)
