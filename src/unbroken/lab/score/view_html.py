"""The card as one page that needs nothing else: a heat map of clients by scenarios.

Readable without colour (each verdict has a sign of its own), by keyboard, in the dark and on a
phone; without scripts the facts are still there for whoever has the page read aloud.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from importlib import resources
from itertools import groupby

from unbroken.lab.score.results import Card, Result
from unbroken.lab.score.verdict import Verdict
from unbroken.lab.score.view_table import HOW_TO_READ, damage, facts_line, summary, unfinished

__all__ = ["page"]

_SIGNS: dict[Verdict, tuple[str, str, str]] = {
    "healed": ("✓", "healed", "the whole text, every token once and in order"),
    "honest error": ("E", "error", "an error; what had been printed until then was right"),
    "truncated silently": ("T", "truncated", "a short or empty text, given out as the whole"),
    "corrupted": ("C", "corrupted", "tokens lost inside, repeated, out of order, or invented"),
    "hung": ("∞", "hung", "still running when patience ended"),
    "crashed": ("X", "crashed", "ended by a signal, or by a bug of its own"),
}

_HOW_TO_READ = (
    '<p class="quiet">Point at a cell, or walk with Tab and the arrow keys; its facts are at the '
    "bottom of the window.</p>"
)
_DETAILS = (
    '<aside id="details" aria-live="polite"><p class="quiet">Choose a cell to see what happened '
    "in it.</p></aside>"
)


def page(cards: list[Card]) -> bytes:
    """Return the page of one or several cards; each is a row."""
    columns = _columns(cards)
    body = "".join(
        [
            *_head(cards),
            _signs(),
            '<div class="totals">',
            *map(_total, cards),
            f'</div><p class="quiet">{escape(HOW_TO_READ[:1].upper() + HOW_TO_READ[1:])}</p>',
            "<h2>Every scenario</h2>",
            _HOW_TO_READ,
            *_map(cards, columns),
            _legend(),
            *_scenarios(columns),
            _DETAILS,
        ]
    )
    title = escape(", ".join(dict.fromkeys(card.label for card in cards)))
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Scorecard: {title}</title><style>{_asset('page.css')}</style></head>"
        f"<body>{body}<script>{_asset('page.js')}</script></body></html>\n"
    )
    return text.encode("utf-8", "replace")


def _asset(name: str) -> str:
    return (resources.files("unbroken.lab.score") / "page" / name).read_text("utf-8")


def _columns(cards: Iterable[Card]) -> list[Result]:
    """Return a result for each scenario of any card, those with the same first tag together."""
    known: dict[str, Result] = {}
    for card in cards:
        for result in card.results:
            known.setdefault(result.scenario, result)
    groups = list(dict.fromkeys(_group(result) for result in known.values()))
    return sorted(known.values(), key=lambda result: groups.index(_group(result)))


def _group(result: Result) -> str:
    return result.tags[0] if result.tags else "other"


def _head(cards: list[Card]) -> Iterator[str]:
    suites = ", ".join(dict.fromkeys(card.suite for card in cards))
    dates = sorted({card.started_at[:10] for card in cards if card.started_at})
    versions = ", ".join(sorted({card.unbroken for card in cards if card.unbroken}))
    yield "<header><h1>What became of the answer</h1>"
    when = " to ".join(dict.fromkeys([*dates[:1], *dates[-1:]]))
    yield (
        f'<p class="quiet">Suite {escape(suites)}{"; " if when else ""}{escape(when)}'
        f"{'; unbroken lab ' + escape(versions) if versions else ''}. A scripted model sent text "
        "whose every token carries its number, and broke the stream on purpose; the verdict is "
        "from the text that the client ended with.</p></header>"
    )


def _signs() -> str:
    items = "".join(
        f'<li><span class="mark {name}" aria-hidden="true">{sign}</span>{verdict}</li>'
        for verdict, (sign, name, _) in _SIGNS.items()
    )
    none = '<li><span class="mark none" aria-hidden="true">·</span>not run</li>'
    return f'<ul class="signs">{items}{none}</ul>'


def _legend() -> str:
    items = "".join(
        f'<li><span class="mark {name}" aria-hidden="true">{sign}</span>'
        f"<span><b>{verdict}</b>: {words}</span></li>"
        for verdict, (sign, name, words) in _SIGNS.items()
    )
    return (
        f'<h2>What the signs mean</h2><ul class="legend">{items}'
        '<li><span class="mark none" aria-hidden="true">·</span><span><b>not run</b>: makes no '
        "sense for this client</span></li></ul>"
        "<p>A line under a sign: one request was enough, nothing had to be healed. An arrow: an "
        "error where the whole answer was possible. Only outlined: no client can know of the "
        "fault, so it is not counted. Where a scenario's name is grey, an error is the best "
        "possible.</p>"
    )


def _total(card: Card) -> str:
    counts = card.counts()
    bars = "".join(
        f'<span class="{_SIGNS[verdict][1]}" style="flex:{count}">{count}</span>'
        for verdict, count in counts.items()
        if count
    )
    told = escape(summary(card).plain)
    stopped = "" if card.complete else f"<small><b>{escape(unfinished(card))}</b></small>"
    return (
        f'<div class="total"><b>{escape(card.label)}</b>'
        f'<div class="bar" role="img" aria-label="{told}">{bars}</div>'
        f"<small>{told}</small>{stopped}</div>"
    )


def _map(cards: list[Card], columns: list[Result]) -> Iterator[str]:
    yield '<div class="scroll"><table class="map" role="grid" aria-label="Verdicts">'
    yield '<thead><tr><th class="corner"></th>'
    for group, members in groupby(columns, key=_group):
        yield f'<th class="group" colspan="{len(list(members))}" scope="colgroup">'
        yield f"{escape(group)}</th>"
    yield '</tr><tr><th class="corner">client</th>'
    for column in columns:
        best = " best-error" if column.best == "error" else ""
        yield f'<th scope="col"><div class="name{best}">{escape(column.scenario)}</div></th>'
    yield "</tr></thead><tbody>"
    first = True
    for card in cards:
        by_name = {result.scenario: result for result in card.results}
        skipped = {skip.scenario: skip.why for skip in card.skipped}
        yield f'<tr><th scope="row">{escape(card.label)}<small>{escape(card.dialect)}</small></th>'
        for column in columns:
            name = column.scenario
            yield _cell(card, by_name.get(name), name, skipped.get(name, "not run"), first)
            first = False
        yield "</tr>"
    yield "</tbody></table></div>"


def _cell(card: Card, result: Result | None, name: str, why: str, first: bool) -> str:
    tab = 'tabindex="0"' if first else 'tabindex="-1"'
    if result is None:
        data = _data(verdict="not run", row=card.label, scenario=name, told=why)
        return (
            f'<td class="none" role="gridcell" {tab}{data}><i aria-hidden="true" '
            f'style="font-style:normal">·</i><span class="sr">not run: {escape(why)}</span></td>'
        )
    sign, kind, _ = _SIGNS[result.verdict]
    names = [kind]
    names += ["unknowable"] if result.undetectable else []
    names += ["harmless"] if result.facts.harmless else []
    names += ["short"] if result.fell_short else []
    told, numbers = damage(result), facts_line(result.facts)
    data = _data(
        verdict=result.verdict,
        row=card.label,
        scenario=name,
        told=told,
        numbers=numbers,
        life=result.life,
        plan=result.model.partition(";id=")[0],
    )
    said = escape("; ".join(part for part in (result.verdict, told, numbers) if part))
    return (
        f'<td class="{" ".join(names)}" role="gridcell" {tab}{data}><i aria-hidden="true" '
        f'style="font-style:normal">{sign}</i><span class="sr">{said}</span></td>'
    )


def _data(**known: str) -> str:
    return "".join(f' data-{name}="{escape(value)}"' for name, value in known.items() if value)


def _scenarios(columns: list[Result]) -> Iterator[str]:
    yield "<details><summary>What the scenarios are</summary>"
    yield '<table class="list"><thead><tr><th>scenario</th><th>plan</th><th>the best that a '
    yield "careful client can do</th><th>in real life</th></tr></thead><tbody>"
    for column in columns:
        best = f"nothing: {column.undetectable}" if column.undetectable else column.best
        yield f"<tr><th>{escape(column.scenario)}</th><td><code>{escape(column.plan)}</code></td>"
        yield f"<td>{escape(best)}</td><td>{escape(column.life)}</td></tr>"
    yield "</tbody></table></details>"
