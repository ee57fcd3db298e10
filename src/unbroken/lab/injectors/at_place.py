"""Faults that strike at a place of the answer: once (`AtPlace`), or on frames (`OnFrames`)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

from unbroken.lab.framing import is_array, number_of, renumbered
from unbroken.lab.injectors.base import Injector, Place, Scene, Spec, put
from unbroken.lab.parts import Part, Piece, Role

__all__ = ["AtPlace", "OnFrames", "divided"]

_NEXT = b"\n,\r\n"
"""What Google writes between two elements of an array."""


class _Placed(Injector):
    """Knows its place, and keeps what a fault there may need: a delta, the next number."""

    takes: ClassVar[frozenset[str]] = frozenset({"place"})

    def __init__(self, spec: Spec, scene: Scene) -> None:
        super().__init__(spec, scene)
        place = self._resolved(spec.place or self.place)
        self.unit, self.amount = place.unit, int(place.amount)
        # A content frame to make others from: the last that passed, or else the first to come.
        self.like = next((piece.data for piece in scene.content()), b"")
        self.next_number = 0  # of the next frame, where the dialect counts
        self._shift = 0  # how many frames of our own were counted
        self._begun = False  # a frame went out
        self._opened = False  # an array's first element was ours
        self._half: int | None = None  # the frame that was given out in two pieces

    def _resolved(self, place: Place) -> Place:
        """Return the place in bytes, frames or tokens."""
        healthy, content = self.scene.healthy, self.scene.content()
        if place.unit == "random":
            tokens = len(content) - 1 if content else 40
            place = Place(unit="tokens", amount=self.scene.random.randint(1, max(tokens, 1)))
        elif place.unit == "share":
            if healthy is None:
                self.refuse("a share of an answer that is not known yet; give @30t")
            place = Place(unit="tokens", amount=int(len(content) * place.amount))
        if healthy is not None:
            most = {
                "bytes": sum(len(piece.data) for piece in healthy),
                "frames": sum(piece.event for piece in healthy),
                "tokens": len(content),
            }[place.unit]
            if place.amount > most:
                what = "deltas" if place.unit == "tokens" else place.unit
                self.refuse(f"the answer has only {most:,} {what}")
        return place

    def behind(self) -> list[Piece]:
        """Return the healthy pieces that begin at the place or behind it."""
        seen, found = 0, []
        for piece in self.scene.healthy or ():
            if self.unit == "bytes":
                seen = piece.at_byte
            if seen >= self.amount:
                found.append(piece)
            seen += self._counts(piece)
        return found

    def _counts(self, piece: Piece) -> int:
        if self.unit == "tokens":
            return int(piece.role == "content")
        return int(piece.event)

    def passed(self, piece: Piece) -> Piece:
        """Take note of a healthy piece that goes on, and return it numbered behind our own."""
        data = piece.data
        if self._opened and piece.frame == 0:
            self._opened = False
            data = _NEXT + data.lstrip(b" \r\n[")
        self._begun = True
        number = number_of(self.scene.dialect, data)
        if number is not None:
            if self._shift:
                data = renumbered(self.scene.dialect, data, number + self._shift)
            self.next_number = number + self._shift + 1
        if piece.role == "content" and piece.frame != self._half:
            self.like = data
        return piece if data is piece.data else replace(piece, data=data)

    def insert(self, data: bytes, role: Role = "other", *, event: bool = True) -> Piece:
        """Return a frame of our own in this place; later frames are counted behind it."""
        if event and is_array(self.scene.dialect):
            bare = data.lstrip(b" \r\n,[")
            if not self._begun:
                self._begun = self._opened = True
                data = b"[" + bare
            elif data.startswith(b"["):  # made from the first element
                data = _NEXT + bare
        if number_of(self.scene.dialect, data) is not None:
            data = renumbered(self.scene.dialect, data, self.next_number)
            self.next_number += 1
            self._shift += 1
        return put(data, role, event=event)


class AtPlace(_Placed):
    """A fault that strikes at one place, and lets pass what is before and behind it.

    A place in bytes may be inside a frame; then the frame is given out in two pieces.
    A place behind the answer's end is an error where the answer is known; else the fault
    never strikes.

    Attributes:
        between_frames: A place inside a frame means the end of that frame.
    """

    between_frames: bool = False

    def __init__(self, spec: Spec, scene: Scene) -> None:
        super().__init__(spec, scene)
        self._left = self.amount
        self._done = False

    def feed(self, part: Part) -> Iterable[Part]:
        """Strike, if this is the place."""
        if not isinstance(part, Piece) or part.frame is None:
            yield part  # what was put in by another fault does not count
            return
        if self._done:
            yield from self.after(part)
            return
        before: Piece | None = part
        after: Piece | None = None
        if self.unit == "bytes":
            if len(part.data) < self._left:
                self._left -= len(part.data)
                yield self.passed(part)
                return
            if not self.between_frames:
                before, after = divided(part, self._left)
                self._half = part.frame if after is not None else None
        else:
            counts = self._counts(part)
            if self._left == 0 and (counts or self.unit == "frames"):
                before, after = None, part  # before the first of all
            else:
                self._left -= counts
                if self._left > 0 or not counts:
                    yield self.passed(part)
                    return
        self._done = True
        if before is not None:
            yield self.passed(before)
        yield from self.strike(after)

    def close(self) -> Iterable[Part]:
        """Strike at the end of an answer that turned out shorter than it was healthy."""
        if not self._done and self.scene.healthy is not None:
            self._done = True
            yield from self.strike(None)

    @abstractmethod
    def strike(self, rest: Piece | None) -> Iterable[Part]:
        """Return what comes at the place; ``rest`` is what is left of a frame, or the next one.

        What follows passes unchanged, so most faults give ``rest`` back at their end, as
        `rest_of`.
        """

    def after(self, piece: Piece) -> Iterable[Part]:
        """Return what takes the place of a healthy piece behind the fault."""
        yield self.passed(piece)

    def rest_of(self, rest: Piece | None) -> Iterable[Part]:
        """Return the rest of the frame at the place, if there is one."""
        if rest is not None:
            yield self.passed(rest)


class OnFrames(_Placed):
    """A fault of the first content frames behind a place: one, or `count` of them."""

    takes: ClassVar[frozenset[str]] = frozenset({"place", "count"})
    wanted: ClassVar[str] = "content frame"

    def __init__(self, spec: Spec, scene: Scene) -> None:
        super().__init__(spec, scene)
        if scene.healthy is not None and not any(map(self.suits, self.behind())):
            self.refuse(f"there is no {self.wanted} behind that place")
        self._seen = 0
        self._left = self.times

    def suits(self, piece: Piece) -> bool:
        """Whether the fault can be done to a frame."""
        return piece.role == "content"

    def feed(self, part: Part) -> Iterable[Part]:
        """Strike, if this is one of the frames."""
        if not isinstance(part, Piece) or part.frame is None:
            yield part
            return
        if self.unit == "bytes":
            self._seen = part.at_byte
        here = self._seen >= self.amount and self._left > 0 and self.suits(part)
        self._seen += self._counts(part)
        part = self.passed(part)
        if here:
            self._left -= 1
            yield from self.strike_frame(part)
        else:
            yield from self.pass_frame(part)

    @abstractmethod
    def strike_frame(self, piece: Piece) -> Iterable[Part]:
        """Return what takes the place of one of the frames."""

    def pass_frame(self, piece: Piece) -> Iterable[Part]:
        """Return what takes the place of any other frame."""
        yield piece


def divided(piece: Piece, at: int) -> tuple[Piece | None, Piece | None]:
    """Return a piece in two.

    A frame has come when its last byte has: so the rear piece keeps role and event, and the
    front has neither.
    """
    if at <= 0:
        return None, piece
    if at >= len(piece.data):
        return piece, None
    front = Piece(piece.data[:at], "other", piece.frame, piece.at_byte, piece.pace_s, event=False)
    rear = Piece(
        piece.data[at:], piece.role, piece.frame, piece.at_byte + at, 0.0, event=piece.event
    )
    return front, rear
