"""Lines of the report in a terminal: labelled paragraphs that keep to a width."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from rich.text import Text

from unbroken.debugger.words import unbroken_units

__all__ = ["LABEL", "broken", "wrapped"]

LABEL = 10
"""Columns of a label."""


def broken(text: str, width: int) -> list[str]:
    """Break a text into lines; a number stays with its unit."""
    lines = textwrap.wrap(unbroken_units(text), max(20, width), break_on_hyphens=False) or [""]
    return [line.replace("\xa0", " ") for line in lines]


def wrapped(
    label: str, text: str, width: int, style: str, *, label_style: str = "dim", hang: int = 0
) -> Iterator[Text]:
    """Yield a labelled paragraph; `hang` is how far its later lines are set in."""
    indent = LABEL + 3
    clean = "".join(char if char.isprintable() else " " for char in text)
    for number, piece in enumerate(broken(clean, width - indent - hang)):
        line = Text()
        line.append(f"  {label if not number else '':<{LABEL}} ", label_style)
        line.append((" " * hang if number else "") + piece, style)
        yield line
