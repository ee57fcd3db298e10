"""`unbroken ask --output`: the answer in a file too, and progress where it cannot be seen."""

from __future__ import annotations

import json
import os
import pty
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, Command, environment
from tests.cli.test_ask import TEXT, answer
from tests.support.bodies import Answer, body, tokens_of
from tests.support.faultserver import FaultServer, Reply
from unbroken.cli.ask_output import Progress


def asked(server: FaultServer, *more: str | Path) -> list[str]:
    return ["ask", "Q", "--base-url", f"{server.url}/v1", *map(str, more)]


@pytest.mark.seed("003-memory-disk")
@pytest.mark.parametrize(
    ("name", "more"),
    [("a.txt", ()), ("a.jsonl", ()), ("a.sqlite", ()), ("a", ("--output-format", "events"))],
)
def test_answer_is_on_the_screen_and_in_the_file(
    unbroken: Command, tmp_path: Path, name: str, more: tuple[str, ...]
) -> None:
    path = tmp_path / name
    with FaultServer(answer()) as server:
        ran = unbroken(*asked(server, "-o", path, *more))
    assert (ran.code, ran.text) == (0, TEXT + "\n")
    assert f"in {path}" in ran.error
    if name == "a.txt":
        assert path.read_text() == TEXT
    elif name == "a.sqlite":
        with closing(sqlite3.connect(path)) as base:
            assert base.execute("SELECT status FROM streams").fetchone() == ("complete",)
    else:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert "".join(line["text"] for line in lines if line["type"] == "text") == TEXT


def test_json_names_the_file(unbroken: Command, tmp_path: Path) -> None:
    with FaultServer(answer()) as server:
        ran = unbroken(*asked(server, "--json", "-o", tmp_path / "a.txt"))
    told = json.loads(ran.text)
    assert told["output"] == str(tmp_path / "a.txt")
    assert (told["text"], told["overflowed"], told["sink_error"]) == (TEXT, False, "")
    assert (tmp_path / "a.txt").read_text() == TEXT


def test_answer_that_is_not_whole_says_so_by_its_name(unbroken: Command, tmp_path: Path) -> None:
    with FaultServer(answer(part=0.5)) as server:
        ran = unbroken(*asked(server, "--mode", "raise", "-o", tmp_path / "a.txt"))
        assert ran.code == 1
        assert "a.txt.partial" in ran.error
        said = (tmp_path / "a.txt.partial").read_text()
        assert ran.text.rstrip("\n") == said
        assert 0 < len(said) < len(TEXT)
        ran = unbroken(*asked(server, "-o", tmp_path / "a.txt"))
        assert ran.code == 2
        assert "not whole" in ran.error_line
        assert len(server.requests) == 1


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.sqlite"])
def test_file_that_is_there_is_kept_unless_one_says_otherwise(
    unbroken: Command, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    with FaultServer(answer()) as server:
        for code, more in ((0, ()), (2, ()), (0, ("--if-exists", "append"))):
            ran = unbroken(*asked(server, "-o", path, *more))
            assert ran.code == code, ran.error
        assert len(server.requests) == 2
    if name == "a.txt":
        assert path.read_text() == TEXT * 2


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.sqlite"])
def test_missing_folder_is_told_before_anything_is_sent(
    unbroken: Command, tmp_path: Path, name: str
) -> None:
    with FaultServer(answer()) as server:
        ran = unbroken(*asked(server, "-o", tmp_path / "missing" / name))
        assert not server.requests
    assert ran.code == 2
    assert f"there is no folder {tmp_path / 'missing'}" in ran.error_line.replace("\n", " ")


SMALL = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600));"
SMALL += "from unbroken.cli import main; sys.exit(main())"


def test_full_disk_is_an_error_and_the_text_is_on_the_screen_and_in_the_file(
    tmp_path: Path,
) -> None:
    text = TEXT * 20
    path = tmp_path / "a.txt"
    with FaultServer(Reply(pieces=body("openai-chat", Answer(tokens=tokens_of(text))))) as server:
        ran = subprocess.run(
            [sys.executable, "-c", SMALL, *asked(server, "-o", path)],
            capture_output=True, text=True, check=False, env=environment(),
        )  # fmt: skip
    assert ran.returncode == 2
    assert ran.stdout == text + "\n"
    assert "complete" in ran.stderr
    assert f"writing {path}.partial failed (OSError: File too large)" in ran.stderr
    written = (tmp_path / "a.txt.partial").read_text()
    assert text.startswith(written)
    assert len(written) > 300


