"""A record of the knowledge base on the screen, in English or Chinese."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from unbroken.cli.screen import line
from unbroken.knowledge import Base, Explanation, Match, Reason, Related, Told, in_language, told
from unbroken.knowledge.record import Measured
from unbroken.knowledge.told import labels

__all__ = ["Row", "match_rows", "other_rows", "record_rows", "show"]

_INDENT = 2
_CODE_STYLE = "cyan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the view: a label in a column, and text beside it.

    Attributes:
        label: Left column, or ``""`` to go on under the one before.
        text: Right column; wrapped to the terminal.
        style: Of the label.
        code: Whether the text is code: kept as it is.
    """

    label: str
    text: Text
    style: str = "dim"
    code: bool = False


def show(console: Console, rows: Sequence[Row]) -> None:
    """Print rows, wrapped where it is a terminal; whole lines where it is a file or pipe."""
    width = max((cell_len(row.label) for row in rows), default=0)
    left = _INDENT + width + 2
    for row in rows:
        head = line(
            " " * _INDENT, (row.label, row.style), " " * (left - _INDENT - cell_len(row.label))
        )
        if row.code or not console.is_terminal or console.width - left < 20:
            lines = row.text.split("\n", allow_blank=True)
        else:
            lines = row.text.wrap(console, console.width - left)
        for number, piece in enumerate(lines):
            console.print((head if number == 0 else Text(" " * left)) + piece)


def match_rows(
    explanation: Explanation, known: Base, today: dt.date, here: str = ""
) -> Iterator[Row]:
    """Yield the rows for the best match of an explanation."""
    match = explanation.matches[0]
    yield from record_rows(
        told(match.record, explanation.lang),
        known,
        today,
        found=_reasons(match, labels(explanation.lang)),
        here=here,
    )


def other_rows(explanation: Explanation, matches: Sequence[Match]) -> Iterator[Row]:
    """Yield one row for each match."""
    words = labels(explanation.lang)
    for number, match in enumerate(matches):
        local = in_language(match.record, explanation.lang)
        yield Row(
            label=words["also"] if number == 0 else "",
            text=line(
                (match.record.id, "bold"),
                "  ",
                local.signature,
                (f"  {_reasons(match, words)}", "dim"),
            ),
        )
    if explanation.others:
        yield Row(label="", text=line((words["others"].format(n=explanation.others), "dim")))


def record_rows(
    record: Told, known: Base, today: dt.date, *, found: str = "", here: str = ""
) -> Iterator[Row]:
    """Yield all that a record says: how sure it is, the cause, dead ends first, then what helps.

    Args:
        record: The record in the reader's language.
        known: Where the signatures of its neighbours are looked up.
        today: For the age of what was confirmed.
        found: Why it was found, or ``""``.
        here: What this machine's own evidence says, or ``""``.
    """
    words = labels(record.lang)
    yield Row(label=words["sure"], text=line(_certainty(record, today)))
    if here:
        yield Row(label=words["here"], text=line(here))
    if found:
        yield Row(label=words["found"], text=line(found))
    side = words.get(
        "at_provider" if record.root_cause_type == "provider" else record.root_cause_type, ""
    )
    cause = record.cause + (f"{words['open']}{side}{words['close']}" if side else "")
    yield Row(label=words["cause"], text=line(cause), style="bold")
    for end in record.dead_ends:
        yield Row(
            label=words["not"],
            text=line((_bare(end.action, record.lang), "bold")),
            style="bold red",
        )
        why = words["because"].format(what=end.why_fails)
        rate = _rate(words, "fail", end.fail_rate, end.measured)
        more = [words["if"].format(what=end.condition)] if end.condition else []
        yield Row(label="", text=line(why, (_aside(words, [rate, *more]), "dim")))
    for number, way in enumerate(record.workarounds, 1):
        more = [_rate(words, "help", way.success_rate, way.measured)]
        more += [words["if"].format(what=way.condition)] if way.condition else []
        more += [words["costs"].format(what=way.tradeoff)] if way.tradeoff else []
        text = line(f"{number}. ", (way.action, "bold"), (_aside(words, more), "dim"))
        yield Row(label=words["do"] if number == 1 else "", text=text, style="bold green")
        if way.how:
            yield Row(label="", text=Text(_plain(way.how), _CODE_STYLE), code=True)
    for name, notes in record.os_notes.items():
        if notes:
            label = f"{words['os']} {name}"
            yield Row(label=label, text=line(notes))
    yield from _neighbours(words["leads_to"], record.leads_to, known, record.lang)
    yield from _neighbours(words["preceded_by"], record.preceded_by, known, record.lang)
    yield from _neighbours(words["confused"], record.confused_with, known, record.lang)
    if record.error_code:
        yield Row(label=words["code"], text=line(record.error_code))
    if record.versions:
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
    if record.mended is not None:
        mended = words["mended_how"].format(
            date=record.mended.on,
            tier=words[record.mended.from_tier],
            what=record.mended.what,
        )
        yield Row(label=words["mended"], text=line((mended, "dim")))


def _bare(action: str, lang: str) -> str:
    """Return a dead end's action without a "do not" of its own."""
    return action.removeprefix("不要").strip() if lang == "zh" else action.removeprefix("do not ")


def _plain(text: str) -> str:
    return line(text).plain


def _aside(words: dict[str, str], parts: Sequence[str]) -> str:
    return f"{words['open']}{words['semicolon'].join(parts)}{words['close']}"


def _neighbours(label: str, edges: Sequence[Related], known: Base, lang: str) -> Iterator[Row]:
    words = labels(lang)
    for number, edge in enumerate(edges):
        other = known.get(edge.id)
        title = in_language(other, lang).signature if other is not None else ""
        aside = [edge.distinction] if edge.distinction else []
        aside += [_percent(edge.probability)] if edge.probability is not None else []
        aside += [words["when"].format(what=edge.condition)] if edge.condition else []
        aside += [words["after_time"].format(what=edge.typical_delay)] if edge.typical_delay else []
        text = line((edge.id, "bold"), f"  {title}" if title else "")
        if aside:
            text.append(_plain(_aside(words, aside)), "dim")
        yield Row(label=label if number == 0 else "", text=text)


def _certainty(record: Told, today: dt.date) -> str:
    words = labels(record.lang)
    parts = [words[record.tier], words["confidence"].format(n=_percent(record.confidence))]
    confirmed = words["never_confirmed"]
    if record.last_confirmed:
        age = _age(record.last_confirmed, today, words)
        confirmed = words["confirmed"].format(date=record.last_confirmed, age=age)
    parts.append(confirmed)
    if record.last_updated and record.last_updated != record.last_confirmed:
        parts.append(words["updated"].format(date=record.last_updated))
    if record.first_seen:
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
    if reason.kind == "words":
        return f"{words['words']}{words['colon']}{reason.value}"
    return f"{words[reason.kind]} {reason.value}".rstrip()
