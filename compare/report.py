"""The docs' page of the comparison, written from the raw results; nothing in it is by hand."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from compare.rows import Row, rows
from unbroken.lab.score.results import Card, Result
from unbroken.lab.score.verdict import VERDICTS, Verdict
from unbroken.lab.score.view_html import page

__all__ = ["PAGE", "card_of", "text", "write"]

_ROOT = Path(__file__).resolve().parents[1]
PAGE = _ROOT / "docs" / "reference" / "comparison.md"
_SIGNS: dict[Verdict, str] = {
    "healed": "✓",
    "honest error": "E",
    "truncated silently": "**T**",
    "corrupted": "**C**",
    "hung": "**∞**",
    "crashed": "**X**",
}
_VARIANTS = {
    "plain": "plain",
    "configured": "configured",
    "unbroken": "behind Unbroken",
    "gateway": "behind Unbroken's gateway",
}
_OURS = ("unbroken", "gateway")
_LANGUAGES = ("python", "node", "gateway")
_DAMAGE = ("lost", "repeated", "reordered", "invented")

_HEAD = """\
# The comparison

<!-- Written by `python -m compare --report` from compare/results; do not edit. -->

What {clients} clients and gateways made of the same {scenarios} streams of the suite `{suite}`,
run on {date} with Python {python} on {system}. Every cell is a run: a process of its own, asked for
an answer by a server that breaks it on purpose, judged by what it printed and how it ended. The
model is a script ([the scorecard](scorecard.md) says how), so healing here is *simulated*:
a script that follows instructions. What a real model does with a continuation can be tried with
`python -m compare.real_models`.

*plain* is the client as shipped. *configured* has its own best documented settings for resilience;
they are in `compare/clients`, each with its source. *behind Unbroken* is the plain client with
`unbroken.http_client()` under it. *behind Unbroken's gateway* is the plain client with its
`base_url` at `unbroken serve`, for what cannot take an HTTP client of ours: SDKs of other
languages, and other gateways, whose provider it then is. All have the same 30 s before they are
called hung, and who sets time limits sets them so that a silence of 5 s ends an attempt.

One setting of Unbroken's gateway is for the suite alone: `heals_always` and `breaker_failures` lift
the budget of heals and the breaker, which belong to the whole process. They keep it from asking a
provider that is down over and over, and a suite in which nearly every stream is broken looks just
like that. The library needs no such thing here, each of its runs being a process of its own.

`make compare` repeats it. The raw results are in `compare/results`, with what stood behind each
verdict; `python -m compare --report` makes a heat map of them, `comparison.html`.

"""

_WORDS = """\
- **healed**: the whole text, once and in order (also where nothing had to be healed)
- **honest error**: an error; what had been printed until then was right
- **truncated silently**: a short or empty text, given out as the whole answer
- **corrupted**: tokens lost inside, repeated, out of order, or invented
- **hung**: still running when patience ended; **crashed**: ended by a bug of its own or a signal
"""


def write(results: Path) -> Path:
    """Write the page and the heat map; return where the page is."""
    (results / "comparison.html").write_bytes(page([card for _, card in _ran(results)]))
    PAGE.write_text(text(results), "utf-8")
    return PAGE


def text(results: Path) -> str:
    """Return the page as the results have it."""
    ran = _ran(results)
    versions = json.loads((results / "versions.json").read_text("utf-8"))
    scenarios = {result.scenario for _, card in ran for result in card.results}
    head = _HEAD.format(
        clients=len({row.client for row, _ in ran}),
        scenarios=len(scenarios),
        suite=ran[0][1].suite,
        **{key: versions[key] for key in ("date", "python", "system")},
    )
    parts = [head, _WORDS, *_losing(ran), *_totals(ran), *_map(ran)]
    parts += [*_clients(ran, versions), *_left_out(versions)]
    return "\n".join(parts).rstrip() + "\n"


def _ran(results: Path) -> list[tuple[Row, Card]]:
    ordered = sorted(rows(), key=lambda row: _LANGUAGES.index(row.language))
    known = [(row, card_of(results / f"{row.name}.json")) for row in ordered]
    return [
        (row, replace(card, label=f"{row.label}, {_VARIANTS[row.variant]}"))
        for row, card in known
        if card is not None
    ]


def card_of(path: Path) -> Card | None:
    """Return a row's card, or None where it was not run."""
    return Card.read([path])[0] if path.exists() else None


