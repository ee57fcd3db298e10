"""Try the claims of the knowledge base, and write what came of it beside them.

    python -m trials                             # all records; prints a table
    python -m trials --only llm/stream-stalled   # one, or all whose ids begin so
    python -m trials --write                     # and write the records' files

Needs the SDKs of the tests' extras; nginx, HAProxy, curl and Node where they are. Nothing leaves
this machine.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from trials import records
from trials.play import DEADLINE_S, Bench, Played, scene_of, short_waits
from trials.seen import Seen, see
from trials.ways import WAYS
from unbroken.knowledge.load import DATA

_FAR = 0.3  # a claim that differs more from what was measured is named at the end


@dataclass(slots=True, kw_only=True)
class Tried:
    """What was done with a record."""

    id: str
    scenario: str
    seen: Seen | None = None
    rows: list[tuple[str, dict[str, Any], Played]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        return {
            "id": self.id,
            "scenario": self.scenario,
            "seen_by": self.seen.by if self.seen is not None else "",
            "instead": self.seen.instead if self.seen is not None else "",
            "trials": [
                {
                    "of": of,
                    "trial": played.way,
                    "tries": played.tries,
                    "worked": _worked(of, played),
                    "claimed": _claimed(entry),
                    "note": played.note,
                }
                for of, entry, played in self.rows
            ],
            "problems": self.problems,
        }


def main(arguments: list[str] | None = None) -> int:
    """Try what was asked for; 1 if a record names a trial or a scenario that cannot be."""
    parser = argparse.ArgumentParser(
        prog="python -m trials", description="Try the claims of the knowledge base in the lab."
    )
    parser.add_argument("--only", nargs="+", metavar="ID", help="ids, or beginnings of ids")
    parser.add_argument("--times", type=int, default=5, help="tries of each trial (default: 5)")
    parser.add_argument("--write", action="store_true", help="write the records' files")
    parser.add_argument("--json", action="store_true", help="print one JSON object, no table")
    parser.add_argument("--date", default="", help="the date to write, YYYY-MM-DD (default: today)")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the records")
    parser.add_argument("--deadline", type=float, default=DEADLINE_S, help="seconds of a try")
    asked = parser.parse_args(arguments)
    date = asked.date or dt.datetime.now(dt.UTC).date().isoformat()
    found = records.files(asked.only, asked.data)
    if not found:
        parser.error(
            f"no record in {asked.data} is called {' or '.join(asked.only or ['anything'])}"
        )
    tried = []
    with short_waits(), Bench(times=asked.times, deadline_s=asked.deadline) as bench:
        for at, path in enumerate(found, 1):
            one = _try(bench, path, at, len(found))
            tried.append(one)
            if asked.write:
                _write(path, one, date)
    if asked.json:
        print(json.dumps({"records": [one.to_dict() for one in tried]}, ensure_ascii=False))
    else:
        print(_table(tried))
    return 1 if any(one.problems for one in tried) else 0


def _try(bench: Bench, path: Path, at: int, of: int) -> Tried:
    record = records.read(path)
    one = Tried(id=record["id"], scenario=record.get("scenario", ""))
    _progress(f"{at}/{of} {one.id}")
    entries = [("dead end", entry) for entry in record["dead_ends"]]
    entries += [("workaround", entry) for entry in record["workarounds"]]
    named = [(kind, entry) for kind, entry in entries if entry.get("trial")]
    one.problems += [
        f"there is no trial {entry['trial']}" for _, entry in named if entry["trial"] not in WAYS
    ]
    scene = scene_of(record)
    if scene is None:
        if named:
            one.problems.append("trials are named, and no scenario of the lab")
        return one
    try:
        one.seen = see(bench, scene, record)
    except Exception as error:  # noqa: BLE001 - the trials do not depend on it
        one.problems.append(f"it could not be looked for: {type(error).__name__}: {error}")
    try:
        done: dict[str, Played] = {}
        for kind, entry in named:
            way = entry["trial"]
            if way not in WAYS:
                continue
            if way not in done:
                _progress(f"{at}/{of} {one.id}: {way}")
                done[way] = bench.play(scene, way)
            one.rows.append((kind, entry, done[way]))
    except Exception as error:  # noqa: BLE001 - one bad scenario must not end the others
        one.problems.append(f"the scenario cannot be played: {type(error).__name__}: {error}")
    return one


def _write(path: Path, one: Tried, date: str) -> None:
    """Put what was measured into a record's file, read anew: somebody may have edited it."""
    record = records.read(path)
    if one.seen:
        records.seen(record, date)
    scene = scene_of(record)
    for entry in (*record["dead_ends"], *record["workarounds"]):
        for _, _, played in one.rows:
            if scene and played.way == entry.get("trial"):
                ours = [f"unbroken {version('unbroken')}"] if _is_ours(played.way) else []
                records.measure(
                    entry,
                    tries=played.tries,
                    worked=_worked(_kind(entry), played),
                    date=date,
                    with_versions=[*scene.dialect.versions(), *ours],
                    note=played.note,
                )
                break
    records.write(path, record)


def _is_ours(way: str) -> bool:
    return way.startswith("unbroken") or way == "iter-text"


def _kind(entry: dict[str, Any]) -> str:
    return "dead end" if "fail_rate" in entry else "workaround"


def _worked(of: str, played: Played) -> int:
    """How often it worked: as a dead end only where the whole right answer came of it."""
    return played.ended.count("right") if of == "dead end" else played.worked


def _claimed(entry: dict[str, Any]) -> float:
    """How often it is claimed to work."""
    return 1 - float(entry["fail_rate"]) if "fail_rate" in entry else float(entry["success_rate"])


def _table(tried: list[Tried]) -> str:
    lines = []
    for one in tried:
        by = f"seen by {one.seen.by}" if one.seen else ""
        if one.seen is not None and not one.seen:
            by = f"not seen; instead: {one.seen.instead or 'nothing'}"
        lines.append(f"{one.id}  {one.scenario or 'no scenario'}  {by}".rstrip())
        lines += [
            f"    {of:10} {played.way:26} worked {_worked(of, played)} of {played.tries}"
            f"  (claimed {_claimed(entry):.2f})  {played.note}"
            for of, entry, played in one.rows
        ]
        lines += [f"    problem: {problem}" for problem in one.problems]
    far = [
        f"    {one.id}: {of} {played.way}: claimed {_claimed(entry):.2f},"
        f" measured {_worked(of, played) / played.tries:.2f}"
        for one in tried
        for of, entry, played in one.rows
        if abs(_claimed(entry) - _worked(of, played) / played.tries) > _FAR
    ]
    rows = [row for one in tried for row in one.rows]
    ends = sum(of == "dead end" for of, _, _ in rows)
    told = f"{len(tried)} records, {sum(bool(one.scenario) for one in tried)} with a scenario"
    told += f", {sum(bool(one.seen) for one in tried)} seen in it"
    return "\n".join(
        [
            *lines,
            "",
            told,
            f"{ends} dead ends and {len(rows) - ends} workarounds tried",
            f"{len(far)} claims are far from what was measured:",
            *far,
        ]
    )


def _progress(line: str) -> None:
    end = "\r" if sys.stderr.isatty() else "\n"
    print(f"{line:<78.78}", end=end, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
