"""Run the benchmarks: every ``bench/<name>/__main__.py`` or ``bench/<name>.py``, or those named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parent.parent / "bench"


def find() -> dict[str, Path]:
    """Return what to run, by name; files that start with an underscore are helpers."""
    packages = {path.parent.name: path.parent for path in BENCH.glob("*/__main__.py")}
    files = {path.stem: path for path in BENCH.glob("*.py") if not path.stem.startswith("_")}
    return dict(sorted((packages | files).items()))


def main(wanted: list[str]) -> int:
    """Run the benchmarks in turn; return 1 if one failed, 2 if one is unknown."""
    known = find()
    unknown = [name for name in wanted if name not in known]
    if unknown:
        have = ", ".join(known) or "none yet"
        print(f"bench: do not know {', '.join(unknown)}; there are: {have}", file=sys.stderr)
        return 2
    failed = []
    for name in wanted or known:
        print(f"== bench/{name}", flush=True)
        # As a module, so that benchmarks can share helpers (`from bench._load import ...`).
        command = [sys.executable, "-m", f"bench.{name}"]
        if subprocess.run(command, cwd=BENCH.parent, check=False).returncode:
            failed.append(name)
    if failed:
        print(f"bench: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
