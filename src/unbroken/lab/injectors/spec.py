"""A fault as it was asked for: `Spec` and `Place`, and the error of one that cannot be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["FaultError", "Place", "Spec", "Unit"]

Unit = Literal["bytes", "frames", "tokens", "share", "random"]


class FaultError(ValueError):
    """A fault that cannot be: an unknown name, a bad value, a place beyond the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in an answer: after so many bytes, frames or content frames, or a share of it."""

    unit: Unit
    amount: float = 0.0

    def __str__(self) -> str:
        """Return it as it is written in a plan."""
        match self.unit:
            case "random":
                return "rand"
            case "share":
                said = f"{self.amount:g}"  # without a point it would mean bytes
                hundredths = f"{self.amount * 100:.6f}".rstrip("0").rstrip(".")
                return said if "." in said and "e" not in said else f"{hundredths}%"
            case _:
                return f"{int(self.amount)}{self.unit[0]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One fault as it was asked for.

    Attributes:
        name: The injector's name.
        how: Its variant, such as ``rst`` of ``cut``; ``""`` takes the first.
        place: Where; None takes the injector's own.
        seconds: How long, in seconds; None takes the injector's own.
        count: How many; None takes the injector's own.
    """

    name: str
    how: str = ""
    place: Place | None = None
    seconds: float | None = None
    count: int | None = None

    def __str__(self) -> str:
        """Return it as it is written in a plan."""
        parts = [f"{self.name}.{self.how}" if self.how else self.name]
        parts += [str(self.place)] if self.place is not None else []
        parts += [f"{self.seconds:g}s"] if self.seconds is not None else []
        parts += [f"x{self.count}"] if self.count is not None else []
        return "@".join(parts)
