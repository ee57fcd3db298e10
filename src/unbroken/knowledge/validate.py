"""``unbroken knowledge check``: what is wrong with records, in which file, and what to do about it.

Strict, since a record that cannot be found, or that says nothing where it is asked, is worse than
none: it takes the place of a good one.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from unbroken.core.faults import FaultKind
from unbroken.knowledge.forms import pruned, troubles_of
from unbroken.knowledge.load import DATA, Base, KnowledgeError, record_files, records_in
from unbroken.knowledge.match import Matcher
from unbroken.knowledge.patterns import compiled, needs, trouble
from unbroken.knowledge.query import query_of
from unbroken.knowledge.record import Record
from unbroken.knowledge.schema import DATE, ID

__all__ = ["Problem", "check_files", "check_record", "check_together"]

_CATEGORIES = frozenset(
    (
        "network_error", "protocol_error", "runtime_error", "provider_error", "proxy_error",
        "configuration_error",
    )
)  # fmt: skip
_CAUSES = frozenset(("generic", "client", "middlebox", "provider", "model"))
_SYSTEMS = frozenset(("linux", "darwin", "windows"))
_PHASES = frozenset(("connecting", "waiting", "thinking", "text", "tool", "ending"))
_KINDS = frozenset(kind.value for kind in FaultKind)
_HAN = re.compile("[\u3400-\u9fff]")
_QUOTED = re.compile(r"errno|winerror", re.IGNORECASE)  # a system's own words need no translation


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a record.

    Attributes:
        file: Where, or ``""`` where no file is known.
        id: The record, or ``""`` where it could not be read.
        what: What is wrong; names the field.
        remedy: What to do.
        advice: Whether the record is good all the same.
    """

    file: str
    id: str
    what: str
    remedy: str
    advice: bool = False

    def __str__(self) -> str:
        where = ": ".join(part for part in (self.file, self.id) if part)
        return f"{where}: {self.what}; {self.remedy}"


def check_files(
    places: Iterable[str | os.PathLike[str]], *, beside: Base | None = None
) -> tuple[list[Problem], int]:
    """Look at all records of files and folders.

    Args:
        places: Files, and folders with all ``*.json`` below them.
        beside: Records that edges may lead to as well.

    Returns:
        What is wrong, and how many records were read.

    Raises:
        KnowledgeError: If a place is not there at all.
    """
    problems: list[Problem] = []
    read: list[tuple[str, Record]] = []
    for place in places:
        for path in record_files(place):
            found, records = _read(path)
            problems += found
            read += [(str(path), record) for record in records]
            if path.is_relative_to(DATA) and len(records) == 1:
                problems += _check_name(path, records[0])
    for file, record in read:
        problems += check_record(record, file=file, own=Path(file).is_relative_to(DATA))
    problems += check_together(read, beside=beside)
    return problems, len(read)


