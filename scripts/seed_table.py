"""Write docs/reference/seeds.md: what the seeds ask for, and the tests that show it.

    python scripts/seed_table.py [--check]

The asks are in tests/seeds/asks.json. A test says which it shows by
``@pytest.mark.seed("001-retry-backoff", ...)`` on itself or on its class; the tests are read, not
imported, so this needs nothing but the standard library.
"""

from __future__ import annotations

import ast
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference" / "seeds.md"

__all__ = ["Ask", "Asks", "load", "page", "shown_by"]


class Ask(TypedDict):
    """One thing that a seed asks for; `part` is the issue of the plan that answers it."""

    id: str
    kind: str
    ask: str
    answer: str
    part: int


class Asks(TypedDict):
    """The registry; for every ask of a closed part there must be a test."""

    seeds: dict[str, str]
    closed_parts: list[int]
    asks: list[Ask]


def load(path: Path = ROOT / "tests" / "seeds" / "asks.json") -> Asks:
    """Read the registry."""
    asks: Asks = json.loads(path.read_text("utf-8"))
    return asks


def _marks(node: ast.AST) -> Iterator[str]:
    for mark in getattr(node, "decorator_list", []):
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.seed":
            for argument in mark.args:
                if not isinstance(argument, ast.Constant) or not isinstance(argument.value, str):
                    written = ast.unparse(argument)
                    msg = f"line {mark.lineno}: an id is a plain string, not {written}"
                    raise ValueError(msg)
                yield argument.value


def shown_by(folder: Path = ROOT / "tests") -> dict[str, list[str]]:
    """Return, by ask, the tests that show it, as pytest names them.

    Raises:
        ValueError: If a mark's id is not written out.
    """
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted(folder.rglob("test_*.py")):
        where = path.relative_to(folder.parent).as_posix()
        for node in ast.parse(path.read_text("utf-8"), str(path)).body:
            inner = node.body if isinstance(node, ast.ClassDef) else []
            class_ids = list(_marks(node))
            for test, prefix, ids in [
                (node, "", class_ids),
                *((child, f"{getattr(node, 'name', '')}::", class_ids) for child in inner),
            ]:
                if not isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef):
                    continue
                own = ids if test is node else [*ids, *_marks(test)]
                if own and test.name.startswith("test"):
                    for ask in own:
                        found[ask].append(f"{where}::{prefix}{test.name}")
    return dict(found)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def page(asks: Asks, tests: dict[str, list[str]]) -> str:
    """Return the page as Markdown."""
    shown = sum(1 for ask in asks["asks"] if ask["id"] in tests)
    lines = [
        "<!-- Written by scripts/seed_table.py from tests/seeds/asks.json and the tests:",
        "     change those, then run `make docs`. -->",
        "# What the seeds ask for",
        "",
        "The project started from four documents about broken streams: three error records and one",
        "guide. This is everything that they ask for, in our words, with the tests that show it.",
        "",
        f"{shown} of {len(asks['asks'])} asks have a test.",
    ]
    for seed, title in asks["seeds"].items():
        lines += ["", f"## Seed {seed}: {title}", "", "| ask | kind | answered by | tests |"]
        lines.append("|---|---|---|---|")
        for ask in asks["asks"]:
            if ask["id"].startswith(f"{seed}-"):
                shown_in = [f"`{name}`" for name in tests.get(ask["id"], [])]
                if ask["part"] not in asks["closed_parts"]:
                    shown_in.append(f"{'more in ' * bool(shown_in)}part {ask['part']} of the plan")
                cells = (ask["ask"], ask["kind"], ask["answer"], "<br>".join(shown_in))
                lines.append("| " + " | ".join(map(_cell, cells)) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Write the page; with ``--check`` only say whether it is up to date."""
    wanted = page(load(), shown_by())
    if arguments == ["--check"]:
        if PAGE.exists() and PAGE.read_text("utf-8") == wanted:
            return 0
        print("docs/reference/seeds.md is not up to date: run `make docs`", file=sys.stderr)
        return 1
    if arguments:
        print("usage: seed_table.py [--check]", file=sys.stderr)
        return 2
    PAGE.write_text(wanted, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
