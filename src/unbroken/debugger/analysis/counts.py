"""A row of values in four numbers."""

from __future__ import annotations

from unbroken.debugger.series import Numbers

__all__ = ["Least"]


class Least:
    """Count, sum, least and most of a row of values."""

    __slots__ = ("count", "least", "most", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = self.least = self.most = 0.0

    def add(self, value: float) -> None:
        """Take in a value."""
        self.least = value if not self.count else min(self.least, value)
        self.most = max(self.most, value)
        self.count += 1
        self.total += value

    def numbers(self) -> Numbers:
        """Return them as a report has them."""
        if not self.count:
            return Numbers()
        average = self.total / self.count
        return Numbers(count=self.count, average=average, least=self.least, most=self.most)
