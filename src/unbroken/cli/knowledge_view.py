"""A record of the knowledge base on the screen, in English or Chinese."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from unbroken.cli.screen import line
from unbroken.knowledge import Base, Explanation, Match, Reason, Related, Told, in_language, told
from unbroken.knowledge.record import Measured
from unbroken.knowledge.told import labels

__all__ = ["Row", "heading", "match_rows", "other_rows", "record_rows", "show"]

_INDENT = 2
_WIDEST = 100  # as a report is
_MOST = 3
_MOST_NEAR = 2
_NUMBER = 3
_CODE_STYLE = "cyan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the view: a label in a column, and text beside it.

    Attributes:
        label: Left column, or ``""`` to go on under the one before.
        text: Right column; wrapped to the terminal.
        style: Of the label.
        code: Whether the text is code: kept as it is.
        lead: What stands before the text, such as its number.
        hang: How far lines without the lead are moved in.
        cut: Whether what does not fit into one line is left out.
    """

    label: str
    text: Text
    style: str = "dim"
    code: bool = False
    lead: str = ""
    hang: int = 0
    cut: bool = False


def columns() -> int:
    """Return where lines are broken: at the terminal's width; 96 where it is a file or pipe."""
    return max(40, min(_WIDEST, shutil.get_terminal_size((96, 24)).columns))


def heading(signature: str, id: str) -> Text:
    """Return a record's first line: its message, cut to leave room for its id."""
    said = line((signature, "bold yellow"))
    said.truncate(max(24, columns() - cell_len(id) - 2), overflow="ellipsis")
    return said + line((f"  {id}", "dim"))


def show(console: Console, rows: Sequence[Row]) -> None:
    """Print rows, wrapped."""
    whole = columns()
    width = max((cell_len(row.label) for row in rows), default=0)
    left = _INDENT + width + 2
    for row in rows:
        head = line(
            " " * _INDENT, (row.label, row.style), " " * (left - _INDENT - cell_len(row.label))
        )
        room = max(20, whole - left - row.hang)
        if row.code:
            lines = list(row.text.split("\n", allow_blank=True))
        elif row.cut:
            row.text.truncate(room, overflow="ellipsis")
            lines = [row.text]
        else:
            lines = list(row.text.wrap(console, room))
        for number, piece in enumerate(lines):
            piece.rstrip()
            hung = row.lead if row.lead and number == 0 else " " * row.hang
            if not row.lead and number == 0 and not row.code:
                hung = ""
            console.print((head if number == 0 else Text(" " * left)) + hung + piece)


def match_rows(
    explanation: Explanation, known: Base, today: dt.date, here: str = "", *, full: bool = True
) -> Iterator[Row]:
    """Yield the rows for the best match of an explanation; see `record_rows`."""
    match = explanation.matches[0]
    yield from record_rows(
        told(match.record, explanation.lang),
        known,
        today,
        found=_reasons(match, labels(explanation.lang)),
        here=here,
        full=full,
    )


def other_rows(explanation: Explanation, matches: Sequence[Match]) -> Iterator[Row]:
    """Yield one row for each match."""
    words = labels(explanation.lang)
    for number, match in enumerate(matches):
        local = in_language(match.record, explanation.lang)
        yield Row(
            label=words["also"] if number == 0 else "",
            text=line((match.record.id, "bold"), "  ", local.signature),
            cut=True,
        )
    if explanation.others:
        yield Row(label="", text=line((words["others"].format(n=explanation.others), "dim")))


def record_rows(
    record: Told,
    known: Base,
    today: dt.date,
    *,
    found: str = "",
    here: str = "",
    full: bool = True,
) -> Iterator[Row]:
    """Yield what a record says: the cause, dead ends, what helps; how sure it is comes last.

    Args:
        record: The record in the reader's language.
        known: Where the signatures of its neighbours are looked up.
        today: For the age of what was confirmed.
        found: Why it was found, or ``""``.
        here: What this machine's own evidence says, or ``""``.
        full: All of it; else what somebody in trouble needs, three of a kind at most.
    """
    words = labels(record.lang)
    most = None if full else _MOST
    side = words.get(
        "at_provider" if record.root_cause_type == "provider" else record.root_cause_type, ""
    )
    cause = record.cause + (f"{words['open']}{side}{words['close']}" if side else "")
    yield Row(label=words["cause"], text=line(cause), style="bold")
    for end in record.dead_ends[:most]:
        yield Row(
            label=words["not"],
            text=line((_bare(end.action, record.lang), "bold")),
            style="bold red",
        )
        why = words["because"].format(what=end.why_fails)
        rate = _rate(words, "fail", end.fail_rate, end.measured)
        more = [words["if"].format(what=end.condition)] if end.condition else []
        yield Row(label="", text=line(why, (_aside(words, [rate, *more]), "dim")))
    yield from _left_out(words, len(record.dead_ends), most)
    for number, way in enumerate(record.workarounds[:most], 1):
        more = [_rate(words, "help", way.success_rate, way.measured)]
        more += [words["if"].format(what=way.condition)] if way.condition else []
        more += [words["costs"].format(what=way.tradeoff)] if way.tradeoff else []
        yield Row(
            label=words["do"] if number == 1 else "",
            text=line((way.action, "bold"), (_aside(words, more), "dim")),
            style="bold green",
            lead=f"{number}.".ljust(_NUMBER),
            hang=_NUMBER,
        )
        if way.how:
            yield Row(label="", text=Text(_plain(way.how), _CODE_STYLE), code=True, hang=_NUMBER)
    yield from _left_out(words, len(record.workarounds), most)
    if here:
        yield Row(label=words["here"], text=line(here))
    for name, notes in record.os_notes.items():
        if notes:
            label = f"{words['os']} {name}"
            yield Row(label=label, text=line(notes))
    near = None if full else _MOST_NEAR
    for label, edges in (
        ("leads_to", record.leads_to),
        ("preceded_by", record.preceded_by),
        ("confused", record.confused_with),
    ):
        yield from _neighbours(words[label], edges[:near], known, record.lang, full=full)
    if record.error_code and full:
        yield Row(label=words["code"], text=line(record.error_code))
    if record.versions and full:
        seen = words["comma"].join(
            version.version + ("" if version.status == "active" else f" [{version.status}]")
            for version in record.versions
        )
        yield Row(label=words["seen"], text=line(seen))
    if record.scenario:
        how = words["scenario_how"].format(model=record.scenario)
        yield Row(label=words["scenario"], text=line(how))
    if record.doc_url:
        section = (
            f"{words['open']}{record.doc_section}{words['close']}" if record.doc_section else ""
        )
        yield Row(label=words["doc"], text=line(record.doc_url, section))
    if found:
        yield Row(label=words["found"], text=line((found, "dim")))
    yield Row(label=words["sure"], text=line((_certainty(record, today, full=full), "dim")))
    if record.mended is not None and full:
        mended = words["mended_how"].format(
            date=record.mended.on,
            tier=words[record.mended.from_tier],
            what=record.mended.what,
        )
        yield Row(label=words["mended"], text=line((mended, "dim")))


