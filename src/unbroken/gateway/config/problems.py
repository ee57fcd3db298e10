"""What is wrong with a configuration: where, what was found, and what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

__all__ = ["ConfigError", "Problem", "did_you_mean", "shown"]

_LIKE_A_KEY = re.compile(r"(?=[^\s]*\d)[\w+/=-]{20,}|://[^/\s]*@")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong, or worth a second look.

    Attributes:
        key: The path of the setting, as ``routes[2].upstream``; empty for the whole.
        text: What was found.
        remedy: What to do.
        severity: An ``error`` keeps the gateway from starting; a ``warning`` does not.
        source: The file, environment variable or flag it comes from, where that is known.
        line: The line in the file, from 1, where that is known.
    """

    key: str
    text: str
    remedy: str
    severity: Literal["error", "warning"] = "error"
    source: str = ""
    line: int | None = None

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}" if self.line is not None else self.source
        parts = ("warning" if self.severity == "warning" else "", place, self.key, self.text)
        return f"{': '.join(filter(None, parts))}; {self.remedy}"

    def at(self, source: str, line: int | None) -> Problem:
        """Return the same problem with its place."""
        return replace(self, source=source, line=line)


class ConfigError(ValueError):
    """A configuration that cannot be used. Its text has a line for each problem.

    Attributes:
        problems: All that was found, warnings too.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        errors = [str(each) for each in self.problems if each.severity == "error"]
        super().__init__("\n".join(errors))


def did_you_mean(name: str, known: Iterable[str], *, otherwise: str = "known are") -> str:
    """Return a remedy for a name that is not known: the likeliest one, or all."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"{otherwise} {', '.join(names)}" if names else "there are none to choose from"


def shown(value: Any) -> str:
    """Return a value as an error text may show it: short, and nothing that looks like a key."""
    match value:
        case dict():
            return "a table"
        case list() | tuple():
            return "a list"
        case bool():
            return str(value).lower()
        case str() if _LIKE_A_KEY.search(value):
            return "a string that may be a secret"
        case str():
            return repr(value[:60])
        case int() | float():
            return repr(value)
        case _:
            return f"a {type(value).__name__}"
