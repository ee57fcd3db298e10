"""What a suite has, without playing it: for people, and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

from unbroken.lab.score.suite import Scenario, Suite

__all__ = ["listing", "listing_json"]

_INDENT = 4


def listing(suite: Suite, scenarios: list[Scenario], width: int | None = None) -> RenderableType:
    """Return scenarios with their plans, tags and what each is in real life.

    Args:
        suite: Where they are from.
        scenarios: Those to list.
        width: Of the terminal, in columns; None puts each scenario on one line.
    """
    tags = dict.fromkeys(tag for scenario in scenarios for tag in scenario.tags)
    head = Text.assemble((suite.name, "bold"), f": {suite.title}")
    under = Text(f"tags: {', '.join(tags)}" if tags else "no tags", style="dim")
    return Group(head, *_rows(scenarios, width), under)


def _rows(scenarios: list[Scenario], width: int | None) -> Iterator[Text]:
    cells = [(one.name, one.plan + _beside(one), ", ".join(one.tags)) for one in scenarios]
    sizes = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for scenario, row in zip(scenarios, cells, strict=True):
        name, plan, tags = row
        if width is None:
            words = "  ".join(cell.ljust(size) for cell, size in zip(row, sizes, strict=True))
            line = Text(f"{words}  {scenario.life}", no_wrap=True, overflow="ignore")
            line.rstrip()
            yield line
            continue
        yield Text.assemble((name, "bold"), "  ", plan, (f"  {tags}", "dim"))
        for words in textwrap.wrap(scenario.life, max(width - _INDENT, _INDENT)):
            yield Text(" " * _INDENT + words)


def _beside(scenario: Scenario) -> str:
    """Return what else a scenario's name should be known by: what is asked for, and how often."""
    said = "" if scenario.say == "text" else f";say={scenario.say}"
    return said + (f" (by {scenario.copies} clients)" if scenario.copies > 1 else "")


def listing_json(suite: Suite, scenarios: list[Scenario]) -> bytes:
    """Return the same as JSON, with all that a suite's file can say."""
    data = {
        "suite": suite.name,
        "title": suite.title,
        "scenarios": [_plain(scenario) for scenario in scenarios],
    }
    return msgspec.json.format(msgspec.json.encode(data), indent=2)


def _plain(scenario: Scenario) -> dict[str, object]:
    plain: dict[str, object] = msgspec.to_builtins(scenario)
    plain["dialects"] = None if scenario.dialects is None else sorted(scenario.dialects)
    return plain
