"""What the page of hard content says, cell by cell, and the streams that show it.

A row of the page is a kind of content in a dialect; its cells are places of a cut, and a cell
says which rung heals it, or that it fails, first for an answer that is sampled, then for one
that repeats itself (temperature 0).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.core.hard_bodies import MARK, Part, body
from tests.core.scripted import Reply, Run, ask, play
from unbroken.core.options import Options
from unbroken.core.request import Request

__all__ = ["CUTS", "PAGE", "SCENES", "Scene", "cells", "reasons", "told", "watch"]

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "hard-content.md"
CUTS = ("before any content", "in the text before it", "in it", "in the text after it")
"""The columns of the page."""

LEAD = (
    "The sea is salt because rivers carry minerals from the rocks of the land into it, and water"
    " alone leaves it again, day by day."
)
TAIL = (
    " So it has been for as long as there were oceans on this earth, and so it will go on while"
    " the sun shines and the rain falls."
)
_INSTRUCTED = "Begin with exactly: "
_OWN = {
    "openai-chat": {"url": "https://api.openai.com/v1/chat/completions", "model": "gpt-5"},
    "anthropic-messages": {"model": "claude-sonnet-5"},
    "openai-responses": {"store": False},
}
_REPEATS: dict[str, dict[str, Any]] = {
    "gemini": {"generationConfig": {"temperature": 0}},
    "ollama": {"options": {"temperature": 0}},
}


@dataclass(frozen=True)
class Scene:
    """One row: an answer with something hard in it.

    Attributes:
        parts: The answer; the hard part is the one with `MARK`.
        asked: Further fields of the request.
        places: The columns that make sense.
    """

    parts: list[Part]
    asked: dict[str, Any] = field(default_factory=dict)
    places: tuple[str, ...] = CUTS

    @property
    def text(self) -> str:
        """All its answer text, but for what a citation adds."""
        return "".join(said for kind, said in self.parts if kind == "text")


def _around(kind: str, said: str = MARK) -> list[Part]:
    return [("text", LEAD), (kind, said), ("text", TAIL)]


_THOUGHT = f"I see the {MARK}, and then I wonder."
_VALUE = '{"why": "' + MARK + LEAD + TAIL + '"}'
_THINKS = Scene([("thinking", _THOUGHT), ("text", TAIL)],
                places=("before any content", "in it", "in the text after it"))  # fmt: skip
_NOT_AFTER = CUTS[:3]


def _value(**asked: Any) -> Scene:
    return Scene([("text", _VALUE)], asked, places=("before any content", "in it"))


def _last(kind: str, said: str = MARK, **asked: Any) -> Scene:
    return Scene([("text", LEAD), (kind, said)], asked, places=_NOT_AFTER)


_SEARCH = [{"type": "web_search_20250305", "name": "web_search"}]
_MCP = [{"type": "mcp", "server_label": "s", "server_url": "https://example.com"}]
_JSON = {"type": "json_object"}

SCENES: dict[tuple[str, str], Scene] = {
    **{("text", each): Scene([("text", MARK + LEAD + TAIL)], places=("before any content", "in it"))
       for each in ("openai-chat", "anthropic-messages", "openai-responses", "gemini", "ollama")},
    **{("reasoning", each): _THINKS
       for each in ("openai-chat", "anthropic-messages", "openai-responses", "gemini", "ollama")},
    ("hidden reasoning", "anthropic-messages"):
        Scene([("hidden thinking", MARK), ("text", TAIL)], places=_THINKS.places),
    ("refusal", "openai-chat"): _last("refusal"),
    ("refusal", "openai-responses"): _last("refusal"),
    **{("tool call", each): _last("call")
       for each in ("openai-chat", "anthropic-messages", "openai-responses", "gemini", "ollama")},
    ("tool call", "openai-responses, stored"): _last("call", store=True),
    ("custom tool", "openai-chat"): _last("custom tool"),
    ("custom tool", "openai-responses"): _last("custom tool"),
    ("server tool", "anthropic-messages"):
        Scene(_around("server tool"), {"tools": _SEARCH}),
    ("server tool", "openai-responses"): Scene(_around("server tool"), {"tools": _MCP}),
    ("server tool", "gemini"): Scene(_around("server tool"), {"tools": [{"codeExecution": {}}]}),
    ("citation", "anthropic-messages"): Scene(_around("citation")),
    ("citation", "openai-responses"): Scene(_around("citation")),
    ("citation", "gemini"): Scene(_around("citation")),
    ("image", "openai-responses"): Scene(_around("image")),
    ("image", "gemini"): Scene(_around("image")),
    ("audio", "openai-chat"): Scene(_around("audio")),
    ("structured output", "openai-chat"): _value(response_format=_JSON),
    ("structured output", "anthropic-messages"):
        _value(output_config={"format": {"type": "json_schema", "schema": {}}}),
    ("structured output", "openai-responses"): _value(text={"format": _JSON}),
    ("structured output", "gemini"):
        _value(generationConfig={"responseMimeType": "application/json"}),
    ("structured output", "ollama"): _value(format="json"),
}  # fmt: skip


def _request(row: tuple[str, str], *, repeats: bool) -> Request:
    dialect = row[1].split(",")[0]
    asked: dict[str, Any] = {**_OWN.get(dialect, {}), **SCENES[row].asked}
    if repeats:
        for key, value in _REPEATS.get(dialect, {"temperature": 0}).items():
            both = isinstance(value, dict) and isinstance(asked.get(key), dict)
            asked[key] = {**asked[key], **value} if both else value
    return ask(dialect, **asked)


def _said_so_far(request: Request) -> str:
    """Return the text from which the answer is asked for: that before the anchor."""
    asked = request.json
    turns = asked.get("contents") or asked.get("input") or asked["messages"]

    def text_of(turn: dict[str, Any]) -> str:
        content = turn.get("parts") or turn["content"]
        return content if isinstance(content, str) else content[-1]["text"]

    last = text_of(turns[-1])
    if _INSTRUCTED not in last:
        return last
    anchor = last.split(_INSTRUCTED)[1].split("\n")[0]
    return text_of(turns[-2]).removesuffix(anchor.rstrip())


def _rest(parts: list[Part], said: str) -> list[Part]:
    """Return what is left of an answer of which so much text was sent."""
    left: list[Part] = []
    for kind, text in parts:
        if kind == "thinking":
            left.append((kind, "Where was I?"))
        elif kind != "text" or not said:
            left.append((kind, text))
        elif text.lstrip().startswith(said.strip()):
            rest = text.lstrip().removeprefix(said.strip()).lstrip()
            left, said = [("text", rest)] if rest else [], ""
        else:
            assert said.startswith(text)
            left, said = [], said.removeprefix(text)
    return left


def watch(row: tuple[str, str], place: str, *, repeats: bool) -> tuple[Run, bytes]:
    """Play a row with a cut at a place; return what happened, and what came before the cut."""
    scene, dialect = SCENES[row], row[1].split(",")[0]
    request = _request(row, repeats=repeats)
    sent = body(dialect, scene.parts)
    hard = next(at for at, (_, said) in enumerate(scene.parts) if MARK in said)
    part = {CUTS[0]: -1, CUTS[1]: hard - 1, CUTS[2]: hard, CUTS[3]: hard + 1}[place]
    own = [at for at, (each, _) in enumerate(sent) if each == part]
    cut = own[len(own) // 2] + 1 if own else 0
    first = [raw for _, raw in sent[:cut]]

    def later(asked: Request) -> list[bytes]:
        parts = scene.parts
        if asked.body != request.body:
            parts = _rest(parts, _said_so_far(asked))
        return [raw for _, raw in body(dialect, parts, id="answer-2")]

    run = play([Reply(first, end="reset"), *[Reply(later)] * 3], request=request,
               dialect=dialect, options=Options(max_added_input=20))  # fmt: skip
    return run, b"".join(first)


def told(run: Run) -> str:
    """Return the word for what happened: the rung, or that it failed."""
    if run.outcome.status == "failed":
        return "fails"
    return " ".join(run.rungs[1:]) if run.outcome.status == "complete" else run.outcome.status


_CELL = re.compile(r"^`?(?P<sampled>[a-z-]+)`?(?:; `?(?P<repeats>[a-z-]+)`? where it repeats)?$")


def cells() -> dict[tuple[str, str, str], tuple[str, str]]:
    """Return what the page says of each (kind, dialect, place): sampled, and where it repeats."""
    found: dict[tuple[str, str, str], tuple[str, str]] = {}
    for line in PAGE.read_text("utf-8").splitlines():
        row = [cell.strip() for cell in line.strip("|").split("|")]
        if len(row) != 3 + len(CUTS) or row[0] in ("content", "") or set(row[0]) <= {"-"}:
            continue
        for place, cell in zip(CUTS, row[2:-1], strict=True):
            if cell != "-":
                said = _CELL.match(cell)
                assert said is not None, f"not a cell: {cell!r}"
                sampled = said["sampled"]
                found[row[0], row[1].replace("`", ""), place] = (
                    sampled, said["repeats"] or sampled,
                )  # fmt: skip
    return found


def reasons() -> dict[tuple[str, str], list[str]]:
    """Return why a row fails, in the words of `Outcome.skipped`."""
    found: dict[tuple[str, str], list[str]] = {}
    for line in PAGE.read_text("utf-8").splitlines():
        row = [cell.strip() for cell in line.strip("|").split("|")]
        if len(row) == 3 + len(CUTS):
            found[row[0], row[1].replace("`", "")] = row[-1].split("; ")
    return found
