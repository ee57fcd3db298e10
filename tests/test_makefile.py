"""The Makefile's promises, without running what takes minutes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TARGETS = [
    "demo", "test", "check", "bench", "soak", "simulate", "knowledge", "compare", "docs", "clean",
    "help",
]  # fmt: skip

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")


def dry_run(*arguments: str) -> str:
    """What make would do in a fresh checkout: the environment it names does not exist."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    ran = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "VENV=.venv-none", *arguments],
        cwd=ROOT, env=clean, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return ran.stdout


def test_demo_runs_the_demo() -> None:
    lines = dry_run("demo").splitlines()
    assert "scripts/setup.sh demo" in lines[0]
    assert lines[-1] == ".venv-none/bin/unbroken demo"


def test_test_runs_every_check() -> None:
    done = dry_run("test")
    wanted = ["setup.sh dev", "ruff check .", "ruff format --check .", "mypy", "lint-imports"]
    wanted.append("pytest")
    places = [done.index(part) for part in wanted]
    assert places == sorted(places), done
    assert done.count("setup.sh dev") == 1


def test_check_runs_no_tests() -> None:
    assert "pytest" not in dry_run("check")


@pytest.mark.parametrize("target", TARGETS)
def test_target_is_there_and_told(target: str) -> None:
    assert dry_run(target)
    told = re.findall(r"^([a-z-]+):.*## .+", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert target in told


@pytest.mark.parametrize("script", ["scripts/setup.sh", "scripts/pin.sh", ".ci/run"])
def test_script_parses_and_can_be_run(script: str) -> None:
    path = ROOT / script
    shell = path.read_text("utf-8").split("\n", 1)[0].split("/")[-1].split()[-1]
    subprocess.run([shell, "-n", str(path)], check=True)
    assert os.access(path, os.X_OK), f"{script} is not executable"


def test_pins_name_no_address() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    for line in lines:
        assert line.startswith("#") or re.match(r"[a-z0-9._-]+==[^ ]+( ;|$)", line), line
