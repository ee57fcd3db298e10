"""A record as it is told to a reader: in one language, in the order in which it helps."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from unbroken.knowledge.record import (
    Measured,
    Mended,
    Record,
    Transition,
    TransitionGraph,
    VersionInfo,
)

__all__ = [
    "LANGUAGES",
    "Related",
    "Told",
    "ToldDeadEnd",
    "ToldWorkaround",
    "in_language",
    "labels",
    "told",
]

LANGUAGES = ("en", "zh")
_UNSAID = 0.5  # what a record has where it says no `fix_success_rate`


class _Labels(dict[str, str]):
    """Labels, of which a missing one is told by its name: it must not cost the whole answer."""

    def __missing__(self, name: str) -> str:
        return name.replace("_", " ")


@cache
def labels(lang: str) -> dict[str, str]:
    """Return the words around a record's own, in a language: ``cause``, ``do not`` ..."""
    raw = (Path(__file__).parent / "labels.json").read_bytes()
    known = msgspec.json.decode(raw, type=dict[str, dict[str, str]])
    return _Labels({**known["en"], **known[lang]})


class ToldDeadEnd(msgspec.Struct, frozen=True, kw_only=True):
    """What not to try. See `DeadEnd`; `action` can follow "do not", `why_fails` "because"."""

    action: str
    why_fails: str
    fail_rate: float
    condition: str = ""
    sources: list[str] = []
    trial: str = ""
    measured: Measured | None = None


class ToldWorkaround(msgspec.Struct, frozen=True, kw_only=True):
    """What to do. See `Workaround`; `how` is empty where it would only repeat `action`."""

    action: str
    success_rate: float
    how: str = ""
    condition: str = ""
    tradeoff: str = ""
    sources: list[str] = []
    trial: str = ""
    measured: Measured | None = None


class Related(msgspec.Struct, frozen=True, kw_only=True):
    """A neighbour: what comes after, before, or is easily taken for it."""

    id: str
    probability: float | None = None
    condition: str = ""
    distinction: str = ""
    typical_delay: str = ""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """All that a record says, in one language.

    Dead ends come with those first that fail most often; workarounds with those first that help
    most often, and of what was measured before what is only claimed. A rate that was measured
    (`measured`) counts for more than the claimed one beside it.
    """

    id: str
    lang: str
    signature: str
    cause: str
    dead_ends: list[ToldDeadEnd]
    workarounds: list[ToldWorkaround]
    tier: str
    confidence: float
    fix_success_rate: float
    resolvable: str
    evidence_count: int
    first_seen: str | None
    last_confirmed: str | None
    last_updated: str | None
    domain: str
    category: str
    subcategory: str | None
    root_cause_type: str
    error_code: str | None
    os_notes: dict[str, str]
    versions: list[VersionInfo]
    leads_to: list[Related]
    preceded_by: list[Related]
    confused_with: list[Related]
    doc_url: str | None
    doc_section: str | None
    scenario: str
    aliases: list[str]
    tags: list[str]
    sources: list[str]
    locale: str
    mended: Mended | None = None


def told(record: Record, lang: str = "en") -> Told:
    """Return a record as a reader of a language gets it; what was not translated stays as it is."""
    local = in_language(record, lang)
    return Told(
        id=record.id,
        lang=lang,
        signature=local.signature,
        cause=local.root_cause,
        dead_ends=[
            ToldDeadEnd(
                action=end.action,
                why_fails=end.why_fails,
                fail_rate=end.fail_rate,
                condition=end.condition,
                sources=end.sources,
                trial=end.trial,
                measured=end.measured,
            )
            for end in sorted(
                local.dead_ends,
                key=lambda end: -_rate(end.measured, end.fail_rate, _failed),
            )
        ],
        workarounds=[
            ToldWorkaround(
                action=way.action,
                success_rate=way.success_rate,
                how="" if way.how.strip() == way.action.strip() else way.how,
                condition=way.condition,
                tradeoff=way.tradeoff,
                sources=way.sources,
                trial=way.trial,
                measured=way.measured,
            )
            for way in sorted(
                local.workarounds,
                key=lambda way: (
                    way.measured is None,
                    -_rate(way.measured, way.success_rate, _worked),
                ),
            )
        ],
        tier=record.verification_tier,
        confidence=record.confidence,
        fix_success_rate=_helps(record),
        resolvable=record.resolvable,
        evidence_count=record.evidence_count,
        first_seen=record.first_seen,
        last_confirmed=record.last_confirmed,
        last_updated=record.last_updated,
        domain=record.domain,
        category=record.category,
        subcategory=record.subcategory,
        root_cause_type=record.root_cause_type,
        error_code=record.error_code,
        os_notes={name: advice.notes for name, advice in local.os_specific.items()},
        versions=record.versions,
        leads_to=_related(local.transition_graph.leads_to),
        preceded_by=_related(local.transition_graph.preceded_by),
        confused_with=_related(local.transition_graph.frequently_confused_with),
        doc_url=record.official_doc_url,
        doc_section=record.official_doc_section,
        scenario=record.scenario,
        aliases=record.aliases,
        tags=record.tags,
        sources=record.sources,
        locale=record.locale,
        mended=local.mended,
    )


