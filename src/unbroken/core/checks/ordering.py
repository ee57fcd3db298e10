r"""Order, by the numbers that a stream carries, and by nothing else.

Payloads are never compared: identical consecutive events are real ("\n", "\n"). Only where
somebody counts (Responses ``sequence_number``, a relay of the user's own) can a repeated,
swapped or lost item be told; elsewhere it leaves no trace for anyone.

A number that is absent is awaited until one of three: too much is held, the time is over, the
input ends. Then it is given up, that gap alone, and whoever asked decides what a gap means.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from unbroken.core.faults import Fault, FaultKind

__all__ = ["Gap", "Ordering"]

T = TypeVar("T")

_MOST_FAULTS = 256
"""Faults kept: every item of a stream may be a repetition."""


class Gap(msgspec.Struct, frozen=True):
    """Numbers that were given up, in the place where their items belong.

    Attributes:
        first: The number that was expected.
        got: The next one that is there.
        at_byte: Where it was given up.
    """

    first: int
    got: int
    at_byte: int | None = None

    @property
    def size(self) -> int:
        """How many numbers are absent."""
        return self.got - self.first

    @property
    def detail(self) -> str:
        """What is said of it in faults and errors."""
        absent = "1 number is" if self.size == 1 else f"{self.size} numbers are"
        return f"expected number {self.first} but got {self.got}: {absent} absent"


class _Held(msgspec.Struct, Generic[T]):
    item: T
    since: float
    size: int


class Ordering(Generic[T]):
    """Put numbered items in order, drop repeated ones, and give up what stays absent.

    Reads no clock: every input brings `now`.

    Args:
        window: Most items held while an earlier one is awaited.
        wait_s: Longest time that one is awaited, in seconds; None sets no limit.
        max_size: Most that the held items may measure together; None sets no limit.
        start: The first number. None: the first one seen, since a stream that is resumed
            does not start at 0.
    """

    def __init__(
        self,
        *,
        window: int = 64,
        wait_s: float | None = None,
        max_size: int | None = None,
        start: int | None = None,
    ) -> None:
        self._window = window
        self._wait_s = wait_s
        self._max_size = max_size
        self._next = start
        self._held: dict[int, _Held[T]] = {}  # in order of arrival
        self._size = 0
        self._told = False  # that the held ones came too early
        self.faults: list[Fault] = []

    def fork(self) -> Ordering[T]:
        """Return an independent copy."""
        copy: Ordering[T] = Ordering(
            window=self._window, wait_s=self._wait_s, max_size=self._max_size, start=self._next
        )
        copy._held, copy._size, copy._told = dict(self._held), self._size, self._told
        copy.faults = list(self.faults)
        return copy

    def go_on_after(self, number: int) -> None:
        """The numbers go on after this one; what was held comes again."""
        self._next = number + 1
        self._forget()

    def restart(self, start: int | None = None) -> None:
        """Another numbering begins; what is held of the last one is forgotten."""
        self._next = start
        self._forget()

    def _forget(self) -> None:
        self._held.clear()
        self._size, self._told = 0, False

    @property
    def waiting(self) -> bool:
        """Whether items are held."""
        return bool(self._held)

    @property
    def held(self) -> list[T]:
        """The held items, in order of their numbers."""
        return [self._held[number].item for number in sorted(self._held)]

    def in_turn(self, number: int) -> bool:
        """Whether nothing is awaited before this number, and it is no repetition."""
        return self._next is None or number == self._next

    def step(self, number: int) -> bool:
        """Count a number that is in turn while nothing waits, or return False."""
        if self._held or not self.in_turn(number):
            return False
        self._next = number + 1
        return True

    def holds(self, number: int) -> bool:
        """Whether this number has come, and waits for earlier ones."""
        return number in self._held

    def take_faults(self) -> list[Fault]:
        """Return the faults since the last call."""
        faults, self.faults = self.faults, []
        return faults

    # Inputs -------------------------------------------------------------------------------

    def accept(
        self,
        number: int,
        item: T,
        *,
        now: float = 0.0,
        size: int = 0,
        frame: int | None = None,
        at_byte: int | None = None,
    ) -> list[T | Gap]:
        """Take one numbered item; return what is now in turn, gaps among it.

        Args:
            number: Its number.
            item: The item.
            now: The time.
            size: What it measures; see ``max_size``.
            frame: Where it was, for the faults.
            at_byte: The same.
        """
        if self._next is None or number == self._next:
            waited_for = self._next
            self._next = number + 1
            ready: list[T | Gap] = [item]
            if not self._held:
                return ready
            if not self._told:
                # Told now, not when it was missed: then it might still have been lost.
                self._told = True
                later = "1 later one" if len(self._held) == 1 else f"{len(self._held)} later ones"
                detail = f"number {waited_for} came after {later}; put right"
                self._fault(FaultKind.OUT_OF_ORDER, detail, frame, at_byte)
            self._in_turn(ready)
            return ready
        if number < self._next or number in self._held:
            detail = f"number {number} came again where {self._next} was expected; dropped"
            self._fault(FaultKind.DUPLICATE_EVENT, detail, frame, at_byte)
            return []
        self._held[number] = _Held(item, now, size)
        self._size += size
        ready = []
        while self._too_much:
            self._give_up(ready, at_byte)
        return ready

    @property
    def _too_much(self) -> bool:
        over = self._max_size is not None and self._size > self._max_size
        return bool(self._held) and (over or len(self._held) > self._window)

    def next_timer(self) -> float | None:
        """Return when the awaited number is given up, or None if none is."""
        if self._wait_s is None or not self._held:
            return None
        return next(iter(self._held.values())).since + self._wait_s

    def handle_timer(self, now: float, *, at_byte: int | None = None) -> list[T | Gap]:
        """Give up what has been awaited for too long; return what is now in turn."""
        ready: list[T | Gap] = []
        while (due := self.next_timer()) is not None and now >= due:
            self._give_up(ready, at_byte)
        return ready

    def flush(self, *, at_byte: int | None = None) -> list[T | Gap]:
        """The input ended: return all that is held, in order, with the gaps in it."""
        ready: list[T | Gap] = []
        while self._held:
            self._give_up(ready, at_byte)
        return ready

    # Their work ---------------------------------------------------------------------------

    def _give_up(self, ready: list[T | Gap], at_byte: int | None) -> None:
        """Give up the first gap alone: another may have only begun to wait."""
        got = min(self._held)
        if self._next is not None:
            ready.append(Gap(self._next, got, at_byte))
        self._next = got
        self._in_turn(ready)

    def _in_turn(self, ready: list[T | Gap]) -> None:
        while self._next is not None and (held := self._held.pop(self._next, None)) is not None:
            ready.append(held.item)
            self._size -= held.size
            self._next += 1
        self._told = self._told and bool(self._held)

    def _fault(self, kind: FaultKind, detail: str, frame: int | None, at_byte: int | None) -> None:
        if len(self.faults) < _MOST_FAULTS:
            self.faults.append(Fault.of(kind, detail, frame=frame, at_byte=at_byte))
