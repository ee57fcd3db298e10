"""The front of the knowledge base: explain a failure, or find records for a fault.

`explain` takes its time (milliseconds) and may raise on what is no question at all. `explain_fault`
and `records_for` are for code beside a live stream: an index by fault kind, microseconds, and never
an exception.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any

import msgspec

from unbroken.core.faults import Fault, FaultKind
from unbroken.core.outcome import Outcome
from unbroken.knowledge.faults import provider_of
from unbroken.knowledge.load import Base, base
from unbroken.knowledge.match import Match
from unbroken.knowledge.query import phase_of, query_of
from unbroken.knowledge.record import Record
from unbroken.knowledge.told import Told, in_language, told

__all__ = ["Explanation", "explain", "explain_fault", "records_for"]

_log = logging.getLogger("unbroken")
_said: set[str] = set()


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What the knowledge base says of a failure.

    Attributes:
        matches: The records that fit, the best first; empty where none does.
        others: How many more fitted, beyond the limit.
        lang: The language that `best` and `to_dict` speak.
    """

    matches: list[Match]
    others: int = 0
    lang: str = "en"

    def __bool__(self) -> bool:
        return bool(self.matches)

    @property
    def record(self) -> Record | None:
        """The best record, or None."""
        return self.matches[0].record if self.matches else None

    @property
    def best(self) -> Told | None:
        """The best record as it is told to a reader, in the language asked for, or None."""
        return told(self.matches[0].record, self.lang) if self.matches else None

    def to_dict(self) -> dict[str, Any]:
        """Return the object that ``unbroken explain --json`` prints."""
        return {
            "lang": self.lang,
            "matches": [
                {
                    "id": match.record.id,
                    "score": match.score,
                    "why": [str(reason) for reason in match.why],
                    "line": match.line,
                    "record": msgspec.to_builtins(told(match.record, self.lang)),
                }
                for match in self.matches
            ],
            "others": self.others,
        }


def explain(
    what: str | BaseException | Fault | FaultKind | Outcome,
    *,
    limit: int | None = 3,
    lang: str = "en",
    provider: str = "",
    phase: str = "",
    records: Base | None = None,
) -> Explanation:
    """Say what is known of a failure: its cause, what not to try, and what to do.

    Args:
        what: An exception (its causes, its outcome and what an SDK hung on it are looked at too),
            a text (a message, a traceback or a whole log), a fault or an outcome.
        limit: How many records at most; None for all that fit.
        lang: ``en`` or ``zh``: what `Explanation.best` and `to_dict` speak.
        provider: Who answered, where you know: ``openai``, ``anthropic`` ...
        phase: Where in the answer, where you know: ``waiting``, ``text``, ``tool`` ...
        records: Other records than those that are installed.

    Returns:
        The records that fit, the best first; none rather than a wrong one.

    Raises:
        TypeError: For anything else than these.
        ValueError: For another language, or a limit below 1.
    """
    if lang not in ("en", "zh"):
        msg = f"lang must be en or zh, not {lang}"
        raise ValueError(msg)
    if limit is not None and limit < 1:
        msg = f"limit must be at least 1, not {limit}"
        raise ValueError(msg)
    query = query_of(what, provider=provider, phase=phase)
    known = base() if records is None else records
    found, count = known.matcher.match(query, limit=limit)
    return Explanation(matches=found, others=count - len(found), lang=lang)


def explain_fault(
    fault: Fault, *, provider: str = "", phase: str = "", lang: str = "en"
) -> Record | None:
    """Return the record for a live fault, or None. Fast, and never raises.

    Args:
        fault: What happened.
        provider: Whose stream it was (a dialect's name will do), or ``""``.
        phase: Where in the answer; by default what the fault's detail says.
        lang: ``zh`` returns the record with its texts in Chinese.
    """
    found = _records_for(fault, provider, phase)
    if not found:
        return None
    return found[0] if lang == "en" else _in_language(found[0].id, lang) or found[0]


def records_for(fault: Fault, *, provider: str = "", limit: int = 3) -> list[str]:
    """Return the ids of the records for a fault, the best first. Fast, and never raises."""
    return [record.id for record in _records_for(fault, provider, "")[:limit]]


def _records_for(fault: Fault, provider: str, phase: str) -> list[Record]:
    try:
        return base().fault_index.find(
            fault,
            provider=provider_of(provider) or provider,
            phase=phase or phase_of(fault.detail),
        )
    except Exception as error:  # noqa: BLE001 - who only explains must not end a stream
        name = type(error).__name__
        if name not in _said:
            _said.add(name)
            _log.warning("the knowledge base raised %s; the stream goes on", name, exc_info=error)
        return []


@lru_cache(maxsize=256)
def _in_language(id: str, lang: str) -> Record | None:
    record = base().get(id)
    return None if record is None else in_language(record, lang)
