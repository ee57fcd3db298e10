"""The card for people at a terminal: a row a scenario, and one line that sums it up."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from unbroken.lab.score.results import Card, Result
from unbroken.lab.score.verdict import Facts, Verdict

__all__ = ["STYLES", "damage", "facts_line", "notes", "seconds", "summary", "table", "word"]

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


def table(card: Card) -> RenderableType:
    """Return the whole card."""
    rows = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    rows.add_column("scenario", no_wrap=True)
    rows.add_column("verdict", no_wrap=True)
    rows.add_column("tokens", justify="right", no_wrap=True)
    rows.add_column("requests", justify="right")
    rows.add_column("noticed", justify="right", no_wrap=True)
    rows.add_column("went on", justify="right", no_wrap=True)
    rows.add_column("what", overflow="fold", ratio=1)
    for result in card.results:
        facts = result.facts
        rows.add_row(
            Text(result.scenario),
            word(result),
            f"{facts.got:,}/{facts.tokens:,}",
            str(facts.requests),
            seconds(facts.time_to_detect_s),
            seconds(facts.time_to_heal_s),
            Text(damage(result), style="dim" if result.verdict == "healed" else ""),
        )
    head = Text.assemble(
        (card.label, "bold"), f", suite {card.suite}", f", {card.dialect or 'unknown dialect'}"
    )
    return Group(head, rows, *notes(card), summary(card), Text())


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