def test_progress_on_a_terminal_is_one_line_written_over(capsys: pytest.CaptureFixture) -> None:
    now = 0.0
    progress = Progress(wanted=True, live=True, clock=lambda: now)
    for _ in range(31):
        now += 0.1
        progress.add("x" * 1000)
    progress.clear()
    progress.clear()
    said = capsys.readouterr().err
    assert "10,000 characters in 1 s" in said or "11,000 characters in 1 s" in said
    assert said.count("\n") == 0
    assert said.count("…") in (2, 3)
    assert said.endswith("\r\x1b[K")


def test_progress_elsewhere_is_a_line_now_and_then(capsys: pytest.CaptureFixture) -> None:
    now = 0.0
    progress = Progress(wanted=True, live=False, clock=lambda: now)
    for _ in range(100):
        now += 1.0
        progress.add("xx")
    progress.clear()
    assert capsys.readouterr().err.splitlines() == [
        "… 60 characters in 30 s", "… 120 characters in 60 s", "… 180 characters in 90 s",
    ]  # fmt: skip


def test_no_progress_is_told_where_the_text_is_seen(capsys: pytest.CaptureFixture) -> None:
    progress = Progress(wanted=False, live=True, clock=iter(range(0, 999, 50)).__next__)
    progress.add("x")
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(not hasattr(pty, "openpty"), reason="no pseudo-terminals here")
def test_progress_does_not_run_into_the_account(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with FaultServer(answer()) as server, open(tmp_path / "out", "wb") as out:
        ran = subprocess.run(
            [*COMMAND, *asked(server, "-o", tmp_path / "a.txt")],
            stdout=out, stderr=theirs, check=False, env=environment(),
        )  # fmt: skip
    os.close(theirs)
    said = os.read(ours, 10_000).decode()
    os.close(ours)
    assert ran.returncode == 0
    assert "complete" in said
    assert (tmp_path / "out").read_text() == TEXT + "\n"


@pytest.mark.parametrize(
    ("name", "said"),
    [("", "empty"), ("-", "standard output"), (".", "it is a folder"), ("gone/", "it is a folder")],
)
@pytest.mark.parametrize("more", [(), ("--if-exists", "overwrite"), ("--output-format", "sqlite")])
def test_what_is_no_file_is_refused_before_anything_is_sent(
    unbroken: Command, name: str, said: str, more: tuple[str, ...]
) -> None:
    with FaultServer(answer()) as server:
        ran = unbroken(*asked(server, "-o", name, *more))
        assert not server.requests
    assert ran.code == 2
    assert said in ran.error_line


def limited(size: int) -> str:
    return SMALL.replace("600", str(size))


@pytest.mark.parametrize(
    ("size", "name", "said", "left"),
    [
        (0, "a.txt", "a.txt failed (OSError: File too large): no file is left", []),
        (10, "a.txt", "partial failed (OSError: File too large): it has only", ["a.txt.partial"]),
        (0, "a.jsonl", "cannot write", []),
        (0, "a.db", "cannot write", []),
    ],
)  # fmt: skip
def test_full_disk_is_told_with_what_is_in_which_file(
    tmp_path: Path, size: int, name: str, said: str, left: list[str]
) -> None:
    with FaultServer(answer()) as server:
        ran = subprocess.run(
            [sys.executable, "-B", "-c", limited(size), *asked(server, "-o", tmp_path / name)],
            capture_output=True, text=True, check=False, env=environment(),
        )  # fmt: skip
    assert ran.returncode == 2
    assert said in ran.stderr
    assert "the sink of a stream" not in ran.stderr
    assert sorted(os.listdir(tmp_path)) == left
    assert ("partial" in ran.stderr) is bool(left)


def test_whole_answer_without_its_name_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with FaultServer(answer()) as server:
        code = (
            "import os, sys\n"
            "def replace(*a): raise OSError(5, 'Input/output error')\n"
            "os.replace = replace\n"
            "from unbroken.cli import main; sys.exit(main())"
        )
        ran = subprocess.run(
            [sys.executable, "-B", "-c", code, *asked(server, "-o", path)],
            capture_output=True, text=True, check=False, env=environment(),
        )  # fmt: skip
    assert ran.returncode == 2
    assert f"{path}.partial holds the whole answer, but could not be given its name" in ran.stderr
    assert (tmp_path / "a.txt.partial").read_text() == TEXT
