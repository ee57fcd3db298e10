"""The records' files: read as they are, and written back with nothing else changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from unbroken.knowledge.load import DATA
from unbroken.knowledge.record import DeadEnd, Measured, Record, Workaround

__all__ = ["files", "measure", "read", "seen", "write"]


def files(only: list[str] | None = None, folder: Path = DATA) -> list[Path]:
    """Return the files of all records, or of those whose ids are, or begin with, one of `only`."""
    found = sorted(folder.glob("*/*.json"))
    if not only:
        return found
    return [
        path
        for path in found
        if any(_id(path) == wanted or _id(path).startswith(wanted) for wanted in only)
    ]


def _id(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def read(path: Path) -> dict[str, Any]:
    """Read a record, its keys in their order."""
    record: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return record


def write(path: Path, record: dict[str, Any]) -> None:
    """Write a record: two spaces a level, letters as they are, a line's end at the end."""
    path.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", "utf-8")


def measure(
    entry: dict[str, Any],
    *,
    tries: int,
    worked: int,
    date: str,
    with_versions: list[str],
    note: str,
) -> None:
    """Put what was measured into a dead end or a workaround."""
    form = DeadEnd if "fail_rate" in entry else Workaround
    measured = Measured(
        tries=tries, worked=worked, date=date, with_versions=with_versions, note=note
    )
    values = {name: getattr(measured, name) for name in Measured.__struct_fields__}
    _put(entry, "measured", values, form.__struct_fields__)


def seen(record: dict[str, Any], date: str) -> None:
    """Note that a record's scenario was played, and the record was seen in it."""
    fields = Record.__struct_fields__
    if record.get("verification_tier") != "verified":
        _put(record, "verification_tier", "reproduced", fields)
    _put(record, "last_confirmed", date, fields)


def _put(entry: dict[str, Any], key: str, value: Any, order: tuple[str, ...]) -> None:
    """Set a key; a new one goes behind those that stand before it in the form."""
    if key in entry:
        entry[key] = value
        return
    before = set(order[: order.index(key)])
    items = list(entry.items())
    at = max((n + 1 for n, (name, _) in enumerate(items) if name in before), default=0)
    items.insert(at, (key, value))
    entry.clear()
    entry.update(items)
