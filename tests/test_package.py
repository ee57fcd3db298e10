"""What is published: the wheel, built as a release would build it."""

from __future__ import annotations

import email
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_installs_and_imports(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:  # which is what installing a pure wheel does
        archive.extractall(tmp_path)
    code = "import unbroken, unbroken.core.faults; print(unbroken.__file__)"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)},
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert Path(ran.stdout.strip()).is_relative_to(tmp_path)


def test_wheel_holds_the_package_and_its_licence_only(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "unbroken/py.typed" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert {"unbroken/lab/score/suites/core.toml", "unbroken/lab/score/page/page.css"} <= set(names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"unbroken"}
    assert not [name for name in names if "__pycache__" in name]


def test_metadata(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
    told = email.message_from_bytes(archive.read(name))
    assert told["License-Expression"] == "Apache-2.0"
    assert told["Requires-Python"] == ">=3.11"
    assert "# Unbroken" in archive.read(name).decode()  # the README is the page on the index
    (entry_points,) = (n for n in archive.namelist() if n.endswith("entry_points.txt"))
    told_points = archive.read(entry_points).decode()
    assert "unbroken = unbroken.cli:main" in told_points
    assert "unbroken_lab = unbroken.lab.pytest_plugin" in told_points


def test_the_base_install_stays_small() -> None:
    names = {dependency.split(">")[0] for dependency in PROJECT["dependencies"]}
    assert names == {"h11", "msgspec", "httpx2", "typer"}  # h11 comes with httpx2 anyway


def test_extras_are_those_of_the_docs() -> None:
    assert set(PROJECT["optional-dependencies"]) == {
        "demo",
        "gateway",
        "httpx",
        "lab",
        "mcp",
        "openai",
        "otel",
        "redis",
        "report",
    }
