"""The JavaScript client: its own tests under Node, and that there is one of it."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.clients.javascript import FILES, NODE, PACKAGE, SERVED, bodies

needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")


@pytest.mark.parametrize("name", FILES)
def test_the_package_has_the_file_that_the_gateway_serves(name: str) -> None:
    copied, served = (PACKAGE / name).read_bytes(), (SERVED / name).read_bytes()
    assert copied == served, "run `node copy.js` in clients/javascript"


def test_its_bodies_are_ours() -> None:
    kept = (PACKAGE / "test" / "bodies.json").read_text("utf-8")
    assert kept == bodies(), "run `python -m tests.clients.javascript`"


def test_the_package_names_every_file() -> None:
    package = json.loads((PACKAGE / "package.json").read_text("utf-8"))
    assert set(FILES) <= set(package["files"])
    assert all((PACKAGE / name).exists() for name in package["files"])
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