def in_language(record: Record, lang: str) -> Record:
    """Return a record whose texts are in a language, as far as they were translated."""
    if lang == "en":
        return record
    ways_zh = record.workarounds_zh
    changes: dict[str, Any] = {
        "signature": record.signature_zh or record.signature,
        "root_cause": record.root_cause_zh or record.root_cause,
        "dead_ends": [
            msgspec.structs.replace(
                end,
                action=end.action_zh or end.action,
                why_fails=end.why_fails_zh or end.why_fails,
                condition=end.condition_zh or end.condition,
            )
            for end in record.dead_ends
        ],
        "workarounds": [
            msgspec.structs.replace(
                way,
                action=(ways_zh[number : number + 1] or [""])[0] or way.action,
                how=_code_only(way.action, way.how),
                condition=way.condition_zh or way.condition,
                tradeoff=way.tradeoff_zh or way.tradeoff,
            )
            for number, way in enumerate(record.workarounds)
        ],
        "transition_graph": TransitionGraph(
            leads_to=_edges_zh(record.transition_graph.leads_to),
            preceded_by=_edges_zh(record.transition_graph.preceded_by),
            frequently_confused_with=_edges_zh(record.transition_graph.frequently_confused_with),
        ),
        "os_specific": {
            name: msgspec.structs.replace(advice, notes=advice.notes_zh or advice.notes)
            for name, advice in record.os_specific.items()
        },
    }
    if record.mended is not None:
        mended = record.mended
        changes["mended"] = msgspec.structs.replace(mended, what=mended.what_zh or mended.what)
    return msgspec.structs.replace(record, **changes)


def _edges_zh(edges: list[Transition]) -> list[Transition]:
    return [
        msgspec.structs.replace(
            edge,
            condition=edge.condition_zh or edge.condition,
            distinction=edge.distinction_zh or edge.distinction,
            typical_delay=edge.typical_delay_zh or edge.typical_delay,
        )
        for edge in edges
    ]


def _code_only(action: str, how: str) -> str:
    """Return a `how` that says more than the action; a repetition would stay in English."""
    return "" if how.strip() == action.strip() else how


def _rate(measured: Measured | None, claimed: float, of: Callable[[Measured], float]) -> float:
    return of(measured) if measured is not None and measured.tries > 0 else claimed


def _helps(record: Record) -> float:
    """Return how often the workarounds help: as the record says, else as the best of them does.

    The form does not tell a half that was said from one that was left out; one that stands on none
    of the workarounds was left out.
    """
    said = record.fix_success_rate
    claimed = [way.success_rate for way in record.workarounds]
    if said != _UNSAID or not claimed or _UNSAID in claimed:
        return said
    return max(_rate(way.measured, way.success_rate, _worked) for way in record.workarounds)


def _worked(measured: Measured) -> float:
    return measured.worked / measured.tries


def _failed(measured: Measured) -> float:
    return 1 - measured.worked / measured.tries


def _related(edges: list[Transition]) -> list[Related]:
    made = [
        Related(
            id=edge.error_id,
            probability=edge.probability,
            condition=edge.condition,
            distinction=edge.distinction,
            typical_delay=edge.typical_delay,
        )
        for edge in edges
    ]
    return sorted(made, key=lambda one: -(one.probability or 0.0))
