"""Which records fit a query, the best first.

Evidence is added up in points. What a failure *is* (its fault kind, exception classes, HTTP status,
provider, phase) counts before what it is called: a structural match that names several of these
beats a pattern, and a pattern beats words that merely look alike. Words and patterns count by how
rare their words are among all records, so that ``Connection error.`` tells less than ``peer closed
connection without sending complete message body``. What is installed, the system, codes, confidence
and tier only decide between records that have evidence. Below a floor there is no match: a wrong
record is worse than none.

`scan` says how patterns are found fast, `similar` how words are weighed.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from unbroken.core.faults import FaultKind
from unbroken.knowledge.about import names_only, prose_of, share_of, sure_of
from unbroken.knowledge.chains import EVERYDAY, GENERAL, OUTER, WRAPPERS
from unbroken.knowledge.field import of_the_field
from unbroken.knowledge.installed import fitting
from unbroken.knowledge.prose import Prose, only_kinds
from unbroken.knowledge.query import Line, Query
from unbroken.knowledge.reasons import ORDER, Evidence, Match, Reason
from unbroken.knowledge.record import Record
from unbroken.knowledge.scan import Scanner
from unbroken.knowledge.similar import Similar

__all__ = ["FLOOR", "Match", "Matcher", "Reason"]

FLOOR = 17.0
"""Points that a record needs to be a match at all."""

_KIND_LIVE, _KIND_TOLD = 60.0, 45.0
_CLASS, _STATUS, _PROVIDER, _PHASE, _DETAIL = 28.0, 22.0, 10.0, 8.0, 16.0
_UNKNOWN = 3.0  # taken away for each list of a structure that the query says nothing of
_CONTRADICTED = 25.0
_PATTERN, _PATTERN_WORDS = 34.0, 14.0
_WORDS = 36.0
_PROSE, _HALF_PROSE = 46.0, 11.0  # the most points for it, and where half of them is reached
_PROSE_TOO = 0.35  # how much of it counts beside a pattern or words
_MOST_TOLD = 4000  # characters of a text that is read as prose: a log is not
_LOOKS_ALIKE = 0.4
_PART_OF_NAME = 0.5  # of a pattern that found the middle of a longer name
_NOT_TOLD = 0.7  # of prose, for a record that asks for a detail which was not told
_CODE = 6.0
_SPECIFIC = 5.0  # for the most specific exception of several
_BESIDE = 0.8  # of a pattern of what any program raises, beside one that is specific
_PLACE, _NO_PLACE = 14.0, 40.0  # in which part of a program it was
_LONE_STATUS = 8.0  # of a gateway's, where no pattern says more
_ANY_STATUS = 20.0  # of a text about models: for the record of error statuses in general
_VERSION, _SYSTEM, _TIER, _CONFIDENCE = 3.0, 1.0, 0.4, 2.0
_NAMED = 200.0  # the record's own id was given
_TIERS = {"ai_generated": 0, "community": 1, "sourced": 2, "reproduced": 3, "verified": 4}
_SYSTEM_NAME = "windows" if sys.platform == "win32" else sys.platform
_LEAST_STATUS = 400  # of a failure
_FEW_LINES = 12  # of a text that is about one failure, and not a log
# Say something as the class of an exception, but little as a word in a text.
_COMMON_TOLD = EVERYDAY | {"APIError", "ResponseError"}
_COMMON_SHARE, _GENERAL_SHARE = 0.35, 0.5


def _says(name: str, common: frozenset[str]) -> float:
    """Return how much the class of an exception tells by itself."""
    return _COMMON_SHARE if name in common else _GENERAL_SHARE if name in GENERAL else 1.0


@dataclass(slots=True)
class _Entry:
    record: Record
    details: tuple[str, ...]


class Matcher:
    """Ranks records for queries. Made once for a set of records; safe to share between threads.

    Args:
        records: The records.

    Attributes:
        problems: Patterns that are not used, and why.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self._entries: list[_Entry] = []
        self._ids_of = [record.id for record in records]
        self._ids = {record.id.lower(): at for at, record in enumerate(records)}
        self._by_kind: dict[str, list[int]] = defaultdict(list)
        self._by_class: dict[str, list[int]] = defaultdict(list)
        self._by_status: dict[int, list[int]] = defaultdict(list)
        self._by_code: dict[str, list[int]] = defaultdict(list)
        for at, record in enumerate(records):
            structure = record.structure
            details = tuple(word.lower() for word in structure.details)
            self._entries.append(_Entry(record, details))
            for kind in structure.fault_kinds:
                self._by_kind[kind].append(at)
            for name in structure.classes:
                self._by_class[name].append(at)
            for status in structure.statuses:
                self._by_status[status].append(at)
            if record.error_code:
                self._by_code[record.error_code.lower()].append(at)
        self._records = records
        self._similar = Similar(records)
        self._scanner = Scanner([record.regex for record in records])
        self.problems = [
            f"{records[at].id}: the pattern is not used: {why}"
            for at, why in self._scanner.problems
        ]

    # --- evidence --------------------------------------------------------------------------------

    def match(self, query: Query, *, limit: int | None = 3) -> tuple[list[Match], int]:
        """Return the records that fit, the best first, and how many fit in all.

        Args:
            query: What is asked.
            limit: How many at most; None for all.
        """
        evidence: dict[int, Evidence] = defaultdict(Evidence)
        shared = self._structural(query)
        for at in shared:
            self._judge_structure(at, query, evidence[at])
        for at, found in self._scanner.find(query.text, everywhere=bool(query.weights)):
            self._judge_pattern(found, query, evidence[at])
        if query.numbered and query.lines and query.lines[-1].number is None:
            for at, found in self._scanner.find(query.lines[-1].text):  # as one line
                self._judge_pattern(found, query, evidence[at])
        for at, likeness, words, line in self._similar.find(query.lines):
            self._judge_words(likeness, words, line, evidence[at])
        for at, (points, terms) in self._spoken_of(query).items():
            one = evidence[at]
            entry = self._entries[at]
            one.prose = points if query.live or self._detailed(entry, query) else points * _NOT_TOLD
            one.why.append(Reason(kind="about", value=", ".join(terms)))
        for at, one in evidence.items():
            if at not in shared:
                self._judge_rest(at, query, one)
        owned = any(
            self._detailed(self._entries[at], query)
            and query.statuses & set(self._records[at].structure.statuses)
            for at in evidence
            if not evidence[at].contradicted
        )
        for at in self._any_status(query):
            one = evidence[at]
            one.structure += _ANY_STATUS / 2 if owned else _ANY_STATUS
            one.why.append(Reason(kind="status", value=str(max(query.statuses))))
        if (
            not query.live
            and not any(one.pattern for one in evidence.values())
            and not sure_of(query)
        ):
            for at, one in evidence.items():
                if self._of_gateway(at, query):
                    one.structure += _LONE_STATUS
        self._judge_places(query, evidence)
        self._judge_specific(query, evidence)
        for id in query.ids & self._ids.keys():
            one = evidence[self._ids[id]]
            one.structure += _NAMED
            one.contradicted = False
            one.why.append(Reason(kind="id"))
        share = share_of(query)
        if not query.live and names_only(query, EVERYDAY) and not sure_of(query):
            for one in evidence.values():
                if not one.pattern:  # looks like what any program raises
                    one.words *= _LOOKS_ALIKE
        ranked: list[tuple[float, str, int]] = []
        for at, one in evidence.items():
            score = self._score(at, one, query) * (share if one.structure < _NAMED else 1.0)
            if score >= FLOOR:
                ranked.append((-self._decided(at, one, score, query), self._ids_of[at], at))
        ranked.sort()
        kept = ranked if limit is None else ranked[:limit]
        matches = [self._match(at, evidence[at], -score, query) for score, _, at in kept]
        return matches, len(ranked)

    @cached_property
    def _prose(self) -> Prose:
        return Prose(self._records)

    def _spoken_of(self, query: Query) -> dict[int, tuple[float, list[str]]]:
        """Return what a short text is about, where it is about models and their streams."""
        text = "" if query.kinds else prose_of(query)
        if not text or not (sure := of_the_field(text)):
            return {}
        return {
            at: (_PROSE * sure * worth / (sure * worth + _HALF_PROSE), terms)
            for at, (worth, terms) in self._prose.find(text).items()
        }

    def _structural(self, query: Query) -> set[int]:
        """Return the records that share anything with the query's structure."""
        found: set[int] = set()
        for kind in query.kinds:
            found.update(self._by_kind.get(kind, ()))
        for name in query.classes:
            found.update(self._by_class.get(name, ()))
        for status in query.statuses:
            found.update(self._by_status.get(status, ()))
        return found

    def _detailed(self, entry: _Entry, query: Query) -> bool:
        """Whether what a record asks to be told was told."""
        if not entry.details or any(word in query.details for word in entry.details):
            return True
        text = query.text[:_MOST_TOLD].replace("_", " ")
        return any(word.replace("_", " ") in text for word in entry.details)

    def _of_gateway(self, at: int, query: Query) -> bool:
        """Whether a record is of a told status that says by itself what happened."""
        asked = self._records[at].structure.statuses
        return any(status > 500 and status in query.statuses for status in asked)

    def _any_status(self, query: Query) -> set[int]:
        """Return the records that speak of any error status, where one was told."""
        if query.kinds or not any(status >= _LEAST_STATUS for status in query.statuses):
            return set()
        if not (query.live or sure_of(query)):
            return set()
        general = self._by_kind.get(FaultKind.HTTP_ERROR.value, ())
        return {at for at in general if only_kinds(self._records[at])}

    def _judge_structure(self, at: int, query: Query, one: Evidence) -> None:
        entry = self._entries[at]
        asked = entry.record.structure
        if asked.fault_kinds:
            kind = next((kind for kind in query.kinds if kind in asked.fault_kinds), None)
            if kind is not None:
                one.structure += _KIND_LIVE if query.live else _KIND_TOLD
                one.why.append(Reason(kind="fault", value=kind))
            elif query.kinds:
                one.contradicted = True
            else:
                one.structure -= _UNKNOWN
        if asked.classes:
            common = EVERYDAY if query.live else _COMMON_TOLD
            share, name = max(
                (
                    (query.classes[name] * _says(name, common), name)
                    for name in asked.classes
                    if name in query.classes
                ),
                default=(0.0, ""),
            )
            if name:
                one.structure += _CLASS * share
                one.why.append(Reason(kind="class", value=name))
            elif query.live and query.classes and not query.kinds:
                one.contradicted = True
            else:
                one.structure -= _UNKNOWN
        if asked.statuses:
            status = next((code for code in asked.statuses if code in query.statuses), None)
            if status is not None:
                telling = status == 429 or status >= 500
                points = _STATUS if query.live else _STATUS * 0.6
                if not telling:  # many things are a 400: then the words must say which
                    points /= 2 if self._detailed(entry, query) else 8
                one.structure += points
                one.why.append(Reason(kind="status", value=str(status)))
            elif query.statuses:
                one.contradicted = True
            else:
                one.structure -= _UNKNOWN
        if asked.providers:
            provider = next((p for p in asked.providers if p in query.providers), None)
            if provider is not None:
                one.structure += _PROVIDER if query.sure_provider else _PROVIDER / 2
                one.why.append(Reason(kind="provider", value=provider))
            elif query.sure_provider or query.not_providers.issuperset(asked.providers):
                one.contradicted = True
            else:
                one.structure -= _UNKNOWN
        if asked.phases:
            phase = next((phase for phase in asked.phases if phase in query.phases), None)
            if phase is not None:
                one.structure += _PHASE
                one.why.append(Reason(kind="phase", value=phase))
            elif query.phases:
                one.contradicted = True
            else:
                one.structure -= _UNKNOWN
        if entry.details:
            detail = next((word for word in entry.details if word in query.details), None)
            if detail is not None:
                one.structure += _DETAIL
                one.why.append(Reason(kind="detail", value=detail))
            else:
                one.structure -= 2 * _UNKNOWN if query.details else _UNKNOWN

    def _judge_pattern(self, found: re.Match[str], query: Query, one: Evidence) -> None:
        weight, place = 1.0, None
        if found.string is query.text:
            place = found.start()
            if query.weights:
                weight = query.weights[query.text.count("\n", 0, place)]
        start = found.start()
        if start and found.string[start - 1 : start + 1].isalpha():
            weight *= _PART_OF_NAME
        points = weight * (_PATTERN + min(_PATTERN_WORDS, self._similar.rarity(found.group())))
        if points > one.pattern:
            if not one.pattern:
                one.why.append(Reason(kind="pattern"))
            one.pattern = points
            one.place = place if place is not None else one.place

    def _judge_words(
        self, likeness: float, words: Sequence[str], line: Line, one: Evidence
    ) -> None:
        one.words = _WORDS * likeness
        one.why.append(Reason(kind="words", value=", ".join(words)))
        one.line = line.number

    def _judge_rest(self, at: int, query: Query, one: Evidence) -> None:
        """See whether what was only found by words can be it at all."""
        asked = self._entries[at].record.structure
        told = [status for status in query.statuses if status >= _LEAST_STATUS]
        if asked.statuses and told and (query.live or len(query.lines) <= _FEW_LINES):
            one.contradicted = not set(told) & set(asked.statuses)
        provider = next((name for name in asked.providers if name in query.providers), None)
        if provider is not None:
            if self._detailed(self._entries[at], query):
                one.structure += _PROVIDER
                one.why.append(Reason(kind="provider", value=provider))
        elif asked.providers and (
            (query.sure_provider and not query.providers & set(asked.providers))
            or query.not_providers.issuperset(asked.providers)
        ):
            one.contradicted = True

    def _judge_specific(self, query: Query, evidence: dict[int, Evidence]) -> None:
        """Where an exception was named that only one thing raises, that is what happened."""
        named = (
            name
            for name, weight in query.classes.items()
            if weight > OUTER and name in self._by_class and name not in WRAPPERS | GENERAL
        )
        if (first := next(named, None)) is None:
            return
        for at in self._by_class[first]:
            evidence[at].structure += _SPECIFIC
        for one in evidence.values():
            if any(reason.kind == "class" and reason.value in GENERAL for reason in one.why):
                one.pattern *= _BESIDE

    def _judge_places(self, query: Query, evidence: dict[int, Evidence]) -> None:
        """See in which part of a program it was: there, failures are of some kinds only."""
        for kinds, others in query.places:
            for at, one in evidence.items():
                asked = self._entries[at].record.structure.fault_kinds
                if any(kind in kinds for kind in asked):
                    one.structure += _PLACE
                elif any(kind in others for kind in asked):
                    one.structure -= _NO_PLACE

    def _score(self, at: int, one: Evidence, query: Query) -> float:
        """Return the points of the evidence alone: what must reach the floor."""
        told = one.pattern + one.words
        told = max(told, one.prose) + _PROSE_TOO * min(told, one.prose)
        named = any(reason.kind == "fault" for reason in one.why)
        if query.live and query.kinds and (one.contradicted or not named):
            told /= 2  # the fault is known: what does not speak of it is at best beside it
        return told - _CONTRADICTED if one.contradicted else one.structure + told

    def _decided(self, at: int, one: Evidence, score: float, query: Query) -> float:
        """Return the points with all that only decides between records that fit."""
        record = self._entries[at].record
        code = (record.error_code or "").lower()
        if code and code in query.codes:
            score += _CODE
            one.why.append(Reason(kind="code", value=record.error_code or ""))
        fits = fitting(tuple(version.version for version in record.versions))
        tells = _VERSION if one.prose < score else _VERSION / 3
        if fits:
            score += tells
            one.why.append(Reason(kind="installed", value=fits))
        elif fits is not None:
            score -= tells
        if _SYSTEM_NAME in record.os_specific:
            score += _SYSTEM
            one.why.append(Reason(kind="system", value=_SYSTEM_NAME))
        return score + _CONFIDENCE * record.confidence + _TIER * _TIERS[record.verification_tier]

    def _match(self, at: int, one: Evidence, score: float, query: Query) -> Match:
        line = one.line
        if query.numbered and one.place is not None:
            line = query.text.count("\n", 0, one.place) + 1
        return Match(
            record=self._entries[at].record,
            score=round(score, 2),
            why=sorted(one.why, key=lambda reason: ORDER[reason.kind]),
            line=line,
        )
