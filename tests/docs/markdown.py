"""Read Markdown as the doc tests need it: fenced blocks in order, headings, links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Block", "anchors_of", "blocks_of", "links_of", "pages"]

ROOT = Path(__file__).parent.parent.parent

_FENCE = re.compile(r"^(?P<indent> *)(?P<mark>`{3,}|~{3,})(?P<info>[^`]*)$")
_SETUP = re.compile(r"^\s*<!--\s*docs-test:\s*(?P<words>.*?)\s*-->\s*$")
_LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\((?P<target>[^)\s]+)(?:\s+\"[^\"]*\")?\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block.

    Attributes:
        language: First word after the fence.
        words: The other words after the fence (``output`` marks what a block prints).
        setup: The words of a comment ``<!-- docs-test: key=value ... -->`` right above it.
        line: Line of its first line of code, from 1.
    """

    language: str
    words: tuple[str, ...]
    code: str
    line: int
    setup: dict[str, str] = field(default_factory=dict)


def pages() -> list[Path]:
    """Return every page whose blocks are run: the README and all below docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks_of(text: str) -> Iterator[Block]:
    """Yield the fenced blocks of a page in order."""
    lines = text.split("\n")
    number, setup = 0, {}
    while number < len(lines):
        line = lines[number]
        number += 1
        if found := _SETUP.match(line):
            setup = dict(word.split("=", 1) for word in found["words"].split())
        elif found := _FENCE.match(line):
            start, indent, mark = number, len(found["indent"]), found["mark"]
            while not lines[number].strip().startswith(mark):  # an open fence is an IndexError
                number += 1
            language, *words = found["info"].split() or [""]
            code = "".join(code_line[indent:] + "\n" for code_line in lines[start:number])
            yield Block(
                language=language, words=tuple(words), code=code, line=start + 1, setup=setup
            )
            number, setup = number + 1, {}
        elif line.strip():
            setup = {}


def _prose(text: str) -> str:
    """The text with the insides of its fences blanked, so that code holds no links."""
    inside, kept = "", []
    for line in text.split("\n"):
        found = _FENCE.match(line)
        if not inside and found:
            inside = found["mark"]
        elif inside and line.strip().startswith(inside):
            inside = ""
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def links_of(text: str) -> list[str]:
    """Return the targets of a page's links, images left out."""
    return [found["target"] for found in _LINK.finditer(_prose(text))]


def anchors_of(text: str) -> set[str]:
    """Return the anchors of a page's headings, made as GitHub makes them."""
    anchors: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", _prose(text), re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        copies = [plain, *(f"{plain}-{n}" for n in range(1, 100))]
        anchors.add(next(name for name in copies if name not in anchors))
    return anchors
