"""Standard streams that are full, closed or left: one line and an exit code, no traceback."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, environment
from tests.cli.test_ask import answer
from tests.support.faultserver import FaultServer

WRITERS = [
    ["--help"],
    ["--version"],
    ["ask", "--help"],
    ["ask", "Q"],
    ["ask", "Q", "--json"],
    ["check", "BODY"],
    ["check", "--json", "BODY"],
    ["decode", "BODY"],
    ["doctor"],
    ["doctor", "--json"],
]
FULL = "/dev/full"
needs_full = pytest.mark.skipif(not os.path.exists(FULL), reason="no /dev/full here (macOS)")


def shell(tmp_path: Path, arguments: list[str], redirection: str) -> tuple[int, str]:
    """Run a command as a shell does; return its exit code and what it said on standard error."""
    body = tmp_path / "body.sse"
    body.write_bytes(b'data: {"choices":[]}\n\n')
    with FaultServer(answer()) as server:
        words = [str(body) if word == "BODY" else word for word in arguments]
        if words[:2] == ["ask", "Q"]:
            words += ["--base-url", f"{server.url}/v1"]
        line = f"{shlex.join([*COMMAND, *words])} {redirection}"
        ran = subprocess.run(
            ["/bin/sh", "-c", line], capture_output=True, text=True, check=False,
            env=environment(), timeout=60,
        )  # fmt: skip
    assert "Traceback" not in ran.stderr
    assert "Exception ignored" not in ran.stderr
    return ran.returncode, ran.stderr


@needs_full
@pytest.mark.parametrize("arguments", WRITERS, ids=" ".join)
def test_full_output_is_one_line(tmp_path: Path, arguments: list[str]) -> None:
    code, said = shell(tmp_path, arguments, f"> {FULL}")
    assert (code, said) == (2, "unbroken: cannot write standard output: no space left on device\n")


@pytest.mark.parametrize("arguments", WRITERS, ids=" ".join)
def test_closed_output_is_one_line(tmp_path: Path, arguments: list[str]) -> None:
    code, said = shell(tmp_path, arguments, ">&-")
    assert (code, said) == (2, "unbroken: cannot write standard output: it is closed\n")


@pytest.mark.parametrize("arguments", [["ask", "-"], ["check", "-"], ["decode", "-"]])
def test_closed_input_is_one_line(tmp_path: Path, arguments: list[str]) -> None:
    code, said = shell(tmp_path, arguments, "<&-")
    assert said in (
        "unbroken: cannot read standard input: it is closed\n",
        # Where the interpreter's start put another file in its place.
        "unbroken: cannot read standard input: bad file descriptor\n",
    )
    assert code == 2


@pytest.mark.parametrize("arguments", [["doctor"], ["ask", "Q"], ["frob"]], ids=" ".join)
@pytest.mark.parametrize("to", ["2>&-", pytest.param(f"2> {FULL}", marks=needs_full)])
def test_nobody_to_tell_is_no_traceback(tmp_path: Path, arguments: list[str], to: str) -> None:
    code, _ = shell(tmp_path, arguments, f"{to} > /dev/null")
    assert code in ((2,) if arguments == ["frob"] else (0, 2))


@pytest.mark.parametrize("arguments", WRITERS, ids=" ".join)
def test_reader_that_left(tmp_path: Path, arguments: list[str]) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        code, said = shell_into(tmp_path, arguments, theirs)
    finally:
        os.close(theirs)
    assert (code, said) == (141, "")


def shell_into(tmp_path: Path, arguments: list[str], output: int) -> tuple[int, str]:
    body = tmp_path / "body.sse"
    body.write_bytes(b'data: {"choices":[]}\n\n')
    with FaultServer(answer()) as server:
        words = [str(body) if word == "BODY" else word for word in arguments]
        if words[:2] == ["ask", "Q"]:
            words += ["--base-url", f"{server.url}/v1"]
        ran = subprocess.run(
            [*COMMAND, *words], stdout=output, stderr=subprocess.PIPE, text=True, check=False,
            env=environment(), timeout=60,
        )  # fmt: skip
    return ran.returncode, ran.stderr
