"""The published comparison, run again: every client, plain, configured and behind Unbroken.

    python -m compare                          # all rows: makes what they need, takes its time
    python -m compare --only 'openai*'         # some rows
    python -m compare --write                  # and write docs/reference/comparison.md anew
    python -m compare --report                 # write the page from the results at hand

Needs uv or pip, npm, and network for the first run: clients get environments of their own
(`environments.py`, `node/package.json`). The scenarios run on this machine alone. Results go to
``compare/results``, one file a row; a row whose environment cannot be made is named and left out.
"""

from __future__ import annotations

import argparse
import asyncio
import fnmatch
import json
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from compare import environments, report
from compare.rows import GatewayError, Row, gateways, rows, through, variables
from unbroken.lab.score.command import CommandPlayer
from unbroken.lab.score.player import CannotPlayError
from unbroken.lab.score.results import Card, Result
from unbroken.lab.score.runner import Options, Played, score_suite
from unbroken.lab.score.suite import Suite, load_suite
from unbroken.lab.server.app import LabServer

_HERE = Path(__file__).resolve().parent
_KEPT = 300  # characters of an output in the raw results


class _Behind:
    """A lab whose clients are sent through a gateway."""

    def __init__(self, lab: LabServer, url: str) -> None:
        self._lab = lab
        self._url = url

    def session(self, plan: str = "") -> Any:
        session = self._lab.session(plan)
        return _ById(session) if "," in session.model else session

    def forget(self, id: str) -> bool:
        return self._lab.forget(id)

    def environment(self, session: Any) -> dict[str, str]:
        return {**self._lab.environment(session), **variables(self._url)}


class _ById:
    """A session whose model's name says its id and not its plan.

    LiteLLM's proxy takes a name with a comma in it, as plans of several attempts have, for a list
    of models, and asks none of them.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self.model = f"lab/;id={session.id}"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


def main() -> int:
    """Run what was asked for; 1 if a row could not run or Unbroken fell short."""
    parser = argparse.ArgumentParser(
        prog="python -m compare", description="Repeat the published comparison."
    )
    parser.add_argument("--suite", default="core", help="core, full, or a file (default: core)")
    parser.add_argument("--only", action="append", help="rows: a name or a glob; may be repeated")
    parser.add_argument("--jobs", type=int, default=4, help="scenarios at once (default: 4)")
    parser.add_argument("--results", type=Path, default=_HERE / "results", help="where they go")
    parser.add_argument("--write", action="store_true", help="write the docs' page afterwards")
    parser.add_argument("--report", action="store_true", help="run nothing, only write the page")
    parser.add_argument("--list", action="store_true", help="list the rows and end")
    asked = parser.parse_args()
    wanted = [row for row in rows() if _matches(row.name, asked.only)]
    if not wanted:
        parser.error(f"no row is called {asked.only}; --list shows them")
    if asked.list:
        for row in wanted:
            print(f"{row.name:32} {row.label} ({row.variant})")
        return 0
    missing: dict[str, str] = {}
    if not asked.report:
        missing = _run(wanted, load_suite(asked.suite), asked.results, jobs=asked.jobs)
    if asked.write or asked.report:
        print(f"wrote {report.write(asked.results)}")
    for name, why in missing.items():
        print(f"not run: {name}: {why}", file=sys.stderr)
    return 1 if missing else 0


def _matches(name: str, globs: list[str] | None) -> bool:
    return not globs or any(fnmatch.fnmatch(name, glob) for glob in globs)


def _run(wanted: list[Row], suite: Suite, results: Path, *, jobs: int) -> dict[str, str]:
    """Run rows one after another; return those that could not run, and why."""
    missing = _prepare(wanted)
    results.mkdir(parents=True, exist_ok=True)
    with LabServer() as lab:
        for at, row in enumerate(wanted, 1):
            why = missing.get(row.name)
            if why is not None:
                continue
            print(f"[{at}/{len(wanted)}] {row.name}", end=" ", flush=True)
            began = time.monotonic()
            try:
                card = _score(row, suite, lab, jobs=jobs)
            except (CannotPlayError, GatewayError) as error:
                missing[row.name] = " ".join(str(error).split())[-600:]
                print("cannot run")
                continue
            (results / f"{row.name}.json").write_bytes(_slim(card))
            counts = ", ".join(f"{n} {word}" for word, n in card.counts().items() if n)
            print(f" {counts} ({time.monotonic() - began:.0f} s)")
    _note_versions(results, missing)
    return missing


def _prepare(wanted: list[Row]) -> dict[str, str]:
    """Make the environments; return the rows that have none, and why."""
    behind = gateways()
    needed: dict[str, list[str]] = {}
    for row in wanted:
        needed.setdefault(row.environment, []).append(row.name)
        for gateway in row.gateways:
            needed.setdefault(behind[gateway].environment, []).append(row.name)
    missing: dict[str, str] = {}
    for name, used_by in needed.items():
        print(f"environment {name}", flush=True)
        try:
            _make_node() if name == "node" else environments.make(name)
        except (environments.CannotMake, OSError, subprocess.SubprocessError) as error:
            missing |= dict.fromkeys(used_by, str(error))
    return missing


def _make_node() -> None:
    npm = shutil.which("npm")
    if npm is None:
        msg = "npm is not installed"
        raise environments.CannotMake(msg)
    check = [npm, "--prefix", str(_HERE / "node"), "ls", "--depth", "0"]
    if subprocess.run(check, capture_output=True, check=False).returncode != 0:
        install = [npm, "--prefix", str(_HERE / "node"), "install", "--silent"]
        subprocess.run(install, check=True, timeout=900)


def _score(row: Row, suite: Suite, lab: LabServer, *, jobs: int) -> Card:
    argv = row.argv(environments.python_of(row.environment))
    options = Options(label=row.label, command=row.command, dialect=row.dialect, jobs=jobs)
    played = [scenario for scenario in suite.scenarios if scenario.name not in row.without]
    suite = replace(suite, scenarios=played)
    patience_s = max(scenario.patience_s for scenario in suite.scenarios)

    def dot(played: Played) -> None:
        worse = isinstance(played.result, Result) and not played.result.ok
        print("x" if worse else ".", end="", flush=True)

    with through(row, lab.url, patience_s=patience_s) as url:
        server = lab if url == lab.url else _Behind(lab, url)
        card = asyncio.run(score_suite(CommandPlayer(argv), suite, server, options, dot))
    return replace(card, label=f"{row.label}, {row.variant}")


def _slim(card: Card) -> bytes:
    """Return the card as JSON, without what only costs room in a repository."""
    slim = [
        replace(
            result,
            stdout_end="" if result.verdict == "healed" else result.stdout_end[-_KEPT:],
            stderr_end=result.facts.error[-_KEPT:],
        )
        for result in card.results
    ]
    data = json.loads(replace(card, results=slim).to_json())
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _note_versions(results: Path, missing: dict[str, str]) -> None:
    """Write down what was compared, where and when."""
    known: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "environments": {name: environments.versions(name) for name in environments.NAMES},
        "not run": missing,
    }
    node = _HERE / "node" / "node_modules" / ".bin" / "node"
    if node.exists():
        command = [str(node), str(_HERE / "node" / "versions.mjs")]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        known["environments"]["node"] = json.loads(ran.stdout or "{}")
    path = results / "versions.json"
    path.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\nstopped; clients, gateways and lab are gone", file=sys.stderr)
        sys.exit(130)
