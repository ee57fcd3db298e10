"""What a report needs beside the base install: Plotly for its page, and no more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.debugger.recordings import attempt, recording, whole

SCRIPT = """
import sys
from importlib import util

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Absent())
find = util.find_spec
util.find_spec = lambda name, *more: None if name in {absent!r} else find(name, *more)
from unbroken.debugger import report
told = report({path!r})
assert "complete" in told.text()
told.html()
"""


def _without(path: Path, *absent: str) -> subprocess.CompletedProcess[str]:
    code = SCRIPT.format(absent=absent, path=str(path))
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return recording(tmp_path / "r.jsonl", attempt(whole("a", "b")))


def test_the_page_needs_nothing_of_the_gateways(path: Path) -> None:
    pytest.importorskip("plotly")
    ran = _without(path, "starlette", "uvicorn", "aiohttp", "prometheus_client", "cryptography")
    assert ran.returncode == 0, ran.stderr


def test_without_plotly_the_text_is_there_and_the_page_says_what_to_install(path: Path) -> None:
    ran = _without(path, "plotly", "starlette")
    assert 'pip install "unbroken[report]"' in ran.stderr