def _left_out(words: dict[str, str], count: int, most: int | None) -> Iterator[Row]:
    if most is not None and count > most:
        yield Row(label="", text=line((words["more"].format(n=count - most), "dim")))


def _bare(action: str, lang: str) -> str:
    """Return a dead end's action without a "do not" of its own."""
    return action.removeprefix("不要").strip() if lang == "zh" else action.removeprefix("do not ")


def _plain(text: str) -> str:
    return line(text).plain


def _aside(words: dict[str, str], parts: Sequence[str]) -> str:
    return f"{words['open']}{words['semicolon'].join(parts)}{words['close']}"


def _neighbours(
    label: str, edges: Sequence[Related], known: Base, lang: str, *, full: bool
) -> Iterator[Row]:
    words = labels(lang)
    for number, edge in enumerate(edges):
        other = known.get(edge.id)
        title = in_language(other, lang).signature if other is not None else ""
        aside = [edge.distinction] if edge.distinction else []
        aside += [_percent(edge.probability)] if edge.probability is not None else []
        aside += [words["when"].format(what=edge.condition)] if edge.condition else []
        aside += [words["after_time"].format(what=edge.typical_delay)] if edge.typical_delay else []
        if aside and not full:
            title = ""  # how it is told apart says more
        text = line((edge.id, "bold"), f"  {title}" if title else "")
        if aside:
            text.append(_plain(_aside(words, aside)), "dim")
        yield Row(label=label if number == 0 else "", text=text, hang=2)


def _certainty(record: Told, today: dt.date, *, full: bool) -> str:
    words = labels(record.lang)
    parts = [words[record.tier], words["confidence"].format(n=_percent(record.confidence))]
    confirmed = words["never_confirmed"]
    if record.last_confirmed:
        age = _age(record.last_confirmed, today, words)
        confirmed = words["confirmed"].format(date=record.last_confirmed, age=age)
    parts.append(confirmed)
    if full and record.last_updated and record.last_updated != record.last_confirmed:
        parts.append(words["updated"].format(date=record.last_updated))
    if full and record.first_seen:
        parts.append(words["first_seen"].format(date=record.first_seen))
    one = "evidence_one" if record.evidence_count == 1 else "evidence"
    parts.append(words[one].format(n=record.evidence_count))
    parts.append(words[record.resolvable])
    parts.append(words["fixed"].format(n=_percent(record.fix_success_rate)))
    return words["semicolon"].join(parts)


def _age(date: str, today: dt.date, words: dict[str, str]) -> str:
    try:
        days = (today - dt.date.fromisoformat(date)).days
    except ValueError:
        return "?"
    if days <= 0:
        return words["today"]
    if days == 1:
        return words["day"]
    if days < 61:
        return words["days"].format(n=days)
    if days < 730:
        return words["months"].format(n=round(days / 30.4))
    return words["years"].format(n=round(days / 365.25))


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %"


def _rate(words: dict[str, str], what: str, claimed: float, measured: Measured | None) -> str:
    if measured is None or measured.tries == 0:
        return words[f"{what}s"].format(claimed=_percent(claimed))
    count = measured.worked if what == "help" else measured.tries - measured.worked
    return words[f"{what}ed"].format(
        n=count, tries=measured.tries, date=measured.date, claimed=_percent(claimed)
    )


def _reasons(match: Match, words: dict[str, str]) -> str:
    said = words["comma"].join(_reason(reason, words) for reason in match.why)
    if match.line is not None and match.line > 1:
        said += f"{words['open']}{words['line'].format(n=f'{match.line:,}')}{words['close']}"
    return said


def _reason(reason: Reason, words: dict[str, str]) -> str:
    if reason.kind == "installed":
        return words["installed"].format(value=reason.value)
    if reason.kind in ("words", "about"):
        return f"{words[reason.kind]}{words['colon']}{reason.value}"
    return f"{words[reason.kind]} {reason.value}".rstrip()