def _judged(card: Card) -> list[Result]:
    return [result for result in card.results if not result.undetectable]


def _totals(ran: list[tuple[Row, Card]]) -> Iterator[str]:
    yield "\n## Totals\n"
    yield f"| client | | {' | '.join(VERDICTS)} | lost | repeated | reordered | invented |"
    yield "|---|---|" + "--:|" * (len(VERDICTS) + len(_DAMAGE))
    for row, card in ran:
        counts = Counter(result.verdict for result in _judged(card))
        damage = [
            sum(getattr(result.facts, kind).count for result in _judged(card)) for kind in _DAMAGE
        ]
        cells = [*(counts[verdict] or "" for verdict in VERDICTS), *(n or "" for n in damage)]
        strong = "**" if row.variant in _OURS else ""
        told = f"{strong}{_VARIANTS[row.variant]}{strong}"
        yield f"| {row.label} | {told} | {' | '.join(map(str, cells))} |"
    yield "\nLost, repeated, reordered and invented are counts of tokens, over all scenarios."


def _losing(ran: list[tuple[Row, Card]]) -> Iterator[str]:
    """Say in which share of the scenarios with a fault each variant fell short of the whole."""
    yield "\n## In one line\n"
    for variant, name in _VARIANTS.items():
        results = [
            result
            for row, card in ran
            # Our gateway by itself is no client without Unbroken.
            if row.variant == variant and (variant in _OURS or row.package != "unbroken")
            for result in _judged(card)
            if "fine" not in result.tags
        ]
        if not results:
            continue
        counts = Counter(result.verdict for result in results)
        share = {verdict: 100 * counts[verdict] / len(results) for verdict in VERDICTS}
        said = ", ".join(
            f"{share[verdict]:.0f} % {verdict}" for verdict in VERDICTS if counts[verdict]
        )
        yield f"- **{name}**, {len(results)} broken streams: {said}."


def _map(ran: list[tuple[Row, Card]]) -> Iterator[str]:
    """Yield one small table a client: scenarios down, variants across."""
    yield "\n## Every scenario\n"
    yield (
        "✓ healed, E honest error, **T** truncated silently, **C** corrupted, **∞** hung, "
        "**X** crashed; an empty cell was not run with that client.\n"
    )
    names = list(dict.fromkeys(result.scenario for _, card in ran for result in card.results))
    by_client: dict[str, list[tuple[Row, Card]]] = {}
    for row, card in ran:
        by_client.setdefault(row.client, []).append((row, card))
    for clients in _in_groups(list(by_client.values())):
        columns = [pair for client in clients for pair in client]
        heads = [f"{row.label}<br>{_VARIANTS[row.variant]}" for row, _ in columns]
        yield f"| scenario | {' | '.join(heads)} |"
        yield "|---|" + ":-:|" * len(columns)
        cells = [{result.scenario: result for result in card.results} for _, card in columns]
        for name in names:
            line = [_sign(each.get(name)) for each in cells]
            if any(line):
                yield f"| {name} | {' | '.join(line)} |"
        yield ""


def _in_groups(clients: list[list[tuple[Row, Card]]]) -> Iterator[list[list[tuple[Row, Card]]]]:
    """Put clients side by side, as many as a page bears."""
    for at in range(0, len(clients), 3):
        yield clients[at : at + 3]


def _sign(result: Result | None) -> str:
    if result is None:
        return ""
    return _SIGNS[result.verdict] + ("*" if result.undetectable else "")


def _clients(ran: list[tuple[Row, Card]], versions: dict[str, Any]) -> Iterator[str]:
    yield "## What was compared\n"
    yield "| client | | version | settings |"
    yield "|---|---|---|---|"
    for row, _ in ran:
        installed = versions["environments"].get(row.environment) or {}
        version = installed.get(row.package.lower())
        for environment in versions["environments"].values():
            version = version or (environment or {}).get(row.package.lower())
        notes = " ".join(row.notes.split()).replace("|", "\\|")
        yield f"| {row.label} | {_VARIANTS[row.variant]} | {row.package} {version} | {notes} |"


def _left_out(versions: dict[str, Any]) -> Iterator[str]:
    if versions["not run"]:
        yield "\n## Not run\n"
        for name, why in versions["not run"].items():
            yield f"- {name}: {why}"
