"""What may be known of a failure: the facts that records are matched by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Line", "Query"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line that is looked at word by word.

    Attributes:
        text: In lower case.
        number: Its number in the text, from 1; None where it is no line of a text.
        weight: How much it counts, up to 1.
    """

    text: str
    number: int | None = None
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is known of a failure.

    Attributes:
        text: What patterns are searched in, in lower case, lines ended by LF.
        weights: How much each line of `text` counts; empty: all alike.
        numbered: Whether the lines of `text` have numbers that somebody could look up.
        lines: The lines that are looked at word by word.
        ids: Records that it names itself: our exceptions' notes do.
        classes: Exception classes by their bare names, each with how much it says (0 to 1).
        statuses: HTTP statuses.
        codes: Other codes in lower case: ``econnreset``, ``overloaded_error``.
        kinds: Fault kinds, the one that counts first.
        providers: Who may have answered.
        sure_provider: Whether nobody else can have.
        not_providers: Who cannot have.
        phases: Where in the answer.
        details: Details of faults, in lower case.
        places: In which parts of a program it was: of which fault kinds a failure is there, and of
            which it is not.
        frames: What a traceback's frames say of the program: ``elsewhere`` if they name a part that
            has nothing to do with models, else ``""``.
        live: Whether this comes from a failure itself and not from words about one.
    """

    text: str = ""
    weights: tuple[float, ...] = ()
    numbered: bool = False
    lines: tuple[Line, ...] = ()
    ids: frozenset[str] = frozenset()
    classes: Mapping[str, float] = field(default_factory=dict)
    statuses: frozenset[int] = frozenset()
    codes: frozenset[str] = frozenset()
    kinds: tuple[str, ...] = ()
    providers: frozenset[str] = frozenset()
    sure_provider: bool = False
    not_providers: frozenset[str] = frozenset()
    phases: frozenset[str] = frozenset()
    details: str = ""
    places: tuple[tuple[frozenset[str], frozenset[str]], ...] = ()
    frames: str = ""
    live: bool = False
