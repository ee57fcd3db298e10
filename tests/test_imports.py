"""What importing costs: no HTTP library for the package, nothing but msgspec for the core."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import unbroken

HTTP_LIBRARIES = {
    "aiohttp", "anyio", "h11", "h2", "http.client", "httpcore", "httpcore2", "httpx", "httpx2",
    "requests", "trio", "urllib.request", "urllib3",
}  # fmt: skip
SDKS = {"anthropic", "google.genai", "groq", "mistralai", "ollama", "openai"}
ONLY_THE_COMMAND_LINE = {"click", "rich", "typer"}

# Refuses every import but the standard library, msgspec, the core and the package around it.
ONLY_MSGSPEC = """
import importlib, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names or top == "msgspec":
            return None
        if name == "unbroken" or name == "unbroken.core" or name.startswith("unbroken.core."):
            return None
        raise ModuleNotFoundError(f"{name} is not there when only msgspec is", name=name)

for name in [n for n in sys.modules if n.partition(".")[0] not in sys.stdlib_module_names]:
    del sys.modules[name]  # what the interpreter's start brought (path hooks of editable installs)
sys.meta_path.insert(0, Refuse())
importlib.import_module(sys.argv[1])
"""


def modules_after(statement: str) -> set[str]:
    """Names of the modules in a fresh interpreter after it ran `statement`."""
    bare = "import sys, json; before = set(sys.modules);"
    code = f"{bare} {statement}; print(json.dumps(sorted(set(sys.modules) - before)))"
    ran = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    return set(json.loads(ran.stdout))


def core_modules() -> list[str]:
    """Named by their files, since importing them here would hide what they cannot import."""
    core = Path(unbroken.__file__).parent / "core"
    parts = (
        path.relative_to(core.parent.parent).with_suffix("").parts for path in core.rglob("*.py")
    )
    return sorted(".".join(p for p in part if p != "__init__") for part in parts)


def test_importing_unbroken_pulls_in_no_http_library() -> None:
    loaded = modules_after("import unbroken")
    assert "unbroken" in loaded
    assert not loaded & (HTTP_LIBRARIES | SDKS | ONLY_THE_COMMAND_LINE)


def test_the_probe_sees_an_http_library_that_is_loaded() -> None:
    assert modules_after("import unbroken, httpx2") & HTTP_LIBRARIES


@pytest.mark.parametrize("module", core_modules())
def test_core_needs_only_msgspec(module: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-I", "-c", ONLY_MSGSPEC, module],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("module", ["httpx2", "rich", "pytest"])
def test_the_refusal_refuses(module: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-I", "-c", ONLY_MSGSPEC, module],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "is not there when only msgspec is" in ran.stderr


def test_public_names_are_there() -> None:
    missing = [name for name in getattr(unbroken, "__all__", []) if not hasattr(unbroken, name)]
    assert not missing
    assert (Path(unbroken.__file__).parent / "py.typed").exists()
