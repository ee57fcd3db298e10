"""The seam: is what a later attempt writes the continuation of what was delivered?

A matcher is fed the later attempt's text as it comes. It gives back only text that is new,
and nothing at all until the seam is proven. Time is linear, memory is what is undecided.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from unbroken.core.pieces import ends_in_half, mended
from unbroken.core.spill import SpillLostError

__all__ = ["AnchorMatch", "Matcher", "NoMatch", "ReplayMatch", "StopGuard"]


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


class StopGuard:
    """A matcher that also refuses a text in which a stop sequence spans the seam.

    The provider ends an answer at a stop sequence, but it knows only what the later attempt
    wrote. One that began in delivered text and that the attempt goes on with should have
    ended the answer, so nothing beyond it may be delivered. New text waits while it may yet
    complete one: fewer characters than the longest sequence has.

    Args:
        inner: The matcher of the seam.
        delivered: The end of what was delivered, as long as the longest sequence.
        stop: The request's stop sequences.
    """

    def __init__(self, inner: Matcher, *, delivered: str, stop: tuple[str, ...]) -> None:
        self._inner = inner
        self._open = [
            _Expected(sequence[size:])
            for sequence in stop
            for size in range(1, len(sequence))
            if delivered.endswith(sequence[:size])
        ]
        self._held: list[str] = []
        self.diverged = False
        self.matched = False

    def feed(self, text: str) -> str:
        return self._look(self._inner.feed(text))

    def finish(self) -> str:
        new = self._look(self._inner.finish())
        if self.diverged:
            return ""
        self.matched = self._inner.matched
        held, self._held = "".join(self._held), []
        return new + held

    def _look(self, new: str) -> str:
        if self.diverged or self._inner.diverged:
            self.diverged = True
            return ""
        if new and self._open:
            self._held.append(new)
            for each in self._open:
                each.feed(new)
            if any(each.done for each in self._open):
                self.diverged = True
                return ""
            self._open = [each for each in self._open if each.possible]
            new = ""
        if not self._open and self._held:
            new, self._held = "".join(self._held), []
        self.matched = self._inner.matched and not self._held
        return new


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
    """The same request again: its text must begin with all that was delivered.

    Args:
        delivered: The text, whole or in pieces: one too long for memory is compared piece by
            piece. Surrogate pairs may be cut otherwise this time.
    """

    def __init__(self, delivered: str | Iterator[str]) -> None:
        self._pieces = iter((delivered,)) if isinstance(delivered, str) else delivered
        self._piece = ""
        self._at = 0
        self._half = ""  # of a pair, whose other half has not come
        self.diverged = False
        self.matched = not self._more()

    def _more(self) -> bool:
        """Whether there is more to be compared with."""
        try:
            while self._at == len(self._piece):
                self._piece, self._at = next(self._pieces), 0
        except StopIteration:
            return False
        except SpillLostError:
            self.diverged = True
        return True

    def feed(self, text: str) -> str:
        if self.matched:
            return text
        text = self._half + text
        self._half = text[-1:] if ends_in_half(text) else ""
        text = mended(text)
        while text and not self.diverged:
            size = min(len(text), len(self._piece) - self._at)
            if not self._piece.startswith(text[:size], self._at):
                self.diverged = True
                break
            self._at += size
            text = text[size:]
            if not self._more():
                self.matched = True
                return text + self._half
        return ""

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
        self._half = ""  # of a pair, whose other half has not come
        self.diverged = False
        self.matched = False

    def feed(self, text: str) -> str:
        if self.matched:
            return text
        if self.diverged:
            return ""
        text = self._half + text
        self._half = text[-1:] if ends_in_half(text) else ""
        text = mended(text)
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
        return "".join(way.rest) + self._half