def _read(path: Path) -> tuple[list[Problem], list[Record]]:
    name = str(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        return [Problem(file=name, id="", what=what, remedy="see who may read it")], []
    twice: list[str] = []
    try:
        parsed = json.loads(
            raw.removeprefix(b"\xef\xbb\xbf"), object_pairs_hook=lambda pairs: _dict(pairs, twice)
        )
    except (ValueError, RecursionError) as error:
        remedy = "mend the JSON at that place"
        return [Problem(file=name, id="", what=f"no JSON: {error}", remedy=remedy)], []
    problems = [
        Problem(
            file=name,
            id="",
            what=f"the field {field} is there twice in one object",
            remedy="remove one: only one can count",
        )
        for field in twice
    ]
    try:
        records = records_in(raw, name)
        return problems, [] if twice else records
    except KnowledgeError as error:
        what = str(error).removeprefix(f"{name}: ")
        id = parsed.get("id", "") if isinstance(parsed, dict) else ""
        remedy = "its form is shown by: unbroken knowledge schema"
        if isinstance(parsed, dict) and isinstance(parsed.get("error"), dict):
            remedy = f"it is a record of deadends.dev: unbroken knowledge import {name}"
        else:
            every = parsed if isinstance(parsed, list) else [parsed]
            problems += [trouble for one in every for trouble in _check_form(one, name, remedy)]
            if problems:
                return problems, []
        return [Problem(file=name, id=str(id), what=what, remedy=remedy)], []


def _dict(pairs: list[tuple[str, Any]], twice: list[str]) -> dict[str, Any]:
    made = dict(pairs)
    names = [name for name, _ in pairs]
    twice += [name for name in made if len(made) < len(names) and names.count(name) > 1]
    return made


def _check_form(parsed: Any, name: str, remedy: str) -> Iterator[Problem]:
    """Yield all that is wrong with the form of what is to be a record, and with the rest of it."""
    id = str(parsed.get("id", "")) if isinstance(parsed, dict) else ""
    for what in troubles_of(parsed, Record):
        yield Problem(file=name, id=id, what=what, remedy=remedy)
    if not isinstance(parsed, dict):
        return
    hints = get_type_hints(Record)
    kept = pruned(parsed, Record)
    bad = [field for field in kept if any(troubles_of(kept[field], hints[field]))]
    try:
        record = msgspec.convert({k: v for k, v in kept.items() if k not in bad}, Record)
    except msgspec.ValidationError:  # without one of those that it must have
        return
    about = [field.replace("_", " ") for field in bad]
    for problem in check_record(record, file=name, own=False):
        if not any(words in problem.what.replace("_", " ") for words in about):
            yield problem


def _check_name(path: Path, record: Record) -> Iterator[Problem]:
    wanted = f"{path.parent.relative_to(DATA).as_posix()}/{path.stem}"
    if record.id != wanted:
        yield Problem(
            file=str(path), id=record.id, what=f"the file's name says {wanted}",
            remedy="name the file as the id: data/AREA/SLUG.json",
        )  # fmt: skip


def check_record(record: Record, *, file: str = "", own: bool = True) -> list[Problem]:
    """Return what is wrong with a record by itself.

    Args:
        record: It.
        file: Where it stands.
        own: It is one of the package's. Elsewhere it is good enough without Chinese, dead ends
            and sources: that is advice then.
    """
    needed = [
        *_check_texts(record),
        *_check_pattern(record),
        *_check_numbers(record),
        *_check_words(record),
        *_check_ends(record),
    ]
    polish = [*_check_chinese(record), *_check_evidence(record)]
    polish = [(what, remedy, advice or not own) for what, remedy, advice in polish]
    return [
        Problem(file=file, id=record.id, what=what, remedy=remedy, advice=advice)
        for what, remedy, advice in [*needed, *polish]
    ]


_Found = Iterator[tuple[str, str, bool]]


def _check_texts(record: Record) -> _Found:
    if not re.match(ID, record.id):
        yield f"the id {record.id!r} is not area/words-with-hyphens", "rename it", False
    for name in ("signature", "root_cause"):
        if not getattr(record, name).strip():
            yield f"{name} is empty", "say it", False
    if record.official_doc_url and not record.official_doc_url.startswith(("https://", "http://")):
        yield "official_doc_url is no address", "begin it with https://", False


def _check_evidence(record: Record) -> _Found:
    if not record.dead_ends:
        yield "it has no dead ends", "name what people try in vain", False
    if not record.sources and record.verification_tier not in ("ai_generated", "community"):
        tier = record.verification_tier
        yield f"it is {tier}, but names no sources", "name them, or lower verification_tier", False


def _check_pattern(record: Record) -> _Found:
    if not record.regex:
        if not record.aliases and not any(msgspec.structs.astuple(record.structure)):
            yield (
                "it has no regex, no aliases and no structure",
                "give it one: it is never found",
                False,
            )
        return
    try:
        pattern = compiled(record.regex)
        why = trouble(record.regex)
        ways = needs(record.regex)
    except (re.error, OverflowError, RecursionError) as error:
        yield f"regex is no pattern: {error}", "mend it; backslashes are doubled in JSON", False
        return
    if why is not None:
        yield f"regex can take very long: {why}", "write .{0,80} in place of .*", False
        return
    if not all(way.words for way in ways):
        remedy = "give every alternative a word of at least 4 letters in a row"
        yield "regex has an alternative without a literal word", remedy, False
    if pattern.search(""):
        yield "regex finds the empty text", "make it say something", False
        return
    for text in (record.signature, *record.aliases):
        if not any(pattern.search(line) for line in text.lower().split("\n")):
            yield f"regex does not find {_short(text)}", "widen it, or drop that alias", False


def _check_numbers(record: Record) -> _Found:
    rates: list[tuple[str, float | None]] = [
        ("confidence", record.confidence),
        ("fix_success_rate", record.fix_success_rate),
        *((f"dead_ends[{n}].fail_rate", e.fail_rate) for n, e in enumerate(record.dead_ends)),
        *(
            (f"workarounds[{n}].success_rate", w.success_rate)
            for n, w in enumerate(record.workarounds)
        ),
    ]
    for name, edges in _edges(record):
        rates += [(f"{name}[{n}].probability", e.probability) for n, e in enumerate(edges)]
    for name, rate in rates:
        if rate is not None and not 0 <= rate <= 1:
            yield f"{name} is {rate}", "rates are between 0 and 1", False
    if record.evidence_count < 0:
        yield f"evidence_count is {record.evidence_count}", "count from 0", False
    tried = [(f"dead_ends[{n}]", end.measured) for n, end in enumerate(record.dead_ends)]
    tried += [(f"workarounds[{n}]", way.measured) for n, way in enumerate(record.workarounds)]
    for name, measured in tried:
        if measured is None:
            continue
        if not 0 <= measured.worked <= measured.tries or not measured.tries:
            what = f"{name}.measured says {measured.worked} of {measured.tries}"
            yield what, "let make knowledge measure it", False
        yield from _check_date(f"{name}.measured.date", measured.date)
    dates = {
        name: getattr(record, name) for name in ("first_seen", "last_confirmed", "last_updated")
    }
    for name, date in dates.items():
        if date is not None:
            yield from _check_date(name, date)
    first, last = dates["first_seen"], dates["last_confirmed"]
    if first and last and first > last:
        yield f"it was first seen {first}, after it was last confirmed ({last})", "mend one", False
    if record.mended is not None:
        yield from _check_date("mended.on", record.mended.on)


def _check_date(name: str, date: str) -> _Found:
    try:
        good = re.match(DATE, date) is not None and dt.date.fromisoformat(date) is not None
    except ValueError:
        good = False
    if not good:
        yield f"{name} is {date!r}", "write it as YYYY-MM-DD", False


def _check_words(record: Record) -> _Found:
    structure = record.structure
    for name, given, known in (
        ("structure.fault_kinds", structure.fault_kinds, _KINDS),
        ("structure.phases", structure.phases, _PHASES),
        ("os_specific", list(record.os_specific), _SYSTEMS),
        ("category", [record.category] if record.domain == "llm" else [], _CATEGORIES),
        ("root_cause_type", [record.root_cause_type], _CAUSES),
    ):
        for word in given:
            if word not in known:
                yield f"{name} has {word!r}", f"take one of {', '.join(sorted(known))}", False
    for status in structure.statuses:
        if not 100 <= status <= 599:
            yield f"structure.statuses has {status}", "take HTTP statuses", False
    for name in structure.classes:
        if not name.isidentifier():
            yield f"structure.classes has {name!r}", "write the class's bare name", False
    for system, advice in record.os_specific.items():
        if not advice.notes:
            yield f"os_specific.{system} says nothing", "say what is different, or drop it", False


def _check_ends(record: Record) -> _Found:
    if not record.workarounds and record.resolvable != "false":
        yield "it has no workarounds", 'name one, or say "resolvable": "false"', False
    for number, end in enumerate(record.dead_ends):
        for name in ("action", "why_fails"):
            if not getattr(end, name).strip():
                remedy = 'say it, so that it can follow "do not"' if name == "action" else "say it"
                yield f"dead_ends[{number}].{name} is empty", remedy, False
        if end.action.strip().endswith(".") or (
            end.action[:1].isupper() and end.action[1:2].islower()
        ):
            what = f'dead_ends[{number}].action cannot follow "do not": {_short(end.action)}'
            yield what, "begin it in lower case, and end it without a full stop", True
    for number, way in enumerate(record.workarounds):
        if not way.action.strip():
            yield f"workarounds[{number}].action is empty", "say it", False


def _check_chinese(record: Record) -> _Found:
    ways = record.workarounds_zh
    if len(ways) != len(record.workarounds):
        what = f"workarounds_zh has {len(ways)} entries, workarounds {len(record.workarounds)}"
        yield what, "translate each, in the same order", False
    texts: list[tuple[str, str]] = [
        ("signature_zh", record.signature_zh),
        ("root_cause_zh", record.root_cause_zh),
        *((f"workarounds_zh[{n}]", text) for n, text in enumerate(ways)),
        *((f"dead_ends[{n}].action_zh", end.action_zh) for n, end in enumerate(record.dead_ends)),
        *((f"dead_ends[{n}].why_fails_zh", e.why_fails_zh) for n, e in enumerate(record.dead_ends)),
        *(
            (f"os_specific.{name}.notes_zh", advice.notes_zh)
            for name, advice in record.os_specific.items()
        ),
    ]
    for name, text in texts:
        if not text.strip():
            yield f"{name} is missing", "translate it", False
        elif not _HAN.search(text) and not (name.startswith("os_") and _QUOTED.search(text)):
            yield f"{name} is not in Chinese: {_short(text)}", "translate it", False
    for name, english, chinese in _asides(record):
        if english and not _HAN.search(chinese):
            yield f"{name}_zh is missing", "translate it: --lang zh shows the English", True


def _asides(record: Record) -> Iterator[tuple[str, str, str]]:
    for n, end in enumerate(record.dead_ends):
        yield f"dead_ends[{n}].condition", end.condition, end.condition_zh
    for n, way in enumerate(record.workarounds):
        yield f"workarounds[{n}].condition", way.condition, way.condition_zh
        yield f"workarounds[{n}].tradeoff", way.tradeoff, way.tradeoff_zh
    for name, edges in _edges(record):
        for n, edge in enumerate(edges):
            yield f"{name}[{n}].condition", edge.condition, edge.condition_zh
            yield f"{name}[{n}].distinction", edge.distinction, edge.distinction_zh
            yield f"{name}[{n}].typical_delay", edge.typical_delay, edge.typical_delay_zh
    if record.mended is not None:
        yield "mended.what", record.mended.what, record.mended.what_zh


def _edges(record: Record) -> Iterator[tuple[str, Sequence[Any]]]:
    graph = record.transition_graph
    yield "transition_graph.leads_to", graph.leads_to
    yield "transition_graph.preceded_by", graph.preceded_by
    yield "transition_graph.frequently_confused_with", graph.frequently_confused_with


def check_together(
    read: Sequence[tuple[str, Record]], *, beside: Base | None = None
) -> list[Problem]:
    """Return what is wrong among records: one id twice, edges to nowhere, what another one takes.

    Args:
        read: Each record with its file.
        beside: Records that edges may lead to as well.
    """
    problems: list[Problem] = []
    files: dict[str, str] = {}
    for file, record in read:
        if record.id in files:
            what = f"the id is there twice; the other is in {files[record.id]}"
            problems.append(Problem(file=file, id=record.id, what=what, remedy="rename one"))
        files[record.id] = file
    known = Base([record for _, record in read])
    for file, record in read:
        for name, edges in _edges(record):
            for number, edge in enumerate(edges):
                if edge.error_id == record.id:
                    what, remedy = f"{name}[{number}] leads to itself", "drop it"
                elif edge.error_id in known.by_id or (beside and edge.error_id in beside.by_id):
                    continue
                else:
                    near = known.near(edge.error_id, 1) or ["another one"]
                    what = f"{name}[{number}] leads to {edge.error_id!r}, which is no record"
                    remedy = f"take {near[0]}, or drop it"
                problems.append(Problem(file=file, id=record.id, what=what, remedy=remedy))
    problems += _check_found(read, known)
    return problems


def _check_found(read: Sequence[tuple[str, Record]], known: Base) -> Iterator[Problem]:
    """Yield each message of a record that is not found by it, or by another one rather."""
    matcher = Matcher(known.records)
    for file, record in read:
        for text in dict.fromkeys((record.signature, *record.aliases)):
            if not text.strip():
                continue
            found, _ = matcher.match(query_of(text), limit=3)
            if not found:
                what, remedy = f"{_short(text)} finds nothing", "widen the regex or add its words"
            elif found[0].record.id != record.id:
                what = f"{_short(text)} finds {found[0].record.id} rather"
                remedy = "give it to one of the two, or make the regex or structure more specific"
            else:
                continue
            yield Problem(file=file, id=record.id, what=what, remedy=remedy)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= 90 else f"{text[:87]}...")
