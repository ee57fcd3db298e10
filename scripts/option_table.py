"""Write docs/reference/options.md from the options' own docstrings and defaults.

python scripts/option_table.py [--check]
"""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path
from typing import Any

from unbroken.core.options import Clocks, Options

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "options.md"

__all__ = ["PAGE", "page"]

_HEAD = """\
<!-- Written by scripts/option_table.py from src/unbroken/core/options.py: change that, then run
     `make docs`. -->
# Options

What you can set, as `unbroken.Options(...)`. Options never change once they are made; a value that
cannot work is refused where it is made. None means no limit.
"""


def _meanings(cls: type[Any]) -> dict[str, str]:
    """Read the Attributes section of a Google-style docstring."""
    _, _, section = (cls.__doc__ or "").partition("Attributes:\n")
    found = re.findall(r"^ {8}(\w+): ((?:.|\n {12})*)", section, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", text).strip() for name, text in found}


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        value = field.default
    elif field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    else:
        return "required"
    if isinstance(value, int) and not isinstance(value, bool) and value and value % 1024 == 0:
        return f"{value // 1024**2} MiB" if value % 1024**2 == 0 else f"{value // 1024} KiB"
    if isinstance(value, tuple):
        return ", ".join(f"`{part}`" for part in value) or "none"
    return f"`{value!r}`" if not isinstance(value, str) else f"`{value}`"


def _table(cls: type[Any]) -> list[str]:
    meanings = _meanings(cls)
    lines = ["| option | default | meaning |", "|---|---|---|"]
    for field in dataclasses.fields(cls):
        meaning = meanings[field.name].replace("``", "`").replace("|", "\\|")
        lines.append(f"| `{field.name}` | {_default(field)} | {meaning} |")
    return lines


def page() -> str:
    """Return the page as Markdown.

    Raises:
        KeyError: If an option is not in its docstring.
    """
    clocks = (
        "When an attempt that does not move is given up, as `unbroken.Clocks(...)`, in seconds."
    )
    return "\n".join(
        [_HEAD, *_table(Options), "", "## Clocks", "", clocks, "", *_table(Clocks), ""]
    )


def main(arguments: list[str]) -> int:
    """Write the page; with ``--check`` only say whether it is up to date."""
    if arguments == ["--check"]:
        return int(PAGE.read_text("utf-8") != page())
    PAGE.write_text(page(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
