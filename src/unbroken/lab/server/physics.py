"""When each part of an answer is due: by the clock, so that slow sends do not add up.

A model goes on writing while a network is slow. So a piece is due a while after the piece before
it *was due*, not after it was sent, and a sender that fell behind catches up. Silences are not
like that: they are faults, and must be as long as they say for whoever listens. They begin when
the part before them was sent.
"""

from __future__ import annotations

from unbroken.lab.parts import Pause, Piece

__all__ = ["Pacer"]


class Pacer:
    """Gives each part of one answer its time. Reads no clock: every question brings `now`.

    Attributes:
        due: When the part before was due, in seconds of the caller's clock.
    """

    __slots__ = ("due",)

    def __init__(self, now: float) -> None:
        self.due = now

    def due_of(self, part: Piece | Pause, now: float) -> float | None:
        """Return when to send a piece, or when a pause is over; None for a pause without end.

        Args:
            part: The next part; each is asked for once, in order.
            now: The time at which all parts before it were sent.
        """
        if isinstance(part, Piece):
            self.due += part.pace_s
        elif part.seconds is None:
            return None
        elif part.drip:
            self.due += part.seconds
        else:
            self.due = max(self.due, now) + part.seconds
        return self.due
