"""The card for people at a terminal: a row a scenario, and one line that sums it up."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from unbroken.lab.score.results import Card, Result
from unbroken.lab.score.verdict import Facts, Verdict

__all__ = [
    "HOW_TO_READ",
    "STYLES",
    "damage",
    "facts_line",
    "notes",
    "seconds",
    "summary",
    "table",
    "unfinished",
    "word",
]

STYLES: dict[Verdict, str] = {
    "healed": "green",
    "honest error": "yellow",
    "truncated silently": "bold red",
    "corrupted": "bold magenta",
    "hung": "bold blue",
    "crashed": "bold red reverse",
}
_MANY: dict[Verdict, str] = {
    "honest error": "honest errors",
}


HOW_TO_READ = (
    "lost: tokens missing inside what was printed; what a short answer lacks at its end is "
    "truncation. Laundered: a part was taken for the whole."
)
"""What the words of the summary mean."""

_GAP = "  "
_WORDS = 40  # narrower than this, the words of a row are put on a line of their own
_TITLES = ("scenario", "verdict", "tokens", "requests", "noticed", "went on")
_INDENT = 4  # of words on a line of their own
_LEFT = 2  # columns that begin at the left; those behind it end at the right
_LEAST = 3  # columns that a narrow terminal keeps


def table(card: Card, width: int | None = None) -> RenderableType:
    """Return the whole card; its last two lines are the summary and what its words mean.

    Args:
        card: What to show.
        width: Of the terminal, in columns: what is too long for it goes on lines of its own, and
            columns that have no room are left out. None: one line a scenario, however long.
    """
    head = Text.assemble(
        (card.label, "bold"), f", suite {card.suite}", f", {card.dialect or 'unknown dialect'}"
    )
    under = Text(HOW_TO_READ, style="dim")
    return Group(head, *_rows(card, width), *notes(card), summary(card), under)


def _rows(card: Card, width: int | None) -> Iterator[Text]:
    rows = [_cells(result) for result in card.results]
    titles = [Text(title, style="bold") for title in _TITLES]
    sizes = [max(cell.cell_len for cell in column) for column in zip(titles, *rows, strict=True)]
    room = 10**9 if width is None else width
    while len(sizes) > _LEAST and sum(sizes) + len(_GAP) * (len(sizes) - 1) > room:
        sizes.pop()
    indent = sum(sizes) + len(_GAP) * len(sizes)
    beside = room - indent >= _WORDS
    if rows:
        yield _line(titles, sizes, Text("what", style="bold") if beside else None)
    for result, cells in zip(card.results, rows, strict=True):
        style = "dim" if result.verdict == "healed" else ""
        before = indent if beside else _INDENT
        words = textwrap.wrap(damage(result), max(room - before, _INDENT), break_long_words=False)
        first = words.pop(0) if beside and words else ""
        yield _line(cells, sizes, Text(first, style=style))
        for more in words:
            yield Text(" " * before + more, style=style)


def _cells(result: Result) -> list[Text]:
    facts = result.facts
    return [
        Text(result.scenario),
        word(result),
        Text(f"{facts.got:,}/{facts.tokens:,}"),
        Text(f"{facts.requests:,}"),
        Text(seconds(facts.time_to_detect_s)),
        Text(seconds(facts.time_to_heal_s)),
    ]


def _line(cells: list[Text], sizes: list[int], said: Text | None = None) -> Text:
    line = Text(no_wrap=True, overflow="ignore")
    for place, (cell, size) in enumerate(zip(cells, sizes, strict=False)):
        space = " " * (size - cell.cell_len)
        line.append(_GAP if place else "")
        line.append_text(cell if place < _LEFT else Text.assemble(space, cell))
        line.append(space if place < _LEFT else "")
    if said is not None:
        line.append(_GAP).append_text(said)
    line.rstrip()
    return line


def word(result: Result) -> Text:
    """Return the verdict in its colour; of an undetectable fault dimmed, since it counts not."""
    if result.undetectable:
        return Text(f"({result.verdict})", style="dim")
    return Text(result.verdict, style=STYLES[result.verdict])


def damage(result: Result) -> str:
    """Return in words what became of the text."""
    facts = result.facts
    if result.verdict == "healed":
        return "one request was enough" if facts.harmless else ""
    # The verdict stands beside it: what the oracle says of it would say so twice.
    told = facts.told.partition(": ")[2].removesuffix("; taken for a success")
    said = [] if facts.whole else [told]
    if facts.whole and result.verdict == "honest error":
        said.append("all tokens were printed")
    if facts.unprovoked:
        said.append("though nothing had gone wrong")
    if facts.error:
        said.append(facts.error)
    if result.undetectable:
        said.append(f"no client can know: {result.undetectable}")
    return "; ".join(part for part in said if part)


def seconds(value: float | None) -> str:
    """Return a time for a narrow column."""
    if value is None:
        return ""
    return f"{value:.1f} s" if value >= 1 else f"{value * 1000:.0f} ms"


def notes(card: Card) -> Iterator[Text]:
    """Yield what a reader of the table should know besides."""
    if not card.complete:
        yield Text(unfinished(card), style="bold red")
    if unprovoked := [r.scenario for r in card.results if r.facts.unprovoked]:
        yield Text(
            f"failed although nothing had gone wrong: {', '.join(unprovoked)}; look at its set-up",
            style="yellow",
        )
    if short := [r.scenario for r in card.results if r.fell_short]:
        yield Text(f"an error where the whole answer was possible: {', '.join(short)}", style="dim")
    if unknowable := [r.scenario for r in card.results if r.undetectable]:
        yield Text(f"not counted, since no client can know: {', '.join(unknowable)}", style="dim")
    reasons: dict[str, list[str]] = {}
    for skipped in card.skipped:
        reasons.setdefault(_reason(skipped.why, card.dialect), []).append(skipped.scenario)
    for why, names in reasons.items():
        yield Text(f"not run, {why}: {', '.join(names)}", style="dim")


def unfinished(card: Card) -> str:
    """Return how far a run that was stopped had come."""
    total = len(card.results) + len(card.skipped)
    return f"not complete: the run was stopped; {len(card.results):,} of {total:,} scenarios ended"


def _reason(why: str, dialect: str) -> str:
    """Return a reason that several scenarios may share."""
    if dialect and dialect in why.split():
        return f"since it does not exist in {dialect}"
    return f"since {why}"


def summary(card: Card) -> Text:
    """Return the line that sums a card up: ``24 healed, 3 honest errors, 2 hung``."""
    said: list[tuple[str, str]] = []
    for verdict, count in card.counts().items():
        if count:
            many = _MANY.get(verdict, verdict) if count != 1 else verdict
            said.append((f"{count:,} {many}", STYLES[verdict]))
    if card.skipped:
        said.append((f"{len(card.skipped):,} not run", "dim"))
    line = Text()
    for number, (part, style) in enumerate(said):
        line.append(", " if number else "")
        line.append(part, style=style)
    counted = [result for result in card.results if not result.undetectable]
    for kind in ("lost", "repeated", "reordered", "invented"):
        total = sum(getattr(r.facts, kind).count for r in counted)
        line.append(f"{'; tokens' if kind == 'lost' else ','} {total:,} {kind}")
    laundered = sum(r.facts.laundered for r in counted)
    line.append(f"; {laundered:,} {'answer' if laundered == 1 else 'answers'} laundered")
    return line


def facts_line(facts: Facts) -> str:
    """Return the numbers of a result on one line."""
    said = [
        f"{facts.got:,} of {facts.tokens:,} tokens",
        f"{facts.requests} {'request' if facts.requests == 1 else 'requests'}",
        f"{facts.tokens_bought:,} content frames sent",
        f"{facts.duration_s:.1f} s",
    ]
    if facts.time_to_detect_s is not None:
        said.append(f"noticed after {seconds(facts.time_to_detect_s)}")
    if facts.time_to_heal_s is not None:
        said.append(f"went on after {seconds(facts.time_to_heal_s)}")
    said += [
        f"{name.replace('_', ' ')}: {seconds(value) if name.endswith('_s') else value}"
        for name, value in facts.more.items()
        if value is not None and not isinstance(value, bool | str)
    ]
    said += [
        name.replace("_", " ") + ("" if value else ": no")
        for name, value in facts.more.items()
        if isinstance(value, bool)
    ]
    return ", ".join(said)
