"""The faults of one attempt, in one list that all its checks add to."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy

from unbroken.core.faults import Fault, FaultKind

__all__ = ["MOST_FAULTS", "Findings"]

MOST_FAULTS = 256
"""Faults kept of one attempt, but for what ends it: a body may have one in every frame."""


class Findings:
    """Collect what was found in one attempt, and say whether reading ends with it.

    Attributes:
        faults: In the order of the stream.
        fatal: The first fatal one.
        lenient: Read on after a fatal fault.
        rejected: Nothing more is read, leniently or not.

    Args:
        lenient: See the attribute.
    """

    def __init__(self, *, lenient: bool = False) -> None:
        self.faults: list[Fault] = []
        self.fatal: Fault | None = None
        self.lenient = lenient
        self.rejected = False

    def fork(self) -> Findings:
        """Return an independent copy."""
        twin = copy(self)
        twin.faults = list(self.faults)
        return twin

    @property
    def stopped(self) -> bool:
        """Whether nothing more will be read."""
        return self.fatal is not None and (not self.lenient or self.rejected)

    def add(self, fault: Fault) -> None:
        """Keep a fault, behind those that are there."""
        self._put(len(self.faults), fault)

    def add_all(self, faults: Iterable[Fault]) -> None:
        """Keep faults, in this order."""
        for fault in faults:
            self.add(fault)

    def add_in_order(self, faults: Iterable[Fault], *, since: int) -> None:
        """Keep the wire's faults of one read, each at its place in the order of the bytes.

        Args:
            faults: What the decoder found in the read; it takes a read as a whole.
            since: How many faults there were before the read.
        """
        stop = self.fatal.at_byte if self.fatal is not None and self.stopped else None
        for fault in faults:
            at = fault.at_byte or 0
            if stop is not None and at > stop:
                continue  # behind the frame at which reading stopped
            if fault.kind is FaultKind.INVALID_UTF8 and any(_same(f, fault) for f in self.faults):
                continue  # judged anew already
            place = len(self.faults)
            while place > since and (self.faults[place - 1].at_byte or 0) > at:
                place -= 1
            self._put(place, fault)

    def judge_anew(self, fault: Fault) -> None:
        """Keep what a check says of undecodable bytes, in the place of the wire's warning.

        The warning comes behind it; only that of a frame that waited for its turn came before.
        """
        self.faults[:] = [known for known in self.faults if not _same(known, fault)]
        self.add(fault)

    def reject(self, fault: Fault) -> None:
        """Keep a fault that ends a lenient reading too."""
        self.rejected = True
        self.add(fault)

    def forget(self) -> None:
        """The body goes on over another connection: what was found is told already."""
        self.faults.clear()
        self.fatal = None

    def _put(self, place: int, fault: Fault) -> None:
        if not fault.fatal and len(self.faults) >= MOST_FAULTS:
            return
        self.faults.insert(place, fault)
        if fault.fatal and self.fatal is None:
            self.fatal = fault


def _same(one: Fault, other: Fault) -> bool:
    return one.kind is other.kind and one.at_byte == other.at_byte
