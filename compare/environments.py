"""The Python environments of the comparison: one for each set of packages that goes together.

    python compare/environments.py                 # make what is missing or out of date
    python compare/environments.py sdks litellm    # these only
    python compare/environments.py --versions      # what is in them, as JSON

Each is `.venvs/compare-NAME` of the checkout and holds exactly what `settings/NAME.txt` pins, and
this checkout (editable) where Unbroken is put under an SDK, or is the gateway. Made by uv where
there is one, else by venv and pip, and made anew only when the pins change, or this Python.
"""

from __future__ import annotations

import argparse
import fcntl
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["NAMES", "CannotMake", "make", "python_of", "versions"]

_COMPARE = Path(__file__).resolve().parent
_ROOT = _COMPARE.parent
_HOME = _ROOT / ".venvs"
_SETTINGS = _COMPARE / "settings"
_WITH_UNBROKEN = {"sdks": "httpx", "litellm": "httpx", "unbroken": "gateway"}  # with this extra
_MAKE_WITHIN_S = 900.0

NAMES = tuple(sorted(path.stem for path in _SETTINGS.glob("*.txt")))


class CannotMake(Exception):  # noqa: N818
    """An environment could not be made; says what failed."""


def python_of(name: str) -> Path:
    """The interpreter of an environment, made or not."""
    return _HOME / f"compare-{name}" / "bin" / "python"


def make(name: str) -> Path:
    """Make an environment if need be, and return its interpreter.

    Raises:
        CannotMake: It could not be made.
    """
    if name not in NAMES:
        msg = f"no environment {name}; there are {', '.join(NAMES)}"
        raise CannotMake(msg)
    home = _HOME / f"compare-{name}"
    pins = _SETTINGS / f"{name}.txt"
    wish = json.dumps([pins.read_text("utf-8"), name in _WITH_UNBROKEN, sys.version])
    stamp = home / "made-for.json"
    _HOME.mkdir(exist_ok=True)
    (_HOME / ".gitignore").write_text("*\n")
    with (_HOME / f"compare-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two comparisons may start at once
        if stamp.exists() and stamp.read_text("utf-8") == wish:
            return python_of(name)
        shutil.rmtree(home, ignore_errors=True)
        try:
            _create(home, name, pins)
        except (OSError, subprocess.SubprocessError) as exc:
            said = getattr(exc, "stderr", None) or str(exc)
            msg = f"environment {name} cannot be made: {str(said).strip()[-1000:]}"
            raise CannotMake(msg) from exc
        stamp.write_text(wish, "utf-8")
    return python_of(name)


def _create(home: Path, name: str, pins: Path) -> None:
    python = str(home / "bin" / "python")
    what = ["-r", str(pins)]
    if name in _WITH_UNBROKEN:
        what += ["--editable", f"{_ROOT}[{_WITH_UNBROKEN[name]}]"]
    uv = shutil.which("uv")
    if uv is not None:
        _call(uv, "venv", "--quiet", "--python", sys.executable, str(home))
        # Drivers start by the thousand, perhaps where Python may write no byte code.
        _call(uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python, *what)
    else:
        _call(sys.executable, "-m", "venv", str(home))
        _call(python, "-m", "pip", "install", "--quiet", *what)


def _call(*command: str) -> None:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        timeout=_MAKE_WITHIN_S,
        cwd=_ROOT,
        env=env,
    )


def versions(name: str) -> dict[str, str] | None:
    """What is installed in an environment; None if it is not made."""
    folders = list((_HOME / f"compare-{name}" / "lib").glob("python*/site-packages"))
    if not folders:
        return None
    found = importlib.metadata.distributions(path=[str(folder) for folder in folders])
    known = {dist.metadata["Name"].lower(): dist.version for dist in found}
    return dict(sorted(known.items()))


def main() -> int:
    """Make environments, or say what is in them; 1 if one cannot be made."""
    parser = argparse.ArgumentParser(description="The Python environments of the comparison.")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--versions", action="store_true", help="what is installed, as JSON")
    asked = parser.parse_args()
    names = asked.names or list(NAMES)
    if asked.versions:
        print(json.dumps({name: versions(name) for name in names}, indent=1))
        return 0
    failed = 0
    for name in names:
        try:
            print(f"{name}: {make(name)}")
        except CannotMake as exc:
            failed = 1
            print(f"{name}: {exc}", file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(main())
