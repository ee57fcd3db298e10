"""The throughput floor: text that still comes, but slower than anybody would wait for.

Pings keep a connection's clocks quiet, and one word a second keeps the progress clock quiet.
So where the user sets a floor, the characters of the last seconds are counted, in slots: memory
does not grow with the stream, and a slot that is partly in the window counts whole, for the
attempt. Time in which no text was to be written, or nobody read, is left out.
"""

from __future__ import annotations

from collections import deque

__all__ = ["Floor"]

_SLOTS = 32


class Floor:
    """Count the characters of a sliding window. Reads no clock: every input brings `now`.

    Args:
        chars_per_s: Least characters a second.
        window_s: Over how many seconds.
    """

    def __init__(self, *, chars_per_s: float, window_s: float) -> None:
        self.chars_per_s = chars_per_s
        self.window_s = window_s
        self._least = chars_per_s * window_s
        self._slot_s = window_s / _SLOTS
        self._slots: deque[tuple[int, int]] = deque()  # (number of the slot, characters)
        self._sum = 0
        self._since: float | None = None  # None: no text is being written

    def wrote(self, characters: int, now: float) -> None:
        """Text came. The first begins the window."""
        if self._since is None:
            self._since = now
        slot = int((now - self._since) / self._slot_s)
        slots = self._slots
        if slots and slots[-1][0] == slot:
            slots[-1] = (slot, slots[-1][1] + characters)
        else:
            slots.append((slot, characters))
            while slots[0][0] < slot - _SLOTS:
                self._sum -= slots.popleft()[1]
        self._sum += characters

    def pause(self) -> None:
        """What is written now is no text: the window begins anew after it."""
        self._since, self._sum = None, 0
        self._slots.clear()

    def shift(self, seconds: float) -> None:
        """So much time does not count."""
        if self._since is not None:
            self._since += seconds

    def due(self) -> float | None:
        """Return when the floor is broken if nothing more comes, or None if no text is due."""
        if self._since is None:
            return None
        left, at = self._sum, self._since + self.window_s
        for slot, characters in self._slots:
            if left < self._least:
                break
            left -= characters
            at = max(at, self._since + (slot + 1) * self._slot_s + self.window_s)
        return at

    def handle_timer(self, now: float) -> int | None:
        """Return the characters of the last window if they are too few, or None."""
        due = self.due()
        if due is None or now < due or self._since is None:
            return None
        first = int((now - self._since) / self._slot_s) - _SLOTS
        return sum(characters for slot, characters in self._slots if slot >= first)
