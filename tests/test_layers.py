"""The layers of ARCHITECTURE.md, as far as import-linter's contracts cannot say them.

Those contracts forbid; these tests allow: what is not on a list is refused, so that a new
dependency is a decision and not an accident.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src"
PACKAGE = SOURCE / "unbroken"

# Standard, but not pure: sockets, clocks, threads, event loops, chance, logs, processes.
IMPURE = {
    "asyncio", "concurrent", "contextvars", "http", "logging", "multiprocessing",
    "queue", "random", "sched", "secrets", "select", "selectors", "signal", "socket",
    "socketserver", "ssl", "subprocess", "threading", "time", "uuid",
}  # fmt: skip

# What the lab may use of us: it tests any client, so it must not trust ours.
LAB_MAY_USE = (
    "unbroken.lab", "unbroken.relay", "unbroken.core.wire", "unbroken.core.dialects",
    "unbroken.core.faults", "unbroken.core.frames",
)  # fmt: skip


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and full name of all that a module imports, also inside its functions."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
        match node:
            case ast.Import():
                yield from ((node.lineno, alias.name) for alias in node.names)
            case ast.ImportFrom():
                assert node.level == 0, f"{path}:{node.lineno}: relative import"
                yield from ((node.lineno, f"{node.module}.{a.name}") for a in node.names)


def modules_in(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (PACKAGE / folder).rglob("*.py"))


def is_below(name: str, *parents: str) -> bool:
    return any(name == parent or name.startswith(parent + ".") for parent in parents)


def name_of(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def in_type_checking_only(path: Path) -> set[int]:
    """Lines that only type checkers read."""
    tree = ast.parse(path.read_text("utf-8"))
    blocks = [
        node for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
    ]  # fmt: skip
    return {line for b in blocks for line in range(b.lineno, (b.end_lineno or b.lineno) + 1)}


@pytest.mark.parametrize("path", modules_in("core"), ids=name_of)
def test_core_imports_only_msgspec_and_the_pure_standard_library(path: Path) -> None:
    for line, name in imports_of(path):
        top = name.partition(".")[0]
        allowed = is_below(name, "unbroken.core", "msgspec") or (
            top in sys.stdlib_module_names and top not in IMPURE
        )
        assert allowed, f"{name_of(path)}:{line} imports {name}"


@pytest.mark.parametrize("path", modules_in("lab"), ids=name_of)
def test_lab_uses_of_us_only_the_wire(path: Path) -> None:
    for line, name in imports_of(path):
        if is_below(name, "unbroken"):
            assert is_below(name, *LAB_MAY_USE), f"{name_of(path)}:{line} imports {name}"


def test_the_labs_oracle_uses_nothing_of_us() -> None:
    oracles = [p for p in modules_in("lab") if "oracle" in p.relative_to(PACKAGE).as_posix()]
    for path in oracles:
        for line, name in imports_of(path):
            ours = is_below(name, "unbroken") and not is_below(name, "unbroken.lab.oracle")
            assert not ours, f"{name_of(path)}:{line} imports {name}"


@pytest.mark.parametrize("path", modules_in("drivers"), ids=name_of)
def test_drivers_know_no_http_library(path: Path) -> None:
    typing_only = in_type_checking_only(path)
    for line, name in imports_of(path):
        http = is_below(name, "httpx", "httpx2", "aiohttp", "httpcore", "httpcore2", "requests")
        assert not http or line in typing_only, f"{name_of(path)}:{line} imports {name}"


def test_every_package_has_its_layer() -> None:
    """A package that import-linter would not see has no __init__, so it has no contract."""
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    bare = sorted(name_of(folder) for folder in folders if not (folder / "__init__.py").exists())
    assert not bare, f"packages without __init__.py, invisible to the contracts: {bare}"


def test_contracts_hold() -> None:
    """The same as `make contracts`, so that a plain pytest run shows it too."""
    assert len(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
               ["contracts"]) >= 3  # fmt: skip
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    ran = subprocess.run(
        [*command, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
