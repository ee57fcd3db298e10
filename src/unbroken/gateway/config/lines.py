"""Where in a TOML file a setting stands. The parser of the standard library does not say.

A scanner of statements, not a parser: it runs only over text that the parser has taken, so that
it can be short. What stands inside an inline table or a list is found at the line where that
begins.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

__all__ = ["line_of", "lines_of"]

_HEADER = re.compile(r"\s*(\[\[?)(.+?)\]\]?\s*(?:#.*)?$")
_KEY = re.compile(
    r"""\s*((?:[\w-]+|"[^"\n]*"|'[^'\n]*')(?:\s*\.\s*(?:[\w-]+|"[^"\n]*"|'[^'\n]*'))*)\s*="""
)
_TOKEN = re.compile(
    r'"""|\'\'\'|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|#[^\n]*|[\[\]{}]|[^"\'#\[\]{}]+|.', re.DOTALL
)


def _parts(dotted: str) -> list[str]:
    """Split a dotted key, by the parser itself: quotes and escapes are its business."""
    value: Any = tomllib.loads(f"{dotted} = 0")
    parts = []
    while isinstance(value, dict):
        (name, value), *_ = value.items()
        parts.append(name)
    return parts


def _open_after(line: str, depth: int, quote: str) -> tuple[int, str]:
    """Return how many brackets, and which long quote, are open at a line's end."""
    for token in _TOKEN.findall(line):
        if quote:
            quote = "" if token == quote else quote
        elif token in ('"""', "'''"):
            quote = token
        elif token in "[{":
            depth += 1
        elif token in "]}":
            depth -= 1
    return depth, quote


def lines_of(text: str) -> dict[str, int]:
    """Return the line of each table and key of a TOML text, by path, from 1."""
    found: dict[str, int] = {}
    counts: dict[str, int] = {}
    table, depth, quote = "", 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        if not depth and not quote:
            if header := _HEADER.match(line):
                table = _table(_parts(header[2].strip()), counts, is_item=header[1] == "[[")
                found.setdefault(table, number)
                continue
            if key := _KEY.match(line):
                path = table
                for part in _parts(key[1]):
                    path = f"{path}.{part}" if path else part
                    found.setdefault(path, number)
        depth, quote = _open_after(line, depth, quote)
    return found


def _table(parts: list[str], counts: dict[str, int], *, is_item: bool) -> str:
    """Return a header's path; below a list of tables it means the list's last item."""
    path = ""
    for place, part in enumerate(parts):
        path = f"{path}.{part}" if path else part
        if is_item and place == len(parts) - 1:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = f"{path}[{counts[path]}]"
    return path


def line_of(lines: dict[str, int], path: str) -> int | None:
    """Return the line of a setting, or of the nearest table around it that has one."""
    while path:
        if path in lines:
            return lines[path]
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return None
