"""What speaks for a record, and a record that fits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import msgspec

from unbroken.knowledge.record import Record

__all__ = ["ORDER", "Evidence", "Match", "Reason"]

ReasonKind = Literal[
    "id", "fault", "class", "status", "provider", "phase", "detail", "pattern", "words", "about",
    "code", "installed", "system",
]  # fmt: skip

ORDER = {name: place for place, name in enumerate(get_args(ReasonKind))}


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that speaks for a record."""

    kind: ReasonKind
    value: str = ""

    def __str__(self) -> str:
        name = "fault kind" if self.kind == "fault" else self.kind
        between = ": " if self.kind in ("words", "about") else " "
        return f"{name}{between}{self.value}".rstrip()


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """A record that fits.

    Attributes:
        record: The record.
        score: Points; more is better. Compare them within one query only.
        why: What speaks for it, the strongest kind first.
        line: The line of the text that its pattern or words were found in, from 1, or None.
    """

    record: Record
    score: float
    why: list[Reason]
    line: int | None = None


@dataclass(slots=True)
class Evidence:
    """Points for one record while it is judged."""

    structure: float = 0.0
    pattern: float = 0.0
    words: float = 0.0
    prose: float = 0.0
    contradicted: bool = False
    place: int | None = None  # in the text, of what the pattern found
    line: int | None = None
    why: list[Reason] = field(default_factory=list)
