"""The JavaScript client: its own tests under Node, and that there is one of it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.clients.javascript import FILES, NODE, PACKAGE, ROOT, SERVED, bodies

needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")


@needs_node
def test_the_package_is_packed_with_the_files_that_the_gateway_serves(tmp_path: Path) -> None:
    """`npm pack` runs it first: so there is one place where the client is written."""
    package = tmp_path / "clients" / "javascript"
    served = tmp_path / SERVED.relative_to(ROOT)
    shutil.copytree(PACKAGE, package)
    shutil.copytree(SERVED, served)
    assert NODE is not None
    subprocess.run([NODE, "copy.js"], cwd=package, check=True, timeout=30)
    for name in FILES:
        assert (package / name).read_bytes() == (SERVED / name).read_bytes()
    scripts = json.loads((PACKAGE / "package.json").read_text("utf-8"))["scripts"]
    assert scripts["prepack"] == "node copy.js"


def test_its_bodies_are_ours() -> None:
    kept = (PACKAGE / "test" / "bodies.json").read_text("utf-8")
    assert kept == bodies(), "run `python -m tests.clients.javascript`"


def test_the_package_names_every_file() -> None:
    package = json.loads((PACKAGE / "package.json").read_text("utf-8"))
    assert set(FILES) <= set(package["files"])
    written = set(package["files"]) - set(FILES)
    assert all((PACKAGE / name).exists() for name in written)
    assert "dependencies" not in package


@needs_node
@pytest.mark.parametrize("name", ["decoders", "straight", "resume"])
def test_under_node(name: str) -> None:
    assert NODE is not None
    ran = subprocess.run(
        [NODE, "--test", f"test/{name}.test.js"],
        cwd=PACKAGE,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-2000:]
