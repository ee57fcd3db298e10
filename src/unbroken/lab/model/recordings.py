"""Recorded bodies, played as answers.

A folder of bodies: ``*.sse``, ``*.ndjson``, ``*.json`` (arrays) and ``*.eventstream``, at any
depth. Where it has an ``index.jsonl`` (a row a body) or an ``index.json`` (a list of rows), each
row's ``file`` is taken, with its ``wire`` or ``dialect``, ``status``, ``content_type`` and
``text``. What no index tells is told from the first frames.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unbroken.core.dialects import DIALECTS, framed, recognise_frame
from unbroken.core.wire import decoder_for, likely_wires
from unbroken.lab.injectors.base import FaultError
from unbroken.lab.model.asks import Asked
from unbroken.lab.model.settings import AnswerSettings
from unbroken.lab.model.writing import paced
from unbroken.lab.parts import Piece
from unbroken.lab.roles import pieces_of_body
from unbroken.lab.shapes import content_type

__all__ = ["Recording", "Recordings"]

_ENDINGS = (".sse", ".ndjson", ".json", ".eventstream")
_INDEXES = ("index.jsonl", "index.json")
_WIRES = {"anthropic": "anthropic-messages"}
_HEAD_BYTES = 64 * 1024
_SHOWN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A recorded body.

    Attributes:
        name: The file's name without its ending.
        path: The file.
        dialect: What it speaks.
        status: The status of its response.
        content_type: The same.
        text: The text of its answer, where the index tells; else ``""``.
    """

    name: str
    path: Path
    dialect: str
    status: int = 200
    content_type: str = ""
    text: str = ""

    @property
    def body(self) -> bytes:
        """The bytes."""
        return self.path.read_bytes()

    def pieces(self, settings: AnswerSettings) -> list[Piece]:
        """Return the body with roles, and with the pace that the settings give."""
        pieces = pieces_of_body(self.dialect, self.body)
        return list(paced(pieces, self.dialect, settings, seed=self.name))


class Recordings:
    """A folder of recorded bodies.

    Args:
        folder: Where they are; read once for their names, and each when it is played.

    Raises:
        FaultError: If there is none in it, or its index cannot be read.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            msg = f"{folder}: there is no such folder"
            raise FaultError(msg)
        self.all: tuple[Recording, ...] = tuple(self._find())
        if not self.all:
            msg = f"{folder}: there is no recorded stream ({', '.join(_ENDINGS)})"
            raise FaultError(msg)
        self._next: dict[str, int] = {}

    def of(self, dialect: str) -> list[Recording]:
        """Return those of a dialect, in order."""
        return [each for each in self.all if each.dialect == dialect]

    def take(self, asked: Asked, settings: AnswerSettings) -> Recording:
        """Return the one that the settings name, else the dialect's next one.

        Raises:
            FaultError: If there is none.
        """
        mine = self.of(asked.dialect)
        if settings.recording:
            for each in mine:
                if settings.recording in (each.name, each.path.name):
                    return each
            known = ", ".join(each.name for each in mine[:_SHOWN]) or "there is none"
            msg = f"no recording of {asked.dialect} is called {settings.recording!r}: {known}"
            raise FaultError(msg)
        if not mine:
            known = ", ".join(sorted({each.dialect for each in self.all}))
            msg = f"{self.folder} has no recording of {asked.dialect}; it has {known}"
            raise FaultError(msg)
        at = self._next.get(asked.dialect, 0)
        self._next[asked.dialect] = at + 1
        return mine[at % len(mine)]

    def _find(self) -> list[Recording]:
        for name in _INDEXES:
            index = self.folder / name
            if index.is_file():
                return [found for row in _rows(index) if (found := self._of_row(row))]
        paths = sorted(path for path in self.folder.rglob("*") if path.suffix in _ENDINGS)
        return [found for path in paths if (found := _recognised(path))]

    def _of_row(self, row: dict[str, Any]) -> Recording | None:
        path = self.folder / str(row.get("file", ""))
        if not path.is_file():
            return None
        wire = str(row.get("wire") or row.get("dialect") or "")
        dialect = _WIRES.get(wire, wire)
        if dialect == "gemini" and row.get("framing") == "jsonarray":
            dialect = "gemini-array"
        if dialect not in DIALECTS:
            return _recognised(path)
        status = row.get("status")
        return Recording(
            name=path.stem,
            path=path,
            dialect=dialect,
            status=status if isinstance(status, int) else 200,
            content_type=str(row.get("content_type") or content_type(dialect)),
            text=str(row.get("text") or ""),
        )


def _rows(index: Path) -> list[dict[str, Any]]:
    try:
        text = index.read_text("utf-8")
        rows = (
            json.loads(text)
            if index.suffix == ".json"
            else [json.loads(line) for line in text.splitlines() if line.strip()]
        )
    except (OSError, ValueError) as error:
        msg = f"{index}: it is no index: {error}"
        raise FaultError(msg) from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        msg = f"{index}: it is no index: a row a body is wanted"
        raise FaultError(msg)
    return rows


def _recognised(path: Path) -> Recording | None:
    """Return a body whose dialect its first frames tell, or None."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    for wire in likely_wires(head):
        for frame in decoder_for(wire).feed(head)[:16]:
            known = recognise_frame(frame)
            if known is not None and framed(known, head).wire == wire:
                name = framed(known, head).name
                return Recording(
                    name=path.stem, path=path, dialect=name, content_type=content_type(name)
                )
    return None
