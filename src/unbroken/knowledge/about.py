"""What a query is about, read as prose: if it can be, and whether it is of this field."""

from __future__ import annotations

import re

from unbroken.knowledge.chains import EVERYDAY, GENERAL
from unbroken.knowledge.facts import Query
from unbroken.knowledge.field import of_elsewhere, of_the_field

__all__ = ["names_only", "prose_of", "share_of", "sure_of"]

_MOST_READ = 16_000  # characters of a text with its tracebacks
_MOST_TOLD = 4000  # of what is read as prose: a log is not
_OF_ELSEWHERE = 0.15  # what is left of all points for a text about something else
_WELL = re.compile(  # one line of a log, of a request that was served
    r"\A[^\n]*\b(?:info|debug|trace)\b"
    r"(?![\s\S]*(?:error|fail|warn|timeout|timed out|exception|abort|cancel|reset|stall))"
)


def names_only(query: Query, names: frozenset[str]) -> bool:
    """Whether a text names exceptions, and only such as any program raises."""
    named = [name for name in query.classes if name.endswith(("Error", "Exception"))]
    return bool(named) and names.issuperset(named)


def prose_of(query: Query) -> str:
    """Return a short text as prose; of a long one, which is a log, nothing."""
    if not query.lines or len(query.text) > _MOST_READ or _WELL.search(query.text):
        return ""
    joined = query.lines[-1]
    if query.numbered and joined.number is None:
        text = joined.text
    elif sum(len(line.text) for line in query.lines) <= _MOST_TOLD:
        text = "\n".join(line.text for line in query.lines)
    else:
        return ""
    return text if len(text) <= _MOST_TOLD else ""


def sure_of(query: Query) -> float:
    """Return how sure a short text is about models and their streams."""
    text = prose_of(query)
    return of_the_field(text) if text else 0.0


def share_of(query: Query) -> float:
    """Return what is left of all points: little for a short text that is about something else."""
    if query.live or query.kinds or not (text := prose_of(query)):
        return 1.0
    if of_elsewhere(text):
        return _OF_ELSEWHERE
    if query.frames == "elsewhere" and names_only(query, EVERYDAY | GENERAL):
        return _OF_ELSEWHERE
    return 1.0
