"""The test that is written: formatted, red before a fix and green after it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.debugger.recordings import DONE, PING, attempt, delta, frame, recording
from unbroken.debugger import shrink

CLIENT = Path(__file__).with_name("client.py")
ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(CLIENT, tmp_path / "client.py")
    (tmp_path / "tests").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(folder: Path, *frames: bytes, **more: Any) -> Path:
    path = recording(folder / "a.jsonl", attempt(frames))
    shrink(path, folder / "small.jsonl", pytest_file=folder / "tests" / "test_it.py", **more)
    return folder / "tests" / "test_it.py"


def passes(file: Path) -> bool:
    # From elsewhere: the test must find the client by itself.
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull,
         "--rootdir", str(file.parent), str(file)],
        cwd="/", capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},  # what it does not need is slow
    )  # fmt: skip
    assert ran.returncode in (0, 1), ran.stdout + ran.stderr
    return ran.returncode == 0


def is_tidy(file: Path) -> None:
    for arguments in (["format", "--diff"], ["check"]):
        ran = subprocess.run(
            ["ruff", *arguments, "--no-cache", "--isolated", str(file)]
            if shutil.which("ruff")
            else [sys.executable, "-m", "ruff", *arguments, "--no-cache", "--isolated", str(file)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stdout + ran.stderr


TEST = [sys.executable, "client.py", "cuts"]


@pytest.mark.parametrize("expect", [None, 'beyond me|"quoted" \\d'])
def test_it_fails_until_the_client_is_mended(folder: Path, expect: str | None) -> None:
    file = make(folder, delta("a"), PING, DONE, test=TEST, expect=expect)
    is_tidy(file)
    assert not (folder / "tests" / "test_it.jsonl").exists()
    assert "a ping is beyond me" in file.read_text()
    assert not passes(file)
    client = folder / "client.py"
    client.write_text(
        client.read_text().replace('raise ValueError("a ping is beyond me")', "continue")
    )
    assert passes(file)


def test_a_large_recording_stands_beside_it(folder: Path) -> None:
    text = "needle" + "x" * 20_000
    # What the client looks for is not JSON text, so that it cannot be shortened.
    long = b'data: {"choices": [], "pad": ' + b"[" + b"0," * 9_000 + b"0]}\n\n: ping\n\n"
    file = make(folder, delta(text), long, test=[*TEST, "needle"], most_tries=1)
    is_tidy(file)
    assert (folder / "tests" / "test_it.jsonl").stat().st_size > 8 * 1024
    assert "RECORDING" not in file.read_text()
    assert not passes(file)


def test_by_a_fault_it_shows_that_it_is_found(folder: Path) -> None:
    file = make(folder, delta("a"), b"data: {\n\n", fault="malformed-json")
    is_tidy(file)
    assert passes(file)
    file.write_text(file.read_text().replace('"malformed-json"', '"provider-error"'))
    assert not passes(file)


def test_odd_words_are_quoted_as_they_should_be(folder: Path) -> None:
    code = (
        "import urllib.request as u, sys;"
        "raise SystemExit('\"' + \"'\" in u.urlopen(sys.argv[1], b'').read().decode())"
    )
    words = [
        sys.executable,
        "-c",
        code,
        "{url}/v1/chat/completions",
        "it's",
        'say "x"',
        "a\\b",
        "ü",
    ]
    file = make(folder, b"\"'", frame({"a": 1}), test=words)
    is_tidy(file)
    assert not passes(file)
