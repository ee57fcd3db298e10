r"""Order, by the dialect's own numbers, and by nothing else.

Payloads are never compared: identical consecutive events are real ("\n", "\n"). Only where
the provider counts its frames (Responses ``sequence_number``) can a repeated, swapped or lost
one be told; elsewhere it leaves no trace for anyone.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from unbroken.core.faults import Fault, FaultKind

__all__ = ["Ordering"]

T = TypeVar("T")


class Ordering(Generic[T]):
    """Put numbered items in order, drop repeated ones, and say what stayed absent.

    The first number seen is where counting begins: a resumed stream does not start at 0.

    Args:
        window: Most items held while an earlier one is awaited.
    """

    def __init__(self, *, window: int = 64) -> None:
        self._window = window
        self._next: int | None = None
        self._held: dict[int, T] = {}
        self._told = False  # that the held ones came too early
        self.faults: list[Fault] = []

    def fork(self) -> Ordering[T]:
        """Return an independent copy."""
        copy: Ordering[T] = Ordering(window=self._window)
        copy._next = self._next
        copy._held, copy._told = dict(self._held), self._told
        copy.faults = list(self.faults)
        return copy

    @property
    def waiting(self) -> bool:
        """Whether items are held."""
        return bool(self._held)

    def in_turn(self, number: int) -> bool:
        """Whether nothing is awaited before this number, and it is no repetition."""
        return self._next is None or number == self._next

    def accept(self, number: int, item: T, *, frame: int, at_byte: int) -> list[T]:
        """Take one numbered item; return those that are now in turn."""
        if self._next is None or number == self._next:
            waited_for = self._next
            self._next = number + 1
            if not self._held:
                return [item]
            if not self._told:
                # Told now, not when it was missed: then it might still have been lost.
                self._told = True
                self.faults.append(
                    Fault.of(
                        FaultKind.OUT_OF_ORDER,
                        f"number {waited_for} came after {len(self._held)} later ones; put right",
                        frame=frame,
                        at_byte=at_byte,
                    )
                )
            return [item, *self._in_turn()]
        if number < self._next or number in self._held:
            self.faults.append(
                Fault.of(
                    FaultKind.DUPLICATE_EVENT,
                    f"number {number} came again where {self._next} was expected; dropped",
                    frame=frame,
                    at_byte=at_byte,
                )
            )
            return []
        self._held[number] = item
        if len(self._held) > self._window:
            return self.flush(at_byte=at_byte)
        return []

    def _in_turn(self) -> list[T]:
        ready: list[T] = []
        while self._next in self._held:
            ready.append(self._held.pop(self._next))
            self._next += 1
        self._told = self._told and bool(self._held)
        return ready

    def flush(self, *, at_byte: int) -> list[T]:
        """Give up waiting: return what is held, in order, with a fault for what is missing."""
        if not self._held:
            return []
        numbers = sorted(self._held)
        first = self._next if self._next is not None else numbers[0]
        absent = numbers[-1] - first + 1 - len(numbers)
        self.faults.append(
            Fault.of(
                FaultKind.MISSING_EVENT,
                f"{absent} numbered events are absent between {first} and {numbers[-1]}",
                at_byte=at_byte,
            )
        )
        items = [self._held[number] for number in numbers]
        self._held.clear()
        self._told = False
        self._next = numbers[-1] + 1
        return items
